"""What MCP servers may do to us, each a process of its own: every exchange ends, and ends typed."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ops.launch.processes import wait_until
from tests.remote.conftest import SERVING, Declared, Ledger, command, kill, signed, sync
from tests.together import at_once
from tools import calling
from tools.clock import db_now
from tools.contract import InvalidArguments, InvalidOutput
from tools.effects import Effect
from tools.failures import FailureClass, Proof, classify
from tools.mcp import review, servers
from tools.mcp import session as sessions
from tools.mcp.rows import RemoteState, RemoteTool
from tools.mcp.session import AnswerLost, CallFailed, ServerAway
from tools.mcp.tool import ToolDisabled
from tools.models import ToolCall
from tools.retry import Action, decide
from tools.secrets import SecretMissing

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def opened(within: float = 20) -> sessions.Session:
    session = sessions.session_of(servers.server("crm"), within)
    session.leave()
    return session


def ask(how: str, within: float = 10) -> Any:
    """Ask the server to do so, in the session there is."""
    return opened().call("misbehave", {"how": how}, {}, within)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestAnswers:
    def test_it_works(self, crm: str, ledger: Ledger) -> None:
        tool = signed("say")
        assert tool.invoke({"size": 4}, "k") == {"text": "aaaa", "cut": False, "left_out": []}

    def test_a_long_text_is_cut_and_says_so(self, piped: str) -> None:
        result: Any = signed("say").invoke({"size": 200_000}, "k")
        assert (len(result["text"]), result["cut"]) == (100_000, True)

    def test_garbage_between_messages_is_passed_over(self, piped: str) -> None:
        assert ask("garbage").structured_content == {"id": "after the garbage"}

    @pytest.mark.parametrize("how", ["huge", "no-end"])
    def test_what_is_too_large_ends_the_session_and_not_this_process(self, piped: str, how: str) -> None:
        session = opened()
        with pytest.raises(CallFailed, match="larger than"):
            ask(how, 20)
        assert opened() is not session
        assert wait_until(lambda: session.closed, 20)

    def test_what_is_too_large_over_http(self, declare: Declared, over_http: dict[str, Any]) -> None:
        declare(crm=over_http)
        with pytest.raises((CallFailed, AnswerLost)):
            ask("huge", 20)

    @pytest.mark.parametrize("how", ["wrong", "nothing"])
    def test_what_was_not_promised_is_no_result(self, crm: str, how: str) -> None:
        tool = signed("misbehave")
        with pytest.raises(InvalidOutput):
            tool.invoke({"how": how}, "k")

    def test_an_error_is_a_failure_and_no_proof(self, crm: str) -> None:
        tool = signed("misbehave")
        with pytest.raises(CallFailed, match="The card is locked") as caught:
            tool.invoke({"how": "fail"}, "k")
        failure = classify(caught.value)
        assert failure.proof is Proof.NONE
        assert decide(Effect.IRREVERSIBLE, failure, 1, 0.0).action is Action.UNKNOWN

    def test_arguments_are_checked_before_anything_is_sent(self, piped: str, ledger: Ledger) -> None:
        tool = signed("add-note")
        with pytest.raises(InvalidArguments, match="maxLength"):
            tool.invoke({"customer": "c", "text": "a" * 201}, "k")
        with pytest.raises(InvalidArguments, match="by name"):
            tool.bind("c")
        assert ledger.calls() == []


class TestSilence:
    @pytest.mark.parametrize("how", ["hang", "block"])
    def test_no_answer_in_time_is_in_doubt(self, piped: str, how: str) -> None:
        session = opened()
        with pytest.raises(AnswerLost, match="gave no answer in 1 s") as caught:
            ask(how, 1.0)
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.TRANSIENT, Proof.NONE)
        assert decide(Effect.IRREVERSIBLE, failure, 1, 0.0).action is Action.UNKNOWN
        assert opened() is not session, "who is silent is not asked again"

    def test_a_server_that_does_not_say_what_it_offers_was_sent_nothing(
        self, crm: str, ledger: Ledger
    ) -> None:
        tool = signed("add-note")
        sessions.close_all()
        (ledger.folder / "deaf").touch()
        tool.refresh()
        tool.timeout = 1.0
        began = time.monotonic()
        with pytest.raises(ServerAway, match="did not answer in time") as caught:
            tool.invoke({"customer": "c", "text": "t"}, "k")
        assert time.monotonic() - began < 8
        assert classify(caught.value).proof is Proof.DECLARED
        assert ledger.calls() == []

    def test_a_server_that_died_before_is_started_again(self, piped: str, ledger: Ledger) -> None:
        tool = signed("say")
        tool.invoke({}, "k")
        kill(ledger.calls()[0]["pid"])
        session = sessions._sessions["crm"]
        assert wait_until(lambda: session.over, 20)
        tool.invoke({}, "k")
        first, second = ledger.calls()
        assert first["pid"] != second["pid"]

    @pytest.mark.parametrize(
        ("line", "why"),
        [(["no-such-program-here"], "there is no program"), (["false"], ""), (["cat", "/etc/hostname"], "")],
    )
    def test_what_is_no_server_is_away(self, declare: Declared, line: list[str], why: str) -> None:
        declare(crm={"command": line})
        with pytest.raises(ServerAway, match=f"The MCP server crm cannot be used: {why}"):
            opened(5)


class TestChanges:
    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    def test_a_server_that_tells_of_a_change_is_asked_at_once(
        self, piped: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        monkeypatch.setattr(sessions, "Client", functools.partial(sessions.Client, mode=mode))
        tool, teller = signed("add-note"), signed("misbehave")
        ledger.offer("add-note", description="Something else.")
        teller.invoke({"how": "tell"}, "k")
        assert wait_until(lambda: sessions._sessions["crm"].changed, 20)
        with pytest.raises(ToolDisabled, match="Its description or schemas changed"):
            tool.invoke({"customer": "c", "text": "t"}, "k")
        assert ledger.calls("add-note") == []

    @pytest.mark.parametrize(
        "changed",
        [
            {"description": "Other."},
            {"title": "Other"},
            {"inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}},
            {"outputSchema": {"type": "object"}},
        ],
    )
    def test_each_part_of_what_was_signed_counts_at_the_start_of_a_session(
        self, piped: str, ledger: Ledger, changed: dict[str, Any]
    ) -> None:
        tool = signed("add-note")
        ledger.offer("add-note", **changed)
        sessions.close_all()
        with pytest.raises(ToolDisabled):
            tool.invoke({"customer": "c", "text": "t"}, "k")
        assert ledger.calls() == []

    def test_the_server_s_own_hints_do_not_count(self, piped: str, ledger: Ledger) -> None:
        tool = signed("add-note")
        ledger.offer("add-note", annotations={"readOnlyHint": False, "destructiveHint": True})
        sessions.close_all()
        tool.invoke({"customer": "c", "text": "t"}, "k")
        assert RemoteTool.objects.get(name=tool.name).effect == "irreversible"

    def test_what_is_gone_is_disabled_and_comes_back_only_by_a_person(
        self, piped: str, ledger: Ledger
    ) -> None:
        tool = signed("add-note")
        ledger.offer_no_longer("add-note")
        sessions.close_all()
        with pytest.raises(ToolDisabled, match="offers it no longer"):
            tool.invoke({"customer": "c", "text": "t"}, "k")
        (ledger.folder / "offers.json").unlink()
        sessions.close_all()
        sync()
        assert RemoteTool.objects.get(name=tool.name).state == RemoteState.DISABLED
        review.sign(tool.name, actor="user:omar", reason="It is back.")
        tool.invoke({"customer": "c", "text": "t"}, "k")


class TestChildren:
    def test_a_command_gets_the_environment_that_was_declared_and_no_other(
        self, declare: Declared, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CRM_TOKEN", "canary-9f3c21")
        monkeypatch.setenv("MODE", "from outside")
        values = {"API_KEY": "Bearer {token}", "REGION": "eu"}
        secret = {"token": "env:CRM_TOKEN"}
        declare(crm={**command(ledger), "pass": ["MODE"], "environment": values, "secrets": secret})
        opened()
        environment = json.loads((ledger.folder / "environment.json").read_text())
        environment.pop("LC_CTYPE", None)  # Python's own
        assert environment == {"MODE": "from outside", "API_KEY": "Bearer canary-9f3c21", "REGION": "eu"}

    def test_a_secret_that_is_missing_starts_nothing(
        self, declare: Declared, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CRM_TOKEN", raising=False)
        secret = {"token": "env:CRM_TOKEN"}
        declare(crm={**command(ledger), "environment": {"API_KEY": "{token}"}, "secrets": secret})
        with pytest.raises(SecretMissing):
            opened()
        assert not (ledger.folder / "environment.json").exists()

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux kills at once")
    def test_a_server_that_heeds_nothing_ends_with_the_process_that_started_it(
        self, piped: str, ledger: Ledger, settings: Any
    ) -> None:
        code = (
            "import os, threading, django; django.setup()\n"
            "from tools.mcp import servers, session\n"
            "made = session.session_of(servers.server('crm'), 20)\n"
            "ask = lambda: made.call('misbehave', {'how': 'block'}, {}, 60)\n"
            "threading.Thread(target=ask, daemon=True).start()\n"
            "threading.Event().wait(60)\n"
        )
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        env["HOLDPOINT_MCP_SERVERS"] = settings.HOLDPOINT_MCP_SERVERS
        with subprocess.Popen([sys.executable, "-c", code], env=env) as parent:
            try:
                assert wait_until(lambda: ledger.calls() != [], 30)
            finally:
                parent.send_signal(signal.SIGKILL)
        assert wait_until(lambda: is_gone(ledger.calls()[0]["pid"]), 10)

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_each_process_after_a_fork_has_a_server_of_its_own(self, piped: str, ledger: Ledger) -> None:
        tool = signed("say")
        tool.invoke({}, "k")

        def call(number: int) -> int:
            tool.invoke({}, "k")
            return sessions._sessions["crm"].server == servers.server("crm")

        at_once(1, [call, call])
        tool.invoke({}, "k")
        pids = [each["pid"] for each in ledger.calls()]
        assert (pids[0], len(set(pids))) == (pids[-1], 3)
        assert wait_until(lambda: all(is_gone(pid) for pid in pids[1:-1]), 10)


def test_nothing_of_it_is_loaded_before_it_is_needed(piped: str, settings: Any) -> None:
    code = (
        "import sys, django; django.setup(); import runs.tasks, approvals.gate, config.urls\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('mcp', 'mcp_types')]"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    env["HOLDPOINT_MCP_SERVERS"] = settings.HOLDPOINT_MCP_SERVERS
    subprocess.run([sys.executable, "-c", code], env=env, check=True, cwd=SERVING.parents[2])


def test_a_call_that_was_asked_for_under_another_signature_is_not_sent(piped: str, ledger: Ledger) -> None:
    tool = signed("say", effect="read")
    call = ToolCall(
        id="call_1",
        step_id="stp_1",
        run_id="run_1",
        tool=tool.name,
        version=1,
        effect="read",
        started_at=db_now(),
    )
    call.save(force_insert=True)
    assert calling.perform(tool, {}, "k", "call_1")
    review.sign(tool.name, actor="user:omar", reason="It writes.", effect="irreversible")
    with pytest.raises(ToolDisabled, match="signed anew, as version 2"):
        calling.perform(tool, {}, "k", "call_1")
    assert len(ledger.calls()) == 1
