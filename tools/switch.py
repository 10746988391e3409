"""The kill switch as rows: what people have stopped, and the steps that wait for it."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from tools.history import stamped_history
from tools.states import StateModel


class SwitchKind(StrEnum):
    """What a switch stops."""

    EVERYTHING = "everything"  # every tool call and model request
    EFFECT = "effect"  # the calls of one effect; `write` stops what is irreversible too
    TOOL = "tool"
    AGENT = "agent"  # its model requests and its calls
    WORKFLOW = "workflow"  # whatever its runs would do


class SwitchState(StrEnum):
    """Whether it stops anything."""

    ON = "on"
    RELEASED = "released"


class Then(StrEnum):
    """What becomes of the runs that waited, once a switch is released."""

    RESUME = "resume"  # they go on
    LEAVE = "leave"  # they are paused, each for a person to resume


class Switch(StateModel):
    """One order to stop, by a person, and its end."""

    id = models.CharField(primary_key=True, max_length=32)
    kind = models.CharField(max_length=12, choices=[(kind.value, kind.value) for kind in SwitchKind])
    name = models.CharField(max_length=100, blank=True, help_text="Of what; empty when it is everything.")
    state = FSMField(
        default=SwitchState.ON.value,
        protected=True,
        choices=[(state.value, state.value) for state in SwitchState],
    )
    reason = models.TextField()
    by = models.CharField(max_length=160, help_text="The actor, such as user:omar.")
    at = models.DateTimeField(help_text="Nothing that it stops was begun after this moment.")
    released_by = models.CharField(max_length=160, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.TextField(blank=True)
    then = models.CharField(
        max_length=8,
        blank=True,
        choices=[(then.value, then.value) for then in Then],
        help_text="What became of the runs that waited.",
    )

    history = stamped_history()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "switches"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "name"], name="switch_once_a_scope", condition=Q(state="on")
            )
        ]
        permissions = [("switch_tool", "Can stop tools, agents and workflows, and release them")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()

    @transition(field=state, source=SwitchState.ON, target=SwitchState.RELEASED)
    def release(self) -> None:
        """What it stopped may be begun again."""


class Waiting(models.Model):
    """A step that waits for an order to end: written with the wait of its run, gone when the run goes on."""

    id = models.CharField(primary_key=True, max_length=64, help_text="A digest of run, path and order.")
    run_id = models.CharField(max_length=32)
    path = models.TextField()
    tool = models.CharField(max_length=64, blank=True, help_text="Empty for a model request.")
    effect = models.CharField(max_length=12, blank=True)
    order = models.CharField(max_length=32, help_text="The id of the switch.")
    since = models.DateTimeField()

    class Meta:
        verbose_name_plural = "waiting"
        indexes = [models.Index(fields=["order", "run_id"], name="waiting_for_order")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.path} waits for {self.order}"
