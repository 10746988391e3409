"""What a person says of a call that stands still for them: try it again, its answer, or that it fails."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs import services
from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from runs.models import Run, Step
from runs.views.runs import SEE
from tools.canonical import NotJson, parse

WORDS = {
    "retry": "Try it again",
    "answer": "Give its result by hand",
    "stop": "Let it fail; the workflow decides",
}


class IncidentForm(forms.Form):
    """What becomes of the call, and why."""

    verb = forms.ChoiceField(
        choices=list(WORDS.items()), error_messages={"required": "Say what becomes of it."}
    )
    answer = forms.CharField(max_length=100_000, required=False)
    reason = forms.CharField(
        max_length=2000,
        strip=True,
        error_messages={"required": "Say why: the reason is kept with the run."},
    )

    def clean(self) -> dict[str, Any]:
        """The answer as a value, where one is given."""
        said: dict[str, Any] = self.cleaned_data
        if said.get("verb") == "answer":
            try:
                said["value"] = parse(said.get("answer", ""))
            except NotJson:
                self.add_error("answer", 'Write the result as JSON: text in quotes, such as "R-17".')
        return said


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def incident(request: HttpRequest, run_id: str) -> HttpResponse:
    """Say what becomes of the call for which the run stands still; the run then goes on."""
    viewer = person(request)
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404(f"There is no run {run_id}.")
    if not viewer.has_perm("runs.control_run"):
        return denied(request, "You may not say what becomes of calls.", "runs.control_run")
    if request.method != "POST":
        return _shown(request, run, IncidentForm())
    form = IncidentForm(request.POST)
    if not form.is_valid():
        return _shown(request, run, form, status=422)
    try:
        _say(run.id, form.cleaned_data, actor_of(viewer.get_username()))
    except services.NotPossible as error:
        run.refresh_from_db()
        return _shown(request, run, form, problem=str(error), status=409)
    return see_other("runs:run", run_id)


def _say(run_id: str, said: dict[str, Any], actor: str) -> None:
    if said["verb"] == "answer":
        services.answer_call(run_id, said["value"], actor=actor, reason=said["reason"])
    elif said["verb"] == "retry":
        services.retry_call(run_id, actor=actor, reason=said["reason"])
    else:
        services.stop_call(run_id, actor=actor, reason=said["reason"])


def _shown(
    request: HttpRequest, run: Run, form: IncidentForm, *, problem: str = "", status: int = 200
) -> HttpResponse:
    step = Step.objects.filter(pk=(run.attention or {}).get("step", ""), run_id=run.pk).first()
    context = {"run": run, "step": step, "form": form, "problem": problem}
    return render(request, "runs/incident.html", context, status=status)
