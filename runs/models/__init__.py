"""What is being done: runs, their steps, the journal, what they produce, and the workers that hold leases."""

from runs.models.anchor import Anchor
from runs.models.artifact import Artifact, Blob
from runs.models.errand import ERRAND_OPEN, Errand, ErrandState
from runs.models.journal import JournalEntry
from runs.models.message import Message
from runs.models.run import Run
from runs.models.schedule import Schedule
from runs.models.step import CLEAN_UP, Step
from runs.models.token import KeptAnswer, Token
from runs.models.versions import VersionState, WorkflowVersion
from runs.models.worker import Worker

__all__ = [
    "CLEAN_UP",
    "ERRAND_OPEN",
    "Anchor",
    "Artifact",
    "Blob",
    "Errand",
    "ErrandState",
    "JournalEntry",
    "KeptAnswer",
    "Message",
    "Run",
    "Schedule",
    "Step",
    "Token",
    "VersionState",
    "Worker",
    "WorkflowVersion",
]
