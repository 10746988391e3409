"""Calls to outside APIs: only where the tool says, only to public addresses, sent once and never again."""

from tools.http.answers import Answer, Headers
from tools.http.api import Api
from tools.http.errors import Answered, BadAnswer, HalfDone, NoAnswer, NotAllowed, NotReached, NotTrusted

__all__ = [
    "Answer",
    "Answered",
    "Api",
    "BadAnswer",
    "HalfDone",
    "Headers",
    "NoAnswer",
    "NotAllowed",
    "NotReached",
    "NotTrusted",
]
