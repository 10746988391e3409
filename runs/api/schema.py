"""The schema of the API, and a page to read it on."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request

from runs.api.callers import Need
from runs.api.door import Door
from runs.api.problems import Refused
from runs.scopes import SCOPES

ANYBODY_KNOWN = Need("", "runs:read")


class BearerScheme(OpenApiAuthenticationExtension):
    """How a token is sent."""

    target_class = "runs.api.callers.BearerToken"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """For the schema."""
        scopes = "; ".join(f"`{name}`: {words}" for name, words in SCOPES.items())
        return {"type": "http", "scheme": "bearer", "description": f"A token. Scopes: {scopes}."}


class SessionScheme(OpenApiAuthenticationExtension):
    """How a person is known."""

    target_class = "runs.api.callers.Session"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """For the schema."""
        said = "A signed-in person; what changes something needs the csrftoken cookie as X-CSRFToken."
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": said}


def session_only(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Says in the schema which operations no token may do. Called for the finished schema."""
    for path, _, method, callback in context["generator"].endpoints:
        need = getattr(callback.cls, "needs", {}).get(method)
        operation = result["paths"].get(path, {}).get(method.lower())
        if operation is None or need is None:
            continue
        operation["security"] = [{"session": []}, *([{"token": []}] if need.scope else [])]
        told = f"Takes the permission `{need.permission}`" if need.permission else "Takes a sign-in"
        scope = f", and for tokens the scope `{need.scope}`." if need.scope else "; no token may do it."
        operation["description"] = f"{operation.get('description', '')}\n\n{told}{scope}".strip()
    return result


class Schema(Door, SpectacularAPIView):
    """The schema."""

    needs = {"GET": ANYBODY_KNOWN}
    authentication_classes, permission_classes = Door.authentication_classes, Door.permission_classes
    renderer_classes = [OpenApiJsonRenderer]

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The schema as JSON."""
        return super().get(request, *args, **kwargs)


class Docs(Door, SpectacularSwaggerSplitView):
    """The schema as a page."""

    needs = {"GET": ANYBODY_KNOWN}
    authentication_classes, permission_classes = Door.authentication_classes, Door.permission_classes
    renderer_classes = [TemplateHTMLRenderer]
    template_name = "runs/api.html"
    url_name = "api:schema"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The page, or its script."""
        return super().get(request, *args, **kwargs)

    def handle_exception(self, error: Exception) -> HttpResponseBase:  # type: ignore[override]
        """Whoever is not signed in signs in first."""
        if not self.request.user.is_authenticated:
            return redirect(reverse("sign_in", query={"next": self.request.path}))
        return super().handle_exception(error)


class Unknown(Door):
    """Every other address under /api/."""

    permission_classes = []
    throttle_classes = []
    authentication_classes = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """A problem, whatever the method and whoever asks."""
        raise Refused(
            404, "not_found", "There is nothing at this address; /api/v1/schema lists what there is."
        )
