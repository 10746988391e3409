"""``manage.py tokens``: keys for other systems: issue one, list them, take one back.

Exit codes: 0 done, 2 wrong usage, 4 no such token or user, 5 refused.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from runs import actors, services
from runs.clock import db_now
from runs.models import Token
from runs.scopes import SCOPES
from tools.command import PlainCommand

NOT_FOUND, REFUSED = 4, 5


class Command(PlainCommand):
    """Issues, lists and revokes tokens."""

    help = "Issue, list and revoke tokens for other systems."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        issue = verbs.add_parser("issue", help="make a token; its secret is shown once")
        issue.add_argument("name", help="the system that will hold it")
        issue.add_argument("--user", required=True, metavar="USERNAME", help="whose rights it has, at most")
        issue.add_argument(
            "--scope",
            required=True,
            action="append",
            choices=sorted(SCOPES),
            help="may be given several times",
        )
        issue.add_argument("--days", required=True, type=int, help="how long it lasts: 1 to 366")
        listing = verbs.add_parser("list", help="the tokens there are, without their secrets")
        listing.add_argument(
            "--all", action="store_true", help="also those that have expired or were revoked"
        )
        revoke = verbs.add_parser("revoke", help="take a token back, at once and for good")
        revoke.add_argument("token", help="its id, such as tok_…")
        revoke.add_argument("--reason", default="", help="why; kept in its history")
        for verb in (issue, revoke):
            verb.add_argument("--by", required=True, metavar="USERNAME", help="who does this")
        for verb in (issue, listing, revoke):
            verb.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _issue(self, options: dict[str, Any]) -> None:
        user, by = _user(options["user"]), _user(options["by"])
        try:
            token, secret = services.issue_token(
                user,
                options["name"],
                options["scope"],
                days=options["days"],
                actor=actors.user(by.get_username()),
            )
        except services.TokenRefused as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        told = f"{_line(token)}\n\n{secret}\n\nThis is its secret: keep it now, it is not shown again."
        self._say(options, {**_described(token), "secret": secret}, told)

    def _list(self, options: dict[str, Any]) -> None:
        tokens = Token.objects.select_related("user").order_by("-created_at")
        if not options["all"]:
            tokens = tokens.filter(revoked_at=None, expires_at__gt=db_now())
        lines = "\n".join(_line(token) for token in tokens)
        self._say(options, [_described(token) for token in tokens], lines or "There are no tokens.")

    def _revoke(self, options: dict[str, Any]) -> None:
        by = actors.user(_user(options["by"]).get_username())
        try:
            token = services.revoke_token(options["token"], actor=by, reason=options["reason"])
        except services.TokenNotFound as error:
            raise CommandError(str(error), returncode=NOT_FOUND) from error
        self._say(options, _described(token), _line(token))

    def _say(self, options: dict[str, Any], content: Any, words: str) -> None:
        self.stdout.write(json.dumps(content, indent=2) if options["json"] else words)


def _user(username: str) -> Any:
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user called {username}.", returncode=NOT_FOUND)
    return user


def _line(token: Token) -> str:
    how = f"revoked {token.revoked_at:%Y-%m-%d}" if token.revoked_at else f"until {token.expires_at:%Y-%m-%d}"
    scopes = ", ".join(token.scopes)
    return f"{token.pk}  {token.name}  for {token.user.get_username()}  {how}  {scopes}"


def _described(token: Token) -> dict[str, Any]:
    return {
        "id": token.pk,
        "name": token.name,
        "user": token.user.get_username(),
        "scopes": token.scopes,
        "created_by": token.created_by,
        "created_at": _moment(token.created_at),
        "expires_at": _moment(token.expires_at),
        "revoked_at": _moment(token.revoked_at),
        "last_used_at": _moment(token.last_used_at),
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
