"""Tool calls whose outcome nobody knows: to list them, and to settle one."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from runs.api import problems
from runs.api.answers import CallOut
from runs.api.bodies import Page, Settle, read_body, read_query
from runs.api.callers import Need, actor_of, sees_technical
from runs.api.door import Door, answer, operation
from runs.api.kept import once
from runs.api.pages import Listed, keyset, next_page
from runs.scopes import CALLS_READ
from tools import services
from tools.models import CallState, ToolCall


def _not_unknown(error: services.NotUnknown, view: Door) -> Response:
    call = ToolCall.objects.filter(pk=view.kwargs.get("call_id", "")).first()
    standing = (
        {"state": call.state, "changed_by": call.settled_by, "changed_at": call.finished_at} if call else {}
    )
    return problems.problem(409, "conflict", str(error), **standing)


def _refused(error: services.SettlementRefused, view: Door) -> Response:
    return problems.problem(409, "conflict", str(error), state=CallState.UNKNOWN.value)


problems.register(services.CallNotFound, lambda error, view: problems.problem(404, "not_found", str(error)))
problems.register(services.NotUnknown, _not_unknown)
problems.register(services.SettlementRefused, _refused)


class UnknownCalls(Door):
    """Tool calls in doubt."""

    needs = {"GET": Need("tools.view_toolcall", CALLS_READ)}

    @operation("list_unknown_calls", "List calls in doubt", Listed[CallOut], query=Page, tag="tool calls")
    def get(self, request: Request) -> Response:
        """The calls that were sent and of which nobody knows whether they happened, oldest first."""
        wanted, technical = read_query(request, Page), sees_technical(request)
        rows = ToolCall.objects.unknown()
        shown, cursor = keyset(
            rows, ("started_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=False
        )
        items = [CallOut.of(call, technical=technical) for call in shown]
        return answer(Listed[CallOut](items=items, next=next_page(request, cursor=cursor)))


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
        """Settles for the person who is signed in: no token can. The run goes on with what they found."""
        body = read_body(request, Settle)
        return once(request, lambda: self._settle(request, call_id, body))

    def _settle(self, request: Request, call_id: str, body: Settle) -> Response:
        call = services.settle(call_id, body.outcome, body.result, note=body.note, by=actor_of(request))
        return answer(CallOut.of(call, technical=False))
