"""A tool of an MCP server in a run: signed, approved, called once, and never sent again when in doubt."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Permission, User

from approvals import services as approvals
from approvals.models import Approval
from ops.launch.processes import wait_until
from runs import engine, journal, workflow
from runs.agents import script  # noqa: F401 - loads what agents need
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.services import start_run
from tests.remote.conftest import Ledger, kill, signed, sync
from tools.failures import Refused
from tools.mcp import review
from tools.mcp import session as sessions
from tools.mcp.rows import RemoteState, RemoteTool
from tools.mcp.tool import McpTool, mcp_tool
from tools.models import ToolCall

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def bea() -> User:
    person = User.objects.create_user("bea", password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person


@pytest.fixture(autouse=True)
def own_workflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))


def declared(tool: McpTool, **arguments: str) -> str:
    """A workflow that calls `tool` once and says how it ended."""

    @workflow.workflow("test.remote")
    def remote(run: Run, case: dict[str, str]) -> str:
        try:
            return str(run.tool(tool, **arguments, why="Asked for."))
        except Refused as error:
            return f"refused: {error}"

    return "test.remote"


def advance(run: RunRow) -> Outcome:
    outcome = engine.advance(run.pk, "wrk_test")
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.all())) == []
    return outcome


def held(name: str) -> tuple[RunRow, Approval]:
    run = start_run(name, {}, actor="user:ana")
    assert advance(run) is Outcome.WAITING
    return run, Approval.objects.get(run=run, state="pending")


def say_yes(approval: Approval, by: User) -> None:
    approvals.decide(approval.pk, by=by, verdict="approve", digest=approval.digest)


def test_it_works(crm: str, ledger: Ledger, bea: User) -> None:
    tool = signed("add-note")
    run, approval = held(declared(tool, customer="c7", text="Called back."))
    assert approval.preview["sentence"] == "Add a note: customer c7, text Called back.."
    assert ledger.calls() == []
    say_yes(approval, bea)
    assert advance(run) is Outcome.ENDED
    assert run.output == "{'id': 'note-of-c7'}"
    (call,) = ToolCall.objects.all()
    assert (call.effect, call.state, call.version) == ("irreversible", "succeeded", 1)
    (sent,) = ledger.calls()
    assert (sent["arguments"], sent["key"]) == ({"customer": "c7", "text": "Called back."}, call.key)


def test_what_nobody_has_signed_is_refused_on_record(crm: str, ledger: Ledger) -> None:
    sync()
    run = start_run(declared(mcp_tool("crm", "add-note"), customer="c"), {}, actor="user:ana")
    assert advance(run) is Outcome.ENDED
    assert "Nobody has signed mcp_crm_add_note yet" in run.output
    assert run.steps.get().state == "refused"
    assert ledger.calls() == []


def test_what_changed_while_people_thought_is_not_called(
    crm: str, ledger: Ledger, bea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.0)
    tool = signed("add-note")
    run, approval = held(declared(tool, customer="c7", text="t"))
    ledger.offer("add-note", description="Writes a note, and tells the customer.")
    say_yes(approval, bea)
    assert advance(run) is Outcome.ENDED
    assert run.output.startswith("refused: mcp_crm_add_note is disabled until somebody has reviewed it.")
    assert ledger.calls() == []
    row = RemoteTool.objects.get(name=tool.name)
    assert (row.state, row.reason) == (RemoteState.DISABLED, review.CHANGED)
    newest = row.history.first()
    assert (newest.state, newest.actor) == ("disabled", "system")


def test_signed_anew_after_the_yes_it_is_asked_again(crm: str, ledger: Ledger, bea: User) -> None:
    tool = signed("add-note")
    run, approval = held(declared(tool, customer="c7", text="t"))
    ledger.offer("add-note", description="Writes a note, and tells the customer.")
    sessions.close_all()
    sync()
    review.sign(tool.name, actor="user:omar", reason="Fine.")
    tool._read_at = float("-inf")
    say_yes(approval, bea)
    assert advance(run) is Outcome.WAITING
    assert ledger.calls() == []
    again = Approval.objects.get(run=run, state="pending")
    say_yes(again, bea)
    assert advance(run) is Outcome.ENDED
    assert len(ledger.calls()) == 1
    assert ToolCall.objects.get().version == 2


def test_killed_in_the_middle_it_is_in_doubt_and_never_sent_again(
    crm: str, ledger: Ledger, bea: User
) -> None:
    tool = signed("misbehave")
    run, approval = held(declared(tool, how="hang"))
    say_yes(approval, bea)

    def end_it() -> None:
        if wait_until(lambda: ledger.calls() != [], 20):
            kill(ledger.calls()[0]["pid"])

    killer = threading.Thread(target=end_it)
    killer.start()
    advance(run)
    killer.join()
    call = ToolCall.objects.get()
    assert (call.state, call.failure_class) == ("unknown", "transient")
    assert (run.state, run.attention["code"]) == ("needs_attention", "unknown_outcome")
    for _ in range(3):
        engine.advance(run.pk, "wrk_test")
    assert len(ledger.calls()) == 1


def test_a_server_that_hangs_ends_as_a_timeout(crm: str, ledger: Ledger, bea: User) -> None:
    tool = signed("misbehave", effect="read", risk="low")
    tool.refresh()
    tool.timeout = 1.0

    @workflow.workflow("test.remote")
    def remote(run: Run, case: dict[str, str]) -> str:
        return str(run.tool(tool, how="hang"))

    run = start_run("test.remote", {}, actor="user:ana")
    advance(run)
    call = ToolCall.objects.get()
    assert (call.state, call.failure_class) == ("failed", "transient")
    assert "gave no answer in 1 s" in call.error
