"""The page of one question: what is asked, a form for the answer, and what became of it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs import questions, services
from runs.access import page, person, see_other
from runs.models import Step
from runs.states import RUN_ENDED, StepState
from runs.typed import Misfit
from runs.views.answers import AnswerForm, form_for
from runs.views.runs import SEE


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def question(request: HttpRequest, run_id: str, step_id: str) -> HttpResponse:
    """One question; a POST answers it."""
    step = Step.objects.select_related("run").filter(pk=step_id, run=run_id, kind="question").first()
    if step is None:
        raise Http404(f"The run {run_id} asks no question {step_id}.")
    schema = (step.arguments or {}).get("schema") or {}
    if request.method != "POST":
        return _shown(request, step, form_for(schema))
    form = form_for(schema, request.POST)
    try:
        services.answer_question(step_id, form.read(), by=person(request))
    except services.NotAllowed as error:
        return _shown(request, step, form, problem=str(error), status=403)
    except services.NotPossible as error:
        step.refresh_from_db()
        return _shown(request, step, form, problem=str(error), status=409)
    except Misfit as error:
        return _shown(request, step, form, problems=error.problems, status=422)
    return see_other("runs:question", run_id, step_id)


def _shown(
    request: HttpRequest,
    step: Step,
    form: AnswerForm,
    *,
    problem: str = "",
    problems: list[str] | None = None,
    status: int = 200,
) -> HttpResponse:
    viewer = person(request)
    objection = questions.objection(step, viewer)
    is_open = step.state == StepState.HELD and "~" not in step.path and step.run.state not in RUN_ENDED
    context: dict[str, Any] = {
        "step": step,
        "run": step.run,
        "asked": step.arguments or {},
        "whom": questions.whom_of(step),
        "form": form,
        "is_open": is_open,
        "objection": objection,
        "problem": problem,
        "problems": problems or [],
        "answered": services.who_answered(step) if step.state == StepState.SUCCEEDED else "",
        "may_read": not objection or viewer.has_perm("runs.view_technical"),
    }
    return render(request, "runs/question.html", context, status=status)
