from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops import health


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 once everything that a run needs is ready, else 503 with the names of what is missing."""
    missing = health.missing()
    response = JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
    # An answer, not an accident: Django would log each 503 as an error.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
