"""What a worker does with an errand: take it, run the body, and answer it for as long as it may."""

from __future__ import annotations

import logging
import threading
import time

from django.db import Error, connection

from runs import messages
from runs.clock import ticks
from runs.crew import pace, watch, workers
from runs.errands import outcomes
from runs.errands.outcomes import Outcome
from runs.services.errands import Taken, answer_errand, take_errand
from tools import calling, guarded, registry
from tools.contract import Tool
from tools.failures import Failure, FailureClass, Proof
from tools.models import ToolCall

logger = logging.getLogger(__name__)

TRY_AGAIN = 0.5  # seconds between two tries to answer while the database is away
_pause = threading.Event()


def perform(call_id: str, worker: str) -> bool:
    """Do the errand of this call, if it is there to be done; whether its answer was heard.

    Safe to call at any time, any number of times: one caller at a time gets an errand.
    """
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None or not workers.may_take():
        return False
    tool = _tool_of(call)
    if tool is None:
        return False
    if workers.leaving():
        messages.hint_errand(call_id, tool.queue)
        return False
    taken = take_errand(call_id, worker, tool.contract_digest if tool.version == call.version else "")
    if taken is None:
        return False
    if taken.ends - ticks() < taken.timeout:
        logger.warning("errand not begun: this process stalled", extra={"call": call_id})
        return False
    fits = tool.version == taken.version and taken.contract in ("", tool.contract_digest)
    return _answer(taken, worker, _done(tool, taken) if fits else _outdated(tool, taken))


def _tool_of(call: ToolCall) -> Tool | None:
    try:
        tool = registry.get(call.tool)
    except registry.UnknownTool as error:
        logger.warning("errand left for another worker: %s", error, extra={"call": call.id})
        return None
    if tool.version < call.version:
        said = "errand left for another worker: here %s has version %s, the call wants %s"
        logger.warning(said, tool.name, tool.version, call.version, extra={"call": call.id})
        return None
    return tool


def _outdated(tool: Tool, taken: Taken) -> Outcome:
    """Asked for under an earlier contract, with which nobody may come back: the run asks anew."""
    by_now = f"version {tool.version} by now" if tool.version > taken.version else "another contract by now"
    said = f"{tool.title} has {by_now}, and was not begun under an earlier one"
    return Outcome(failure=Failure(FailureClass.TRANSIENT, said, proof=Proof.DECLARED))


def _done(tool: Tool, taken: Taken) -> Outcome:
    if pace.is_slow(tool.name):
        pace.free_connection()
    began, failed, result = time.monotonic(), None, None
    try:
        with watch.in_hand(taken.timeout):
            result = calling.perform(tool, taken.arguments, taken.key, taken.call_id)
    except Exception as error:
        failed = error
    finally:
        pace.took(tool.name, time.monotonic() - began)
    guarded.over(tool, taken.key, failed, time.monotonic() - began)
    return Outcome(result=result) if failed is None else outcomes.failed(failed)


def _answer(taken: Taken, worker: str, outcome: Outcome) -> bool:
    """The body has run: its answer is worth waiting for a database that is away."""
    while True:
        try:
            return answer_errand(taken.call_id, worker, outcome)
        except Error:
            connection.close()
            if ticks() > taken.ends:
                raise
            logger.warning("answer not recorded yet", exc_info=True, extra={"call": taken.call_id})
            _pause.wait(TRY_AGAIN)
