from django.urls import path, register_converter
from django.urls.converters import StringConverter

from approvals import views


class ApprovalId(StringConverter):
    """An id such as ``apr_…``; anything else is no page at all."""

    regex = "apr_[0-9a-z]{1,28}"


register_converter(ApprovalId, "approval_id")
app_name = "approvals"
urlpatterns = [
    path("queue/", views.queue, name="queue"),
    path("approvals/<approval_id:approval_id>/", views.approval, name="approval"),
]
