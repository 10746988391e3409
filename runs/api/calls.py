"""Tool calls whose outcome nobody knows: to list them, and to settle one."""

from __future__ import annotations

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from runs import services as runs
from runs.api import problems
from runs.api.answers import CallOut, RunOut
from runs.api.bodies import CallTool, Page, Settle, read_body, read_query
from runs.api.callers import Need, actor_of, door_of, sees_technical
from runs.api.door import Door, answer, operation
from runs.api.kept import once
from runs.api.pages import Listed, keyset, next_page
from runs.scopes import CALLS_READ, RUNS_START
from tools import services
from tools.contract import InvalidArguments
from tools.doubts import about
from tools.models import CallState, ToolCall
from tools.registry import UnknownTool


def _not_unknown(error: services.NotUnknown, view: Door) -> Response:
    call = ToolCall.objects.filter(pk=view.kwargs.get("call_id", "")).first()
    standing = (
        {"state": call.state, "changed_by": call.settled_by, "changed_at": call.finished_at} if call else {}
    )
    return problems.problem(409, "conflict", str(error), **standing)


def _misfit(error: InvalidArguments, view: Door) -> Response:
    places = [problems.Place(place="arguments", problem=said) for said in error.problems]
    return problems.problem(422, "invalid", str(error), errors=places)


def _refused(error: services.SettlementRefused, view: Door) -> Response:
    return problems.problem(409, "conflict", str(error), state=CallState.UNKNOWN.value)


problems.register(services.CallNotFound, lambda error, view: problems.problem(404, "not_found", str(error)))
problems.register(services.NotUnknown, _not_unknown)
problems.register(services.SettlementRefused, _refused)
problems.register(
    services.MayNotSettle, lambda error, view: problems.problem(403, "not_allowed", f"{error}.")
)
problems.register(UnknownTool, lambda error, view: problems.problem(404, "not_found", str(error)))
problems.register(InvalidArguments, _misfit)


class Calls(Door):
    """Tool calls: those in doubt, and one more."""

    needs = {
        "GET": Need("tools.view_toolcall", CALLS_READ),
        "POST": Need("runs.start_run", RUNS_START),
    }

    @operation("list_unknown_calls", "List calls in doubt", Listed[CallOut], query=Page, tag="tool calls")
    def get(self, request: Request) -> Response:
        """The calls that were sent and of which nobody knows whether they happened, oldest first."""
        wanted, technical = read_query(request, Page), sees_technical(request)
        rows = ToolCall.objects.unknown()
        shown, cursor = keyset(
            rows, ("started_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=False
        )
        items = [CallOut.of_doubt(one, technical=technical) for one in about(shown)]
        return answer(Listed[CallOut](items=items, next=next_page(request, cursor=cursor)))

    @operation(
        "call_tool",
        "Call a tool",
        RunOut,
        status=201,
        takes=CallTool,
        refuses=[404],
        example={"tool": "get_invoice", "arguments": {"number": "17"}, "intent": "Look at invoice 17"},
        tag="tool calls",
    )
    def post(self, request: Request) -> Response:
        """Calls one tool as a run of its own: on record, retried by its effect, and through the gate like any
        other call. The answer is the run, which may wait for a person.
        """
        body = read_body(request, CallTool)
        return once(request, lambda: self._call(request, body))

    def _call(self, request: Request, body: CallTool) -> Response:
        run = runs.call_tool(
            body.tool,
            body.arguments,
            actor=actor_of(request),
            intent=body.intent,
            source=door_of(request),
        )
        return answer(RunOut.of(run), 201, location=reverse("api:run", args=[run.pk]))


class Settlement(Door):
    """What became of a call in doubt."""

    needs = {"POST": Need("tools.settle_toolcall")}

    @operation(
        "settle_call",
        "Settle a call in doubt",
        CallOut,
        takes=Settle,
        refuses=[404],
        example={"outcome": "did_not_happen", "note": "The bank's list has no such transfer"},
        tag="tool calls",
    )
    def post(self, request: Request, call_id: str) -> Response:
        """Records what the person who is signed in found out: no token can, nor whoever asked for the run.

        The run goes on with it. Who cannot tell leaves the call in doubt, and above the limit for one person
        it stays so until another says the same: `state` is then still `unknown`.
        """
        body = read_body(request, Settle)
        return once(request, lambda: self._settle(request, call_id, body))

    def _settle(self, request: Request, call_id: str, body: Settle) -> Response:
        call = services.settle(
            call_id,
            body.outcome,
            body.result,
            note=body.note,
            by=actor_of(request),
            reference=body.reference,
            seen=body.seen,
        )
        return answer(CallOut.of(call, technical=False))
