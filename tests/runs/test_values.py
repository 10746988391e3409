"""Values at the door: what cannot be kept, what is too large for a row; the same rows on both databases."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from runs import engine, journal, services, values, workflow
from runs.context import Run
from runs.models import Blob, Step
from runs.models import Run as RunRow
from runs.workflow import InvalidOutput
from tools import contract
from tools.canonical import NotJson, digest, in_kept_order, normalise
from tools.contract import IdempotencyKey
from tools.registry import tool
from tools.signature import adapter_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]
LARGE = 300_000


def start(name: str) -> RunRow:
    run = services.start_run(name, {}, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


def whole(run: RunRow) -> RunRow:
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    return run


class TestLarge:
    @pytest.fixture
    def run(self) -> RunRow:
        """A run that got a large result and waits."""

        @tool(effect="read")
        def fetch() -> dict[str, Any]:
            return {"text": "x" * LARGE, "b": 1.0, "a": [None, "\ufffd"]}

        @workflow.workflow("t.large")
        def flow(run: Run, case: dict[str, Any]) -> Any:
            found = run.tool(fetch)
            run.wait_for("go")
            return [len(found["text"]), [*found], found["b"], type(found["b"]).__name__]

        return start("t.large")

    def test_it_works(self, run: RunRow) -> None:
        assert run.state == "waiting"
        step = run.steps.get(kind="tool")
        blob = Blob.objects.get()
        assert step.result is None
        assert step.blob == blob.digest == hashlib.sha256(bytes(blob.content or b"")).hexdigest()
        said = run.journal.get(kind="call.succeeded").content or {}
        assert said["blob"] == step.blob
        services.send_message(run.id, "go", None, actor="user:ana")
        engine.advance(run.id, "wrk_b")
        assert whole(run).output == [LARGE, ["a", "b", "text"], 1.0, "float"]
        assert said["result"] == digest(values.result_of(step))

    def test_it_is_read_in_one_query_when_the_code_needs_it(
        self, run: RunRow, django_assert_num_queries: Any
    ) -> None:
        step = run.steps.get(kind="tool")
        with django_assert_num_queries(1):
            assert values.result_of(step)["b"] == 1.0

    @pytest.mark.parametrize("content", [None, b"{}"])
    def test_lost_or_changed_it_needs_a_person(self, run: RunRow, content: bytes | None) -> None:
        Blob.objects.update(content=content)
        services.send_message(run.id, "go", None, actor="user:ana")
        assert engine.advance(run.id, "wrk_b") is engine.Outcome.NEEDS_ATTENTION
        assert (whole(run).attention or {})["code"] == "content_lost"

    def test_more_than_may_be_is_a_failure_of_the_tool(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contract, "LARGEST_RESULT", 1000)

        @tool(effect="read")
        def fetch() -> str:
            return "x" * 1001

        @workflow.workflow("t.over")
        def flow(run: Run, case: dict[str, Any]) -> Any:
            return run.tool(fetch)

        run = whole(start("t.over"))
        assert run.state == "failed"
        assert "1003 bytes of JSON are more than the 1000 that fit here" in str(run.output)

    def test_the_boundary_is_the_same_in_the_row_and_beside_it(self) -> None:
        @tool(effect="read")
        def fetch(size: int) -> str:
            return "x" * size

        @workflow.workflow("t.edge")
        def flow(run: Run, case: dict[str, Any]) -> Any:
            return [len(run.tool(fetch, size)) for size in (262_142, 262_143)]

        run = whole(start("t.edge"))
        assert run.output == [262_142, 262_143]
        assert [bool(step.blob) for step in run.steps.order_by("position")] == [False, True]


class TestOutputs:
    def ended(self, returned: Any, kind: Any = Any) -> RunRow:
        def flow(run: Run, case: dict[str, Any]) -> Any:
            return returned

        flow.__annotations__ = {"run": Run, "case": dict[str, Any], "return": kind}
        workflow.workflow("t.output")(flow)
        return whole(start("t.output"))

    def test_it_works(self) -> None:
        class Result(BaseModel):
            amount: int

        assert self.ended(Result(amount=1), Result).output == {"amount": 1}
        assert self.ended(None, None).output is None

    @pytest.mark.parametrize(
        ("returned", "kind"),
        [
            ("five", int),
            (None, str),
            ({"a": "b"}, dict[str, int]),
            (float("nan"), Any),
            (object(), Any),
            (b"\xff", Any),
            ([float("inf")], list[Any]),
            (2**60, Any),
            ("x" * 300_000, str),
        ],
    )
    def test_what_does_not_fit_fails_the_run_with_a_sentence(self, returned: Any, kind: Any) -> None:
        run = self.ended(returned, kind)
        assert run.state == "failed"
        assert run.output["error"]["type"] == InvalidOutput.__name__
        assert run.output["error"]["message"].startswith(
            "What t.output returned does not fit its annotation: "
        )

    def test_a_nest_without_end(self) -> None:
        nest: list[Any] = []
        nest.append(nest)
        run = self.ended(nest)
        assert run.state == "failed"


#: What a careless tool may return, or a model say.
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats()
    | st.text(st.characters() | st.sampled_from(["\x00", "\ud800", "\udfff", "\u202e", "\u2028"]))
    | st.binary(max_size=4)
    | st.decimals(allow_nan=True)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=2)
    ),
    max_leaves=12,
)


@pytest.fixture
def echo() -> list[Any]:
    """A tool that returns what is put here, and a workflow that hands it on and reads it twice."""
    held: list[Any] = []

    @tool(effect="read")
    def give() -> Any:
        return held[-1]

    @tool(effect="write", title="Take")
    def take(what: Any, *, key: IdempotencyKey) -> Any:
        return what

    @workflow.workflow("t.echo")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        found = run.tool(give)
        run.artifact("found", found)
        handed = run.tool(take, found)
        run.wait_for("go")
        return [found, handed]

    return held


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD)
def test_whatever_a_tool_returns_is_kept_alike_or_refused_clearly(echo: list[Any], odd: Any) -> None:
    """The same rule on both databases: what `normalise` says, before the database is asked."""
    echo.append(odd)
    try:
        plain = in_kept_order(normalise(adapter_of(Any).dump_python(odd, mode="json")))
    except ValueError:
        plain = NotJson
    run = start("t.echo")
    if plain is NotJson:
        assert whole(run).state == "failed"
        assert "give gave a result that its contract does not allow" in str(run.output)
        return
    first = Step.objects.get(run=run, path="1").result
    assert repr(first) == repr(plain), "the row gives back what was put in, in the same order"
    services.send_message(run.id, "go", None, actor="user:ana")
    assert engine.advance(run.id, "wrk_b") is engine.Outcome.ENDED
    assert whole(run).state == "succeeded", run.output
    assert repr(run.output) == repr([plain, plain])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD)
def test_whatever_is_sent_is_kept_alike_or_refused_clearly(echo: list[Any], odd: Any) -> None:
    echo.append(1)
    run = start("t.echo")
    try:
        plain = normalise(odd)
    except NotJson:
        with pytest.raises(services.InvalidMessage):
            services.send_message(run.id, "go", odd, actor="user:ana")
        assert whole(run).state == "waiting"
        return
    message = services.send_message(run.id, "go", odd, actor="user:ana")
    message.refresh_from_db()
    assert message.payload == plain
    assert engine.advance(run.id, "wrk_b") is engine.Outcome.ENDED
    assert whole(run).state == "succeeded"


@given(st.dictionaries(st.text(), st.none(), max_size=8))
def test_keys_stand_in_the_order_in_which_the_database_keeps_them(keys: dict[str, None]) -> None:
    try:
        plain = normalise(keys)
    except NotJson:
        return
    ordered = in_kept_order(plain)
    assert ordered == plain
    assert [*ordered] == sorted(ordered, key=lambda key: (len(key.encode()), key.encode()))
