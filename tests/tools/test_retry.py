"""The retry table of the design, row by row."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.contract import ContractError, IdempotencyKey, Tool
from tools.effects import Effect
from tools.failures import Failure, FailureClass, Proof, classify
from tools.retry import Action, RetryPolicy, decide

READ, DRAFT, WRITE, IRREVERSIBLE = Effect
K = FailureClass

#: kind, proof -> what happens on the first attempt for read, write, irreversible (draft goes as read)
TABLE = [
    (K.TRANSIENT, Proof.NONE, "retry", "retry", "unknown"),
    (K.TRANSIENT, Proof.DECLARED, "retry", "retry", "stop"),
    (K.RATE_LIMITED, Proof.NONE, "retry", "retry", "unknown"),
    (K.TRANSIENT, Proof.NOT_ACCEPTED, "retry", "retry", "unknown"),
    (K.RATE_LIMITED, Proof.NOT_ACCEPTED, "retry", "retry", "unknown"),
    (K.UNKNOWN_OUTCOME, Proof.NONE, "retry", "retry", "unknown"),
    (K.STALE_DATA, Proof.NONE, "retry", "unknown", "unknown"),
    (K.STALE_DATA, Proof.DECLARED, "retry", "tell", "tell"),
    (K.PERMISSION, Proof.NONE, "ask", "unknown", "unknown"),
    (K.PERMISSION, Proof.NOT_ACCEPTED, "ask", "ask", "unknown"),
    (K.PERMISSION, Proof.DECLARED, "ask", "ask", "ask"),
    (K.INVALID_DATA, Proof.NONE, "tell", "unknown", "unknown"),
    (K.INVALID_DATA, Proof.NOT_ACCEPTED, "tell", "tell", "unknown"),
    (K.INVALID_DATA, Proof.DECLARED, "tell", "tell", "tell"),
    (K.REFUSED, Proof.DECLARED, "tell", "tell", "tell"),
    (K.LOW_CONFIDENCE, Proof.DECLARED, "ask", "ask", "ask"),
    (K.NEEDS_INPUT, Proof.DECLARED, "ask", "ask", "ask"),
    (K.BUDGET, Proof.DECLARED, "ask", "ask", "ask"),
    (K.FATAL, Proof.NONE, "stop", "unknown", "unknown"),
]


class TestTable:
    @pytest.mark.parametrize(("kind", "proof", "read", "write", "irreversible"), TABLE)
    def test_first_attempt(self, kind: K, proof: Proof, read: str, write: str, irreversible: str) -> None:
        failure = Failure(kind, "no", proof=proof)
        decided = [decide(effect, failure, attempt=1, elapsed=0).action for effect in Effect]
        assert decided == [read, read, write, irreversible]

    @pytest.mark.parametrize(
        ("effect", "kind", "proof", "action"),
        [
            (READ, K.TRANSIENT, Proof.NONE, "stop"),
            (READ, K.STALE_DATA, Proof.DECLARED, "tell"),
            (DRAFT, K.RATE_LIMITED, Proof.NONE, "stop"),
            (WRITE, K.TRANSIENT, Proof.NONE, "unknown"),
            (WRITE, K.TRANSIENT, Proof.DECLARED, "stop"),
            (WRITE, K.TRANSIENT, Proof.NOT_ACCEPTED, "stop"),
        ],
    )
    def test_the_third_attempt_is_the_last(self, effect: Effect, kind: K, proof: Proof, action: str) -> None:
        failure = Failure(kind, "no", proof=proof)
        assert decide(effect, failure, attempt=2, elapsed=9).action == "retry"
        assert decide(effect, failure, attempt=3, elapsed=9).action == action

    @pytest.mark.parametrize("effect", [WRITE, IRREVERSIBLE])
    def test_after_an_attempt_in_doubt_a_refusal_proves_nothing(self, effect: Effect) -> None:
        failure = Failure(K.REFUSED, "already refunded", proof=Proof.DECLARED)
        assert decide(effect, failure, attempt=2, elapsed=9).action == "tell"
        assert decide(effect, failure, attempt=2, elapsed=9, in_doubt=True).action == "unknown"

    @pytest.mark.parametrize(
        ("effect", "proof", "before", "after"),
        [
            (READ, Proof.NONE, False, False),
            (READ, Proof.NONE, True, False),
            (WRITE, Proof.NONE, False, True),
            (WRITE, Proof.NOT_ACCEPTED, False, False),
            (WRITE, Proof.DECLARED, False, False),
            (WRITE, Proof.NOT_ACCEPTED, True, True),
        ],
    )
    def test_doubt_is_handed_on(self, effect: Effect, proof: Proof, before: bool, after: bool) -> None:
        decided = decide(effect, Failure(K.TRANSIENT, "no", proof=proof), 1, 0, in_doubt=before)
        assert (decided.action, decided.in_doubt) == ("retry", after)

    @given(st.sampled_from(K), st.sampled_from(Proof), st.integers(1, 9), st.floats(0, 900), st.booleans())
    def test_irreversible_is_never_retried(
        self, kind: K, proof: Proof, attempt: int, elapsed: float, in_doubt: bool
    ) -> None:
        decided = decide(IRREVERSIBLE, Failure(kind, "no", proof=proof), attempt, elapsed, in_doubt=in_doubt)
        assert decided.action is not Action.RETRY
        if proof is not Proof.DECLARED or in_doubt:
            assert decided.action is Action.UNKNOWN


class TestWait:
    @given(st.integers(1, 9), st.integers())
    def test_full_jitter_under_a_doubling_limit(self, attempt: int, seed: int) -> None:
        policy = RetryPolicy(attempts=10, base=2, cap=60, total=1e9)
        decided = decide(READ, Failure(K.TRANSIENT, "no"), attempt, 0, policy, random.Random(seed))
        assert 0 <= decided.wait <= min(60, 2 * 2 ** (attempt - 1))

    @given(st.floats(0, 100), st.integers())
    def test_the_other_side_is_never_asked_before_it_said(self, retry_after: float, seed: int) -> None:
        failure = Failure(K.RATE_LIMITED, "slow down", retry_after)
        decided = decide(READ, failure, 1, 0, rng=random.Random(seed))
        assert retry_after <= decided.wait <= retry_after + 1

    @pytest.mark.parametrize(("elapsed", "retry_after"), [(299.5, 1.0), (0, 301.0), (400, None)])
    def test_no_attempt_starts_after_the_total(self, elapsed: float, retry_after: float | None) -> None:
        decided = decide(READ, Failure(K.RATE_LIMITED, "no", retry_after), 1, elapsed)
        assert decided.action == "stop"

    def test_the_same_dice_give_the_same_wait(self) -> None:
        waits = {decide(READ, Failure(K.TRANSIENT, "no"), 1, 0, rng=random.Random(7)).wait for _ in range(3)}
        assert len(waits) == 1


class Answered(Exception):
    """As HTTP clients carry it."""

    def __init__(self, status: int) -> None:
        super().__init__("no")
        self.status_code = status


#: Of the 400s, what the same request may be sent again after, by reads and drafts; writes with their key.
AGAIN = {
    408: "the other side gave up waiting for the request",
    409: "something else was under way: a read sees what became of it, a write is looked up",
    423: "somebody holds a lock, which they give back",
    425: "too early says to come back",
    429: "too many at once says to come back",
}


@pytest.mark.parametrize("status", range(400, 500))
def test_a_clients_error_is_never_tried_again(status: int) -> None:
    failure = classify(Answered(status))
    done = [decide(effect, failure, attempt=1, elapsed=0.0).action for effect in Effect]
    again = [action is Action.RETRY for action in done]
    if status not in AGAIN:
        assert not any(again)
        assert all(action in (Action.TELL, Action.ASK) for action in done[:3])
    else:
        assert again == [True, True, status != 409, False]
    assert done[3] is Action.UNKNOWN, "what cannot be undone ends by the tool's own word alone"


class TestPolicies:
    @pytest.mark.parametrize(
        ("nonsense", "said"),
        [
            ({"attempts": 0}, "attempts=0"),
            ({"attempts": True}, "attempts=True"),
            ({"attempts": 1000}, "attempts=1000"),
            ({"base": -1}, "base=-1"),
            ({"cap": float("nan")}, "cap=nan"),
            ({"total": float("inf")}, "total=inf"),
            ({"total": "60"}, "total='60'"),
        ],
    )
    def test_what_cannot_work_is_refused(self, nonsense: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            RetryPolicy(**nonsense)

    def test_what_a_tool_does_not_say_the_settings_say(self, settings: Any) -> None:
        policy = RetryPolicy(base=2)
        assert (policy.attempts, policy.total) == (
            settings.HOLDPOINT_TOOL_ATTEMPTS,
            settings.HOLDPOINT_TOOL_RETRY_SECONDS,
        )

    def test_a_tool_that_is_never_tried_again_cannot_declare_it(self) -> None:
        def put(*, key: IdempotencyKey) -> None:
            """Do it."""

        with pytest.raises(ContractError, match="leave retry out"):
            Tool(put, effect="irreversible", rollback="None", retry=RetryPolicy())
        with pytest.raises(ContractError, match="must be a RetryPolicy"):
            Tool(put, effect="write", rollback="None", retry=5)  # type: ignore[arg-type]
