"""``tools mcp``: read what MCP servers offer, and sign or disable it tool by tool."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools.canonical import Json
from tools.cli.answers import Answers, Exit, Verb, add_verbs, no, no_arguments, table
from tools.cli.described import moment
from tools.cli.people import actor, add_by, add_reason
from tools.effects import Effect, Risk
from tools.failures import ToolError
from tools.mcp import review, servers
from tools.mcp.rows import RemoteTool
from tools.preview import plain_text

_HEADS = ("tool", "state", "version", "effect", "risk", "why")
_MAY = "sign and disable tools of MCP servers"


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("tool", metavar="TOOL", help="what the tool is called here: mcp_SERVER_TOOL")


def _sync_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="its name in HOLDPOINT_MCP_SERVERS")
    add_by(parser)


def _sync(answers: Answers, options: dict[str, Any]) -> None:
    by = actor(options["by"], review.PERMISSION, _MAY)
    with _in_exit_codes():
        server = servers.server(options["server"])
        # Only now: the package is slow to load, and an extra.
        from tools.mcp.session import close_all, session_of

        session = session_of(server, server.timeout)
        try:
            synced = review.take(server, session.offers, actor=by)
        finally:
            session.leave()
            close_all()
    lines = [_table(synced.tools), *(f"Left out: {each}." for each in synced.left_out)]
    told: Json = {"tools": [_as_json(row) for row in synced.tools], "left_out": list(synced.left_out)}
    answers.give(told, "\n".join(lines))


def _list(answers: Answers, options: dict[str, Any]) -> None:
    rows = list(RemoteTool.objects.order_by("name"))
    answers.give([_as_json(row) for row in rows], _table(rows))


def _show(answers: Answers, options: dict[str, Any]) -> None:
    with _in_exit_codes():
        row = review.one(options["tool"])
    told = {**_as_json(row), "signed": row.signed, "offered": row.offered, "hints": row.hints}
    lines = [_table([row]), f"What its server offers now, digest {row.offered_digest or '-'}:"]
    lines += [_readable(row.offered), "What its server says of it (nothing follows from that):"]
    lines += [_readable(row.hints)]
    if row.signed and row.signed_digest != row.offered_digest:
        lines += ["What was signed:", _readable(row.signed)]
    answers.give(told, "\n".join(lines))


def _sign_arguments(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--effect", choices=[*Effect], help="what it does; irreversible if nobody says")
    parser.add_argument("--risk", choices=[*Risk], help="how grave it is; high if nobody says")
    parser.add_argument("--digest", default="", help="of what you read: refused if it changed since")
    add_reason(parser)


def _sign(answers: Answers, options: dict[str, Any]) -> None:
    by = actor(options["by"], review.PERMISSION, _MAY)
    with _in_exit_codes():
        row = review.sign(
            options["tool"],
            actor=by,
            reason=options["reason"],
            effect=options["effect"] or "",
            risk=options["risk"] or "",
            seen=options["digest"],
        )
    said = f"{row.name} is signed as version {row.version}: {row.effect}, risk {row.risk}."
    answers.give(_as_json(row), said)


def _disable_arguments(parser: ArgumentParser) -> None:
    _one(parser)
    add_reason(parser)


def _disable(answers: Answers, options: dict[str, Any]) -> None:
    by = actor(options["by"], review.PERMISSION, _MAY)
    with _in_exit_codes():
        row = review.disable(options["tool"], actor=by, reason=options["reason"])
    answers.give(_as_json(row), f"{row.name} is disabled: no call of it is sent.")


@contextmanager
def _in_exit_codes() -> Iterator[None]:
    try:
        yield
    except (servers.UnknownServer, review.NoSuchTool) as error:
        raise no(Exit.NOT_FOUND, f"{error}.") from error
    except review.NotPossible as error:
        raise no(Exit.REFUSED, str(error)) from error
    except ToolError as error:
        raise no(Exit.FAILED, f"{str(error).rstrip('.')}.") from error


def _as_json(row: RemoteTool) -> dict[str, Json]:
    plain = ("name", "server", "remote", "state", "version", "effect", "risk", "reason", "problem")
    digests = ("signed_digest", "offered_digest", "signed_by")
    told: dict[str, Json] = {name: getattr(row, name) for name in (*plain, *digests)}
    return {**told, "signed_at": moment(row.signed_at), "seen_at": moment(row.seen_at)}


def _table(rows: list[RemoteTool]) -> str:
    if not rows:
        return "There are no tools of MCP servers."
    return table(_HEADS, [_line(row) for row in rows])


def _line(row: RemoteTool) -> tuple[str, ...]:
    why = plain_text(row.problem or row.reason, 200)
    return row.name, row.state, str(row.version), row.effect, row.risk, why


def _readable(value: Any) -> str:
    """JSON as text that hides nothing, whatever the server wrote."""
    lines = json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    return "\n".join(f"  {plain_text(line)}" for line in lines)


_VERBS = [
    Verb("sync", "read what a server offers, and note what changed", _sync_arguments, _sync),
    Verb("list", "every tool of a server that was ever read, and how it stands", no_arguments, _list),
    Verb("show", "what a server offers under one name, and what was signed", _one, _show),
    Verb("sign", "let one be called, as it is offered now", _sign_arguments, _sign),
    Verb("disable", "have one called no longer", _disable_arguments, _disable),
]


def _arguments(parser: ArgumentParser) -> None:
    add_verbs(parser, _VERBS)


def _no_verb(answers: Answers, options: dict[str, Any]) -> None:
    raise no(Exit.USAGE, "Say what to do: sync, list, show, sign or disable.")


VERB = Verb("mcp", "tools of MCP servers: sync, list, show, sign, disable", _arguments, _no_verb)
