"""The pages on which people decide. GET changes nothing; a decision is one POST to the page itself."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from approvals import queries, services
from approvals.forms import DecisionForm
from approvals.models import Decision
from approvals.page import Conflict, context_of
from approvals.queue import QueueFilter, look, next_for
from approvals.refusals import (
    AlreadyDecided,
    ApprovalError,
    Changed,
    ExpiredAlready,
    NotAllowed,
    NotFound,
    Unclear,
)
from runs.access import page, person, see_other
from runs.questions import questions_for
from tools.counting import up_to
from tools.effects import Risk

SEE = "approvals.view_approval"
QUESTIONS_SHOWN = 5
_STATUS: dict[type[ApprovalError], int] = {
    AlreadyDecided: 409,
    Changed: 409,
    ExpiredAlready: 409,
    NotAllowed: 403,
    Unclear: 422,
}


@require_safe
@page(SEE, "see what waits for a decision")
def queue(request: HttpRequest) -> HttpResponse:
    """What waits for a decision, most urgent first, and one of them beside the list."""
    viewer = person(request)
    wanted = QueueFilter.read(request.GET, viewer)
    found = look(wanted, viewer)
    chosen = request.GET.get("approval", "")
    context: dict[str, Any] = {
        "queue": found,
        "wanted": wanted,
        "risks": list(Risk),
    }
    shown = chosen or (found.rows[0].pk if found.rows else "")
    if shown:
        context |= _detail(request, shown, wanted)
    context |= {"is_chosen": bool(chosen), "just_decided": _just_decided(request)}
    asked = questions_for(viewer)
    context |= {"questions": list(asked[:QUESTIONS_SHOWN]), "questions_total": up_to(asked)}
    return render(request, "approvals/queue.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(SEE, "see what waits for a decision")
def approval(request: HttpRequest, approval_id: str) -> HttpResponse:
    """One approval; a POST decides it."""
    if request.method == "POST":
        return _decide(request, approval_id)
    wanted = QueueFilter.read(request.GET, person(request))
    return render(request, "approvals/approval.html", _detail(request, approval_id, wanted))


def _decide(request: HttpRequest, approval_id: str) -> HttpResponse:
    viewer = person(request)
    # Where in the queue they were: a query string of ours, of which only known filters are read.
    wanted = QueueFilter.read(QueryDict(request.POST.get("queue", "")[:2000]), viewer)
    form = DecisionForm(_found(request, approval_id).approval, request.POST)
    if not form.is_valid():
        return _again(request, approval_id, form, wanted, status=422)
    given = form.cleaned_data
    try:
        decision = services.decide(
            approval_id,
            by=viewer,
            verdict=given["verdict"],
            digest=given["digest"],
            reason=given["reason"],
            reason_code=given["reason_code"] if form.rejecting else "",
            next=(given["next"] or None) if form.rejecting else None,
            client="page",
        )
    except Unclear as unclear:
        form.add_error(unclear.field if unclear.field in form.fields else None, str(unclear))
        return _again(request, approval_id, form, wanted, status=422)
    except (AlreadyDecided, Changed, ExpiredAlready, NotAllowed) as refusal:
        conflict = Conflict.of(refusal, form)
        return _again(request, approval_id, form, wanted, status=_STATUS[type(refusal)], conflict=conflict)
    return _onwards(request, decision, wanted)


def _onwards(request: HttpRequest, decision: Decision, wanted: QueueFilter) -> HttpResponse:
    """From the queue to the next item there; from a page of its own to what became of it."""
    following = next_for(person(request), wanted)
    if request.POST.get("from") != "queue" or following is None:
        return see_other("approvals:approval", decision.approval_id, query=wanted.query)
    place = QueryDict(wanted.query, mutable=True)
    place.update({"approval": following.pk, "decided": decision.pk})
    return see_other("approvals:queue", query=place.urlencode())


def _again(
    request: HttpRequest,
    approval_id: str,
    form: DecisionForm,
    wanted: QueueFilter,
    *,
    status: int,
    conflict: Conflict | None = None,
) -> HttpResponse:
    """The page as it stands now, with what was typed and why it did not count."""
    detail = _found(request, approval_id)
    context = context_of(detail, person(request), form, wanted) | {"conflict": conflict}
    return render(request, "approvals/approval.html", context, status=status)


def _detail(request: HttpRequest, approval_id: str, wanted: QueueFilter) -> dict[str, Any]:
    detail = _found(request, approval_id)
    return context_of(detail, person(request), DecisionForm(detail.approval), wanted)


def _found(request: HttpRequest, approval_id: str) -> queries.Detail:
    try:
        return queries.detail(approval_id, person(request))
    except NotFound as error:
        raise Http404(str(error)) from None


def _just_decided(request: HttpRequest) -> Decision | None:
    """The viewer's own decision that brought them here, for the line that tells its outcome."""
    mine = Decision.objects.filter(pk=request.GET.get("decided", "")[:32], by=person(request))
    return mine.select_related("approval").first()
