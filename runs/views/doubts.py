"""The pages of calls in doubt: all of them, and one with what is known and what to say."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from runs.access import denied, page, person, see_other
from runs.clock import db_now
from runs.models import Run
from runs.views.unknown import Taken, doubt_about, take
from tools.doubts import in_doubt
from tools.models import CallState, ToolCall

SEE = "tools.view_toolcall"
SETTLE = "tools.settle_toolcall"
SHOWN = 100


@require_safe
@page(SEE, "see tool calls")
def unknown(request: HttpRequest) -> HttpResponse:
    """Every call of which nobody knows whether it happened: the most money first, then the oldest."""
    found, now = in_doubt(SHOWN), db_now()
    runs = Run.objects.only("id", "intent", "workflow").in_bulk([one.call.run_id for one in found])
    rows = [{"one": one, "run": runs.get(one.call.run_id), "early": one.early(now)} for one in found]
    total = ToolCall.objects.unknown().count()
    return render(request, "runs/unknown.html", {"rows": rows, "total": total})


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see tool calls")
def doubt(request: HttpRequest, call_id: str) -> HttpResponse:
    """One call in doubt; a POST says what became of it."""
    viewer = person(request)
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None:
        raise Http404(f"There is no tool call {call_id}.")
    username = viewer.get_username()
    if request.method != "POST":
        return _card(request, Taken(doubt_about(call, username), status=200))
    if not viewer.has_perm(SETTLE):
        return denied(request, "You may not settle tool calls.", SETTLE)
    taken = take(call, username, request.POST)
    return see_other("runs:doubt", call.pk) if taken.status == 303 else _card(request, taken)


def _card(request: HttpRequest, taken: Taken) -> HttpResponse:
    call = ToolCall.objects.get(pk=taken.doubt.call.pk)
    context = {
        "doubt": taken.doubt,
        "call": call,
        "run": Run.objects.filter(pk=call.run_id).first(),
        "unsettled": call.state == CallState.UNKNOWN,
        "problem": taken.problem,
        "may_settle": person(request).has_perm(SETTLE),
    }
    return render(request, "runs/doubt.html", context, status=taken.status)
