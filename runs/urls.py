"""The addresses of the pages of runs, and how the ids of runs and what belongs to them look in addresses."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from runs.views import artifacts, budget, control, doubts, incidents, questions, runs, undo


class RunId(StringConverter):
    """An id such as ``run_…``; anything else is no page at all."""

    regex = "run_[0-9a-z]{1,28}"


class StepId(StringConverter):
    """An id such as ``stp_…``."""

    regex = "stp_[0-9a-z]{1,28}"


class ArtifactId(StringConverter):
    """An id such as ``art_…``."""

    regex = "art_[0-9a-z]{1,28}"


class CallId(StringConverter):
    """An id such as ``call_…``."""

    regex = "call_[0-9a-z]{1,27}"


class Verb(StringConverter):
    """What people do with runs."""

    regex = "|".join(control.WORDS)


register_converter(RunId, "run_id")
register_converter(Verb, "verb")
register_converter(StepId, "step_id")
register_converter(ArtifactId, "artifact_id")
register_converter(CallId, "call_id")
app_name = "runs"
urlpatterns = [
    path("runs/", runs.run_list, name="list"),
    path("runs/<run_id:run_id>/", runs.run, name="run"),
    path("unknown/", doubts.unknown, name="unknown"),
    path("unknown/<call_id:call_id>/", doubts.doubt, name="doubt"),
    path("runs/several/", control.several, name="several"),
    path("runs/<run_id:run_id>/control/<verb:verb>/", control.control, name="control"),
    path("runs/<run_id:run_id>/resume/", runs.resume, name="resume"),
    path("runs/<run_id:run_id>/calls/<call_id:call_id>/settle/", runs.settle, name="settle"),
    path("runs/<run_id:run_id>/calls/<call_id:call_id>/undo/", undo.undo, name="undo"),
    path("runs/<run_id:run_id>/grant/", budget.grant, name="grant"),
    path("runs/<run_id:run_id>/incident/", incidents.incident, name="incident"),
    path("runs/<run_id:run_id>/questions/<step_id:step_id>/", questions.question, name="question"),
    path("runs/<run_id:run_id>/artifacts/<artifact_id:artifact_id>/", artifacts.artifact, name="artifact"),
]
