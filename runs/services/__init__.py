"""The verbs on runs: each is one transaction with row, history and journal, and a hint after commit."""

from runs.messages import HINT_LOST_AFTER, SUSPECTS
from runs.services.activation import (
    NotActive,
    activate_version,
    choose_version,
    note_versions,
    retire_version,
    versions_not_as_activated,
)
from runs.services.answering import InvalidAnswer, NotAllowed, answer_question, who_answered
from runs.services.bulk import MOST_AT_ONCE, VERBS, Forecast, Foreseen, foresee, in_bulk
from runs.services.calling import call_tool
from runs.services.cancelling import cancel_run
from runs.services.children import cancel_given_up, given_up, settle_family, tell_parent, untold
from runs.services.compensating import may_be_undone, roll_back, undone_by
from runs.services.consequences import Consequence, consequence_of
from runs.services.control import pause_run, resume_run
from runs.services.errands import answer_errand, hint_errand_again, take_errand, wake_for_lost
from runs.services.fitting import replay_with
from runs.services.forgetting import forget_answers
from runs.services.forking import fork_run
from runs.services.granting import grant
from runs.services.incidents import answer_call, retry_call, stop_call
from runs.services.lateness import overdue, point_out
from runs.services.message import InvalidMessage, TooManyMessages, send_message
from runs.services.places import give_places, hand_on, line_up, places_to_fill, places_to_hand_on
from runs.services.record import NotFound, NotPossible, append_entries, found_run, lock_run
from runs.services.retiring import archive_run, purge_artifacts, purge_contents
from runs.services.retrying import retry_run
from runs.services.schedules import due_schedules, start_scheduled
from runs.services.settled_then import settled_then
from runs.services.settling import arguments_of, note_said, purge_said, requester_of, settle_call
from runs.services.standing import Standing, cannot, how_it_stands, possible_with, standing_of
from runs.services.start import DuplicateKey, InvalidStart, QueueFull, new_run, start_run
from runs.services.start_many import start_runs
from runs.services.stopped import in_hand, let_go, names_of, released_waits, still_wait
from runs.services.tokens import TokenNotFound, TokenRefused, issue_token, revoke_token
from runs.services.waking import (
    LEASED,
    MAX_CRASHES,
    have_it_look,
    requeue,
    rescue_run,
    tell_again,
    wake,
    wake_due,
)

__all__ = [
    "HINT_LOST_AFTER",
    "LEASED",
    "MAX_CRASHES",
    "MOST_AT_ONCE",
    "SUSPECTS",
    "VERBS",
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
    "TokenNotFound",
    "TokenRefused",
    "TooManyMessages",
    "activate_version",
    "answer_errand",
    "answer_call",
    "answer_question",
    "append_entries",
    "archive_run",
    "call_tool",
    "arguments_of",
    "cancel_given_up",
    "cancel_run",
    "cannot",
    "choose_version",
    "consequence_of",
    "due_schedules",
    "foresee",
    "forget_answers",
    "fork_run",
    "found_run",
    "give_places",
    "given_up",
    "grant",
    "hand_on",
    "have_it_look",
    "how_it_stands",
    "hint_errand_again",
    "in_bulk",
    "in_hand",
    "issue_token",
    "let_go",
    "line_up",
    "lock_run",
    "names_of",
    "new_run",
    "may_be_undone",
    "note_said",
    "note_versions",
    "overdue",
    "pause_run",
    "places_to_fill",
    "places_to_hand_on",
    "point_out",
    "possible_with",
    "purge_artifacts",
    "purge_contents",
    "purge_said",
    "replay_with",
    "released_waits",
    "requester_of",
    "requeue",
    "rescue_run",
    "resume_run",
    "retire_version",
    "retry_call",
    "retry_run",
    "revoke_token",
    "send_message",
    "settle_call",
    "settle_family",
    "roll_back",
    "settled_then",
    "standing_of",
    "start_run",
    "start_runs",
    "start_scheduled",
    "still_wait",
    "stop_call",
    "take_errand",
    "tell_again",
    "tell_parent",
    "undone_by",
    "untold",
    "versions_not_as_activated",
    "wake",
    "wake_due",
    "wake_for_lost",
    "who_answered",
]
