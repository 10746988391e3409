"""The pages on which people pause, resume, cancel, retry and fork runs: what it does, why, and then it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from runs import services
from runs.access import denied, page, person, see_other
from runs.actors import user as actor_of
from runs.models import Run
from runs.pages.acts import label_of
from runs.services import Forecast, NotPossible
from runs.states import look_of
from runs.workflow import InvalidInput, UnknownWorkflow

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SEE, CONTROL = "runs.view_run", "runs.control_run"
#: What each verb is called on buttons and as a heading, and in "You may not …".
WORDS = {
    "pause": ("Pause", "Pause this run", "pause runs"),
    "resume": ("Resume", "Let this run go on", "let runs go on"),
    "cancel": ("Cancel", "Cancel this run", "cancel runs"),
    "retry": ("Retry", "Retry this run", "retry runs"),
    "fork": ("Fork", "Fork this run", "fork runs"),
}
STEPS_OFFERED = 500


class ControlForm(forms.Form):
    """Why, from which step (empty: the one that failed), and the state that the page showed."""

    reason = forms.CharField(
        max_length=4000,
        error_messages={
            "required": "Say why: the reason is kept with the run.",
            "max_length": "Shorten the reason to %(limit_value)d characters.",
        },
    )
    step = forms.CharField(required=False, max_length=20)
    version = forms.IntegerField(required=False, min_value=1, max_value=1_000_000)
    seen = forms.CharField(required=False, max_length=20)


def controls_of(run: Run, viewer: User) -> list[tuple[str, str]]:
    """What `viewer` may do with `run` as it stands: verb and word."""
    if not viewer.has_perm(CONTROL):
        return []
    return [(verb, WORDS[verb][0]) for verb in services.possible_with(run)]


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def control(request: HttpRequest, run_id: str, verb: str) -> HttpResponse:
    """What `verb` would do to a run, and a form to do it."""
    viewer = person(request)
    if not viewer.has_perm(CONTROL):
        return denied(request, f"You may not {WORDS[verb][2]}.", CONTROL)
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404(f"There is no run {run_id}.")
    if request.method != "POST":
        asked = ControlForm(initial={"step": request.GET.get("step", "")[:20]})
        return _shown(request, run, verb, asked, problem=_obstacle(verb, run))
    form = ControlForm(request.POST)
    if not form.is_valid():
        return _shown(request, run, verb, form, status=422)
    said = form.cleaned_data
    if said["seen"] and said["seen"] != run.state:
        return _shown(request, run, verb, form, problem=_moved_on(run))
    try:
        done = _do(verb, run_id, said, actor_of(viewer.get_username()))
    except NotPossible as error:
        run.refresh_from_db()
        return _shown(request, run, verb, form, problem=str(error))
    except (UnknownWorkflow, InvalidInput) as error:
        return _shown(request, run, verb, form, problem=str(error), status=422)
    return see_other("runs:run", done.id)


def _do(verb: str, run_id: str, said: dict[str, Any], actor: str) -> Run:
    why = {"actor": actor, "reason": said["reason"]}
    if verb == "retry":
        return services.retry_run(run_id, from_path=said["step"], **why)
    if verb == "fork":
        return services.fork_run(run_id, said["step"], version=said["version"], **why)
    acts = {"pause": services.pause_run, "resume": services.resume_run, "cancel": services.cancel_run}
    return acts[verb](run_id, **why)


def _obstacle(verb: str, run: Run) -> str:
    return "" if verb in services.possible_with(run) else services.cannot(verb, run)


def _moved_on(run: Run) -> str:
    return f"This changed while you looked at it, so nothing was done. {services.how_it_stands(run)}"


def _shown(
    request: HttpRequest, run: Run, verb: str, form: ControlForm, *, problem: str = "", status: int = 409
) -> HttpResponse:
    """The page as the run stands now; a wrong state is a conflict, with what was typed kept."""
    possible = verb in services.possible_with(run)
    steps = _steps(run) if verb in ("retry", "fork") else []
    step = str(form["step"].value() or (steps[-1][0] if verb == "fork" and steps else ""))
    context: dict[str, Any] = {
        "run": run,
        "verb": verb,
        "word": WORDS[verb][0],
        "heading": WORDS[verb][1],
        "form": form,
        "problem": problem,
        "possible": possible,
        "consequence": services.consequence_of(verb, run, from_path=step) if possible else None,
        "steps": steps,
        "step": step,
    }
    return render(request, "runs/control.html", context, status=status if problem or form.errors else 200)


def _steps(run: Run) -> list[tuple[str, str]]:
    """The last top-level steps that one may go back to, in their order, by path."""
    steps = run.steps.exclude(path__contains="/").exclude(path__contains="~").order_by("-position")
    return [
        (step.path, f"{step.path}: {label_of(step)}, {look_of(step.state).word.lower()}")
        for step in steps[:STEPS_OFFERED][::-1]
    ]


# Many at once


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see runs")
def several(request: HttpRequest) -> HttpResponse:
    """What a verb would do to the runs chosen in the list; a POST does it, each run for itself."""
    viewer = person(request)
    if not viewer.has_perm(CONTROL):
        return denied(request, "You may not control runs.", CONTROL)
    given = request.POST if request.method == "POST" else request.GET
    verb, chosen = given.get("verb", ""), given.getlist("run")
    if request.method != "POST":
        return foreseen(request, verb, chosen)
    try:
        form = ControlForm(request.POST)
        if not form.is_valid():
            return _forecast(request, services.foresee(verb, chosen), form, status=422)
        actor = actor_of(viewer.get_username())
        done = services.in_bulk(verb, chosen, actor=actor, reason=form.cleaned_data["reason"])
    except NotPossible as error:
        return _unusable(request, error)
    return _forecast(request, done, None)


def foreseen(request: HttpRequest, verb: str, chosen: list[str]) -> HttpResponse:
    """What `verb` would do to the runs chosen, with a form to do it; writes nothing."""
    try:
        return _forecast(request, services.foresee(verb, chosen), ControlForm())
    except NotPossible as error:
        return _unusable(request, error)


def _unusable(request: HttpRequest, error: NotPossible) -> HttpResponse:
    return render(request, "runs/several.html", {"problem": str(error)}, status=422)


def _forecast(
    request: HttpRequest, forecast: Forecast, form: ControlForm | None, status: int = 200
) -> HttpResponse:
    intents = dict(
        Run.objects.filter(pk__in=[found.run_id for found in forecast.runs]).values_list("pk", "intent")
    )
    rows = [{"found": found, "intent": intents.get(found.run_id, "")} for found in forecast.runs]
    context = {"forecast": forecast, "rows": rows, "form": form, "word": WORDS[forecast.verb][0]}
    return render(request, "runs/several.html", context, status=status)
