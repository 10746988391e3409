"""What stands around every page: navigation with its counts, the environment, the colours."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from approvals import queries
from tools import orders, registry
from tools.counting import Count, up_to
from tools.models import ToolCall

THEME_COOKIE = "theme"
THEMES = ("light", "dark")
YEAR = 365 * 24 * 3600


def around(request: HttpRequest) -> dict[str, Any]:
    """For every template: `theme`, `environment`, `scripted`, and the numbers of decisions that wait and of
    unknown outcomes.
    """
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "theme": theme if theme in THEMES else "",
        "environment": environment(),
        "scripted": settings.HOLDPOINT_MODEL == "scripted",
        "queue_count": SimpleLazyObject(lambda: _waiting_for(request)),
        "stops": SimpleLazyObject(lambda: orders.in_force().stops),
        "unknown_count": SimpleLazyObject(lambda: up_to(ToolCall.objects.unknown())),
    }


def environment() -> str:
    """What the strip on top must say; empty where everything is real.

    Only where the demo was loaded and every tool is the example's own can it be said that nothing is sent.
    """
    if not settings.EMBEDDED or not (settings.HOLDPOINT_DATA / "sign-ins.json").exists():
        return ""
    if all(tool.function.__module__.startswith("examples.") for tool in registry.all_tools()):
        return "Demo installation: shop, customers and payments are made up, and nothing real is sent."
    return "Demo installation with tools of your own: what they send is real."


def _waiting_for(request: HttpRequest) -> Count:
    if not request.user.is_authenticated:
        return Count(0)
    return up_to(queries.queue_for(request.user))


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """To the page that a person is most likely here for."""
    if not request.user.is_authenticated:
        return redirect("sign_in")
    if request.user.has_perm("approvals.decide_approval"):
        return redirect("approvals:queue")
    return redirect("runs:list")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the colours that this browser wants: light, dark, or as the system has them."""
    back = request.headers.get("Referer", "/")
    host = {request.get_host()}
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts=host, require_https=request.is_secure())
    response = redirect(back if safe else "/")
    response.status_code = 303
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie(
            THEME_COOKIE, chosen, max_age=YEAR, samesite="Lax", secure=settings.HTTPS, httponly=True
        )
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response
