"""The way to grant a run more than its budget."""

from __future__ import annotations

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs import services
from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from runs.budget import WORDS
from runs.models import Run
from runs.services.granting import MOST
from runs.views.runs import SEE


class GrantForm(forms.Form):
    """How much of what, and why."""

    measure = forms.ChoiceField(choices=list(WORDS.items()))
    amount = forms.DecimalField(
        max_value=MOST,
        decimal_places=2,
        error_messages={"required": "Say how much.", "invalid": "Write a number, such as 10."},
    )
    reason = forms.CharField(
        max_length=2000,
        strip=True,
        error_messages={"required": "Say why: the reason is kept with the run."},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def grant(request: HttpRequest, run_id: str) -> HttpResponse:
    """Grant a run more; one that stopped for its budget goes on."""
    viewer = person(request)
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404(f"There is no run {run_id}.")
    if not viewer.has_perm("runs.grant_budget"):
        return denied(request, "You may not grant runs more than their budget.", "runs.grant_budget")
    if request.method != "POST":
        used_up = (run.attention or {}).get("measure", "model_requests")
        return _shown(request, run, GrantForm(initial={"measure": used_up}))
    form = GrantForm(request.POST)
    if not form.is_valid():
        return _shown(request, run, form, status=422)
    said = form.cleaned_data
    amounts = {said["measure"]: float(said["amount"])}
    try:
        services.grant(run_id, amounts, actor=actor_of(viewer.get_username()), reason=said["reason"])
    except services.NotPossible as error:
        run.refresh_from_db()
        return _shown(request, run, form, problem=str(error), status=409)
    return see_other("runs:run", run_id)


def _shown(
    request: HttpRequest, run: Run, form: GrantForm, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {"run": run, "form": form, "problem": problem}
    return render(request, "runs/grant.html", context, status=status)
