from django.contrib import admin
from django.urls import include, path

from ops.views import healthz

admin.autodiscover()

urlpatterns = [
    path("", include("ops.urls")),
    path("", include("approvals.urls")),
    path("", include("runs.urls")),
    path("api/", include("approvals.api")),
    path("api/", include("runs.api.urls")),  # last: it answers every other address there
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]

handler400 = "runs.api.problems.bad_request"
handler500 = "runs.api.problems.server_error"
