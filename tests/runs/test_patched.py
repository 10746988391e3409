"""Changes of workflow code that runs under way must not see, and lines of progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import engine, journal, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.steps import progress

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]
Code = Callable[[Run], Any]


def deploy(code: Code) -> None:
    """The workflow is this code from now on."""
    workflow._registry.pop(("t.changed", 1), None)

    @workflow.workflow("t.changed")
    def changed(run: Run, case: dict[str, Any]) -> Any:
        return code(run)


def start(code: Code) -> RunRow:
    deploy(code)
    run = services.start_run("t.changed", {}, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


def go_on(run: RunRow, code: Code, message: str = "go") -> RunRow:
    deploy(code)
    services.send_message(run.id, message, None, actor="user:ana")
    engine.advance(run.id, "wrk_b")
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    return run


def old(run: Run) -> Any:
    run.uuid()
    run.wait_for("go")
    return "old"


def new(run: Run) -> Any:
    run.uuid()
    if run.patched("greet"):
        run.random()
    run.wait_for("go")
    return "new" if run.patched("greet") else "old"


def paths(run: RunRow) -> list[str]:
    return list(run.steps.order_by("position").values_list("path", flat=True))


def test_a_run_that_begins_with_the_new_code_goes_by_it() -> None:
    run = start(new)
    assert paths(run) == ["1", "patch:greet", "2", "3"]
    assert go_on(run, new).output == "new"
    assert run.journal.filter(kind="patch.taken").count() == 1


def test_a_run_that_was_past_the_line_does_not() -> None:
    run = start(old)
    assert go_on(run, new).output == "old"
    assert paths(run) == ["1", "2"]


def test_without_it_the_run_would_diverge() -> None:
    def unguarded(run: Run) -> Any:
        run.uuid()
        run.random()
        run.wait_for("go")

    run = go_on(start(old), unguarded)
    assert (run.state, (run.attention or {})["code"]) == ("needs_attention", "diverged")


def test_a_run_that_had_not_come_to_the_line_goes_by_the_new_code() -> None:
    def before(run: Run) -> Any:
        run.wait_for("go")
        return "old"

    def after(run: Run) -> Any:
        run.wait_for("go")
        return "new" if run.patched("late") else "old"

    assert go_on(start(before), after).output == "new"


def test_when_all_runs_know_it_the_question_may_go() -> None:
    def settled(run: Run) -> Any:
        run.uuid()
        run.random()
        run.wait_for("go")
        return "new"

    assert go_on(start(new), settled).output == "new"


def test_a_loop_that_was_under_way_stays_with_the_old_code_to_its_end() -> None:
    def round_old(run: Run) -> Any:
        for _ in range(3):
            run.wait_for("go")
        return "old"

    def round_new(run: Run) -> Any:
        said = []
        for _ in range(3):
            said.append(run.patched("round"))
            run.wait_for("go")
        return said

    run = start(round_old)
    for _ in range(3):
        go_on(run, round_new)
    assert run.output == [False, False, False]
    fresh = start(round_new)
    for _ in range(3):
        go_on(fresh, round_new)
    assert fresh.output == [True, True, True]


def test_in_a_branch_it_is_the_branch_that_counts() -> None:
    def both(part: Callable[[Run], Any]) -> Code:
        def code(run: Run) -> Any:
            return run.gather(run.later(part), run.later(part))

        return code

    def part_old(run: Run) -> Any:
        run.wait_for("go")
        return "old"

    def part_new(run: Run) -> Any:
        said = run.patched("part")
        run.wait_for("go")
        return said

    part_old.__qualname__ = part_new.__qualname__ = "part"
    run = start(both(part_old))
    go_on(run, both(part_new))
    assert go_on(run, both(part_new)).output == [False, False]
    fresh = start(both(part_new))
    go_on(fresh, both(part_new))
    assert go_on(fresh, both(part_new)).output == [True, True]
    assert {"1/patch:part", "2/patch:part"} < set(paths(fresh))


@pytest.mark.parametrize("change", ["", "a b", "a/b", "a~1", "x" * 81])
def test_names_that_cannot_be(change: str) -> None:
    run = start(lambda run: run.patched(change))
    assert "cannot name a change" in (run.output or {})["error"]["message"]


class TestProgress:
    def test_it_works_and_is_said_once(self) -> None:
        def code(run: Run) -> str:
            run.progress("Letters sent", 40, 120)
            run.wait_for("go")
            run.progress("All\x00 done")
            return "ok"

        run = go_on(start(code), code)
        said = list(run.journal.filter(kind="progress").order_by("seq").values_list("sentence", flat=True))
        assert said == ["Letters sent (40 of 120)", "All\ufffd done"]
        assert run.output == "ok"

    def test_it_makes_no_commit_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commits: list[int] = []
        from runs.turns.turn import Turn

        real = Turn._commit
        monkeypatch.setattr(
            Turn, "_commit", lambda turn, *args: commits.append(len(turn.pending.steps)) or real(turn, *args)
        )

        def code(run: Run) -> None:
            for number in range(50):
                run.progress("step", number, 50)

        start(code)
        assert commits == [50]

    def test_after_a_quiet_second_it_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "QUIET", -1.0)
        seen: list[int] = []

        def code(run: Run) -> None:
            for number in range(3):
                run.progress("step", number)
                seen.append(RunRow.objects.get(pk=run.id).journal.filter(kind="progress").count())

        start(code)
        assert seen == [1, 2, 3]
