"""Whatever a tool answers, raises or says of itself: a typed failure on record, and the next run unharmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from approvals import rulebook
from runs import engine, journal, services, workflow
from runs.agents.port import ToolFailed
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from runs.stops import Diverged, Fenced, Lost, Suspend
from runs.turns.checkpoint import own_transaction
from tools import registry
from tools.contract import Change, IdempotencyKey, InvalidArguments, Preview, Tool
from tools.failures import Refused, ToolError, Transient
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("talking_broker")]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def around() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


class Hostile:
    """Breaks wherever it is touched."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")

    __hash__ = None  # type: ignore[assignment]


class Mute(Exception):
    """An error without words, on purpose."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Endless(dict[str, Any]):
    """A dict of which nobody reaches the end without an error."""

    def items(self) -> Any:
        raise KeyError("items")

    keys = values = __iter__ = items  # type: ignore[assignment]


def unending() -> Iterator[int]:
    while True:
        yield 1


NONSENSE: dict[str, Any] = {
    "nothing": None,
    "garbage": object(),
    "hostile": Hostile(),
    "bytes": b"\xff\xfe",
    "nan": {"amount": float("nan")},
    "infinity": [float("inf")],
    "a huge number": {"amount": 10**400},
    "deep": deep(5000),
    "around itself": around(),
    "huge": "x" * 3_000_000,
    "a set": {1, 2},
    "a stream": unending(),
    "a class": Hostile,
    "a coroutine function": asyncio.sleep,
    "no keys": {1: 2, None: 3},
    "a dict that breaks": Endless(a=1),
    "the wrong shape": {"unexpected": [1]},
}
#: What one may keep, with what cannot be kept in it replaced.
ODD_TEXT = {"nul": "a\0b", "half of a character": "\ud800"}

RAISED: dict[str, Callable[[], BaseException]] = {
    "nul": lambda: ValueError("a\0b"),
    "half of a character": lambda: ValueError("\ud800"),
    "huge": lambda: ValueError("x" * 5_000_000),
    "mute": Mute,
    "hostile": lambda: ValueError(Hostile()),
    "cancelled": asyncio.CancelledError,
    "generator": GeneratorExit,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "group": lambda: BaseExceptionGroup("g", [asyncio.CancelledError()]),
    "a stop: wait": lambda: Suspend("for ever"),
    "a stop: fenced": lambda: Fenced("mine"),
    "a stop: lost": lambda: Lost("no"),
    "a stop: diverged": lambda: Diverged("1", "a", "b"),
    "recursion": RecursionError,
    "memory": MemoryError,
    "assertion": lambda: AssertionError("\0"),
    "told wrongly": lambda: ToolError("\0", retry_after=float("nan")),
    "stop iteration": StopIteration,
}


class Typed(BaseModel):
    """What tools here promise."""

    amount: int


def flow(one: Tool) -> RunRow:
    """One run that calls `one`, and tells how it ended."""
    workflow._registry.pop("t.bad", None)

    @workflow.workflow("t.bad")
    def bad(run: Run, case: dict[str, Any]) -> Any:
        try:
            return ["done", run.tool(one) and None]
        except (ToolFailed, Refused) as error:
            return [type(error).__name__, str(error)]

    return services.start_run("t.bad", {}, actor="user:ana")


def advanced(run: RunRow) -> RunRow:
    """It ends, or waits for a person: nothing else comes out of the engine, and all of it is kept."""
    assert engine.advance(run.id, "wrk_a") is not Outcome.FENCED
    run.refresh_from_db()
    assert (run.lease_owner, run.crashes) == ("", 0)
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    for step in Step.objects.filter(run=run):
        assert "\0" not in str(step.error) and len(str(step.error)) < 9000
    return run


def ended(one: Tool) -> RunRow:
    """One turn of a run of its own that calls `one`."""
    return advanced(flow(one))


def step_of(run: RunRow) -> Step:
    return Step.objects.get(run=run)


def the_next_one_is_well() -> None:
    workflow._registry.pop("t.well", None)

    @workflow.workflow("t.well")
    def well(run: Run, case: dict[str, Any]) -> str:
        return str(run.now().year)

    run = services.start_run("t.well", {}, actor="user:ana")
    assert engine.advance(run.id, "wrk_a") is Outcome.ENDED
    run.refresh_from_db()
    assert run.state == "succeeded"


def each(of: dict[str, Any], *, without: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every case with its name, each with tools of its own; after each the next run is well."""
    for name, case in of.items():
        if name not in without:
            with registry.scratch():
                yield name, case
            the_next_one_is_well()


@pytest.mark.usefixtures("open_gate")
class TestResults:
    def test_of_a_read(self) -> None:
        for name, _ in each(NONSENSE):

            @tool(effect="read")
            def look(what: str = name) -> Typed:
                return NONSENSE[what]  # type: ignore[no-any-return]

            run = ended(look)
            assert (run.state, run.output[0]) == ("succeeded", "ToolFailed"), name
            assert step_of(run).error["kind"] == "fatal", name

    def test_of_a_read_that_promises_nothing(self) -> None:
        for name, _ in each(NONSENSE):

            @tool(effect="read")
            def look(what: str = name) -> Any:
                return NONSENSE[what]

            run = ended(look)
            assert (run.state, run.output[0] in ("ToolFailed", "done")) == ("succeeded", True), name

    def test_of_what_may_have_happened(self) -> None:
        for name, _ in each(NONSENSE):

            @tool(effect="write", rollback="None")
            def put(what: str = name, *, key: IdempotencyKey) -> Typed:
                return NONSENSE[what]  # type: ignore[no-any-return]

            assert ended(put).attention["code"] == "unknown_outcome", name

    def test_odd_text_is_kept_as_text(self) -> None:
        for name, _ in each(ODD_TEXT):

            @tool(effect="read")
            def look(what: str = name) -> Any:
                return ODD_TEXT[what]

            assert ended(look).output[0] == "done", name


@pytest.mark.usefixtures("open_gate")
class TestErrors:
    def test_of_a_read(self) -> None:
        for name, _ in each(RAISED):

            @tool(effect="read")
            def look(what: str = name) -> int:
                raise RAISED[what]()

            run = ended(look)
            assert (run.state, run.output[0]) == ("succeeded", "ToolFailed"), name

    def test_of_what_cannot_be_undone(self) -> None:
        for name, _ in each(RAISED):

            @tool(effect="irreversible", risk="high", rollback="None")
            def put(what: str = name, *, key: IdempotencyKey) -> int:
                raise RAISED[what]()

            assert ended(put).attention["code"] == "unknown_outcome", name

    def test_a_wait_that_no_clock_knows(self) -> None:
        waits = {str(n): wait for n, wait in enumerate([float("nan"), float("inf"), -5, 1e300, "soon"])}
        for name, wait in each(waits):

            @tool(effect="read")
            def look(what: str = name) -> int:
                raise Transient("later", retry_after=waits[what])

            assert ended(look).state in ("waiting", "succeeded", "needs_attention"), wait

    def test_of_a_workflow(self) -> None:
        for name, _ in each({name: make for name, make in RAISED.items() if isinstance(make(), Exception)}):
            workflow._registry.pop("t.raises", None)

            @workflow.workflow("t.raises")
            def raises(run: Run, what: str) -> None:
                raise RAISED[what]()

            run = services.start_run("t.raises", name, actor="user:ana")
            assert advanced(run).state == "failed", name


def judged(hook: str, function: Callable[..., Any]) -> Tool:
    """A write that is asked about, one of whose hooks is `function`."""

    @tool(effect="write", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        raise AssertionError("nobody allowed it")

    getattr(put, hook)(function)
    return put


def raising(make: Callable[[], BaseException]) -> Callable[..., Any]:
    def hook(*_: Any) -> Any:
        raise make()

    return hook


@pytest.fixture
def asked() -> None:
    """Every write is asked about."""
    rulebook.revise("all", {}, actor="user:risk")


@pytest.mark.usefixtures("asked")
class TestHooks:
    """Stricter where they break: the call is not made, and the step says why."""

    @pytest.mark.parametrize("hook", ["facts", "precondition"])
    def test_rules_that_break(self, hook: str) -> None:
        for name, make in each(RAISED):
            run = ended(judged(hook, raising(make)))
            step = step_of(run)
            assert (run.state, step.state, run.output[0]) == ("succeeded", "failed", "ToolFailed"), name
            assert name == "told wrongly" or f"The {hook} of put broke" in step.error["message"], name

    def test_facts_of_another_shape(self) -> None:
        for name, value in each(NONSENSE, without=("the wrong shape",)):
            run = ended(judged("facts", lambda call, value=value: value))
            assert (run.state, step_of(run).state) == ("succeeded", "failed"), name

    def test_rules_that_say_neither_yes_nor_no(self) -> None:
        for name, value in each(NONSENSE, without=("nothing",)):
            run = ended(judged("precondition", lambda call, value=value: value))
            assert step_of(run).state in ("failed", "refused"), name
            assert run.output[0] in ("ToolFailed", "Refused"), name

    def test_a_preview_that_breaks_keeps_nobody_from_deciding(self) -> None:
        for name, make in each(RAISED):
            run = ended(judged("preview", raising(make)))
            assert (run.state, step_of(run).state) == ("waiting", "held"), name

    def test_a_preview_of_another_shape(self) -> None:
        shown: Any = {
            "no list": lambda: Preview("a", changes=5),  # type: ignore[arg-type]
            "hostile": lambda: Preview("b", evidence=[Hostile()]),  # type: ignore[list-item]
            "no words": lambda: Preview(None),  # type: ignore[arg-type]
            "a part": lambda: Change("a"),
        } | {name: lambda value=value: value for name, value in NONSENSE.items()}
        for name, make in each(shown):
            run = ended(judged("preview", lambda call, make=make: make()))
            assert (run.state, step_of(run).state) == ("waiting", "held"), name

    @pytest.mark.usefixtures("open_gate")
    @pytest.mark.parametrize("broken", ["raised", "given"])
    def test_a_lookup_that_breaks_proves_nothing(self, broken: str) -> None:
        cases = RAISED if broken == "raised" else NONSENSE
        for name, case in each(cases):

            @tool(effect="irreversible", risk="high", rollback="None")
            def put(*, key: IdempotencyKey) -> Typed:
                raise Transient("no answer")

            put.lookup(raising(case) if broken == "raised" else lambda key, case=case: case)
            assert ended(put).attention["code"] == "unknown_outcome", name

    def test_rules_that_break_only_after_it_was_asked(self) -> None:
        for name, make in each(RAISED):
            breaks: list[str] = []
            broken = raising(make)
            run = flow(judged("facts", lambda call, b=breaks, broken=broken: broken() if b else {}))
            assert advanced(run).state == "waiting", name
            breaks.append(name)
            with own_transaction():
                services.wake(services.lock_run(run.id))
            advanced(run)
            assert step_of(run).state == "refused", name


def test_arguments_are_refused_before_anything_is_on_record() -> None:
    @tool(effect="read")
    def look(number: int) -> int:
        return number

    for value in (*NONSENSE.values(), *ODD_TEXT.values()):
        with pytest.raises(InvalidArguments):
            look.validate(look.bind(value))
