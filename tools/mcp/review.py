"""The verbs of people over tools of MCP servers: sync, sign, disable; and what disables one by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from tools import actors
from tools.clock import db_now
from tools.effects import Effect, Risk
from tools.mcp.offers import Offer, local_name
from tools.mcp.rows import RemoteState, RemoteTool
from tools.mcp.servers import Server
from tools.preview import plain_text

PERMISSION = "tools.sign_remotetool"
CHANGED = "Its description or schemas changed since it was signed"
GONE = "Its server offers it no longer"


class NoSuchTool(LookupError):
    """No tool of an MCP server has this name here."""


class NotPossible(Exception):
    """A tool of an MCP server cannot be signed or disabled as it stands; says why."""


@dataclass
class Synced:
    """What a sync found: the tools as they stand now, and why others were left out."""

    tools: list[RemoteTool] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def take(server: Server, offers: Mapping[str, Offer], *, actor: str) -> Synced:
    """Write down what `server` offers. What is new is seen, what was signed and changed is disabled."""
    synced, taken = Synced(), set()
    with actors.acting_as(actor):
        for remote in sorted(offers):
            name, problem = local_name(server.name, remote), offers[remote].problem
            with transaction.atomic():
                row = _locked(name)
                if name in taken or (row is not None and row.remote != remote):
                    problem = problem or f"another tool of {server.name} is called {name} here"
                elif row is not None:
                    _compare(row, offers[remote], db_now())
                elif not problem:
                    _new(server, name, offers[remote], db_now())
            taken.add(name)
            if problem:
                synced.left_out.append(f"{plain_text(remote, 100)}: {plain_text(problem, 300)}")
        _heed_gone(server, offers)
    synced.tools = list(RemoteTool.objects.filter(server=server.name).order_by("name"))
    return synced


def heed(server: Server, offers: Mapping[str, Offer]) -> None:
    """Disable every signed tool of `server` that it now offers otherwise than signed, or not at all."""
    with actors.acting_as(actors.SYSTEM):
        for row in RemoteTool.objects.filter(server=server.name, state=RemoteState.SIGNED):
            now = offers.get(row.remote)
            if now is not None and now.digest == row.signed_digest:
                continue
            with transaction.atomic():
                locked = _locked(row.name)
                if locked is not None and now is not None:
                    _compare(locked, now, db_now())
        _heed_gone(server, offers)


def one(name: str) -> RemoteTool:
    """The tool of this name. Raises NoSuchTool."""
    row = RemoteTool.objects.filter(name=name).first()
    if row is None:
        raise NoSuchTool(f"There is no tool {name} of an MCP server; manage.py tools mcp sync reads them")
    return row


def sign(
    name: str,
    *,
    actor: str,
    reason: str,
    effect: Effect | str = "",
    risk: Risk | str = "",
    seen: str = "",
) -> RemoteTool:
    """Let the tool be called as it is offered now, as `effect` and `risk` (as before where left out).

    `seen` is the digest of what the person read, or its beginning. Raises NoSuchTool and NotPossible.
    """
    with actors.acting_as(actor), transaction.atomic():
        row = _row(name)
        if not row.offered or row.problem:
            why = row.problem or row.reason or "its server does not offer it"
            raise NotPossible(f"{name} cannot be signed: {why}.")
        if seen and not row.offered_digest.startswith(seen):
            raise NotPossible(f"{name} changed since you read it: its digest is {row.offered_digest} now.")
        row.sign()
        row.version += 1
        row.effect = Effect(effect or row.effect).value
        row.risk = Risk(risk or row.risk).value
        row.signed, row.signed_digest = row.offered, row.offered_digest
        row.signed_by, row.signed_at, row.reason = actor, db_now(), reason
        row.save()
    return row


def disable(name: str, *, actor: str, reason: str) -> RemoteTool:
    """Have the tool called no longer. Raises NoSuchTool, and NotPossible when it is disabled already."""
    with actors.acting_as(actor), transaction.atomic():
        row = _row(name)
        if row.state == RemoteState.DISABLED:
            raise NotPossible(f"{name} is disabled already: {row.reason}")
        _disable(row, reason)
        row.save()
    return row


def _new(server: Server, name: str, offered: Offer, at: datetime) -> None:
    RemoteTool(
        name=name,
        server=server.name,
        remote=offered.remote,
        offered=offered.contract,
        offered_digest=offered.digest,
        hints=offered.hints,
        seen_at=at,
    ).save()


def _compare(row: RemoteTool, now: Offer, at: datetime) -> None:
    """Take over what is offered now; what was signed otherwise is disabled."""
    before = (row.offered_digest, row.problem, row.hints, row.state)
    row.problem = now.problem
    row.offered = None if now.problem else now.contract
    row.offered_digest = "" if now.problem else now.digest
    row.hints = now.hints
    if row.state == RemoteState.SIGNED and row.offered_digest != row.signed_digest:
        _disable(row, CHANGED)
    if before != (row.offered_digest, row.problem, row.hints, row.state):
        row.seen_at = at
        row.save()


def _heed_gone(server: Server, offers: Mapping[str, Offer]) -> None:
    for row in RemoteTool.objects.filter(server=server.name).exclude(remote__in=list(offers)):
        with transaction.atomic():
            locked = _locked(row.name)
            if locked is None or not locked.offered:
                continue
            locked.offered, locked.offered_digest, locked.seen_at = None, "", db_now()
            if locked.state == RemoteState.SIGNED:
                _disable(locked, GONE)
            else:
                locked.reason = GONE
            locked.save()


def _disable(row: RemoteTool, reason: str) -> None:
    row.disable()
    row.reason = reason


def _locked(name: str) -> RemoteTool | None:
    return RemoteTool.objects.select_for_update().filter(name=name).first()


def _row(name: str) -> RemoteTool:
    return _locked(name) or one(name)
