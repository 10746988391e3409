"""What every page shows the same way: states, risks, moments, people, and text that somebody else wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs import spans
from runs.actors import plain_name
from runs.shapes import RISKS, shape
from runs.states import look_of
from tools.preview import plain_text

register = template.Library()
#: Longer text than anybody may store here: nothing is cut off when it is only to be made harmless.
WHOLE = 300_000


@register.simple_tag
def state(name: str) -> SafeString:
    """A state as word, shape and colour."""
    look = look_of(name)
    return format_html('<span class="state tone-{}">{}{}</span>', look.tone, shape(look.shape), look.word)


@register.simple_tag
def risk(name: str) -> SafeString:
    """A risk as word, shape and colour."""
    return format_html(
        '<span class="risk risk-{}">{}{} risk</span>', name, shape(RISKS[name]), name.capitalize()
    )


@register.simple_tag
def icon(name: str) -> SafeString:
    """A shape alone, beside a word that says the same."""
    return shape(name)


@register.simple_tag
def moment(at: datetime | None, form: str = "relative") -> SafeString | str:
    """A moment relative to now, kept fresh by the script; `form` ``clock`` shows the time of day instead."""
    if at is None:
        return "—"
    utc = at.astimezone(UTC)
    words = f"{utc:%H:%M:%S}" if form == "clock" else spans.relative(at, timezone.now())
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        utc.isoformat(timespec="milliseconds"),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        "" if form == "clock" else format_html(" data-{}", "relative"),
        words,
    )


@register.filter
def length(seconds: float | None) -> str:
    """Seconds in words; a dash where there are none yet."""
    return "—" if seconds is None else spans.length(float(seconds))


@register.filter
def by(actor: str) -> str:
    """The actor as a reader wants it."""
    return plain_name(actor) if actor else "nobody"


@register.filter
def plain(text: Any) -> str:
    """Text that somebody else wrote: characters that hide or reorder are spelled out."""
    return "" if text is None else plain_text(text, WHOLE)


@register.filter
def pretty(value: Any) -> str:
    """JSON for engineers, harmless as `plain`."""
    return plain_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True), WHOLE)


@register.filter
def dollars(amount: Decimal | None) -> str:
    """A cost in US dollars, with as many places as it takes to be more than nothing."""
    if amount is None:
        return "not known"
    return f"${amount:.2f}" if amount == 0 or amount >= 1 else f"${amount.normalize():f}"


@register.filter
def percent(share: float | None) -> str:
    """A share of one as a percentage."""
    return "not stated" if share is None else f"{share * 100:.0f} %"


@register.filter
def words(name: str) -> str:
    """A name for machines as a reader wants it."""
    return str(name).replace("_", " ").strip().capitalize()


@register.inclusion_tag("runs/_long.html")
def long(text: Any, limit: int = 400) -> dict[str, Any]:
    """Text of any length: the beginning, and all of it behind a fold."""
    whole = plain(text)
    cut = len(whole) > limit
    return {"beginning": whole[: limit - 1].rstrip() + "…" if cut else whole, "whole": whole if cut else ""}
