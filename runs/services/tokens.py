"""Keys for other systems: to issue one, and to take it back."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from runs import actors
from runs.clock import db_now
from runs.models import Token
from runs.scopes import SCOPES
from runs.turns.checkpoint import own_transaction
from tools.canonical import new_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PREFIX = "hp_"
MAX_DAYS = 366
#: 256 random bits in 43 characters.
FORM = re.compile(r"hp_[A-Za-z0-9_-]{43}")


class TokenRefused(Exception):  # noqa: N818 - read as a sentence where it is caught
    """A token cannot be issued so; the message says what to change."""


class TokenNotFound(LookupError):
    """There is no token of that id."""


def issue_token(
    user: User, name: str, scopes: Collection[str], *, days: int, actor: str
) -> tuple[Token, str]:
    """A new token for the system called `name`, with the rights of `user` within `scopes`, for `days` days.

    Returns the row and the secret, which is kept nowhere: show it once. Raises TokenRefused for somebody
    inactive, no or unknown scopes, a name that is empty or too long, and a time that is not 1 to 366 days.
    """
    name, wanted = name.strip(), sorted(set(scopes))
    _check(user, name, wanted, days)
    secret = PREFIX + secrets.token_urlsafe(32)
    with own_transaction(), actors.acting_as(actor):
        now = db_now()
        token = Token(
            id=new_id("tok"),
            name=name,
            user=user,
            secret_hash=hash_of(secret),
            scopes=wanted,
            created_by=actor,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        token._change_reason = f"Issued for {name}"  # type: ignore[attr-defined]
        token.save(force_insert=True)
    return token, secret


def revoke_token(token_id: str, *, actor: str, reason: str = "") -> Token:
    """Take a token back, at once and for good; one that was taken back already stays as it is.

    Raises TokenNotFound.
    """
    with own_transaction(), actors.acting_as(actor):
        token = Token.objects.select_for_update().filter(pk=token_id).first()
        if token is None:
            raise TokenNotFound(
                f"There is no token {token_id}; `manage.py tokens list` names those there are."
            )
        if token.revoked_at is None:
            token.revoked_at = db_now()
            token._change_reason = reason or "Revoked"  # type: ignore[attr-defined]
            token.save(update_fields=["revoked_at"])
    return token


def hash_of(secret: str) -> str:
    """What is kept of a secret. It has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _check(user: User, name: str, scopes: list[str], days: int) -> None:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        said = f"There is no scope {', '.join(unknown)}." if unknown else "A token needs at least one scope."
        raise TokenRefused(f"{said} Known: {', '.join(SCOPES)}.")
    if not user.is_active:
        raise TokenRefused(
            f"{user.get_username()} is not active, and a token has no more rights than its user."
        )
    if not name or len(name) > 100:
        raise TokenRefused("Name the system that will hold the token, in at most 100 characters.")
    if not 1 <= days <= MAX_DAYS:
        raise TokenRefused(f"A token lasts 1 to {MAX_DAYS} days, not {days}.")
