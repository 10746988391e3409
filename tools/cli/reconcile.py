"""``tools reconcile``: settle a call whose outcome is unknown, by hand or by the tool's own lookup."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model

from tools import services
from tools.canonical import Json, NotJson, parse
from tools.cli.answers import Answers, Exit, Verb, ended_badly, no
from tools.models import CallState, Outcome, ToolCall
from tools.unknown import CannotLook


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "call", nargs="?", default="", help="its id; with --probe, every unknown call if left out"
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--happened", action="store_true", help="you made sure that it happened")
    how.add_argument("--did-not-happen", action="store_true", help="you made sure that it did not")
    how.add_argument(
        "--cannot-tell", action="store_true", help="you looked and cannot tell: somebody else must"
    )
    how.add_argument("--probe", action="store_true", help="ask the tool's own lookup")
    parser.add_argument("--result", default="", help="with --happened: what it returned, as JSON")
    parser.add_argument("--note", default="", help="how you know")
    parser.add_argument("--reference", default="", help="what the other side calls it")
    parser.add_argument("--seen", help="the last_said that you have read: refused when there is more")
    parser.add_argument("--by", default="", metavar="USERNAME", help="who you are; recorded in the journal")


def _reconcile(answers: Answers, options: dict[str, Any]) -> None:
    (_probe if options["probe"] else _settle)(answers, options)


def _settle(answers: Answers, options: dict[str, Any]) -> None:
    for name in ("call", "note", "by"):
        if not options[name]:
            where = "the id of the call" if name == "call" else f"--{name}"
            raise no(Exit.USAGE, f"To settle a call by hand, give {where} as well.")
    result, by = _result(options["result"]), _actor(options["by"])
    said = {name: options[name] for name in ("note", "reference", "seen")}
    try:
        call = services.settle(options["call"], _outcome(options), result, by=by, **said)
    except services.SaidMeanwhile as error:
        raise no(Exit.CONFLICT, f"{error}.") from error
    told = {"call": call.id, "state": call.state, "settled_by": call.settled_by}
    answers.give(told, f"{call.id} {_then(call, options)}")


def _outcome(options: dict[str, Any]) -> Outcome:
    if options["happened"]:
        return Outcome.HAPPENED
    return Outcome.DID_NOT_HAPPEN if options["did_not_happen"] else Outcome.CANNOT_TELL


def _then(call: ToolCall, options: dict[str, Any]) -> str:
    if call.state != CallState.UNKNOWN:
        return f"is settled as {call.state}; a run that waits for it goes on."
    if options["cannot_tell"]:
        return "stays unknown, and asks for a second look."
    return "stays unknown until another person says the same."


def _probe(answers: Answers, options: dict[str, Any]) -> None:
    one, by = options["call"], _actor(options["by"]) if options["by"] else "caretaker"
    calls = [one] if one else list(ToolCall.objects.unknown().values_list("pk", flat=True))
    told = [said for call in calls if (said := _probed(answers, call, by, alone=bool(one)))]
    if answers.as_json or not calls:
        answers.give(told, "No call has an unknown outcome.")
    failures = sum("error" in said for said in told)
    if failures:
        sentence = f"{failures} of {len(calls)} calls could not be looked up."
        raise ended_badly(Exit.FAILED, sentence)


def _probed(answers: Answers, call: str, by: str, *, alone: bool) -> dict[str, Json] | None:
    """What the lookup says of one call; None when somebody else settled it meanwhile."""
    try:
        finding = services.probe(call, by)
    except services.NotUnknown:
        if alone:
            raise
        return None
    except (CannotLook, services.SettlementRefused) as error:
        answers.aside(f"{call}: {error}")
        return {"call": call, "error": str(error)}
    answers.line(f"{call}: {finding.sentence}")
    outcome = finding.outcome.value if finding.outcome else None
    return {"call": call, "outcome": outcome, "sentence": finding.sentence}


def _result(text: str) -> Json:
    try:
        return parse(text) if text else None
    except NotJson as error:
        raise no(Exit.USAGE, f"--result cannot be read: {error}.") from error


def _actor(username: str) -> str:
    people = get_user_model()._default_manager.filter(is_active=True)
    if not people.filter(**{get_user_model().USERNAME_FIELD: username}).exists():
        raise no(
            Exit.NOT_FOUND,
            f"There is no active user called {username}; give the name you sign in with.",
        )
    return f"user:{username}"


VERB = Verb("reconcile", "settle a call whose outcome is unknown", _arguments, _reconcile)
