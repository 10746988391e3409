"""Tools of all four effects that ask the ledger, and a workflow for each that takes what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from runs import workflow
from runs.agents.port import ToolFailed
from runs.context import Run
from tests.ledger import client
from tools import registry
from tools.contract import IdempotencyKey, Tool
from tools.failures import Refused


class Receipt(BaseModel):
    """What the ledger gives for what it did."""

    what: str


class Case(BaseModel):
    """A case of its own, and how the ledger behaves in it."""

    case: str
    plan: str


@contextmanager
def declared() -> Iterator[None]:
    """The tools and their workflows, by name of the tool, until the end of the block."""
    known = dict(workflow._registry)
    with registry.scratch():

        @registry.tool(effect="read", name="ledger_read")
        def read(case: str, plan: str) -> Receipt:
            return client.do("read", "read", case, plan)  # type: ignore[no-any-return]

        @registry.tool(effect="draft", name="ledger_draft")
        def draft(case: str, plan: str) -> Receipt:
            return client.do("draft", "draft", case, plan)  # type: ignore[no-any-return]

        for seen in ("", "_seen"):

            @registry.tool(effect="write", risk="low", name=f"ledger_write{seen}", rollback="None")
            def write(case: str, plan: str, *, key: IdempotencyKey) -> Receipt:
                return client.do("write", "write", case, plan, key)  # type: ignore[no-any-return]

            @registry.tool(effect="irreversible", risk="high", name=f"ledger_launch{seen}", rollback="None")
            def launch(case: str, plan: str, *, key: IdempotencyKey) -> Receipt:
                return client.do("launch", "irreversible", case, plan, key)  # type: ignore[no-any-return]

            if seen:
                write.lookup(final=True)(client.find)
                launch.lookup(final=True)(client.find)
            for tool in (write, launch):
                _take(tool)
        for tool in (read, draft):
            _take(tool)
        try:
            yield
        finally:
            workflow._registry.clear()
            workflow._registry.update(known)


def _take(tool: Tool) -> None:
    @workflow.workflow(tool.name)
    def take(run: Run, case: Case) -> str:
        try:
            done = run.tool(tool, case.case, case.plan)
        except Refused:
            return "refused"
        except ToolFailed as error:
            return f"failed {error.failure.kind}"
        return "done" if done.what == case.case else "something else"
