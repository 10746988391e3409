from django.urls import path, register_converter
from django.urls.converters import StringConverter

from runs import views, views_artifacts, views_budget, views_control, views_questions


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

    regex = "|".join(views_control.WORDS)


register_converter(RunId, "run_id")
register_converter(Verb, "verb")
register_converter(QuestionId, "question_id")
register_converter(KeptId, "kept_id")
app_name = "runs"
urlpatterns = [
    path("runs/", views.run_list, name="list"),
    path("runs/<run_id:run_id>/", views.run, name="run"),
    path("runs/several/", views_control.several, name="several"),
    path("runs/<run_id:run_id>/control/<verb:verb>/", views_control.control, name="control"),
    path("runs/<run_id:run_id>/resume/", views.resume, name="resume"),
    path("runs/<run_id:run_id>/grant/", views_budget.grant, name="grant"),
    path(
        "runs/<run_id:run_id>/questions/<question_id:step_id>/",
        views_questions.question,
        name="question",
    ),
    path(
        "runs/<run_id:run_id>/artifacts/<kept_id:artifact_id>/",
        views_artifacts.artifact,
        name="artifact",
    ),
]
