"""The door of every page: signed in, allowed, and never kept by a browser or a proxy."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRedirect

View = Callable[..., HttpResponse]


def page(permission: str, to: str) -> Callable[[View], View]:
    """Let only people with `permission` in; `to` says what for, such as ``see runs``.

    Whoever is not signed in goes to sign in and comes back; whoever is, but may not, reads whom to ask.
    """

    def decorate(view: View) -> View:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _to_sign_in(request)
            if not request.user.has_perm(permission):
                return denied(request, f"You may not {to}.", permission)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def person(request: HttpRequest) -> User:
    """Whoever is signed in; only for views behind `page`."""
    return cast("User", request.user)


def denied(request: HttpRequest, sentence: str, permission: str) -> HttpResponse:
    """Tell a signed-in person what they may not do, and what to ask an administrator for."""
    return render(request, "403.html", {"exception": sentence, "permission": permission}, status=403)


def see_other(to: str, *args: str, query: str = "") -> HttpResponse:
    """After a form was taken: look at this page now (303), so that reloading it sends nothing again."""
    url = resolve_url(to, *args)
    response = HttpResponseRedirect(f"{url}?{query}" if query else url)
    response.status_code = 303
    return response


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in first, then back to the page: after a form was sent, to the page that the form was on."""
    came_from = request.headers.get("HX-Current-URL") if request.headers.get("HX-Request") else None
    if came_from is None and request.method not in ("GET", "HEAD"):
        came_from = request.headers.get("Referer", "/")
    parts = urlsplit(came_from) if came_from else None
    back = parts._replace(scheme="", netloc="").geturl() if parts else request.get_full_path()
    response = redirect_to_login(back or "/")
    if request.headers.get("HX-Request"):
        return HttpResponseClientRedirect(response.url)
    return response
