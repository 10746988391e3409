"""The verbs on runs: each is one transaction with row, history and journal, and a hint after commit."""

from runs.services.answering import InvalidAnswer, NotAllowed, answer_question, who_answered
from runs.services.control import resume_run
from runs.services.granting import grant
from runs.services.message import InvalidMessage, send_message
from runs.services.record import NotPossible, append_entries, lock_run
from runs.services.retiring import archive_run, purge_artifacts, purge_contents
from runs.services.settling import settle_call
from runs.services.start import start_run
from runs.services.waking import HINT_LOST_AFTER, MAX_CRASHES, SUSPECTS, requeue, rescue_run, wake, wake_due

__all__ = [
    "HINT_LOST_AFTER",
    "MAX_CRASHES",
    "SUSPECTS",
    "InvalidAnswer",
    "InvalidMessage",
    "NotAllowed",
    "NotPossible",
    "answer_question",
    "append_entries",
    "archive_run",
    "grant",
    "lock_run",
    "purge_artifacts",
    "purge_contents",
    "requeue",
    "rescue_run",
    "resume_run",
    "send_message",
    "settle_call",
    "start_run",
    "wake",
    "wake_due",
    "who_answered",
]
