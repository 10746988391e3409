"""The page on which people have a call undone: by which tool, why, and then it."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs import services
from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from runs.models import Run
from runs.views.control import ControlForm
from tools import registry
from tools.models import ToolCall

SEE, START = "runs.view_run", "runs.start_run"


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def undo(request: HttpRequest, run_id: str, call_id: str) -> HttpResponse:
    """What would undo a call, and a form to have it done."""
    viewer = person(request)
    if not viewer.has_perm(START):
        return denied(request, "You may not have calls undone: that starts a run.", START)
    call = ToolCall.objects.filter(pk=call_id, run_id=run_id).first()
    if call is None:
        raise Http404(f"The run {run_id} has no tool call {call_id}.")
    if request.method != "POST":
        return _shown(request, call, ControlForm(), status=200)
    form = ControlForm(request.POST)
    if not form.is_valid():
        return _shown(request, call, form, status=422)
    actor = actor_of(viewer.get_username())
    try:
        made = services.roll_back(call_id, actor=actor, reason=form.cleaned_data["reason"])
    except (services.NotPossible, services.QueueFull) as error:
        return _shown(request, call, form, problem=str(error), status=409)
    return see_other("runs:run", made.id)


def _shown(
    request: HttpRequest, call: ToolCall, form: ControlForm, *, problem: str = "", status: int
) -> HttpResponse:
    possible = services.may_be_undone(call)
    undoer = registry.rollback_of(registry.get(call.tool)) if possible else None
    context = {
        "call": call,
        "run": Run.objects.get(pk=call.run_id),
        "form": form,
        "problem": problem,
        # Not the tool itself: a template would call it.
        "undoer": {"name": undoer.name, "title": undoer.title} if undoer else None,
        "undone": services.undone_by([call.pk]).get(call.pk),
    }
    return render(request, "runs/undo.html", context, status=status)
