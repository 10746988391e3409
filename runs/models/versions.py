"""Which versions of a workflow may start runs, and on whose word."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django_fsm import FSMField, transition

from runs.history import stamped_history
from tools.states import StateModel


class VersionState(StrEnum):
    """Where a version of a workflow stands."""

    DEPLOYED = "deployed"  # its code is there; nobody has activated it
    ACTIVE = "active"  # it may start runs
    RETIRED = "retired"  # its runs go on, it starts no new ones


class WorkflowVersion(StateModel):
    """One version of one workflow, and the person who let it start runs."""

    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    state = FSMField(
        default=VersionState.DEPLOYED.value,
        protected=True,
        choices=[(s.value, s.value) for s in VersionState],
    )
    code = models.CharField(max_length=64, blank=True, help_text="Digest of the code that was activated.")
    activated_by = models.CharField(max_length=160, blank=True)
    activated_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True, help_text="Why it was activated or retired.")

    history = stamped_history()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="version_once_a_name")]
        permissions = [("activate_workflow", "Can activate and retire versions of workflows")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    # Transitions

    @transition(
        field=state,
        source=[VersionState.DEPLOYED.value, VersionState.ACTIVE.value, VersionState.RETIRED.value],
        target=VersionState.ACTIVE.value,
    )
    def activate(self) -> None:
        """A named person lets it, with this code, start runs."""

    @transition(field=state, source=VersionState.ACTIVE.value, target=VersionState.RETIRED.value)
    def retire(self) -> None:
        """It starts no more runs."""
