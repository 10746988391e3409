"""The pages of runs: the list, one run, and the way to let one go on that needed attention."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from runs import services
from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from runs.pages import queries
from runs.pages.activations import activation_of
from runs.pages.acts import acts_of, depth_of, label_of
from runs.pages.queries import RunDetail, RunFilter
from runs.pages.timeline import draw
from runs.states import RunState
from runs.views.artifacts import CONTENT, artifacts_of
from runs.views.control import controls_of
from runs.views.failed import failure_of
from runs.views.forms import ResumeForm
from runs.views.unknown import Doubt, doubt_about, take
from tools.models import ToolCall

SEE = "runs.view_run"
SETTLE = "tools.settle_toolcall"
#: The tabs of a run's page: the word on it, and who may open it beyond those who may see runs.
TABS = {
    "timeline": ("Timeline", ""),
    "journal": ("Journal", "runs.view_journalentry"),
    "calls": ("Tool calls", "tools.view_toolcall"),
    "artifacts": ("Artifacts", "runs.view_artifact"),
    "history": ("History", ""),
}


@require_safe
@page(SEE, "see runs")
def run_list(request: HttpRequest) -> HttpResponse:
    """All runs, newest first, with the counts of their states."""
    wanted = RunFilter.read(request.GET)
    found = queries.run_list(wanted, person(request))
    return render(request, "runs/run_list.html", {"found": found, "wanted": wanted})


@require_safe
@page(SEE, "see runs")
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: why it stands where it stands, and what it did."""
    return _page(request, _found(request, run_id))


@require_POST
@page(SEE, "see runs")
def resume(request: HttpRequest, run_id: str) -> HttpResponse:
    """Let a run that needs attention go on, for a reason."""
    viewer = person(request)
    if not viewer.has_perm("runs.control_run"):
        return denied(request, "You may not let runs go on.", "runs.control_run")
    detail = _found(request, run_id)
    form = ResumeForm(request.POST)
    if not form.is_valid():
        return _page(request, detail, form=form, status=422)
    try:
        services.resume_run(run_id, actor=actor_of(viewer.get_username()), reason=form.cleaned_data["reason"])
    except services.NotPossible as error:
        return _page(request, _found(request, run_id), form=form, problem=str(error), status=409)
    return see_other("runs:run", run_id)


@require_POST
@page(SEE, "see runs")
def settle(request: HttpRequest, run_id: str, call_id: str) -> HttpResponse:
    """Say what became of a call of which nobody knew whether it happened."""
    viewer = person(request)
    if not viewer.has_perm(SETTLE):
        return denied(request, "You may not settle tool calls.", SETTLE)
    _found(request, run_id)
    call = ToolCall.objects.filter(pk=call_id, run_id=run_id).first()
    if call is None:
        raise Http404(f"The run {run_id} has no tool call {call_id}.")
    taken = take(call, viewer.get_username(), request.POST)
    if taken.status != 303:
        found = _found(request, run_id)
        return _page(request, found, asked=taken.doubt, problem=taken.problem, status=taken.status)
    return see_other("runs:run", run_id)


def _found(request: HttpRequest, run_id: str) -> RunDetail:
    try:
        return queries.run_detail(run_id, person(request))
    except services.NotFound as error:
        raise Http404(str(error)) from None


def _page(
    request: HttpRequest,
    detail: RunDetail,
    *,
    form: ResumeForm | None = None,
    asked: Doubt | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    viewer = person(request)
    tabs = [(name, word) for name, (word, needs) in TABS.items() if not needs or viewer.has_perm(needs)]
    tab = request.GET.get("tab", "timeline")
    if tab not in dict(tabs):
        if tab in TABS:
            return denied(request, f"You may not open “{TABS[tab][0]}” of a run.", TABS[tab][1])
        tab = "timeline"
    context = {
        "detail": detail,
        "run": detail.run,
        "tabs": tabs,
        "tab": tab,
        "form": form or ResumeForm(),
        "problem": problem,
        "may_resume": viewer.has_perm("runs.control_run") and detail.run.state == RunState.NEEDS_ATTENTION,
        "controls": controls_of(detail.run, viewer),
        "failed": failure_of(detail.run, detail.steps, viewer),
        "activation": activation_of(detail.run),
        "technical": viewer.has_perm("runs.view_technical"),
        "doubts": [
            asked if asked and asked.call == call else doubt_about(call, viewer.get_username())
            for call in detail.unknown
        ],
        "outdated": asked if asked and asked.call not in detail.unknown else None,
        "may_settle": viewer.has_perm(SETTLE),
        **_content_of(tab, detail, request),
    }
    return render(request, "runs/run.html", context, status=status)


def _content_of(tab: str, detail: RunDetail, request: HttpRequest) -> dict[str, Any]:
    if tab == "journal":
        before = request.GET.get("before", "0")
        return {"journal": queries.journal_page(detail.run, int(before) if before.isdecimal() else 0)}
    if tab == "calls":
        undone = services.undone_by([call.pk for call in detail.calls])
        open_again = (RunState.FAILED, RunState.CANCELLED)
        left = [one for one in detail.calls if one.pk not in undone or undone[one.pk][1] in open_again]
        return {
            "let_through": queries.permissions_of_calls(detail.run, detail.calls),
            "undone": undone,
            "undoable": {call.pk for call in left if services.may_be_undone(call)},
        }
    if tab == "artifacts":
        may_open = person(request).has_perm(CONTENT)
        return {"artifacts": artifacts_of(detail.run, content=may_open), "may_open": may_open}
    if tab == "history":
        return {}
    now = timezone.now()
    acts = acts_of(detail.steps, detail.calls, now)
    rows = [
        {"step": step, "act": act, "label": label_of(step), "depth": depth_of(step)}
        for step, act in zip(detail.steps, acts, strict=True)
    ]
    return {"drawing": draw(acts, detail.run.finished_at or now), "rows": rows}
