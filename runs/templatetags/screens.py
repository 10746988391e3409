"""What every page shows the same way: states, risks, moments, people, and text that somebody else wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import QueryDict
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs import workflow
from runs.actors import plain_name
from runs.models import Run
from runs.pages import spans
from runs.pages.shapes import RISKS, shape
from runs.states import look_of
from runs.waits import Wait
from runs.workflow import UnknownWorkflow, Workflow
from tools.preview import plain_text

register = template.Library()
#: Longer text than anybody may store here: nothing is cut off when it is only to be made harmless.
WHOLE = 300_000


@register.simple_tag
def state(name: str, word: str = "") -> SafeString:
    """A state as word, shape and colour; `word` where the page has a plainer one."""
    look = look_of(name)
    said = word or look.word
    return format_html('<span class="state tone-{}">{}{}</span>', look.tone, shape(look.shape), said)


@register.simple_tag
def risk(name: str, form: str = "full") -> SafeString:
    """A risk as word, shape and colour; `form` ``short`` where a heading says what it is."""
    words = name.capitalize() if form == "short" else f"{name.capitalize()} risk"
    return format_html('<span class="risk risk-{}">{}{}</span>', name, shape(RISKS[name]), words)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A shape alone, beside a word that says the same."""
    return shape(name)


@register.simple_tag
def moment(at: datetime | None, form: str = "relative") -> SafeString | str:
    """A moment relative to now, kept fresh by the script; `form` ``clock`` shows the time of day instead,
    with the date where that is not today.
    """
    if at is None:
        return "—"
    utc, now = at.astimezone(UTC), timezone.now()
    clock = f"{utc:%H:%M:%S}" if utc.date() == now.date() else f"{utc:%Y-%m-%d %H:%M:%S}"
    words = clock if form == "clock" else spans.relative(at, now)
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        utc.isoformat(timespec="milliseconds"),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        "" if form == "clock" else format_html(" data-{}", "relative"),
        words,
    )


@register.filter
def duration(seconds: float | None) -> str:
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
    """A cost in US dollars, with as many places as it takes to be more than nothing; a dash for none."""
    if amount is None:
        return "—"
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


@register.simple_tag
def declared(run: Run) -> Workflow | None:
    """What the code says of the workflow of `run`; None where it is not deployed."""
    try:
        return workflow.get(run.workflow, run.version)
    except UnknownWorkflow:
        return None


@register.simple_tag
def waits_for(run: Run, waits: dict[str, list[Wait]]) -> Wait | None:
    """The decision that `run` waits for: the viewer's own if there is one, else the most urgent."""
    mine = waits.get(run.id, [])
    return next((wait for wait in mine if wait.may_act), mine[0] if mine else None)


@register.filter
def left(until: datetime) -> str:
    """How long there is until a deadline."""
    return spans.left((until - timezone.now()).total_seconds())


@register.filter
def ahead(at: datetime | None) -> bool:
    """Whether a moment is still to come."""
    return at is not None and at > timezone.now()


@register.filter
def took(run: Run) -> str:
    """How long the run has taken so far, waits included."""
    return spans.length(max(0.0, ((run.finished_at or timezone.now()) - run.created_at).total_seconds()))


@register.simple_tag(takes_context=True)
def querystring_with(context: Context, name: str, value: str) -> str:
    """The page's filters with one changed; a new filter begins at the first page."""
    return _filters(context, name, str(value))


@register.simple_tag(takes_context=True)
def querystring_without(context: Context, name: str) -> str:
    """The page's filters with one taken away."""
    return _filters(context, name, "")


@register.simple_tag
def querystring_only(name: str, value: str) -> str:
    """A query string of one filter, or of none."""
    return urlencode({name: value}) if value else ""


def _filters(context: Context, name: str, value: str) -> str:
    query: QueryDict = context["request"].GET.copy()
    for dropped in (name, "before"):
        query.pop(dropped, None)
    if value:
        query[name] = value
    return query.urlencode()


@register.simple_tag
def indent(depth: int) -> str:
    """Where the label of an act begins, in pixels."""
    return str(min(depth, 6) * 16)


@register.simple_tag
def at(mapping: dict[str, Any], key: str) -> Any:
    """An entry of a mapping, or nothing."""
    return mapping.get(key)


#: What helps a run that needs attention, by the code of why it does.
_ADVICE = {
    "diverged": "The code is another than the one this run began with. Deploy the version that fits, or keep "
    "both versions registered; then let it go on.",
    "missing_code": "Deploy the workflow's code again; then let it go on.",
    "poison": "Find out why its workers died (see their logs) and cure that first; it is then tried again.",
    "budget": "It has used up what its workflow allows. Find out why. If it is worth more, grant it "
    "more; if not, cancel it.",
    "tool_failed": "Have the call tried again, give its result by hand, or let it fail.",
}


@register.simple_tag
def attention_advice(attention: dict[str, Any] | None) -> str:
    """What to do about a run that cannot go on by itself."""
    code = str((attention or {}).get("code", ""))
    return _ADVICE.get(code, "Find out why it stopped and cure that; then let it go on.")
