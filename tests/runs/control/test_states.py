"""Every verb in every state: what may be done is done, anything else is refused and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import journal, services
from runs.models import Run as RunRow
from runs.states import RunState
from tests.runs.control.conftest import OMAR, written

pytestmark = pytest.mark.django_db(transaction=True)
In = Callable[[str], RunRow]

#: Verb and state, and the state in which the run is afterwards.
DONE = {
    ("pause", "queued"): "paused",
    ("pause", "waiting"): "paused",
    ("pause", "running"): "pausing",
    ("resume", "paused"): "queued",
    ("resume", "needs_attention"): "queued",
    ("cancel", "queued"): "cancelled",
    ("cancel", "waiting"): "cancelled",
    ("cancel", "paused"): "cancelled",
    ("cancel", "needs_attention"): "cancelled",
    ("cancel", "running"): "cancelling",
    ("cancel", "pausing"): "cancelling",
    ("retry", "failed"): "queued",
    ("retry", "needs_attention"): "queued",
    ("retry", "paused"): "queued",
}
PAIRS = [(verb, str(state)) for verb in ("pause", "resume", "cancel", "retry") for state in RunState]


def do(verb: str, run: RunRow, **given: Any) -> RunRow:
    done: RunRow = getattr(services, f"{verb}_run")(run.id, actor=OMAR, **{"reason": "because", **given})
    return done


@pytest.mark.parametrize(("verb", "state"), PAIRS)
def test_every_pair(in_state: In, verb: str, state: str) -> None:
    run = in_state(state)
    foreseen = services.foresee(verb, [run.id]).runs[0]
    after = DONE.get((verb, state))
    if after is None:
        before = written()
        with pytest.raises(services.NotPossible) as refused:
            do(verb, run)
        assert written() == before
        assert not foreseen.possible and foreseen.sentence == str(refused.value)
        return
    assert foreseen.possible, foreseen
    head = run.head_seq
    do(verb, run)
    run.refresh_from_db()
    assert run.state == after
    last = run.history.latest()
    assert (last.state, last.actor, last.history_change_reason) == (after, OMAR, "because")
    said = list(run.journal.filter(seq__gt=head).order_by("seq"))
    assert said and all(entry.actor == OMAR for entry in said)
    assert "because" in said[-1].sentence
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []


@pytest.mark.parametrize("state", list(RunState))
def test_a_run_in_any_state_can_be_forked(in_state: In, state: str) -> None:
    run = in_state(state)
    if not run.steps.exists():
        with pytest.raises(services.NotPossible, match="has no step 1"):
            services.fork_run(run.id, "1", actor=OMAR, reason="a try")
        return
    before = RunRow.objects.values().get(pk=run.pk)
    fork = services.fork_run(run.id, "1", actor=OMAR, reason="a try")
    after = RunRow.objects.values().get(pk=run.pk)
    assert (fork.state, fork.forked_from, fork.requester) == ("queued", run.id, OMAR)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"head_seq", "head_hash"}


def test_a_refusal_says_the_state_who_and_when_and_what_instead(in_state: In) -> None:
    run = in_state("paused")
    with pytest.raises(services.NotPossible) as refused:
        do("pause", run)
    since = run.history.latest().history_date
    assert str(refused.value) == (
        f"{run.id} is paused (since {since:%Y-%m-%d %H:%M:%S} UTC, by omar), so it cannot be paused. "
        "It can be resumed, cancelled, retried or forked."
    )


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_an_unknown_id_and_no_reason(in_state: In, verb: str) -> None:
    run = in_state("paused")
    before = written()
    with pytest.raises(services.NotFound, match="There is no run run_0"):
        getattr(services, f"{verb}_run")("run_0", actor=OMAR, reason="because")
    for reason in ("", " \n", "x" * 4001):
        with pytest.raises(services.NotPossible, match="[Rr]eason"):
            do(verb, run, reason=reason)
    assert written() == before


def test_a_reason_with_characters_that_no_database_takes(in_state: In) -> None:
    run = do("cancel", in_state("paused"), reason="a\x00b\ud800c")
    assert run.stop_reason == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


def test_many_at_once(in_state: In) -> None:
    runs = [in_state(state) for state in ("waiting", "queued", "succeeded")]
    ids = [run.id for run in runs] + ["run_0", runs[0].id]
    seen = services.foresee("pause", ids)
    assert seen.sentence == "4 chosen, 2 can be paused, 1 is in another state, 1 is not there"
    done = services.in_bulk("pause", ids, actor=OMAR, reason="the night")
    assert done.sentence == "4 chosen, 2 were paused, 1 is in another state, 1 is not there"
    assert [found.possible for found in done.runs] == [True, True, False, False]
    assert [RunRow.objects.get(pk=run.pk).state for run in runs] == ["paused", "paused", "succeeded"]


@pytest.mark.parametrize(
    ("verb", "ids"),
    [("pause", []), ("pause", [f"run_{n}" for n in range(501)]), ("fork", ["run_0"]), ("drop", ["run_0"])],
)
def test_what_is_not_done_to_many(verb: str, ids: list[str]) -> None:
    with pytest.raises(services.NotPossible):
        services.foresee(verb, ids)
    with pytest.raises(services.NotPossible):
        services.in_bulk(verb, ids, actor=OMAR, reason="because")


def test_one_that_breaks_leaves_the_others_alone(in_state: In, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [in_state("waiting"), in_state("waiting")]
    real = services.bulk.VERBS["pause"]

    def breaks(run_id: str, **given: Any) -> RunRow:
        if run_id == runs[0].id:
            raise OSError("the wire")
        return real(run_id, **given)

    monkeypatch.setitem(services.bulk.VERBS, "pause", breaks)
    done = services.in_bulk("pause", [run.id for run in runs], actor=OMAR, reason="the night")
    assert [found.obstacle for found in done.runs] == ["error", ""]
