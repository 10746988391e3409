"""The verbs of the kill switch: to stop, to release, and to say what is under way and what waits."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from tools import orders, ports, registry
from tools.actors import acting_as, plain_name
from tools.canonical import new_id
from tools.clock import db_now
from tools.effects import Effect
from tools.orders import Begun, Stop, scope_of
from tools.switch import Switch, SwitchKind, SwitchState, Then, Waiting

PERMISSION = "tools.switch_tool"
MAX_REASON = 2000


class NothingToStop(LookupError):
    """There is no tool, agent or workflow of that name, or no such kind or effect."""


class NoSuchSwitch(LookupError):
    """There is no switch of that id."""


class NotOn(Exception):
    """The switch was released before."""


class ReasonMissing(ValueError):
    """Whoever stops or releases says why, and not at too great a length."""


def kill(kind: str, name: str = "", *, reason: str, by: str) -> Switch:
    """Stop what `kind` and `name` say: when this returns, nothing of it is begun any more.

    What is under way ends and is recorded. A switch on the same that is on already is returned as it is.
    `by` is an actor such as ``user:omar``. Raises NothingToStop, ReasonMissing.
    """
    name, reason = _known(kind, name), _said(reason)
    try:
        with transaction.atomic(), acting_as(by):
            orders.give()
            there = Switch.objects.filter(kind=kind, name=name, state=SwitchState.ON).first()
            if there is not None:
                return there
            switch = Switch(id=new_id("sw"), kind=kind, name=name, reason=reason, by=by, at=db_now())
            switch._change_reason = reason  # type: ignore[attr-defined]
            switch.save(force_insert=True)
            return switch
    finally:
        orders.forget()


def release(switch_id: str, *, then: Then | str, reason: str, by: str) -> Switch:
    """Let what the switch stopped be begun again; the runs that waited go on, or are paused, by `then`.

    They are dealt with by the caretakers, within seconds. Raises NoSuchSwitch, NotOn, ReasonMissing, and
    ValueError for another `then`.
    """
    then, reason = Then(then), _said(reason)
    try:
        with transaction.atomic(), acting_as(by):
            orders.give()
            switch = _found(switch_id)
            if switch.state != SwitchState.ON:
                ended = f"{switch.released_at:%Y-%m-%d %H:%M} UTC" if switch.released_at else "some time ago"
                raise NotOn(f"{plain_name(switch.released_by)} released {switch_id} at {ended}")
            switch.release()
            switch.released_by, switch.released_at = by, db_now()
            switch.release_reason, switch.then = reason, then.value
            switch._change_reason = reason  # type: ignore[attr-defined]
            switch.save()
            return switch
    finally:
        orders.forget()


def _found(switch_id: str) -> Switch:
    switch = Switch.objects.select_for_update().filter(pk=switch_id).first()
    if switch is None:
        raise NoSuchSwitch(f"There is no switch {switch_id}; `manage.py tools switches` lists them")
    return switch


def _said(reason: str) -> str:
    text = reason.strip()
    if not text or len(text) > MAX_REASON or "\0" in text:
        raise ReasonMissing(f"Say why, in at most {MAX_REASON} characters: it is kept with the switch")
    return text


def names_of(kind: str) -> list[str]:
    """What a switch of that kind can name here."""
    if kind == SwitchKind.EFFECT:
        return [effect.value for effect in Effect]
    if kind == SwitchKind.TOOL:
        return [tool.name for tool in registry.all_tools()]
    return [] if kind == SwitchKind.EVERYTHING else sorted(set(ports.names_of(kind)))


def _known(kind: str, name: str) -> str:
    """The name, if there is such a thing: a slip of the pen must not be taken for a stop."""
    if kind not in set(SwitchKind):
        kinds = ", ".join(each.value for each in SwitchKind)
        raise NothingToStop(f"There is nothing of the kind {kind} to stop; there is {kinds}")
    if kind == SwitchKind.EVERYTHING:
        if name:
            raise NothingToStop(f"Everything has no name: leave {name} out, or say what kind of thing it is")
        return ""
    there = names_of(kind)
    if name not in there:
        known = f"; there is {', '.join(there)}" if there else ""
        raise NothingToStop(f"There is no {kind} called {name or 'nothing'}{known}")
    return name


# What to tell people


def under_way(kind: str, name: str) -> list[Begun]:
    """What a switch of that kind and name cannot stop any more: it has begun, and ends by itself."""
    stop = Stop("", kind, name, "", "", db_now())
    return [begun for begun in ports.in_hand() if stop.covers(begun.subject)]


def waiting_runs(switch_id: str) -> int:
    """How many runs wait for the release of that switch."""
    rows = Waiting.objects.filter(order=switch_id).order_by()
    return ports.still_wait(list(rows.values_list("run_id", flat=True).distinct()))


def in_words(begun: Iterable[Begun]) -> str:
    """What is under way, in a sentence."""
    known = list(begun)
    calls = sum(bool(each.subject.tool) for each in known)
    counted = [_some(calls, "call"), _some(len(known) - calls, "model request")]
    there = [words for words in counted if words]
    if not there:
        return "Nothing that it stops is under way."
    verb = "was" if len(known) == 1 else "were"
    ends = "ends and is recorded" if len(known) == 1 else "end and are recorded"
    return f"{' and '.join(there).capitalize()} {verb} begun before and {ends}."


def wait_in_words(runs: int) -> str:
    """How many runs wait, in a sentence."""
    if not runs:
        return "No run waits for it."
    return f"{_some(runs, 'run')} {'waits' if runs == 1 else 'wait'} for its release."


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else ""


def scope(switch: Switch) -> str:
    """What the switch stops, in words."""
    return scope_of(switch.kind, switch.name)
