"""Telling runs something: send, answer."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from runs import services
from runs.cli import people, words
from runs.cli.answers import Answers, Exit, Verb, no, read_value
from runs.models import Step
from runs.states import StepState


def _send_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    parser.add_argument("name", help="the name of the message that the run waits for")
    parser.add_argument("--payload", default="null", help="JSON, @FILE, or - for standard input")
    parser.add_argument("--key", default="", help="your own id of it: sent twice, kept once")
    people.add_by(parser)


def _send(answers: Answers, options: dict[str, Any]) -> None:
    payload = read_value(options["payload"])
    actor = people.actor(options["by"], people.SEND, "send messages to runs")
    message = services.send_message(options["run"], options["name"], payload, actor=actor, key=options["key"])
    told = {
        "id": message.id,
        "run": message.run_id,
        "name": message.name,
        "sent_at": message.sent_at.isoformat(),
    }
    answers.give(told, f"{message.id}  {message.name}  to {message.run_id}")


def _answer_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("question", help="the id of the question (stp_…), or of a run that asks one thing")
    parser.add_argument("--value", required=True, help="the answer as JSON, @FILE, or - for standard input")
    people.add_by(parser)


def _answer(answers: Answers, options: dict[str, Any]) -> None:
    value = read_value(options["value"])
    by = people.person(options["by"])
    step = services.answer_question(_question(options["question"]), value, by=by)
    run = services.found_run(step.run_id)
    told = {"question": step.id, "run": step.run_id, "state": step.state}
    answers.give(told, f"{step.id} is answered.  {words.line(run)}")


def _question(given: str) -> str:
    """The id of the question that is meant. Raises CommandError when a run asks none, or several things."""
    if not given.startswith("run_"):
        return given
    services.found_run(given)
    held = Step.objects.filter(run_id=given, kind="question", state=StepState.HELD)
    asked = list(held.exclude(path__contains="~").values_list("id", flat=True))
    if not asked:
        raise no(Exit.CONFLICT, f"{given} asks nothing at present.")
    if len(asked) > 1:
        raise no(Exit.USAGE, f"{given} asks {len(asked)} questions; name one: {', '.join(asked)}.")
    return asked[0]


VERBS = [
    Verb("send", "give a run a named message", _send_arguments, _send),
    Verb("answer", "answer the question of a run", _answer_arguments, _answer),
]
