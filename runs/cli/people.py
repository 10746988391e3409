"""The rights that the verbs of ``manage.py runs`` ask for, and in whose name they act."""

from __future__ import annotations

from tools.cli.people import actor, add_by, add_reason, person

__all__ = ["CONTROL", "SEND", "START", "TECHNICAL", "actor", "add_by", "add_reason", "person"]

START, CONTROL = "runs.start_run", "runs.control_run"
SEND, TECHNICAL = "runs.send_message", "runs.view_technical"
