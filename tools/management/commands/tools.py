"""``manage.py tools``: what may be done, and what became of calls that nobody knows the outcome of.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 no such call or person, 5 refused, 6 somebody else was first.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from tools import registry, services
from tools.canonical import Json, NotJson, parse
from tools.clock import db_now
from tools.command import PlainCommand
from tools.contract import Tool
from tools.models import ToolCall
from tools.unknown import CannotLook, Outcome, too_early

FAILED, USAGE, NOT_FOUND, REFUSED, CONFLICT = 1, 2, 4, 5, 6


class Command(PlainCommand):
    """Lists tools, lists calls whose outcome is unknown, and settles them."""

    help = "List tools; list and reconcile tool calls whose outcome is unknown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="every tool with its effect, risk and hooks")
        listing.add_argument("--json", action="store_true", help="with the contracts, as JSON")
        unknown = verbs.add_parser("unknown", help="the calls whose outcome nobody knows, the oldest first")
        unknown.add_argument("--json", action="store_true", help="as JSON")
        self._add_reconcile(verbs.add_parser("reconcile", help="settle a call whose outcome is unknown"))

    def _add_reconcile(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "call", nargs="?", default="", help="its id; with --probe, every unknown call if left out"
        )
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--happened", action="store_true", help="you made sure that it happened")
        how.add_argument("--did-not-happen", action="store_true", help="you made sure that it did not")
        how.add_argument("--probe", action="store_true", help="ask the tool's own lookup")
        parser.add_argument("--result", default="", help="with --happened: what it returned, as JSON")
        parser.add_argument("--note", default="", help="how you know")
        parser.add_argument(
            "--by", default="", metavar="USERNAME", help="who you are; recorded in the journal"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            self._list(as_json=options["json"])
        elif options["verb"] == "unknown":
            self._unknown(as_json=options["json"])
        elif options["probe"]:
            self._probe(options["call"], options["by"])
        else:
            self._settle(options)

    def _list(self, as_json: bool) -> None:
        if as_json:
            self._say_json([_described(tool) for tool in registry.all_tools()])
            return
        heads = ("tool", "version", "effect", "risk", "timeout", "hooks")
        self._say_table(heads, [_row(tool) for tool in registry.all_tools()], "There are no tools.")

    def _unknown(self, as_json: bool) -> None:
        now = db_now()
        calls = [_in_doubt(call, bool(too_early(call, now))) for call in ToolCall.objects.unknown()]
        if as_json:
            self._say_json(calls)
            return
        columns = ("call", "tool", "run", "started_at", "not_before", "key")
        rows = [tuple(str(call[column]) for column in columns) for call in calls]
        self._say_table(columns, rows, "No call has an unknown outcome.")

    def _settle(self, options: dict[str, Any]) -> None:
        for name in ("call", "note", "by"):
            if not options[name]:
                where = "the id of the call" if name == "call" else f"--{name}"
                raise CommandError(f"To settle a call by hand, give {where} as well.", returncode=USAGE)
        outcome = Outcome.HAPPENED if options["happened"] else Outcome.DID_NOT_HAPPEN
        result, by = _result(options["result"]), _actor(options["by"])
        try:
            call = services.settle(options["call"], outcome, result, note=options["note"], by=by)
        except services.CallNotFound as error:
            raise CommandError(f"{error}.", returncode=NOT_FOUND) from error
        except services.NotUnknown as error:
            raise CommandError(f"{error}.", returncode=CONFLICT) from error
        except services.SettlementRefused as error:
            raise CommandError(f"{error}.", returncode=REFUSED) from error
        self.stdout.write(f"{call.id} is settled as {call.state}; a run that waits for it goes on.")

    def _probe(self, call_id: str, username: str) -> None:
        by = _actor(username) if username else "caretaker"
        calls = [call_id] if call_id else list(ToolCall.objects.unknown().values_list("pk", flat=True))
        failures = 0
        for one in calls:
            try:
                self.stdout.write(f"{one}: {services.probe(one, by).sentence}")
            except services.CallNotFound as error:
                raise CommandError(f"{error}.", returncode=NOT_FOUND) from error
            except services.NotUnknown as error:
                if call_id:
                    raise CommandError(f"{error}.", returncode=CONFLICT) from error
            except (CannotLook, services.SettlementRefused) as error:
                failures += 1
                self.stderr.write(f"{one}: {error}")
        if not calls:
            self.stdout.write("No call has an unknown outcome.")
        if failures:
            raise CommandError(f"{failures} of {len(calls)} calls could not be looked up.", returncode=FAILED)

    def _say_json(self, value: Json) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))

    def _say_table(self, heads: tuple[str, ...], rows: list[tuple[str, ...]], nothing: str) -> None:
        if not rows:
            self.stdout.write(nothing)
            return
        widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
        for row in [heads, *rows]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write(line.rstrip())


def _hooks(tool: Tool) -> list[str]:
    return [hook for hook in ("preview", "lookup", "precondition", "facts") if tool.has(hook)]


def _row(tool: Tool) -> tuple[str, ...]:
    hooks = ", ".join(_hooks(tool))
    return tool.name, str(tool.version), str(tool.effect), str(tool.risk), f"{tool.timeout:g} s", hooks


def _described(tool: Tool) -> dict[str, Json]:
    plain = ("name", "title", "description", "version", "effect", "risk", "reversibility", "timeout", "queue")
    return {
        **{name: getattr(tool, name) for name in plain},
        "rollback": tool.rollback,
        "hooks": _hooks(tool),
        "contract_digest": tool.contract_digest,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
    }


def _in_doubt(call: ToolCall, waiting: bool) -> dict[str, Json]:
    return {
        "call": call.id,
        "tool": call.tool,
        "effect": call.effect,
        "run": call.run_id,
        "step": call.step_id,
        "attempt": call.attempt,
        "key": call.key,
        "started_at": call.started_at.isoformat(timespec="seconds"),
        "not_before": call.not_before.isoformat(timespec="seconds") if call.not_before else None,
        "may_be_settled": not waiting,
        "error": call.error,
    }


def _result(text: str) -> Json:
    try:
        return parse(text) if text else None
    except NotJson as error:
        raise CommandError(f"--result cannot be read: {error}.", returncode=USAGE) from error


def _actor(username: str) -> str:
    people = get_user_model()._default_manager.filter(is_active=True)
    if not people.filter(**{get_user_model().USERNAME_FIELD: username}).exists():
        raise CommandError(
            f"There is no active user called {username}; give the name you sign in with.",
            returncode=NOT_FOUND,
        )
    return f"user:{username}"
