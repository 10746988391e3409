"""The content security policy of each page."""

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ContentSecurityMiddleware(CSPMiddleware):
    """Strict everywhere; relaxed for scripts and styles under /admin/ alone, as Unfold needs."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Adds the policy header, with the admin's own directives on its pages."""
        if request.path_info.startswith("/admin/"):
            response._csp_update = settings.ADMIN_CONTENT_SECURITY  # type: ignore[attr-defined]
        return super().process_response(request, response)
