"""Every error of the API as application/problem+json (RFC 9457): what is wrong, why, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults
from pydantic import BaseModel, Field
from rest_framework import exceptions
from rest_framework.response import Response

from runs import services, workflow
from runs.models import Run
from runs.services.standing import standing_of
from runs.typed import Misfit
from tools.canonical import NotJson

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
PREFIX = "/api/"
_TITLES = {
    "not_readable": "The request cannot be read",
    "not_signed_in": "Not signed in",
    "not_allowed": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Method not allowed",
    "conflict": "Not possible as things stand",
    "in_progress": "Still being worked on",
    "too_large": "Too large",
    "not_json": "Not JSON",
    "invalid": "Something in the request does not fit",
    "too_many": "Too many requests",
    "internal": "Something went wrong here",
    "unavailable": "Not available at the moment",
    "queue_full": "The queue is full",
    "messages_full": "The run has too many messages",
}


class Place(BaseModel):
    """One place in the request that does not fit."""

    place: str = Field(description="Where, such as `input.amount`.")
    problem: str = Field(description="What is wrong there.")


class Problem(BaseModel):
    """Why a request was not answered as asked, and what to do about it."""

    type: str = Field(description="The kind of problem, for machines.")
    title: str
    status: int
    detail: str = Field(description="Cause and cure, for people.")
    errors: list[Place] = Field(default=[], description="The places in the request that do not fit.")
    state: str = Field(default="", description="Conflicts: the state that things are in.")
    changed_by: str = Field(default="", description="Conflicts: the actor who brought them there.")
    changed_at: datetime | None = Field(default=None, description="Conflicts: when that was.")
    instead: str = Field(default="", description="Conflicts: the id of what stands in its place now.")


class Refused(Exception):  # noqa: N818 - read as a sentence where it is caught
    """The door itself refuses: `status` and `code` say how, the message says why and what to do."""

    def __init__(self, status: int, code: str, detail: str, places: Sequence[Place] = ()) -> None:
        super().__init__(detail)
        self.status, self.code, self.places = status, code, list(places)


def content_of(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem as JSON, without what is empty."""
    kind = f"urn:holdpoint:problem:{code}"
    made = Problem(type=kind, title=_TITLES.get(code, code), status=status, detail=detail, **more)
    return made.model_dump(mode="json", exclude_defaults=True)


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """The response that tells of a problem."""
    body = content_of(status, code, detail, **more)
    return Response(body, status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


Answer = Callable[[Any, Any], Response]
_answers: dict[type[Exception], Answer] = {}


def register(kind: type[Exception], answer: Answer) -> None:
    """Answer errors of `kind` by `answer`, which is given the error and the view."""
    _answers[kind] = answer


def answer(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's handler of exceptions. What nobody foresaw is logged, and told without details."""
    view = context.get("view")
    for kind in type(error).__mro__:
        if kind in _answers:
            return _answers[kind](error, view)
    logger.exception("a request to the API failed", exc_info=error)
    return problem(500, "internal", INTERNAL)


INTERNAL = (
    "The request failed for a reason of ours, which is in the log. Try again; ask an operator if it stays."
)

# Errors of the framework


def _unsigned(error: exceptions.APIException, view: Any) -> Response:
    headers = {"WWW-Authenticate": 'Bearer realm="holdpoint"'}
    return problem(401, "not_signed_in", str(error.detail), headers=headers)


def _throttled(error: exceptions.Throttled, view: Any) -> Response:
    wait = max(1, round(getattr(error, "wait", None) or 1))
    return problem(
        429, "too_many", f"Too many requests; try again in {wait} s.", headers={"Retry-After": str(wait)}
    )


def _coded(status: int, code: str) -> Answer:
    return lambda error, view: problem(status, code, str(getattr(error, "detail", error)) or _TITLES[code])


def _wrong_method(error: exceptions.MethodNotAllowed, view: Any) -> Response:
    allowed = ", ".join(view.allowed_methods)
    detail = f"This address takes {allowed or 'no'} requests."
    return problem(405, "method_not_allowed", detail, headers={"Allow": allowed})


register(
    exceptions.APIException, lambda error, view: problem(error.status_code, "invalid", str(error.detail))
)
register(exceptions.NotAuthenticated, _unsigned)
register(exceptions.AuthenticationFailed, _unsigned)
register(exceptions.PermissionDenied, _coded(403, "not_allowed"))
register(exceptions.MethodNotAllowed, _wrong_method)
register(exceptions.UnsupportedMediaType, _coded(415, "not_json"))
register(exceptions.ParseError, _coded(400, "not_readable"))
register(exceptions.Throttled, _throttled)
register(PermissionDenied, _coded(403, "not_allowed"))
register(Http404, lambda error, view: problem(404, "not_found", "There is nothing at this address."))
register(RequestDataTooBig, lambda error, view: problem(413, "too_large", "The request is too large."))
register(SuspiciousOperation, lambda error, view: problem(400, "not_readable", "The request cannot be read."))


def _no_database(error: OperationalError, view: Any) -> Response:
    logger.error("the database did not answer a request to the API", exc_info=error)
    return problem(
        503, "unavailable", "The database does not answer; try again.", headers={"Retry-After": "2"}
    )


register(OperationalError, _no_database)


# Our own


def _refused(error: Refused, view: Any) -> Response:
    return problem(error.status, error.code, str(error), errors=error.places)


def _not_possible(error: services.NotPossible, view: Any) -> Response:
    return problem(409, "conflict", str(error), **_standing(getattr(view, "kwargs", {}).get("run_id", "")))


def _duplicate(error: services.DuplicateKey, view: Any) -> Response:
    return problem(409, "conflict", str(error), instead=error.run_id, **_standing(error.run_id))


def _queue_full(error: services.QueueFull, view: Any) -> Response:
    return problem(503, "queue_full", str(error), headers={"Retry-After": "10"})


def _messages_full(error: services.TooManyMessages, view: Any) -> Response:
    return problem(503, "messages_full", str(error), headers={"Retry-After": "10"})


def _standing(run_id: str) -> dict[str, Any]:
    """The state that the run is in, who brought it there and when."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return {}
    standing = standing_of(run)
    return {"state": run.state, "changed_by": standing.by, "changed_at": standing.since}


def _invalid_input(error: workflow.InvalidInput, view: Any) -> Response:
    return problem(422, "invalid", str(error), errors=[_place("input", said) for said in error.problems])


def _place(within: str, said: str) -> Place:
    """From ``amount: is missing`` to a place of its own."""
    place, colon, what = said.partition(": ")
    return Place(place=f"{within}.{place}", problem=what) if colon else Place(place=within, problem=said)


def _misfit(error: Misfit, view: Any) -> Response:
    return problem(
        422, "invalid", str(error), errors=[Place(place="value", problem=said) for said in error.problems]
    )


register(Refused, _refused)
register(NotJson, _coded(400, "not_readable"))
register(services.NotPossible, _not_possible)
register(services.DuplicateKey, _duplicate)
register(services.QueueFull, _queue_full)
register(services.TooManyMessages, _messages_full)
register(services.NotAllowed, _coded(403, "not_allowed"))
register(Misfit, _misfit)
register(services.NotFound, _coded(404, "not_found"))
register(ObjectDoesNotExist, lambda error, view: problem(404, "not_found", "There is nothing of that id."))
register(workflow.UnknownWorkflow, _coded(404, "not_found"))
register(workflow.InvalidInput, _invalid_input)


# Before and beside the API's own views


def page_or_problem(status: int, code: str, detail: str) -> Callable[..., HttpResponseBase]:
    """A handler for Django's errors: a problem under /api/, the usual page elsewhere."""
    usual: dict[int, Callable[..., HttpResponse]] = {400: defaults.bad_request, 500: defaults.server_error}

    def handler(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.path_info.startswith(PREFIX):
            return usual[status](request, *args, **kwargs)
        return JsonResponse(content_of(status, code, detail), status=status, content_type=CONTENT_TYPE)

    return handler


bad_request = page_or_problem(
    400, "not_readable", "The request cannot be read; check its address and headers."
)
server_error = page_or_problem(500, "internal", INTERNAL)
