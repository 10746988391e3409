"""Playing a file of cases: every case a run, real workers, people who decide, and a judge at the end."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.contrib.auth.models import User
from django.db.models import Count

from approvals import queries
from approvals import services as approvals
from approvals.models import Decision
from approvals.refusals import ApprovalError
from examples.support_desk import effects
from examples.support_desk.cases import Case
from examples.support_desk.comparison import differences
from examples.support_desk.crew import Crew
from runs import journal, services
from runs.models import JournalEntry, Run, Step
from runs.states import RUN_ENDED, RunState
from tools.models import ToolCall

logger = logging.getLogger(__name__)

WORKFLOW = "support.request"
#: Seconds without any progress after which the rest counts as stuck.
PATIENCE = 120.0
SAY_EVERY = 2.0
LOOK_EVERY = 0.1

Say = Callable[[str], None]


@dataclass
class Report:
    """What came of it; `differ` names the cases that did not end as expected, `why` says how they differ."""

    tasks: int
    as_expected: int
    differ: list[str]
    approvals: int
    tool_calls: int
    killed_workers: int
    kills_with_call_in_flight: int
    takeovers: int
    fenced_writes: int
    repeated_writes: int
    journals_broken: int
    seconds: float
    why: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def good(self) -> bool:
        """All as expected, nothing done twice, every journal whole."""
        return not (self.differ or self.repeated_writes or self.journals_broken)

    def as_json(self) -> dict[str, object]:
        """The figures, without the explanations."""
        figures = asdict(self)
        del figures["why"]
        return figures


class Play:
    """One play. `crew` are the workers; with `kill` they are killed again and again until all is done."""

    def __init__(
        self, cases: Sequence[Case], crew: Crew, effects_file: Path, *, kill: bool, say: Say
    ) -> None:
        self._cases = cases
        self._crew = crew
        self._effects_file = effects_file
        self._kill = kill
        self._say = say
        self._runs: dict[str, Case] = {}

    def perform(self, reviewers: Sequence[User], requester: str) -> Report:
        """Start everything, decide whatever is asked, wait until all has ended, and judge."""
        began = time.monotonic()
        self._start(requester)
        with self._crew:
            self._attend(reviewers, requester)
        self._say("Comparing the shop with what is expected …")
        return self._judge(time.monotonic() - began)

    def _start(self, requester: str) -> None:
        for case in self._cases:
            run = services.start_run(
                WORKFLOW,
                {
                    "customer_id": case.customer_id,
                    "request": case.request,
                    "shop": case.task_id,
                    "calls": [call.model_dump(mode="json") for call in case.calls],
                },
                actor=requester,
                intent=case.task_id,
                source="play",
            )
            self._runs[run.id] = case
        self._say(f"{len(self._runs)} runs are queued.")

    def _attend(self, reviewers: Sequence[User], requester: str) -> None:
        said = moved = time.monotonic()
        progress, next_kill = (-1, -1), _next_kill(0)
        while (left := self._left(requester)) and time.monotonic() - moved < PATIENCE:
            decide_all(reviewers)
            done = ToolCall.objects.exclude(state="started").count()
            if (now := time.monotonic()) - said >= SAY_EVERY:
                said = now
                self._say(self._progress(left))
            if (left, done) != progress:
                progress, moved = (left, done), now
            if self._kill and done >= next_kill:
                self._crew.kill_one()
                next_kill = _next_kill(done)
            self._crew.look_after()
            time.sleep(LOOK_EVERY)

    def _left(self, requester: str) -> int:
        """Runs that go on; those that need a person to look would wait for ever."""
        if self._kill:
            resume_the_killed(requester)
        return Run.objects.exclude(state__in=[*RUN_ENDED, RunState.NEEDS_ATTENTION]).count()

    def _progress(self, left: int) -> str:
        killed = f", {self._crew.killed} workers killed" if self._kill else ""
        decided = Decision.objects.count()
        return f"  {len(self._runs) - left} of {len(self._runs)} ended, {decided} approvals decided{killed}"

    def _judge(self, seconds: float) -> Report:
        why = {case.task_id: found for run_id, case in self._runs.items() if (found := judge(run_id, case))}
        return Report(
            tasks=len(self._cases),
            as_expected=len(self._cases) - len(why),
            differ=sorted(why),
            approvals=Decision.objects.values("approval").distinct().count(),
            tool_calls=ToolCall.objects.count(),
            killed_workers=self._crew.killed,
            kills_with_call_in_flight=self._crew.killed_in_flight,
            takeovers=JournalEntry.objects.filter(kind="run.rescued").count(),
            fenced_writes=self._crew.said("turn given up"),
            repeated_writes=effects.repeated_writes(self._effects_file),
            journals_broken=broken_journals(),
            seconds=round(seconds, 1),
            why=why,
        )


def decide_all(reviewers: Sequence[User]) -> None:
    """Have the reviewers approve whatever is open, in turns, as they would on the page."""
    for position, approval in enumerate(queries.open_approvals()):
        person = reviewers[position % len(reviewers)]
        try:
            approvals.decide(approval.pk, by=person, verdict="approve", digest=approval.digest, client="play")
        except ApprovalError as refusal:
            logger.info("not decided: %s", refusal)


def _next_kill(done: int) -> int:
    """After how many calls the next worker is killed: often, but not so often that nothing gets done."""
    return done + random.randint(8, 24)  # noqa: S311 - chaos needs no secrets


def resume_the_killed(actor: str) -> None:
    """Let runs go on that were killed so often that they are taken for the cause, as an operator would."""
    for run in Run.objects.filter(state=RunState.NEEDS_ATTENTION):
        if (run.attention or {}).get("code") == "poison":
            services.resume_run(run.id, actor=actor, reason="Its workers were killed on purpose.")


def judge(run_id: str, case: Case) -> list[str]:
    """Why the run did not end as the case expects; empty when it did."""
    run = Run.objects.get(pk=run_id)
    found = differences(case.task_id, case.expected_changes)
    if run.state != RunState.SUCCEEDED:
        reason = (run.attention or run.output or {}).get("sentence") or run.output or run.waiting_for
        found.append(f"its run {run.id} is {run.state}: {reason}")
    on_record = Step.objects.filter(run=run, kind="tool").count()
    if on_record != len(case.calls):
        found.append(f"{on_record} calls are on record and {len(case.calls)} were planned")
    return found


def broken_journals() -> int:
    """How many journals do not verify."""
    runs = Run.objects.annotate(entries=Count("journal"))
    return sum(any(journal.verify(run, run.journal.order_by("seq"))) for run in runs)
