"""Every write of the shop goes through here: once for a key, in one transaction, reported outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import IntegrityError, transaction

from examples.support_desk import effects
from examples.support_desk.desk import Desk
from examples.support_desk.models import LIVE, ShopWrite
from examples.support_desk.records import Record
from tools.canonical import digest, normalise
from tools.failures import Fatal, Refused

Verb = Callable[[Desk], Any]


@dataclass(frozen=True)
class Write:
    """One write as it arrives: under which key, by which tool, in which shop, with which arguments."""

    key: str
    tool: str
    shop: str
    arguments_digest: str


def write_once(
    tool: str,
    verb: Verb,
    record: Callable[[Any], Record],
    *,
    key: str,
    shop: str = LIVE,
    arguments: dict[str, Any],
) -> Record:
    """Do `verb` in `shop` and answer with the `record` of what it returns.

    When the write with `key` was done already, nothing is done and the first answer is given again. Raises
    Refused when the shop's rules say no, and Fatal when the key was used for something else.
    """
    write = Write(key, tool, shop, digest(normalise(arguments)))
    effects.report(effects.SENT, **asdict(write))
    effects.take_time()
    try:
        result, fresh = _once(write, verb, record)
    except Refused:
        effects.report(effects.REFUSED, **asdict(write))
        raise
    effects.take_time()
    effects.report(effects.DONE if fresh else effects.ALREADY, **asdict(write))
    return result


def lookup(key: str) -> Record | None:
    """What the write with `key` answered, or None when it was not done."""
    return ShopWrite.objects.filter(key=key).values_list("result", flat=True).first()


def _once(write: Write, verb: Verb, record: Callable[[Any], Record]) -> tuple[Record, bool]:
    try:
        with transaction.atomic():
            return _do(write, verb, record)
    except (IntegrityError, Refused):
        # Another process may have done it, or changed the same record, between our look and our write:
        # what refuses us then may be this very write. Look again.
        with transaction.atomic():
            return _do(write, verb, record)


def _do(write: Write, verb: Verb, record: Callable[[Any], Record]) -> tuple[Record, bool]:
    earlier = ShopWrite.objects.filter(key=write.key).first()
    if earlier is not None:
        if (earlier.tool, earlier.shop, earlier.arguments_digest) != (
            write.tool,
            write.shop,
            write.arguments_digest,
        ):
            raise Fatal(f"The key {write.key} was used for {earlier.tool} with other arguments.")
        return earlier.result, False
    desk = Desk(write.shop, lock=True)
    row = verb(desk)
    desk.keep(write.key)
    result = record(row)
    ShopWrite.objects.create(result=result, **asdict(write))
    return result, True
