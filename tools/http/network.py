"""One connection for one exchange: to a checked address, within one time limit, and closed after it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import httpcore

from tools.http.addresses import Place, places_of
from tools.http.answers import Answer, Headers, unpacked
from tools.http.errors import NoAnswer, NotReached, NotTrusted
from tools.http.places import Url

#: What httpcore raises once a connection stands.
_LOST = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


def exchange(
    method: str,
    url: Url,
    headers: Mapping[str, str],
    content: bytes,
    *,
    ends: float,
    private: bool,
    largest: int,
    trusted: str = "",
) -> Answer:
    """Send one request once, and read its answer whole; by `ends` (time.monotonic()) at the latest.

    Raises NotAllowed, NotReached, NotTrusted, NoAnswer and BadAnswer.
    """
    line = _Line(ends, private)
    told = [*headers.items(), ("Host", url.origin.header), ("Connection", "close")]
    if content or method not in ("GET", "HEAD"):
        told.append(("Content-Length", str(len(content))))
    request = httpcore.Request(
        method,
        httpcore.URL(
            scheme=url.origin.scheme.encode(),
            host=url.origin.host.encode(),
            port=url.origin.port,
            target=url.target.encode(),
        ),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in told],
        content=content,
    )
    origin = httpcore.Origin(url.origin.scheme.encode(), url.origin.host.encode(), url.origin.port)
    with httpcore.HTTPConnection(origin, ssl_context=_trust(trusted), network_backend=line) as connection:
        try:
            response = connection.handle_request(request)
            got = Headers(response.headers)
            body = unpacked(_chunks(response), got, largest, str(url), empty=method == "HEAD")
        except _LOST as error:
            said = f"{method} {url}: {str(error) or type(error).__name__}"
            raise (NoAnswer(said) if line.sent else NotReached(said)) from error
    return Answer(response.status, got, body, str(url), largest)


def _chunks(response: httpcore.Response) -> Iterable[bytes]:
    assert isinstance(response.stream, Iterable)  # noqa: S101 - a response of a connection that waits
    return response.stream


@lru_cache(maxsize=16)
def _trust(place: str) -> ssl.SSLContext:
    """Whose certificates count: those in the file at `place`, or the public ones."""
    return ssl.create_default_context(cafile=place) if place else httpcore.default_ssl_context()


class _Line(httpcore.NetworkBackend):
    """Connects to a host's checked address, and knows whether anything was sent."""

    def __init__(self, ends: float, private: bool) -> None:
        self._ends, self._private = ends, private
        self.sent = False

    def left(self) -> float:
        """Seconds until the exchange is over. Raises the timeout that sockets raise."""
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time for it is used up")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            places = places_of(host, port, self.left(), private=self._private)
            return _Stream(self._first(places, host), self)
        except OSError as error:
            raise NotReached(f"{host} was not reached: {error}") from error

    def _first(self, places: list[Place], host: str) -> socket.socket:
        """A connection to the first of them that takes one. Raises OSError."""
        for position, place in enumerate(places):
            try:
                return _connected(place, self.left() / (len(places) - position))
            except OSError as error:
                last = error
        raise last


def _connected(place: Place, timeout: float) -> socket.socket:
    made = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(place.address)
    except BaseException:
        made.close()
        raise
    return made


class _Stream(httpcore.NetworkStream):
    """A socket each of whose waits ends when the exchange does."""

    def __init__(self, connected: socket.socket, line: _Line) -> None:
        self._socket, self._line = connected, line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(self._line.left())
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout("no answer in time") from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        try:
            while view:
                self._socket.settimeout(self._line.left())
                self._line.sent = True
                view = view[self._socket.send(view) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout("not taken in time") from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(self._line.left())
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise NotTrusted(f"{server_hostname} is not trusted: {error.verify_message}") from error
        except OSError as error:
            self.close()
            raise NotReached(f"no safe connection to {server_hostname}: {error}") from error
        return _Stream(wrapped, self._line)

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        return None
