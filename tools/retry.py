"""What to do after a failure: one table over the effect and the class of failure; pure, it never waits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from tools.effects import Effect
from tools.failures import Failure, FailureClass, Proof


class Action(StrEnum):
    """What happens next."""

    RETRY = "retry"  # the same call, with the same key, after a wait
    ASK = "ask"  # a person must grant, decide or say something
    TELL = "tell"  # whoever proposed the call (the model, the workflow) hears why and chooses
    STOP = "stop"  # the step fails
    UNKNOWN = "unknown"  # nobody knows whether it happened: look it up, or a person settles it


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long; times are in seconds."""

    attempts: int = 3  #: in all, the first one included
    base: float = 1.0  #: the longest wait before the second attempt; it doubles from there
    cap: float = 60.0  #: no wait of our own is longer; the other side's Retry-After may be
    total: float = 300.0  #: no attempt starts later than this after the first one


@dataclass(frozen=True)
class RetryDecision:
    """What to do, after how many seconds (for a retry), and why, in a sentence."""

    action: Action
    wait: float
    reason: str


DEFAULT_POLICY = RetryPolicy()

_UNKNOWN_FOR_GOOD = RetryDecision(
    Action.UNKNOWN, 0.0, "It cannot be undone, so it is never sent twice by itself."
)
_UNKNOWN = RetryDecision(
    Action.UNKNOWN, 0.0, "It was sent, and the failure does not say that nothing was done."
)

_OWN_RNG = random.SystemRandom()
_MAY_PASS = frozenset({FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.UNKNOWN_OUTCOME})
_FOR_A_PERSON = frozenset(
    {FailureClass.PERMISSION, FailureClass.LOW_CONFIDENCE, FailureClass.NEEDS_INPUT, FailureClass.BUDGET}
)
_FOR_THE_PROPOSER = frozenset({FailureClass.REFUSED, FailureClass.INVALID_DATA, FailureClass.STALE_DATA})
# For what cannot be undone only the tool's own word counts: an HTTP answer may belong to its second request.
_ENOUGH_PROOF = {
    Effect.WRITE: frozenset({Proof.ANSWERED, Proof.DECLARED}),
    Effect.IRREVERSIBLE: frozenset({Proof.DECLARED}),
}


def decide(
    effect: Effect,
    failure: Failure,
    attempt: int,
    elapsed: float,
    policy: RetryPolicy = DEFAULT_POLICY,
    rng: random.Random | None = None,
    *,
    in_doubt: bool = False,
) -> RetryDecision:
    """What happens after attempt number `attempt` (from 1), `elapsed` seconds after the first one began.

    `in_doubt` says that an earlier attempt of the same call may have happened (its failure proved nothing, or
    its worker died): then not even a refusal proves that nothing was done, since that attempt may be why.
    """
    undone = effect.changes_the_world and not in_doubt and failure.proof in _ENOUGH_PROOF[effect]
    if effect is Effect.IRREVERSIBLE:
        return _after_refusal(failure) if undone else _UNKNOWN_FOR_GOOD
    if failure.kind in _MAY_PASS or (failure.kind is FailureClass.STALE_DATA and effect is not Effect.WRITE):
        wait = _wait(failure, attempt, policy, rng)
        if attempt < policy.attempts and elapsed + wait <= policy.total:
            return RetryDecision(
                Action.RETRY, wait, f"Attempt {attempt} of {policy.attempts} failed; it may pass."
            )
    if effect is Effect.WRITE and not undone:
        return _UNKNOWN
    if failure.kind in _MAY_PASS:
        return RetryDecision(
            Action.STOP, 0.0, f"It failed {attempt} times, or waiting longer would take too long."
        )
    return _after_refusal(failure)


def _after_refusal(failure: Failure) -> RetryDecision:
    if failure.kind in _FOR_A_PERSON:
        return RetryDecision(Action.ASK, 0.0, "Trying again will not help; a person can.")
    if failure.kind in _FOR_THE_PROPOSER:
        return RetryDecision(Action.TELL, 0.0, "The same call would fail again; another one might not.")
    return RetryDecision(Action.STOP, 0.0, "Trying again will not help.")


def _wait(failure: Failure, attempt: int, policy: RetryPolicy, rng: random.Random | None) -> float:
    """Full jitter: anything up to the limit, so that callers that failed together do not return together."""
    limit = min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 32))
    jitter = (rng or _OWN_RNG).uniform(0.0, limit)
    return jitter if failure.retry_after is None else failure.retry_after + min(jitter, policy.base)
