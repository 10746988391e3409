"""The drawing of a run: rectangles in percent, long waits folded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.models import Step
from runs.pages.acts import acts_of, as_tree
from runs.pages.timeline import LEAST_WIDTH, ROW_HEIGHT, Act, Box, Drawing, Kind, Stretch, draw
from tools.models import ToolCall

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def act(*stretches: Stretch, label: str = "look", depth: int = 0) -> Act:
    return Act(label, depth, "succeeded", stretches)


def work(start: float, end: float | None) -> Stretch:
    return Stretch(Kind.WORK, at(start), None if end is None else at(end), "good")


def wait(start: float, end: float | None) -> Stretch:
    return Stretch(Kind.WAIT, at(start), None if end is None else at(end), "wait")


def drawn(*acts: Act, now: float = 100) -> Drawing:
    drawing = draw(acts, at(now))
    assert drawing is not None
    return drawing


class TestDraw:
    def test_nothing_to_draw(self) -> None:
        assert draw([], T) is None
        assert draw([act()], T) is None

    def test_work_is_drawn_to_scale(self) -> None:
        drawing = drawn(act(work(0, 10)), act(work(10, 40)))
        assert [(row.boxes[0].x, row.boxes[0].width) for row in drawing.rows] == [(0, 25), (25, 75)]
        assert [row.y for row in drawing.rows] == [0, ROW_HEIGHT]
        assert (drawing.breaks, drawing.busy_seconds, drawing.total_seconds) == ((), 40, 40)

    def test_a_long_wait_is_folded(self) -> None:
        """36 minutes for a person between two seconds of work do not squeeze the work to nothing."""
        drawing = drawn(act(work(0, 1)), act(wait(1, 2161), work(2161, 2162)))
        (fold,) = drawing.breaks
        assert (fold.label, fold.fits) == ("36 min", True)
        first, zigzag, last = (box for row in drawing.rows for box in row.boxes)
        assert zigzag.folded
        assert (first.width, zigzag.width, last.width) == (44, 12, 44)

    def test_a_wait_of_a_minute_is_not_folded(self) -> None:
        assert drawn(act(work(0, 1)), act(wait(1, 61), work(61, 62))).breaks == ()

    def test_a_wait_beside_work_is_not_folded(self) -> None:
        """One branch waits for a person while another is busy all the time."""
        drawing = drawn(act(work(0, 600)), act(wait(0, 600)))
        assert drawing.breaks == ()
        assert not drawing.rows[1].boxes[0].folded

    def test_only_the_folded_part_of_a_wait_is_a_zigzag(self) -> None:
        drawing = drawn(act(work(0, 10)), act(wait(5, 110), work(110, 115)))
        assert [box.folded for box in drawing.rows[1].boxes] == [False, True, False]

    def test_what_goes_on_ends_now(self) -> None:
        drawing = drawn(act(work(0, None)), now=50)
        assert drawing.ended_at == at(50)
        assert drawing.rows[0].boxes[0].width == 100

    def test_a_clock_behind_turns_nothing_round(self) -> None:
        box = drawn(act(work(0, None)), now=-5).rows[0].boxes[0]
        assert box.width >= LEAST_WIDTH

    def test_many_breaks_leave_room_for_work(self) -> None:
        acts = [act(wait(n * 1000, n * 1000 + 990), work(n * 1000 + 990, n * 1000 + 1000)) for n in range(9)]
        drawing = drawn(*acts)
        assert sum(fold.width for fold in drawing.breaks) <= 40.5
        assert not any(fold.fits for fold in drawing.breaks)

    @given(
        st.lists(
            st.tuples(st.floats(0, 1e6), st.floats(0, 1e5), st.sampled_from(list(Kind))),
            min_size=1,
            max_size=20,
        )
    )
    def test_every_box_lies_inside_and_in_order(self, parts: list[tuple[float, float, Kind]]) -> None:
        acts = [act(Stretch(kind, at(start), at(start + length), "good")) for start, length, kind in parts]
        drawing = drawn(*acts, now=2e6)
        boxes: list[Box] = [box for row in drawing.rows for box in row.boxes]
        assert all(0 <= box.x <= 100 and LEAST_WIDTH <= box.width <= 100 for box in boxes)
        assert all(box.x + box.width <= 100.02 for box in boxes)
        starts = sorted((row.act.stretches[0].start, row.boxes[0].x) for row in drawing.rows)
        assert all(left[1] <= right[1] + LEAST_WIDTH for left, right in zip(starts, starts[1:], strict=False))


class TestActs:
    def step(self, state: str = "succeeded", **values: object) -> Step:
        given = {
            "id": "stp_1",
            "path": "1",
            "kind": "tool",
            "name": "pay_back",
            "attempt": 1,
            "started_at": T,
        }
        return Step(state=state, **(given | {"finished_at": at(10)} | values))

    def call(self, attempt: int, start: float, end: float | None, state: str = "succeeded") -> ToolCall:
        finished = None if end is None else at(end)
        return ToolCall(
            step_id="stp_1", attempt=attempt, state=state, started_at=at(start), finished_at=finished
        )

    def test_a_held_call_waits_until_it_is_made(self) -> None:
        (made,) = acts_of([self.step(finished_at=at(605))], [self.call(1, 600, 605)], T)
        assert [(s.kind, s.start, s.end) for s in made.stretches] == [
            (Kind.WAIT, T, at(600)),
            (Kind.WORK, at(600), at(605)),
        ]

    def test_every_attempt_is_drawn(self) -> None:
        calls = [self.call(2, 8, 10), self.call(1, 0, 2, "failed")]
        (made,) = acts_of([self.step(attempt=2)], calls, T)
        assert [s.kind for s in made.stretches] == [Kind.WORK, Kind.WAIT, Kind.WORK]
        assert [s.tone for s in made.stretches] == ["bad", "wait", "good"]
        assert made.remark == "2 attempts, 10 s"

    @pytest.mark.parametrize("state", ["held", "waiting", "unknown"])
    def test_what_waits_goes_on_waiting(self, state: str) -> None:
        (made,) = acts_of([self.step(state, finished_at=None)], [], at(30))
        assert [(s.kind, s.end) for s in made.stretches] == [(Kind.WAIT, None)]
        assert made.remark == "30 s"

    def test_an_agent_frames_its_steps(self) -> None:
        outer = self.step(kind="agent", name="analyst", id="stp_2")
        inner = self.step(kind="model", name="analyst", id="stp_3", path="1/model:1")
        frame, request = acts_of([outer, inner], [], T)
        assert frame.stretches[0].kind is Kind.FRAME
        assert (frame.depth, request.depth) == (0, 1)
        assert (frame.label, request.label) == ("agent analyst", "model analyst")

    def test_a_sleep_is_a_wait(self) -> None:
        (made,) = acts_of([self.step("waiting", kind="sleep", name="sleep", finished_at=None)], [], T)
        assert (made.label, made.stretches[0].kind) == ("wait", Kind.WAIT)


def test_what_ran_side_by_side_stands_below_its_branch() -> None:
    paths = ["1", "2", "1/1", "2/1", "1/2", "2/2/1", "3"]
    steps = [Step(path=path, position=number) for number, path in enumerate(paths, start=1)]
    assert [step.path for step in as_tree(steps)] == ["1", "1/1", "1/2", "2", "2/1", "2/2/1", "3"]
