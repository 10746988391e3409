"""The verbs on runs: each is one transaction with row, history and journal, and a hint after commit."""

from runs.services.control import resume_run
from runs.services.granting import grant
from runs.services.record import NotPossible, append_entries, lock_run
from runs.services.settling import settle_call
from runs.services.start import start_run
from runs.services.waking import HINT_LOST_AFTER, MAX_CRASHES, SUSPECTS, requeue, rescue_run, wake, wake_due

__all__ = [
    "HINT_LOST_AFTER",
    "MAX_CRASHES",
    "SUSPECTS",
    "NotPossible",
    "append_entries",
    "grant",
    "lock_run",
    "requeue",
    "rescue_run",
    "resume_run",
    "settle_call",
    "start_run",
    "wake",
    "wake_due",
]
