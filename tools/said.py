"""What people said about a call in doubt: who cannot tell, who agrees, and where they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.models import Outcome, Settlement

WORDS = {
    Outcome.HAPPENED: "it happened",
    Outcome.DID_NOT_HAPPEN: "it did not happen",
    Outcome.CANNOT_TELL: "they cannot tell",
}


@dataclass(frozen=True)
class Standing:
    """What was said about one call, the oldest first; of each person the last word counts."""

    said: Sequence[Settlement] = ()

    @property
    def last(self) -> str:
        """The id of what was said last, or nothing: whoever read up to there has read everything."""
        return self.said[-1].id if self.said else ""

    @property
    def counts(self) -> list[Settlement]:
        """The last word of each person, the oldest first."""
        latest = {one.by: one for one in self.said}
        return [one for one in self.said if latest[one.by] is one]

    @property
    def answers(self) -> list[Settlement]:
        """The last word of those who say that it happened, or that it did not."""
        return [one for one in self.counts if one.outcome != Outcome.CANNOT_TELL]

    @property
    def second_look(self) -> bool:
        """Whether somebody who looked could not tell, so that another should look."""
        return len(self.answers) < len(self.counts)

    @property
    def conflict(self) -> bool:
        """Whether two people say different things."""
        return any(not same(one, self.answers[0]) for one in self.answers)

    def agreeing(self, answer: Settlement) -> Settlement | None:
        """What another person said that is the same as `answer`, if anybody did."""
        others = (one for one in self.answers if one.by != answer.by and same(one, answer))
        return next(others, None)


def same(one: Settlement, other: Settlement) -> bool:
    """Whether they say the same: the outcome, and the result if it happened."""
    return one.outcome == other.outcome and one.result_digest == other.result_digest


def standing_of(call_id: str) -> Standing:
    """What was said about one call."""
    return standings_of([call_id])[call_id]


def standings_of(call_ids: Iterable[str]) -> dict[str, Standing]:
    """What was said about each of these calls, in one query."""
    found: dict[str, list[Settlement]] = {call_id: [] for call_id in call_ids}
    for one in Settlement.objects.filter(call_id__in=found).order_by("at", "id"):
        found[one.call_id].append(one)
    return {call_id: Standing(said) for call_id, said in found.items()}


def name_of(by: str) -> str:
    """The name of the person in an actor such as ``user:ana``."""
    return by.partition(":")[2] or by


def in_words(one: Settlement) -> str:
    """Who said what, and when."""
    word = WORDS[Outcome(one.outcome)]
    return f"{name_of(one.by)} said at {one.at:%Y-%m-%d %H:%M:%S} UTC: {word}"
