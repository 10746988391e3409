"""Sending a named message to a run: kept until the run asks for it, taken once."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Message, Run, Step
from runs.services.record import NotPossible, append_entries, lock_run
from runs.services.standing import how_it_stands
from runs.services.waking import wake
from runs.states import RunState, StepState
from runs.steps.message import NAME, InvalidMessage
from runs.turns.checkpoint import own_transaction
from runs.typed import problems
from tools.canonical import NotJson, digest, new_id, normalise

__all__ = ["InvalidMessage", "TooManyMessages", "send_message"]

MAX_KEY = 200


class TooManyMessages(Exception):  # noqa: N818 - read as a sentence where it is caught
    """The run has not taken so many messages yet that it is given no more; nothing was written."""

    def __init__(self, run_id: str, limit: int) -> None:
        super().__init__(
            f"{run_id} has {limit} messages or more that it has not taken, and HOLDPOINT_MESSAGE_LIMIT is "
            f"{limit}: send it again once the run has taken some, or raise the limit."
        )
        self.run_id, self.limit = run_id, limit


def send_message(run_id: str, name: str, payload: Any, *, actor: str, key: str = "") -> Message:
    """Give the run the message `name` with the JSON `payload` (at most 256 KiB), from `actor`.

    With a `key`, sending it again gives back the first message and does nothing. Raises NotFound,
    NotPossible when the run has ended, InvalidMessage for a name or payload that cannot be, or that does not
    fit the type for which the run waits, and TooManyMessages when the run has not taken as many as it may
    have; one that it waits for is always taken.
    """
    plain = _checked(name, payload, key)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        sent = Message.objects.filter(run=run, key=key).first() if key else None
        if sent is not None:
            return sent
        if run.ended:
            raise NotPossible(f"{how_it_stands(run)} Nobody would take the message {name}.")
        waiting = _waiting_steps(run, name)
        there = Message.objects.filter(run=run, name=name, taken_by="").count() if waiting else 0
        if there >= len(waiting):
            _refuse_if_full(run)
        else:
            _must_fit(name, plain, waiting)
        message = Message(
            id=new_id("msg"), run=run, name=name, payload=plain, sender=actor, key=key, sent_at=db_now()
        )
        message.save(force_insert=True)
        content = {"message": message.id, "name": name, "payload": digest(plain)}
        entry = Entry("message.received", f"{plain_name(actor)} sent the message {name}", content)
        if run.state != RunState.WAITING or waiting:
            wake(run, [entry], actor=actor)
        else:
            # It waits for something else and need not look: the message is here when it asks.
            append_entries(run, [entry], actor=actor)
    return message


def _checked(name: str, payload: Any, key: str) -> Any:
    if not NAME.fullmatch(name):
        said = "its name needs letters, digits and . _ : - (at most 100)"
        raise InvalidMessage(name[:100], [said])
    if len(key) > MAX_KEY or "\x00" in key:
        raise InvalidMessage(name, [f"its key may have {MAX_KEY} characters at most"])
    try:
        return normalise(payload)
    except NotJson as error:
        raise InvalidMessage(name, [str(error)]) from None


def _waiting_steps(run: Run, name: str) -> list[Step]:
    steps = Step.objects.filter(run=run, kind="message", name=name, state=StepState.WAITING.value)
    return list(steps.exclude(path__contains="~"))


def _refuse_if_full(run: Run) -> None:
    """Raises TooManyMessages, for a message that no step waits for."""
    limit = settings.HOLDPOINT_MESSAGE_LIMIT
    untaken = Message.objects.filter(run=run, taken_by="").order_by().values("run_id")
    # No full count: the row after which there are too many is there, or it is not.
    if limit and untaken[limit - 1 : limit].exists():
        raise TooManyMessages(run.id, limit)


def _must_fit(name: str, payload: Any, waiting: list[Step]) -> None:
    """Refuse what no step that waits for it could take. With others before it nobody can know who will."""
    found = [problems((step.arguments or {}).get("schema") or {}, payload) for step in waiting]
    if all(found):
        raise InvalidMessage(name, found[0])
