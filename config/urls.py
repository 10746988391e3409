from django.contrib import admin
from django.urls import include, path

from ops.views import healthz

urlpatterns = [
    path("", include("ops.urls")),
    path("", include("approvals.urls")),
    path("", include("runs.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]
