"""``manage.py approvals``: what waits for a decision, one request in full, and deciding it.

Exit codes: 0 done, 2 wrong usage, 4 not found, 5 refused, 6 conflict.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from approvals import queries, services
from approvals.models import Approval
from approvals.refusals import outcome_of
from approvals.states import ReasonCode, Verdict
from runs.cli.answers import Answers, Exit, Verb, add_verbs, answering, no
from runs.cli.people import actor, add_by, person
from runs.gate import Next
from tools.command import PlainCommand

CLIENT = "command"
SEE = "approvals.view_approval"


class Command(PlainCommand):
    """Lists, shows and decides approvals."""

    help = "List, show and decide what waits for a decision."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_verbs(parser, VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        answers = Answers(self.stdout, self.stderr, as_json=options["json"])
        with answering(answers), _in_exit_codes():
            options["act"](answers, options)


def _list_arguments(parser: ArgumentParser) -> None:
    add_by(parser, required=False)
    parser.add_argument("--limit", type=int, default=50, help="at most so many, the most urgent (50)")


def _list(answers: Answers, options: dict[str, Any]) -> None:
    rows = queries.queue_for(person(options["by"])) if options["by"] else queries.open_approvals()
    if options["limit"] < 1:
        raise no(Exit.USAGE, "--limit: write a whole number above 0.")
    shown = list(rows[: options["limit"]])
    lines = [f"{row.id}  {row.risk}  until {row.expires_at:%Y-%m-%d %H:%M} UTC  {row.title}" for row in shown]
    answers.give([_described(row) for row in shown], "\n".join(lines) or "Nothing waits for a decision.")


def _show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("approval")
    add_by(parser)


def _show(answers: Answers, options: dict[str, Any]) -> None:
    actor(options["by"], SEE, "see approvals")
    shown = queries.detail(options["approval"], person(options["by"]))
    row = shown.approval
    decisions = [
        {"by": each.actor, "verdict": each.verdict, "reason": each.reason, "at": each.created_at.isoformat()}
        for each in shown.decisions
    ]
    told = _described(row) | {"arguments": row.arguments, "evidence": row.evidence, "why": row.why}
    told |= {"preview": row.preview, "decisions": decisions, "outcome": shown.outcome.sentence}
    answers.give(told, "\n".join(_told(row, shown)))


def _told(row: Approval, shown: queries.Detail) -> Iterator[str]:
    yield f"{row.id}  {row.title}"
    yield f"{shown.outcome.sentence} Decide by {row.expires_at:%Y-%m-%d %H:%M:%S} UTC."
    yield f"{row.effect}, risk {row.risk}, reversibility {row.reversibility}; {row.policy}: {row.because}"
    if row.why:
        yield f"Why, in the words of whoever proposed it (unverified): {row.why}"
    yield json.dumps(row.arguments, ensure_ascii=False, indent=2)
    for each in shown.decisions:
        yield f"{each.created_at:%Y-%m-%d %H:%M:%S} {each.actor}: {each.verdict} {each.reason}".rstrip()
    yield f"digest {row.digest}"


def _decide_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("approval")
    parser.add_argument("verdict", choices=[verdict.value for verdict in Verdict])
    parser.add_argument(
        "--digest", required=True, help="of what you were shown: `approvals show` ends with it"
    )
    parser.add_argument("--reason", default="", help="why; a no needs one")
    parser.add_argument("--reason-code", default="", choices=["", *ReasonCode], metavar="CODE")
    parser.add_argument("--next", default="", choices=["", *Next], metavar="NEXT", help="after a no (stop)")
    add_by(parser)


def _decide(answers: Answers, options: dict[str, Any]) -> None:
    decision = services.decide(
        options["approval"],
        by=person(options["by"]),
        verdict=options["verdict"],
        digest=options["digest"],
        reason=options["reason"],
        reason_code=options["reason_code"],
        next=options["next"] or None,
        client=CLIENT,
    )
    row = Approval.objects.select_related("group", "run").get(pk=decision.approval_id)
    told = _described(row) | {"decision": decision.pk, "verdict": decision.verdict, "by": decision.actor}
    answers.give(told, f"{row.id}  {outcome_of(row).sentence}")


def _described(row: Approval) -> dict[str, Any]:
    return {
        "id": row.id,
        "run": row.run_id,
        "step": row.step_id,
        "state": row.state,
        "title": row.title,
        "tool": row.tool,
        "effect": row.effect,
        "risk": row.risk,
        "reversibility": row.reversibility,
        "requester": row.requester,
        "policy": row.policy,
        "group": row.group.name if row.group else "",
        "quorum": row.quorum,
        "digest": row.digest,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
    }


@contextmanager
def _in_exit_codes() -> Iterator[None]:
    try:
        yield
    except services.NotFound as error:
        raise no(Exit.NOT_FOUND, str(error)) from error
    except services.NotAllowed as error:
        raise no(Exit.REFUSED, str(error)) from error
    except services.Unclear as error:
        raise no(Exit.USAGE, str(error)) from error
    except (services.AlreadyDecided, services.ExpiredAlready, services.Changed) as error:
        raise no(Exit.CONFLICT, str(error)) from error


VERBS = [
    Verb("list", "what waits for a decision, the most urgent first", _list_arguments, _list),
    Verb("show", "one request, as its page shows it", _show_arguments, _show),
    Verb("decide", "say yes or no to a request", _decide_arguments, _decide),
]
