"""What came back: read to its end, within its limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tools.canonical import Json, NotJson, parse
from tools.http.errors import BadAnswer


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case; of one that came more than once, all, with commas."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in raw:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self._values[key] = f"{self._values[key]}, {text}" if key in self._values else text

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class Answer:
    """An answer of the other side, whole and unpacked."""

    status_code: int
    headers: Headers
    body: bytes
    url: str  # without the query
    largest: int

    def json(self) -> Json:
        """The body as JSON. Raises BadAnswer for anything else, such as NaN or a key there twice."""
        try:
            return parse(self.body, most=self.largest)
        except NotJson as error:
            raise BadAnswer(f"{self.url} did not answer with JSON: {error}") from None

    def text(self) -> str:
        """The body as text in UTF-8. Raises BadAnswer."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise BadAnswer(f"{self.url} did not answer with text in UTF-8") from None


def unpacked(
    chunks: Iterable[bytes], headers: Headers, largest: int, url: str, *, empty: bool = False
) -> bytes:
    """The body, unpacked, of at most `largest` bytes packed or not; `empty` for an answer that has none.

    Counted while it is read: a small answer that unpacks to a large one is never held as a whole. Raises
    BadAnswer, and what reading raises.
    """
    length, packing = headers.get("content-length", ""), headers.get("content-encoding", "identity").lower()
    if not empty and length.isdecimal() and int(length[:20]) > largest:
        raise BadAnswer(f"{url} answered with more than {largest} bytes")
    if packing not in ("identity", "gzip"):
        raise BadAnswer(f"{url} answered in {packing[:40]!r}, which was not asked for")
    whole, taken = bytearray(), 0
    opener = zlib.decompressobj(zlib.MAX_WBITS | 16) if packing == "gzip" else None
    for chunk in chunks:
        taken += len(chunk)
        room = largest - len(whole)
        whole += _opened(opener, chunk, room + 1, url) if opener else chunk
        if taken > largest or len(whole) > largest:
            raise BadAnswer(f"{url} answered with more than {largest} bytes")
    if opener and taken and not opener.eof:
        raise BadAnswer(f"{url} answered with a packed body that is cut off")
    return bytes(whole)


def _opened(opener: zlib._Decompress, chunk: bytes, most: int, url: str) -> bytes:
    try:
        part = opener.decompress(chunk, most)
    except zlib.error:
        raise BadAnswer(f"{url} answered with a packed body that cannot be unpacked") from None
    if opener.unused_data:
        raise BadAnswer(f"{url} answered with more than one packed body")
    return part
