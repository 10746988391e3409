"""What callers send: strict JSON, checked against a model; nothing unknown is passed over."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from runs.api.problems import Place, Refused
from runs.states import RunState
from tools.canonical import MAX_BYTES, parse
from tools.signature import plain
from tools.unknown import Outcome

#: Bytes of a request; what it says must fit in MAX_BYTES as well.
MAX_REQUEST = 2 * MAX_BYTES
MAX_REASON = 4000
LARGEST_PAGE = 200
MOST_AT_ONCE = 200  # of the 500 that the verb takes: a request must end in time

Model = TypeVar("Model", bound=BaseModel)


class StrictJson(BaseParser):
    """JSON and nothing else: no key twice, no NaN, no more than fits."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The value. Raises NotJson, and Refused when it is too large."""
        raw = stream.read(MAX_REQUEST + 1)
        if len(raw) > MAX_REQUEST:
            raise Refused(
                413, "too_large", f"A request has at most {MAX_REQUEST} bytes; send less at a time."
            )
        return parse(raw)


class AlwaysJson(BaseContentNegotiation):
    """There is one form of answer, whatever the caller would accept."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The parser for the content type that was sent; None for any other than JSON."""
        sent = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """The only one."""
        return renderers[0], renderers[0].media_type


class Body(BaseModel):
    """Base of what is sent: exact types, no unknown names."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Base of what stands behind the question mark: no unknown names."""

    model_config = ConfigDict(extra="forbid")


def read_body(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises Refused (422) with every place that does not fit."""
    try:
        return model.model_validate_json(json.dumps(request.data))
    except ValidationError as error:
        raise _misfit(422, "The request does not fit; see errors.", error) from None


def read_query(request: Request, model: type[Model]) -> Model:
    """The query string as `model`. Raises Refused (400) with every place that does not fit."""
    given = request.query_params
    twice = [Place(place=name, problem="is given twice") for name in given if len(given.getlist(name)) > 1]
    if twice:
        raise Refused(400, "invalid", "The query string does not fit; see errors.", twice)
    try:
        return model.model_validate(given.dict())
    except ValidationError as error:
        raise _misfit(400, "The query string does not fit; see errors.", error) from None


def _misfit(status: int, detail: str, error: ValidationError) -> Refused:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    places = [
        Place(place=".".join(map(str, each["loc"])) or "the whole", problem=plain(each["type"], each["msg"]))
        for each in found
    ]
    return Refused(status, "invalid", detail, places)


# Runs

Reason = Field(
    min_length=1, max_length=MAX_REASON, pattern=r"\S", description="Why; kept with the run, for people."
)


class Start(Body):
    """A run to start."""

    workflow: str = Field(max_length=100, description="The name of the workflow.")
    input: Any = Field(default={}, description="What it works on, as the workflow's input schema says.")
    intent: str = Field(default="", max_length=2000, description="What the run is for, in one sentence.")
    version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Without it: the newest active."
    )
    key: str = Field(default="", max_length=200, description="A business key, such as the number of a case.")
    on_duplicate: Literal["return", "refuse", "start"] = Field(
        default="return",
        description="If a run with that key is there: give it back, refuse, or start another.",
    )
    priority: int = Field(default=5, ge=0, le=9, description="Higher ones are taken first.")
    start_at: AwareDatetime | None = Field(default=None, description="Not before this moment.")
    deadline: AwareDatetime | None = Field(default=None, description="When it should be done.")


class Why(Body):
    """An act on a run, and the reason for it."""

    reason: str = Reason


class Retry(Why):
    """From where to try again."""

    from_path: str = Field(default="", max_length=200, description="The step's path; empty: the failed step.")


class Fork(Why):
    """Where the new run leaves the old one."""

    at_path: str = Field(
        min_length=1, max_length=200, description="The step's path; what came before is kept."
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Without it: that of the run.")


class Replay(Body):
    """A replay without effects."""

    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Without it: that of the run.")


class Grant(Why):
    """What a run may use up beyond its budget."""

    amounts: dict[str, float] = Field(
        min_length=1, max_length=20, description="By measure, such as `model_requests` or `cost_usd`."
    )


class Bulk(Body):
    """One verb on many runs."""

    verb: Literal["pause", "resume", "cancel", "retry"]
    runs: list[Annotated[str, Field(max_length=32)]] = Field(
        min_length=1, max_length=MOST_AT_ONCE, description="Their ids."
    )
    reason: str = Reason
    dry_run: bool = Field(default=True, description="True: say what would happen, and do nothing.")


class Send(Body):
    """A named message to a run."""

    name: str = Field(min_length=1, max_length=100, description="The name that the run waits for.")
    payload: Any = Field(default=None, description="Any JSON.")
    key: str = Field(default="", max_length=200, description="Your own id of it: sent twice, kept once.")


class Reply(Body):
    """What a person answers to a question of a run."""

    value: Any = Field(description="As the question's schema says.")


class CallTool(Body):
    """A tool to call, once, as a run of its own."""

    tool: str = Field(max_length=64, description="The name of the tool.")
    arguments: dict[str, Any] = Field(default={}, description="As the tool's contract says.")
    intent: str = Field(default="", max_length=2000, description="Why; a reviewer reads it.")


class Settle(Body):
    """What became of a tool call whose outcome was unknown."""

    outcome: Outcome
    result: Any = Field(default=None, description="The result that it had, if it happened.")
    note: str = Field(min_length=1, max_length=MAX_REASON, pattern=r"\S", description="How you know.")
    reference: str = Field(default="", max_length=200, description="What the other side calls it.")
    seen: str | None = Field(
        default=None,
        max_length=32,
        description="The `last_said` that you have read; refused (409) when somebody said something since.",
    )


# Lists


class Page(Query):
    """One page of a list."""

    cursor: str = Field(default="", max_length=400, description="From `next` of the page before.")
    limit: int = Field(default=50, ge=1, le=LARGEST_PAGE, description="Rows on the page.")


class RunsWanted(Page):
    """Which runs; newest first."""

    state: RunState | None = Field(default=None, description="Only runs in this state.")
    workflow: str = Field(default="", max_length=100, description="Only runs of this workflow.")
    requester: str = Field(default="", max_length=160, description="Only runs that this user asked for.")
    key: str = Field(default="", max_length=200, description="Only runs with this business key.")


class After(Query):
    """Which part of a journal."""

    after: int = Field(default=0, ge=0, le=2**53, description="The number of the last entry that you have.")
    limit: int = Field(default=100, ge=1, le=LARGEST_PAGE, description="Entries on the page.")
