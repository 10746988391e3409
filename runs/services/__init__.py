"""The verbs on runs: each is one transaction with row, history and journal, and a hint after commit."""

from runs.messages import HINT_LOST_AFTER, SUSPECTS
from runs.services.activation import NotActive, activate_version, choose_version, retire_version
from runs.services.answering import InvalidAnswer, NotAllowed, answer_question, who_answered
from runs.services.bulk import MOST_AT_ONCE, Forecast, Foreseen, foresee, in_bulk
from runs.services.cancelling import cancel_run
from runs.services.consequences import Consequence, consequence_of
from runs.services.control import pause_run, resume_run
from runs.services.forking import fork_run
from runs.services.granting import grant
from runs.services.message import InvalidMessage, send_message
from runs.services.places import give_places, hand_on, line_up, lines, places_to_hand_on
from runs.services.record import NotFound, NotPossible, append_entries, lock_run
from runs.services.retiring import archive_run, purge_artifacts, purge_contents
from runs.services.retrying import retry_run
from runs.services.settling import settle_call
from runs.services.standing import Standing, possible_with, standing_of
from runs.services.start import DuplicateKey, InvalidStart, QueueFull, new_run, start_run
from runs.services.waking import MAX_CRASHES, requeue, rescue_run, wake, wake_due

__all__ = [
    "HINT_LOST_AFTER",
    "MAX_CRASHES",
    "MOST_AT_ONCE",
    "SUSPECTS",
    "Consequence",
    "DuplicateKey",
    "Forecast",
    "Foreseen",
    "InvalidAnswer",
    "InvalidMessage",
    "InvalidStart",
    "NotActive",
    "NotAllowed",
    "NotFound",
    "NotPossible",
    "QueueFull",
    "Standing",
    "activate_version",
    "answer_question",
    "append_entries",
    "archive_run",
    "cancel_run",
    "choose_version",
    "consequence_of",
    "foresee",
    "fork_run",
    "give_places",
    "grant",
    "hand_on",
    "in_bulk",
    "line_up",
    "lines",
    "lock_run",
    "new_run",
    "pause_run",
    "places_to_hand_on",
    "possible_with",
    "purge_artifacts",
    "purge_contents",
    "requeue",
    "rescue_run",
    "resume_run",
    "retire_version",
    "retry_run",
    "send_message",
    "settle_call",
    "standing_of",
    "start_run",
    "wake",
    "wake_due",
    "who_answered",
]
