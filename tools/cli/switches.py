"""``tools kill``, ``tools release``, ``tools switches``: stop what would be done, and let it go on."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tools import switches
from tools.actors import plain_name
from tools.canonical import Json
from tools.cli.answers import Answers, Exit, Verb, no, table
from tools.cli.people import actor, add_reason
from tools.switch import Switch, SwitchKind, SwitchState, Then


def _killing(parser: ArgumentParser) -> None:
    parser.add_argument("kind", choices=[kind.value for kind in SwitchKind], help="what kind of thing")
    parser.add_argument("name", nargs="?", default="", help="of what; with effect, for example, write")
    add_reason(parser)


def _kill(answers: Answers, options: dict[str, Any]) -> None:
    by = actor(options["by"], switches.PERMISSION, "stop tools, agents or workflows")
    kind, name = options["kind"], options["name"]
    try:
        switch = switches.kill(kind, name, reason=options["reason"], by=by)
    except switches.NothingToStop as error:
        raise no(Exit.NOT_FOUND, f"{error}.") from error
    except switches.ReasonMissing as error:
        raise no(Exit.USAGE, f"{error}.") from error
    begun = switches.under_way(kind, name)
    under_way = [
        {"run": each.run_id, "step": each.step_id, "tool": each.subject.tool, "since": _moment(each.since)}
        for each in begun
    ]
    said = f"{switches.scope(switch).capitalize()}: stopped since {_moment(switch.at)} by {switch.pk}."
    answers.give({**_told(switch), "under_way": under_way}, f"{said} {switches.in_words(begun)}")


def _releasing(parser: ArgumentParser) -> None:
    parser.add_argument("switch", help="its id, as `tools switches` lists it")
    parser.add_argument(
        "--then",
        choices=[then.value for then in Then],
        required=True,
        help="the runs that waited go on (resume), or are paused for people to resume (leave)",
    )
    add_reason(parser)


def _release(answers: Answers, options: dict[str, Any]) -> None:
    by = actor(options["by"], switches.PERMISSION, "release switches")
    waited = switches.waiting_runs(options["switch"])
    try:
        switch = switches.release(options["switch"], then=options["then"], reason=options["reason"], by=by)
    except switches.NoSuchSwitch as error:
        raise no(Exit.NOT_FOUND, f"{error}.") from error
    except switches.NotOn as error:
        raise no(Exit.CONFLICT, f"{error}.") from error
    except switches.ReasonMissing as error:
        raise no(Exit.USAGE, f"{error}.") from error
    become = "go on" if switch.then == Then.RESUME else "are paused"
    runs = (
        "No run waited for it" if not waited else f"The runs that waited ({waited}) {become} within seconds"
    )
    said = f"{switches.scope(switch).capitalize()}: released. {runs}."
    answers.give({**_told(switch), "waited": waited}, said)


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that were released as well")


def _list(answers: Answers, options: dict[str, Any]) -> None:
    rows = Switch.objects.all() if options["all"] else Switch.objects.filter(state=SwitchState.ON)
    told = [{**_told(row), "waiting_runs": switches.waiting_runs(row.pk)} for row in rows]
    heads = ("switch", "stops", "state", "by", "at", "runs", "reason")
    lines = [
        (one["switch"], one["stops"], one["state"], plain_name(one["by"]), one["at"], one["waiting_runs"])
        for one in told
    ]
    reasons = [str(one["reason"]).replace("\n", " ") for one in told]
    text = [(*map(str, line), reason) for line, reason in zip(lines, reasons, strict=True)]
    answers.give(told, table(heads, text) if text else "Nothing is stopped.")


def _told(switch: Switch) -> dict[str, Any]:
    ended: dict[str, Json] = {}
    if switch.released_at is not None:
        ended = {
            "released_by": switch.released_by,
            "released_at": _moment(switch.released_at),
            "release_reason": switch.release_reason,
            "then": switch.then,
        }
    return {
        "switch": switch.pk,
        "kind": switch.kind,
        "name": switch.name,
        "stops": switches.scope(switch),
        "state": switch.state,
        "reason": switch.reason,
        "by": switch.by,
        "at": _moment(switch.at),
        **ended,
    }


def _moment(at: Any) -> str:
    return str(at.isoformat(timespec="seconds"))


KILL = Verb("kill", "stop everything, an effect, a tool, an agent or a workflow", _killing, _kill)
RELEASE = Verb("release", "let what a switch stopped be begun again", _releasing, _release)
SWITCHES = Verb("switches", "what is stopped, by whom and why", _listing, _list)
