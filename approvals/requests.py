"""From a proposed call to the request that people read: everything they need, fixed at this moment."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from approvals.digest import digest_of
from approvals.models import Approval
from approvals.policy import Requirement, facts_of
from runs import actors
from runs.gate import ProposedCall
from tools import registry
from tools.canonical import new_id, normalise
from tools.contract import Check, Preview
from tools.preview import default_sentence, plain_text

log = logging.getLogger(__name__)


def new_request(
    call: ProposedCall, requirement: Requirement, preview: Preview, *, opened_at: datetime
) -> Approval:
    """The unsaved request about `call`, opened at `opened_at` by the database's clock."""
    tool = call.tool
    return Approval(
        id=new_id("apr"),
        run_id=call.run_id,
        step_id=call.step_id,
        path=call.path,
        title=preview.sentence,
        workflow=call.workflow,
        tool=tool.name,
        tool_version=tool.version,
        effect=tool.effect.value,
        risk=tool.risk.value,
        reversibility=tool.reversibility.value,
        rollback=rollback_text(call),
        arguments=call.arguments,
        preview=normalise(preview.as_json()),
        evidence=normalise(call.evidence),
        why=plain_text(call.why),
        agent=call.agent,
        agent_version=call.agent_version,
        model=call.model,
        confidence=facts_of(call).confidence,
        facts=normalise(dict(call.facts)),
        requester=call.requester,
        requester_user_id=_user_id(call.requester),
        policy_name=requirement.policy_name,
        policy_version=requirement.policy_version,
        because=requirement.because,
        group_id=requirement.group_id,
        quorum=requirement.quorum,
        digest=digest_of(call, requirement.policy),
        key=call.key,
        created_at=opened_at,
        expires_at=requirement.expires_at(opened_at),
        on_expiry=requirement.on_expiry.value,
    )


def preview_of(call: ProposedCall) -> Preview:
    """What the reviewer sees. A preview that breaks keeps nobody from deciding: they read that it broke."""
    tool = call.tool
    # Inside a transaction a failed statement of the tool's must not spoil the engine's.
    guard = transaction.atomic() if connection.in_atomic_block else nullcontext()
    try:
        with guard:
            shown = tool.show(tool.call(call.arguments, call.key, call.run_id, call.step_id))
            normalise(shown.as_json())  # a form that cannot be kept is a preview that broke, too
            return shown
    except Exception as error:
        log.exception("preview failed", extra={"tool": tool.name, "step": call.step_id})
        broken = Check(f"The preview of {tool.name} could not be made ({type(error).__name__})", ok=False)
        return Preview(default_sentence(tool.title, call.arguments), checks=[broken])


def rollback_text(call: ProposedCall) -> str:
    """How the call could be undone afterwards, in words; empty when nobody said."""
    undo = registry.rollback_of(call.tool)
    return f"{undo.title}: {undo.description}".rstrip(": ") if undo else call.tool.rollback


def _user_id(actor: str) -> int | None:
    name = actors.username_of(actor)
    if name is None:
        return None
    people = get_user_model().objects
    return people.filter(username=name).values_list("pk", flat=True).first()
