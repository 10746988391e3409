from django.urls import path, register_converter
from django.urls.converters import StringConverter

from runs import views


class RunId(StringConverter):
    """An id such as ``run_…``; anything else is no page at all."""

    regex = "run_[0-9a-z]{1,28}"


register_converter(RunId, "run_id")
app_name = "runs"
urlpatterns = [
    path("runs/", views.run_list, name="list"),
    path("runs/<run_id:run_id>/", views.run, name="run"),
    path("runs/<run_id:run_id>/resume/", views.resume, name="resume"),
]
