from django.urls import path, register_converter
from django.urls.converters import StringConverter

from runs.views import artifacts, budget, control, questions, runs


class RunId(StringConverter):
    """An id such as ``run_…``; anything else is no page at all."""

    regex = "run_[0-9a-z]{1,28}"


class QuestionId(StringConverter):
    """An id such as ``stp_…``."""

    regex = "stp_[0-9a-z]{1,28}"


class KeptId(StringConverter):
    """An id such as ``art_…``."""

    regex = "art_[0-9a-z]{1,28}"


class Verb(StringConverter):
    """What people do with runs."""

    regex = "|".join(control.WORDS)


register_converter(RunId, "run_id")
register_converter(Verb, "verb")
register_converter(QuestionId, "question_id")
register_converter(KeptId, "kept_id")
app_name = "runs"
urlpatterns = [
    path("runs/", runs.run_list, name="list"),
    path("runs/<run_id:run_id>/", runs.run, name="run"),
    path("runs/several/", control.several, name="several"),
    path("runs/<run_id:run_id>/control/<verb:verb>/", control.control, name="control"),
    path("runs/<run_id:run_id>/resume/", runs.resume, name="resume"),
    path("runs/<run_id:run_id>/grant/", budget.grant, name="grant"),
    path(
        "runs/<run_id:run_id>/questions/<question_id:step_id>/",
        questions.question,
        name="question",
    ),
    path(
        "runs/<run_id:run_id>/artifacts/<kept_id:artifact_id>/",
        artifacts.artifact,
        name="artifact",
    ),
]
