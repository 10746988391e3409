"""The page of the kill switch: what is stopped and what waits for it, and forms to stop and to release."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from tools import switches
from tools.orders import scope_of
from tools.switch import Switch, SwitchKind, SwitchState, Then

SEE = "tools.view_switch"
SHOWN = 20  # switches that were released
_WHY = {
    "required": "Say why: the reason is kept with the switch.",
    "max_length": "Shorten the reason to %(limit_value)d characters.",
}
_HEADS = {
    SwitchKind.EFFECT: "One effect",
    SwitchKind.TOOL: "One tool",
    SwitchKind.AGENT: "One agent",
    SwitchKind.WORKFLOW: "One workflow",
}


class KillForm(forms.Form):
    """What to stop, as kind and name with a colon between, and why."""

    what = forms.CharField(max_length=120, error_messages={"required": "Choose what to stop."})
    reason = forms.CharField(max_length=switches.MAX_REASON, error_messages=_WHY)


class ReleaseForm(forms.Form):
    """Which switch, what becomes of the runs that waited, and why."""

    switch = forms.CharField(max_length=40)
    then = forms.ChoiceField(
        choices=[(then.value, then.value) for then in Then],
        error_messages={"required": "Say what becomes of the runs that wait."},
    )
    reason = forms.CharField(max_length=switches.MAX_REASON, error_messages=_WHY)


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see what is stopped")
def show(request: HttpRequest) -> HttpResponse:
    """What is stopped; a POST stops something, or releases a switch."""
    if request.method != "POST":
        return _shown(request)
    viewer = person(request)
    if not viewer.has_perm(switches.PERMISSION):
        return denied(request, "You may not stop anything, nor release it.", switches.PERMISSION)
    act = _release if request.POST.get("switch") else _kill
    return act(request, actor_of(viewer.get_username()))


def _kill(request: HttpRequest, by: str) -> HttpResponse:
    form = KillForm(request.POST)
    if not form.is_valid():
        return _shown(request, kill=form, status=422)
    kind, _, name = form.cleaned_data["what"].partition(":")
    try:
        switches.kill(kind, name, reason=form.cleaned_data["reason"], by=by)
    except (switches.NothingToStop, switches.ReasonMissing) as error:
        return _shown(request, kill=form, problem=f"{error}.", status=422)
    return see_other("switches")


def _release(request: HttpRequest, by: str) -> HttpResponse:
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        return _shown(request, release=form, status=422)
    said = form.cleaned_data
    try:
        switches.release(said["switch"], then=said["then"], reason=said["reason"], by=by)
    except (switches.NotOn, switches.NoSuchSwitch) as error:
        return _shown(request, problem=f"{error}.", status=409)
    except switches.ReasonMissing as error:
        return _shown(request, release=form, problem=f"{error}.", status=422)
    return see_other("switches")


def _shown(
    request: HttpRequest,
    *,
    kill: KillForm | None = None,
    release: ReleaseForm | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    on = [_row(row, release) for row in Switch.objects.filter(state=SwitchState.ON)]
    ended = Switch.objects.filter(state=SwitchState.RELEASED).order_by("-released_at", "-id")[:SHOWN]
    context = {
        "on": on,
        "ended": [{"switch": row, "scope": switches.scope(row)} for row in ended],
        "under_way": switches.in_words(switches.under_way(SwitchKind.EVERYTHING, "")),
        "may": person(request).has_perm(switches.PERMISSION),
        "form": kill or KillForm(),
        "choices": _choices(),
        "problem": problem,
    }
    return render(request, "ops/switches.html", context, status=status)


def _row(switch: Switch, form: ReleaseForm | None) -> dict[str, Any]:
    mine = form if form is not None and form.data.get("switch") == switch.pk else ReleaseForm()
    return {
        "switch": switch,
        "scope": switches.scope(switch),
        "under_way": switches.in_words(switches.under_way(switch.kind, switch.name)),
        "waits": switches.wait_in_words(switches.waiting_runs(switch.pk)),
        "form": mine,
    }


def _choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """What can be stopped, under heads: value and words."""
    return [
        (head, [(f"{kind}:{name}", scope_of(kind, name)) for name in switches.names_of(kind)])
        for kind, head in _HEADS.items()
    ]
