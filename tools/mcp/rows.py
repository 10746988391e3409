"""What is known of each tool of each MCP server: what was signed, by whom, and what the server offers now."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django_fsm import FSMField, transition

from tools.effects import Effect, Risk
from tools.history import stamped_history
from tools.states import StateModel


class RemoteState(StrEnum):
    """Where a tool of an MCP server stands."""

    SEEN = "seen"  # its server offers it; nobody has signed it
    SIGNED = "signed"  # it may be called as it was when a named person signed it
    DISABLED = "disabled"  # it is not called: it changed, is gone, or a person disabled it


class RemoteTool(StateModel):
    """One tool of an MCP server. What may be called is what was signed, whatever the server offers now."""

    name = models.CharField(max_length=64, help_text="What it is called here.")
    server = models.CharField(max_length=20)
    remote = models.CharField(max_length=200, help_text="What its server calls it.")
    state = FSMField(
        default=RemoteState.SEEN.value,
        protected=True,
        choices=[(state.value, state.value) for state in RemoteState],
    )
    version = models.PositiveIntegerField(default=0, help_text="Counts what was signed, from 1.")
    effect = models.CharField(
        max_length=12,
        default=Effect.IRREVERSIBLE.value,
        choices=[(effect.value, effect.value) for effect in Effect],
    )
    risk = models.CharField(
        max_length=12, default=Risk.HIGH.value, choices=[(risk.value, risk.value) for risk in Risk]
    )
    signed = models.JSONField(null=True, help_text="The title, description and schemas that were signed.")
    signed_digest = models.CharField(max_length=64, blank=True)
    signed_by = models.CharField(max_length=160, blank=True)
    signed_at = models.DateTimeField(null=True)
    offered = models.JSONField(null=True, help_text="What its server offers now, as far as we know.")
    offered_digest = models.CharField(max_length=64, blank=True)
    hints = models.JSONField(default=dict, help_text="What its server says of it; nothing follows from it.")
    problem = models.TextField(blank=True, help_text="Why it cannot be signed.")
    reason = models.TextField(blank=True, help_text="Why it stands as it does.")
    seen_at = models.DateTimeField(help_text="When its offer was last read by sync, or found changed.")

    history = stamped_history()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name"], name="remote_tool_once"),
            models.UniqueConstraint(fields=["server", "remote"], name="remote_tool_once_a_server"),
        ]
        permissions = [("sign_remotetool", "Can sign and disable tools of MCP servers")]
        verbose_name = "tool of an MCP server"
        verbose_name_plural = "tools of MCP servers"

    def __str__(self) -> str:
        return self.name

    # Transitions

    @transition(field=state, source="*", target=RemoteState.SIGNED.value)
    def sign(self) -> None:
        """A named person lets it be called as it is offered now."""

    @transition(
        field=state,
        source=[RemoteState.SEEN.value, RemoteState.SIGNED.value],
        target=RemoteState.DISABLED.value,
    )
    def disable(self) -> None:
        """It changed, is gone, or a person wants it called no longer."""
