"""Who asks, and whether they may: a person with a session, or a system with a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.db.models import Q
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from runs import actors
from runs.clock import db_now
from runs.models import Token
from runs.scopes import TECHNICAL_READ
from runs.services.tokens import FORM, hash_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TECHNICAL = "runs.view_technical"
SIGN_IN = "Sign in, or send a token: `Authorization: Bearer hp_…`."
#: One message for whatever is wrong with a token, so that nothing can be learned from it.
BAD_TOKEN = "This token is not known, has expired or was revoked; ask for a new one."  # noqa: S105
USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Need:
    """What a method of a view takes: a permission of Django ("": any active user), and for tokens a scope.

    Without a scope, no token may do it, whatever its user may: it takes a person with a session.
    """

    permission: str
    scope: str = ""


class BearerToken(BaseAuthentication):
    """``Authorization: Bearer hp_…``: the rights of the token's user, as they are now, within its scopes."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        """The user and the token; None without such a header. Raises AuthenticationFailed."""
        scheme, _, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        text = secret.strip().decode("latin-1")
        token = _find(text) if FORM.fullmatch(text) else None
        if token is None:
            raise exceptions.AuthenticationFailed(BAD_TOKEN)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes the answer to strangers a 401."""
        return 'Bearer realm="holdpoint"'


def _find(secret: str) -> Token | None:
    # The index finds the hash of the secret: how long that takes tells nothing about the secret.
    now = db_now()
    rows = Token.objects.select_related("user").filter(secret_hash=hash_of(secret), user__is_active=True)
    token = rows.filter(revoked_at=None, expires_at__gt=now).first()
    if token is not None and (token.last_used_at is None or token.last_used_at < now - USED_EVERY):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
        Token.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token


class Session(SessionAuthentication):
    """The session of a signed-in person; what changes something needs the CSRF token as well."""

    def enforce_csrf(self, request: Any) -> None:
        """Raises PermissionDenied, with the cure, when the CSRF token is missing or wrong."""
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            cure = "Send the value of the csrftoken cookie as the X-CSRFToken header."
            raise exceptions.PermissionDenied(f"{error.detail} {cure}") from None


class Needed(BasePermission):
    """Lets in who has what the view's `needs` say for the method. What is not declared is closed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True, or raises what the caller lacks."""
        method = str(request.method)
        if method.lower() not in view.http_method_names or not hasattr(view, method.lower()):
            raise exceptions.MethodNotAllowed(method)
        needs: Mapping[str, Need] = getattr(view, "needs", {})
        need = needs.get("GET" if method == "HEAD" else method)
        if need is None:
            raise exceptions.PermissionDenied("Nobody may do this: no permission is declared for it.")
        check(request, need)
        return True


def check(request: Request, need: Need) -> None:
    """Raise NotAuthenticated or PermissionDenied, with the cure, unless the caller has `need`."""
    user = request.user
    if not user.is_authenticated or not user.is_active:
        raise exceptions.NotAuthenticated(SIGN_IN)
    if need.permission and not user.has_perm(need.permission):
        raise exceptions.PermissionDenied(
            f"{user.get_username()} may not do this; an administrator can give them {need.permission}."
        )
    token = request.auth
    if not isinstance(token, Token):
        return
    if not need.scope:
        raise exceptions.PermissionDenied("No token may do this: it takes a person who is signed in.")
    if need.scope not in token.scopes:
        raise exceptions.PermissionDenied(
            f"This token does not have the scope {need.scope}; ask for one that has."
        )


def sees_technical(request: Request) -> bool:
    """Whether the caller may see inputs, arguments, results and contents."""
    token = request.auth
    return request.user.has_perm(TECHNICAL) and (
        not isinstance(token, Token) or TECHNICAL_READ in token.scopes
    )


def person_of(request: Request) -> User:
    """The user who asks; only behind a door, which lets nobody else in."""
    return cast("User", request.user)


def actor_of(request: Request) -> str:
    """In whose name this request acts. A token acts as its user: whoever asks can then never approve it."""
    return actors.user(request.user.get_username())


def door_of(request: Request) -> str:
    """The door and, for a token, which one: kept with what was started."""
    return f"api:{request.auth.pk}" if isinstance(request.auth, Token) else "api"


class Rate(SimpleRateThrottle):
    """So many requests a minute for each user, in each process: a courtesy among callers, no defence."""

    scope = "api"

    def get_rate(self) -> str:
        return f"{settings.HOLDPOINT_API_RATE}/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        who = request.user.pk if request.user.is_authenticated else self.get_ident(request)
        return f"api-rate:{who}"
