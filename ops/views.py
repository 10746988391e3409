from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops import health


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 once everything that a run needs is ready, else 503 with the names of what is missing."""
    missing = health.missing()
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
