"""A person lets a run use up more than its budget."""

from __future__ import annotations

from collections.abc import Mapping

from runs.actors import acting_as, plain_name
from runs.budget import WORDS
from runs.journal import Entry
from runs.models import Run
from runs.services.control import let_go_on
from runs.services.record import NotPossible, append_entries, lock_run, said_why
from runs.services.standing import how_it_stands
from runs.services.waking import wake
from runs.states import RunState
from runs.turns.checkpoint import own_transaction

MOST = 1_000_000


def grant(run_id: str, amounts: Mapping[str, float], *, actor: str, reason: str) -> Run:
    """Add `amounts` (by measure, such as ``{"model_requests": 10}``) to what the run may use up.

    A run that stopped for its budget goes on. Raises NotPossible for a run that has ended, unknown measures,
    amounts that are not above nought, and without a reason; NotFound.
    """
    why, granted = said_why(reason), _checked(amounts)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        if run.ended:
            raise NotPossible(f"{how_it_stands(run)} It can use up nothing more.")
        before = run.granted or {}
        run.granted = before | {name: before.get(name, 0) + amount for name, amount in granted.items()}
        run._change_reason = why  # type: ignore[attr-defined]
        said = ", ".join(f"{amount:g} {WORDS[name]}" for name, amount in granted.items())
        sentence = f"{plain_name(actor)} granted {said} more: {why}"
        entry = Entry("budget.granted", sentence, {"granted": granted, "reason": why})
        append_entries(run, [entry], actor=actor)
        run.save(update_fields=["granted"])
        if run.state == RunState.NEEDS_ATTENTION and (run.attention or {}).get("code") == "budget":
            let_go_on(run, why, actor)
        else:
            wake(run)  # a worker may have it that has read before what it may use up
    return run


def _checked(amounts: Mapping[str, float]) -> dict[str, float]:
    if not amounts or (strange := [name for name in amounts if name not in WORDS]):
        named = f" {strange[0]!r} is none of them." if amounts else ""
        raise NotPossible(f"Say how much of what: {', '.join(WORDS)}.{named}")
    granted = {name: float(amount) for name, amount in amounts.items()}
    if any(not 0 < amount <= MOST for amount in granted.values()):
        raise NotPossible(f"Grant more than nothing, and {MOST:,} at most.")
    return granted
