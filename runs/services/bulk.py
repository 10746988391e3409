"""Many runs at once: first what would happen to each, then each in a transaction of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runs.models import Run
from runs.services.again import in_doubt, steps_on_record
from runs.services.cancelling import cancel_run
from runs.services.consequences import consequence_of
from runs.services.control import pause_run, resume_run
from runs.services.record import NotFound, NotPossible, said_why
from runs.services.retrying import plan_retry, retry_run
from runs.services.standing import DONE, must_allow
from runs.states import RunState, StepState, look_of

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500
VERBS: dict[str, Callable[..., Run]] = {
    "pause": pause_run,
    "resume": resume_run,
    "cancel": cancel_run,
    "retry": retry_run,
}
#: Why it cannot be done, by the code of the obstacle, after "1 …" or "3 …".
_OBSTACLES = {
    "state": ("is in another state", "are in another state"),
    "effect": ("holds an irreversible effect", "hold an irreversible effect"),
    "unknown": ("holds an outcome that nobody knows", "hold an outcome that nobody knows"),
    "child": ("has a child that has not ended", "have a child that has not ended"),
    "archived": ("has lost its contents", "have lost their contents"),
    "not_found": ("is not there", "are not there"),
    "error": ("could not be reached", "could not be reached"),
}
#: What it still does that was asked to pause or to end, after "3 of them …".
_LATER = {
    RunState.PAUSING: "after the step in hand",
    RunState.CANCELLING: "once the clean-up is done",
}


@dataclass(frozen=True)
class Foreseen:
    """One run: whether it is possible (or was done), and what happens to it in a sentence. `obstacle` is
    empty, or the code of what is in the way.
    """

    run_id: str
    possible: bool
    sentence: str
    obstacle: str = ""
    state: str = ""


@dataclass(frozen=True)
class Forecast:
    """What a verb does to the runs chosen, in the order chosen."""

    verb: str
    runs: list[Foreseen]
    done: bool = False

    @property
    def chosen(self) -> int:
        """How many runs were chosen."""
        return len(self.runs)

    @property
    def possible(self) -> list[Foreseen]:
        """The runs with which it can be done, or was."""
        return [run for run in self.runs if run.possible]

    @property
    def obstacles(self) -> dict[str, int]:
        """How many runs each kind of obstacle stops."""
        return dict(Counter(run.obstacle for run in self.runs if run.obstacle))

    @property
    def as_json(self) -> dict[str, Any]:
        """The forecast as one JSON object, run by run."""
        return {
            "verb": self.verb,
            "done": self.done,
            "chosen": self.chosen,
            "possible": len(self.possible),
            "obstacles": self.obstacles,
            "sentence": self.sentence,
            "runs": [
                {
                    "run": each.run_id,
                    "possible": each.possible,
                    "sentence": each.sentence,
                    "obstacle": each.obstacle,
                    "state": each.state,
                }
                for each in self.runs
            ],
        }

    @property
    def sentence(self) -> str:
        """Such as: 18 chosen, 15 can be retried, 3 hold an irreversible effect."""
        can = ("was" if len(self.possible) == 1 else "were") if self.done else "can be"
        parts = [f"{self.chosen} chosen", f"{len(self.possible)} {can} {DONE[self.verb]}"]
        if self.done:
            now = Counter(run.state for run in self.possible)
            parts += [f"{now[state]} of them {later}" for state, later in _LATER.items() if now[state]]
        for code, count in self.obstacles.items():
            one, many = _OBSTACLES.get(code, _OBSTACLES["state"])
            parts.append(f"{count} {one if count == 1 else many}")
        return ", ".join(parts)


def foresee(verb: str, run_ids: Iterable[str]) -> Forecast:
    """What `in_bulk` would do with these runs; writes nothing. Raises NotPossible for too many runs, none,
    and verbs that are not done in bulk.
    """
    chosen = _chosen(verb, run_ids)
    found = Run.objects.in_bulk(chosen)
    return Forecast(verb, [_foreseen(verb, run_id, found.get(run_id)) for run_id in chosen])


def in_bulk(verb: str, run_ids: Iterable[str], *, actor: str, reason: str) -> Forecast:
    """Pause, resume, cancel or retry these runs, each in a transaction of its own; what became of each.

    Runs with which it cannot be done are left as they are. Raises NotPossible for too many runs, none,
    verbs that are not done in bulk, and without a reason.
    """
    why, chosen = said_why(reason), _chosen(verb, run_ids)
    return Forecast(verb, [_done(verb, run_id, actor, why) for run_id in chosen], done=True)


def _chosen(verb: str, run_ids: Iterable[str]) -> list[str]:
    if verb not in VERBS:
        raise NotPossible(f"{verb[:40]!r} is none of {', '.join(VERBS)}.", code="verb")
    chosen = list(dict.fromkeys(run_ids))
    if not chosen:
        raise NotPossible("Choose at least one run.", code="none")
    if len(chosen) > MOST_AT_ONCE:
        raise NotPossible(f"{len(chosen)} runs are too many; choose {MOST_AT_ONCE} at most.", code="many")
    return chosen


def _foreseen(verb: str, run_id: str, run: Run | None) -> Foreseen:
    if run is None:
        return Foreseen(run_id, False, f"There is no run {run_id[:40]}.", "not_found")
    try:
        _must_be_possible(verb, run)
    except NotPossible as error:
        return Foreseen(run_id, False, str(error), error.code, run.state)
    return Foreseen(run_id, True, consequence_of(verb, run).stops, "", run.state)


def _must_be_possible(verb: str, run: Run) -> None:
    """Raises NotPossible. What cannot be undone is looked at one by one."""
    if verb != "retry":
        must_allow(verb, run)
        return
    plan_retry(run)
    for step in steps_on_record(run):
        if step.effect == "irreversible" and (step.state == StepState.SUCCEEDED or in_doubt(step)):
            raise NotPossible(
                f"{run.id} holds an effect that cannot be undone: step {step.path} ({step.name}). Retry it "
                "alone, after a look at it.",
                code="effect",
            )


def _done(verb: str, run_id: str, actor: str, why: str) -> Foreseen:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return Foreseen(run_id, False, f"There is no run {run_id[:40]}.", "not_found")
    try:
        _must_be_possible(verb, run)
        run = VERBS[verb](run_id, actor=actor, reason=why)
    except NotPossible as error:
        return Foreseen(run_id, False, str(error), error.code, run.state)
    except NotFound as error:
        return Foreseen(run_id, False, str(error), "not_found")
    except Exception:
        logger.exception("a run of many was left as it is", extra={"run": run_id, "verb": verb})
        return Foreseen(run_id, False, f"{run_id} could not be reached; try again.", "error", run.state)
    return Foreseen(run_id, True, f"Now {look_of(run.state).word.lower()}.", "", run.state)
