"""The breakers of all tools, shared by all workers through one row each; read at most once a second.

A call that goes well costs no statement: it is counted in this process and told with the next failure, or
after a while. Where the rows cannot be read, what cannot be undone is not begun, and for every other tool
this process goes by its own counts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from django.db import Error, connection, transaction

from tools.breaker import BreakerState, Circuit, Counts, Sample, one
from tools.clock import db_now
from tools.contract import InvalidOutput, Tool
from tools.effects import Effect
from tools.failures import FailureClass, ToolUnavailable, classify
from tools.options import Breaker
from tools.protection import BreakerMove, ToolBreaker

logger = logging.getLogger(__name__)

READ_EVERY = 1.0  # seconds for which a reading is good enough
SHARE_EVERY = 5.0  # seconds for which calls that went well are kept back
PATIENCE = 10.0  # seconds beyond its timeout after which a call that is out to see is given up
SYSTEM = "system"
_TROUBLE = frozenset({FailureClass.TRANSIENT, FailureClass.UNKNOWN_OUTCOME, FailureClass.UNAVAILABLE})
_ANSWERS = frozenset({FailureClass.INVALID_DATA, FailureClass.PERMISSION, FailureClass.STALE_DATA})


@dataclass
class _Known:
    """What this process knows of one breaker. Its clock is the database's, as of the last reading."""

    circuit: Circuit = field(default_factory=Circuit)
    lost: bool = False  # the row could not be read or written: `circuit` is this process's own
    read_at: float = float("-inf")
    shared_at: float = field(default_factory=time.monotonic)
    ahead: float = 0.0  # what the database's clock is ahead of this process's monotonic one
    kept_back: Counts = field(default_factory=Counts)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> float:
        return time.monotonic() + self.ahead

    @property
    def is_closed(self) -> bool:
        return self.circuit.state is BreakerState.CLOSED


_known: dict[str, _Known] = {}


def forget() -> None:
    """Know nothing: for tests, and for a process that was just forked."""
    _known.clear()


os.register_at_fork(after_in_child=forget)


def must_be_available(tool: Tool, key: str) -> None:
    """Before anything is asked or written about a call: raises ToolUnavailable while the breaker of `tool`
    lets none pass. Changes nothing.
    """
    if tool.breaker is None:
        return
    known = _read(tool)
    _refuse_blind(tool, known)
    now = known.now()
    circuit = known.circuit
    if circuit.state is not BreakerState.CLOSED and not circuit.may_probe(key, now):
        raise _unavailable(tool, circuit, now)


def take(tool: Tool, key: str) -> None:
    """Right before the call with `key` is begun: of all that ask while the breaker is half-open, one passes.

    That one must say what came of it: `observe`, or `give_back`. Raises ToolUnavailable for all others.
    """
    if tool.breaker is None:
        return
    must_be_available(tool, key)
    known = _known_of(tool.name)
    if not known.is_closed:
        _change(tool, known, lambda circuit, now: _out_to_see(tool, circuit, key, now))
    if not known.is_closed and known.circuit.probe != key:
        raise _unavailable(tool, known.circuit, known.now())


def _out_to_see(tool: Tool, circuit: Circuit, key: str, now: float) -> Circuit:
    return circuit.probing(key, now + tool.timeout + PATIENCE) if circuit.may_probe(key, now) else circuit


def observe(tool: Tool, key: str, error: BaseException | None, seconds: float) -> None:
    """What came of the call with `key`, whose body took so long: `error` is what it raised, if it did.

    Never raises: that a breaker could not be told fails no call.
    """
    if tool.breaker is not None:
        _tell(tool, tool.breaker, key, sample_of(tool.breaker, error, seconds))


def give_back(tool: Tool, key: str) -> None:
    """The call with `key` was not begun after all: another one may go out to see."""
    if tool.breaker is not None and _known_of(tool.name).circuit.probe == key:
        _tell(tool, tool.breaker, key, Sample.NOTHING)


def sample_of(options: Breaker, error: BaseException | None, seconds: float) -> Sample:
    """What a call that ended so says about the other side."""
    if error is not None:
        if isinstance(error, InvalidOutput):
            return Sample.FAILED
        failure = classify(error)
        if failure.kind in _TROUBLE:
            return Sample.FAILED
        if failure.kind not in _ANSWERS or failure.proof == "declared":
            return Sample.NOTHING
    if options.slow_after is not None and seconds >= options.slow_after:
        return Sample.SLOW
    return Sample.OK


def _tell(tool: Tool, options: Breaker, key: str, sample: Sample) -> None:
    known = _known_of(tool.name)
    with known.lock:
        circuit = known.circuit
        if circuit.state is BreakerState.CLOSED:
            known.kept_back += one(sample)
            recently = time.monotonic() - known.shared_at < SHARE_EVERY
            if sample is Sample.NOTHING or (sample is Sample.OK and recently):
                return
        counts, known.kept_back = known.kept_back, Counts()
        known.shared_at = time.monotonic()
    _change(tool, known, lambda there, now: _heard(there, options, key, sample, counts, now))


def _heard(
    circuit: Circuit, options: Breaker, key: str, sample: Sample, counts: Counts, now: float
) -> Circuit:
    if circuit.state is BreakerState.CLOSED:
        return circuit.counted(counts, options, now)
    return circuit.probed(key, sample, options, now)


# What people do, and see


def state_of(tool: str) -> ToolBreaker | None:
    """The row of a tool's breaker; None when there was no trouble yet."""
    return ToolBreaker.objects.filter(pk=tool).first()


def open_by_hand(tool: Tool, seconds: float, *, reason: str, actor: str) -> ToolBreaker:
    """A person stops the calls of `tool` for so many seconds; then one is let through to see.

    Raises ValueError when the tool has no breaker, for no reason and for a time that cannot be.
    """
    options = _declared(tool, reason)
    if not 1 <= seconds <= 86_400:
        raise ValueError(f"{seconds:g} seconds cannot be; give 1 to 86400")
    said = f"{reason.strip()} (by hand)"

    def opened(circuit: Circuit, now: float) -> Circuit:
        after = Circuit(trips=circuit.trips).opened(said, options, now)
        return Circuit(after.state, after.window, after.reason, now + seconds, after.trips)

    return _by_hand(tool, opened, actor, reason.strip())


def close_by_hand(tool: Tool, *, reason: str, actor: str) -> ToolBreaker:
    """A person lets the calls of `tool` pass again; what was counted before is forgotten.

    Raises ValueError when the tool has no breaker, and for no reason.
    """
    _declared(tool, reason)
    return _by_hand(tool, lambda circuit, now: Circuit(), actor, reason.strip())


def _declared(tool: Tool, reason: str) -> Breaker:
    if tool.breaker is None:
        raise ValueError(f"{tool.name} declares no breaker")
    if not reason.strip():
        raise ValueError("Say why")
    return tool.breaker


def _by_hand(tool: Tool, change: Callable[[Circuit, float], Circuit], actor: str, reason: str) -> ToolBreaker:
    with transaction.atomic():
        row, before, now = _locked(tool.name)
        _write(row, change(before, now.timestamp()), now, actor=actor, reason=reason)
    _known_of(tool.name).read_at = float("-inf")
    return row


# The rows


def _known_of(name: str) -> _Known:
    return _known.get(name) or _known.setdefault(name, _Known())


def _read(tool: Tool) -> _Known:
    """What is known of the breaker, no older than a second where its row can be read."""
    known = _known_of(tool.name)
    if time.monotonic() - known.read_at < READ_EVERY:
        return known
    with known.lock:
        if time.monotonic() - known.read_at < READ_EVERY:
            return known
        known.read_at = time.monotonic()
        try:
            with _unharmed():
                row = state_of(tool.name)
                closed = row is None or row.state == BreakerState.CLOSED
                now = 0.0 if closed else db_now().timestamp()
        except Error:
            _lose(tool.name, known)
            return known
        known.circuit = row.circuit if row else Circuit()
        known.lost = False
        if not closed:
            known.ahead = now - time.monotonic()
    return known


def _change(tool: Tool, known: _Known, change: Callable[[Circuit, float], Circuit]) -> None:
    """Move the shared circuit on, one process at a time; this process's own where there is none to reach."""
    try:
        with transaction.atomic():
            row, before, now = _locked(tool.name)
            after = change(before, now.timestamp())
            if after != before:
                _write(row, after, now, actor=SYSTEM, reason=after.reason)
    except Error:
        with known.lock:
            _lose(tool.name, known)
            known.circuit = change(known.circuit, known.now())
        return
    with known.lock:
        known.circuit, known.lost = after, False
        known.ahead = now.timestamp() - time.monotonic()
        known.read_at = time.monotonic()


def _locked(name: str) -> tuple[ToolBreaker, Circuit, datetime]:
    """The row, locked, what it says, and the database's time."""
    rows = ToolBreaker.objects.select_for_update()
    row = rows.filter(pk=name).first()
    if row is None:
        fresh = ToolBreaker(tool=name, changed_at=db_now())
        ToolBreaker.objects.bulk_create([fresh], ignore_conflicts=True)
        row = rows.get(pk=name)
    return row, row.circuit, db_now()


def _write(row: ToolBreaker, after: Circuit, now: datetime, *, actor: str, reason: str) -> None:
    before = row.state
    row.take(after, now)
    row.save()
    if row.state != before or actor != SYSTEM:
        BreakerMove.objects.create(
            tool=row.tool, at=now, before=before, after=row.state, reason=reason, actor=actor
        )
        logger.warning("breaker of %s: %s, was %s", row.tool, row.state, before, extra={"why": reason})


@contextmanager
def _unharmed() -> Iterator[None]:
    """A read that may fail without harm to a transaction under way."""
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield


def _lose(name: str, known: _Known) -> None:
    if not known.lost:
        logger.exception("breaker of %s: its row cannot be reached", name)
        known.ahead = known.ahead or time.time() - time.monotonic()
    known.lost = True
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _refuse_blind(tool: Tool, known: _Known) -> None:
    if known.lost and tool.effect is Effect.IRREVERSIBLE:
        raise ToolUnavailable(
            f"{tool.name} is not called: whether its other side is well is not known just now",
            retry_after=READ_EVERY,
        )


def _unavailable(tool: Tool, circuit: Circuit, now: float) -> ToolUnavailable:
    wait = max(0.0, circuit.free_at(now) - now)
    return ToolUnavailable(
        f"{tool.name} is not called for now: {circuit.reason}. The next try is in {wait:.0f} s",
        retry_after=wait,
    )
