"""What a token may be given: each scope, in words. None of them lets a token do what a person must do."""

from __future__ import annotations

RUNS_READ = "runs:read"
RUNS_START = "runs:start"
RUNS_CONTROL = "runs:control"
MESSAGES_SEND = "messages:send"
APPROVALS_READ = "approvals:read"
CALLS_READ = "calls:read"
TECHNICAL_READ = "technical:read"

SCOPES: dict[str, str] = {
    RUNS_READ: "See runs, their steps, journals and artifacts, workflows and schedules",
    RUNS_START: "Start runs",
    RUNS_CONTROL: "Pause, resume, cancel, retry, fork and replay runs",
    MESSAGES_SEND: "Send named messages to runs",
    APPROVALS_READ: "See approvals and what became of them",
    CALLS_READ: "See tool calls whose outcome is unknown",
    TECHNICAL_READ: "See inputs, arguments, results and contents",
}
