"""What to do after a failure: one table over the effect and the class of failure; pure, it never waits."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from tools.effects import Effect
from tools.failures import Failure, FailureClass, Proof


class Action(StrEnum):
    """What happens next."""

    RETRY = "retry"  # the same call, with the same key, after a wait
    ASK = "ask"  # a person must grant, decide or say something
    TELL = "tell"  # whoever proposed the call (the model, the workflow) hears why and chooses
    STOP = "stop"  # the step fails
    UNKNOWN = "unknown"  # nobody knows whether it happened: look it up, or a person settles it


MOST_ATTEMPTS = 100
LONGEST = 1e9  # seconds: as good as for ever


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long; times are in seconds. Raises ValueError for what cannot work."""

    #: in all, the first one included
    attempts: int = int(settings.HOLDPOINT_TOOL_ATTEMPTS)
    base: float = 1.0  #: the longest wait before the second attempt; it doubles from there
    cap: float = 60.0  #: no wait of our own is longer; the other side's Retry-After may be
    #: no attempt starts later than this after the first one
    total: float = float(settings.HOLDPOINT_TOOL_RETRY_SECONDS)

    def __post_init__(self) -> None:
        count = self.attempts
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_ATTEMPTS:
            raise ValueError(f"attempts={count!r} must be a number from 1 to {MOST_ATTEMPTS}")
        for name in ("base", "cap", "total"):
            seconds = getattr(self, name)
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not number or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:
                raise ValueError(f"{name}={seconds!r} must be a number of seconds from 0 on")


@dataclass(frozen=True)
class RetryDecision:
    """What to do, after how many seconds (for a retry), and why, in a sentence.

    `in_doubt` says that the call may have happened; pass it on when the next attempt is decided.
    """

    action: Action
    wait: float
    reason: str
    in_doubt: bool = False


DEFAULT_POLICY = RetryPolicy()

_OWN_RNG = random.SystemRandom()
_MAY_PASS = frozenset({FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.UNKNOWN_OUTCOME})
_FOR_A_PERSON = frozenset(
    {FailureClass.PERMISSION, FailureClass.LOW_CONFIDENCE, FailureClass.NEEDS_INPUT, FailureClass.BUDGET}
)
_FOR_THE_PROPOSER = frozenset({FailureClass.REFUSED, FailureClass.INVALID_DATA, FailureClass.STALE_DATA})
# For what cannot be undone only the tool's own word counts: an answer may belong to its second request.
_ENOUGH_PROOF = {
    Effect.WRITE: frozenset({Proof.NOT_ACCEPTED, Proof.DECLARED}),
    Effect.IRREVERSIBLE: frozenset({Proof.DECLARED}),
}
_WHY_UNKNOWN = {
    Effect.WRITE: "It was sent, and the failure does not say that nothing was done.",
    Effect.IRREVERSIBLE: "It cannot be undone, so it is never sent twice by itself.",
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
    undone = changed_nothing(effect, failure, in_doubt=in_doubt)
    if effect is not Effect.IRREVERSIBLE and _may_pass(effect, failure):
        wait = _wait(failure, attempt, policy, rng)
        if attempt < policy.attempts and elapsed + wait <= policy.total:
            return RetryDecision(Action.RETRY, wait, "It may pass.", in_doubt=not undone)
    if not undone:
        return RetryDecision(Action.UNKNOWN, 0.0, _WHY_UNKNOWN[effect], in_doubt=True)
    if failure.kind in _MAY_PASS:
        return RetryDecision(Action.STOP, 0.0, "It has failed too often, or waiting would take too long.")
    return _after_refusal(failure)


def needs_a_person(decision: RetryDecision, failure: Failure) -> bool:
    """Whether a person can help where no further attempt is made: something is to be granted or said, or what
    may pass has not passed in time.
    """
    used_up = decision.action is Action.STOP and failure.kind in _MAY_PASS
    return used_up or decision.action is Action.ASK


def changed_nothing(effect: Effect, failure: Failure, *, in_doubt: bool = False) -> bool:
    """Whether a call that failed so is known to have left the world as it was; `in_doubt` as for `decide`."""
    return effect not in _ENOUGH_PROOF or (not in_doubt and failure.proof in _ENOUGH_PROOF[effect])


def _may_pass(effect: Effect, failure: Failure) -> bool:
    # A read or draft that is tried again refreshes its own data; a write's arguments were made from the old.
    # What the other side has refused it would refuse again: the same request is not sent twice.
    stale = failure.kind is FailureClass.STALE_DATA and failure.proof is not Proof.NOT_ACCEPTED
    return (stale and not effect.changes_the_world) or failure.kind in _MAY_PASS


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
