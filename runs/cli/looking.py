"""Looking at runs: workflows, list, show, watch."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from runs import workflow
from runs.cli import people, words
from runs.cli.answers import Answers, Exit, Verb, ended_badly, no
from runs.crew.workers import anyone_listens_to, how_to_start
from runs.models import JournalEntry, Run, WorkflowVersion
from runs.services import found_run
from runs.states import RunState

EVERY = 0.5  # seconds between two looks at the journal


def _no_arguments(parser: ArgumentParser) -> None:
    pass


def _workflows(answers: Answers, options: dict[str, Any]) -> None:
    states = {(row.name, row.version): row.state for row in WorkflowVersion.objects.all()}
    known = workflow.all_workflows()
    told = [
        {
            "name": each.name,
            "version": each.version,
            "state": states.get((each.name, each.version), "deployed"),
            "description": each.description,
            "owner": each.owner,
            "unit": each.unit,
        }
        for each in known
    ]
    lines = [f"{e['name']} version {e['version']}, {_STARTS[e['state']]}: {e['description']}" for e in told]
    answers.give(told, "\n".join(lines))


#: The state of a version, in words for whoever wants to start a run of it.
_STARTS = {"deployed": "not active", "active": "active", "retired": "retired"}


def _list_arguments(parser: ArgumentParser) -> None:
    add_choice(parser)
    parser.add_argument("--limit", type=int, default=20, help="at most so many, the newest (20)")


def add_choice(parser: ArgumentParser) -> None:
    """The options that choose runs."""
    states = [state.value for state in RunState]
    parser.add_argument("--state", default="", choices=states, metavar="STATE", help="in this state")
    parser.add_argument("--workflow", default="", metavar="NAME", help="of this workflow")


def chosen(options: dict[str, Any]) -> Any:
    """The runs that the options choose, newest first."""
    wanted = {"state": options["state"], "workflow": options["workflow"]}
    rows = Run.objects.filter(archived_at=None).order_by("-created_at", "-id")
    return rows.filter(**{name: value for name, value in wanted.items() if value})


def _list(answers: Answers, options: dict[str, Any]) -> None:
    if options["limit"] < 1:
        raise no(Exit.USAGE, "--limit: write a whole number above 0.")
    runs = list(chosen(options).defer("input", "output")[: options["limit"]])
    answers.give(
        [words.described(run) for run in runs],
        "\n".join(words.line(run) for run in runs) or "There are no runs.",
    )


def _show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    people.add_by(parser, required=False)


def _show(answers: Answers, options: dict[str, Any]) -> None:
    run = found_run(options["run"])
    technical = sees_contents(options)
    entries = list(JournalEntry.objects.filter(run=run).order_by("seq"))
    told = words.described(run, technical=technical)
    told |= {"journal": [words.entry_described(entry) for entry in entries]}
    inside = words.contents(run) if technical else []
    answers.give(told, "\n".join([words.line(run), *inside, *map(words.entry_line, entries)]))


def sees_contents(options: dict[str, Any]) -> bool:
    """Whether the person named by ``--by``, if one is, may see what runs are given and return."""
    return bool(options["by"]) and people.person(options["by"]).has_perm(people.TECHNICAL)


def _watch_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    add_until(parser)


def add_until(parser: ArgumentParser) -> None:
    """The option that says when to stop watching."""
    parser.add_argument(
        "--until-waiting", action="store_true", help="stop, with 3, when it waits for a person"
    )


def _watch(answers: Answers, options: dict[str, Any]) -> None:
    follow(answers, found_run(options["run"]), until_waiting=options["until_waiting"], technical=False)


def follow(answers: Answers, run: Run, *, until_waiting: bool, technical: bool) -> None:
    """Write the journal of `run` as it grows, until its end. Raises CommandError unless it succeeded."""
    try:
        entries = _follow(answers, run, until_waiting)
    except KeyboardInterrupt:
        raise ended_badly(Exit.STOPPED, f"Stopped watching; {run.id} goes on.") from None
    told = words.described(run, technical=technical)
    told |= {"journal": [words.entry_described(entry) for entry in entries]}
    answers.give(told, "\n".join([words.line(run), *(words.contents(run) if technical else [])]))
    if not run.ended:
        raise ended_badly(Exit.WAITING, f"{run.id} waits for a person.")
    if run.state != RunState.SUCCEEDED:
        raise ended_badly(Exit.FAILED, f"{run.id} has {run.state.replace('cancelled', 'been cancelled')}.")


def _follow(answers: Answers, run: Run, until_waiting: bool) -> list[JournalEntry]:
    seen: list[JournalEntry] = []
    _say_if_nobody_works(answers, run)
    while True:
        # The run first: whatever its end wrote into the journal is there then.
        run.refresh_from_db()
        waits = until_waiting and words.needs_a_person(run)
        last = seen[-1].seq if seen else 0
        for entry in JournalEntry.objects.filter(run=run, seq__gt=last).order_by("seq"):
            seen.append(entry)
            answers.line(words.entry_line(entry))
        if run.ended or waits:
            return seen
        time.sleep(EVERY)


def _say_if_nobody_works(answers: Answers, run: Run) -> None:
    if not run.ended and not anyone_listens_to(run.queue):
        said = f"No worker takes runs from the queue {run.queue}: {run.id} goes on once one is started"
        answers.aside(f"{said}, with python3 manage.py up or {how_to_start(run.queue)}.")


VERBS = [
    Verb("workflows", "the workflows that can be started", _no_arguments, _workflows),
    Verb("list", "the newest runs", _list_arguments, _list),
    Verb("show", "one run with its journal", _show_arguments, _show),
    Verb("watch", "follow the journal of a run until its end", _watch_arguments, _watch),
]
