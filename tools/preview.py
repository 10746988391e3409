"""What a reviewer sees of a proposed call: a sentence, what changes, on what evidence, what was checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MAX_SENTENCE = 512
MAX_TEXT = 4000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that reorder or hide text: a reviewer must see that they are there.
_DECEPTIVE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain_text(value: object, limit: int = MAX_TEXT) -> str:
    """`value` as text that hides nothing: no control characters, deceptive ones escaped, at most `limit`."""
    text = _CONTROL.sub("", _shown(value))
    text = _DECEPTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True)
class Change:
    """One thing that the call changes, before and after; any value will do, it is shown as text."""

    label: str
    before: Any = ""
    after: Any = ""

    def __post_init__(self) -> None:
        _clean(self)


@dataclass(frozen=True)
class Evidence:
    """Something that speaks for the call, and where it was found."""

    source: str
    text: str

    def __post_init__(self) -> None:
        _clean(self)


@dataclass(frozen=True)
class Check:
    """Something that was checked, and whether it holds."""

    label: str
    ok: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", plain_text(self.label))
        object.__setattr__(self, "ok", self.ok is True)


@dataclass(frozen=True)
class Preview:
    """A proposed call in words: `sentence` of at most 512 characters, then the details."""

    sentence: str
    changes: Sequence[Change] = field(default_factory=list)
    evidence: Sequence[Evidence] = field(default_factory=list)
    checks: Sequence[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        sentence = " ".join(plain_text(self.sentence).split())
        object.__setattr__(self, "sentence", plain_text(sentence, MAX_SENTENCE))

    def as_json(self) -> dict[str, Any]:
        """The preview as JSON, to be kept with an approval."""
        return {
            "sentence": self.sentence,
            "changes": [dataclasses.asdict(change) for change in self.changes],
            "evidence": [dataclasses.asdict(evidence) for evidence in self.evidence],
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }


def default_sentence(title: str, arguments: Mapping[str, Any]) -> str:
    """What to say of a call whose tool declares no preview: its title and labelled arguments."""
    labelled = ", ".join(
        f"{label_of(name)} {_shown(value)}" for name, value in arguments.items() if _shown(value)
    )
    return f"{title}: {labelled}." if labelled else f"{title}."


def label_of(name: str) -> str:
    """A parameter's name in words."""
    return name.strip("_").replace("_", " ")


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "; ".join(f"{label_of(str(name))} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)


def _clean(shown: Change | Evidence) -> None:
    for part in dataclasses.fields(shown):
        object.__setattr__(shown, part.name, plain_text(getattr(shown, part.name)))
