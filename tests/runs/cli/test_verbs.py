"""Every verb of manage.py runs: what it answers, with which exit code, and that nothing else is done."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import JournalEntry, Worker, WorkflowVersion
from runs.models import Run as RunRow
from tests.runs.cli.conftest import Type
from tools.failures import Refused
from tools.registry import tool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("open_gate", "talking_broker", "people"),
]
OMAR = ("--by", "omar")
WHY = ("--reason", "asked for", *OMAR)
CONTROL = ("pause", "resume", "cancel", "retry")


@pytest.fixture(autouse=True)
def flows(own_registries: None) -> None:
    @tool(effect="read")
    def peek(place: int) -> int:
        """Look."""
        return place * 10

    @workflow.workflow("c.nap", on_cancel=None)
    def nap(run: Run, case: dict[str, Any]) -> int:
        """Look, then sleep."""
        found = run.tool(peek, case.get("place", 1))
        run.sleep(case.get("seconds", 3600))
        return int(found)

    @workflow.workflow("c.tidies", on_cancel=lambda run, case: run.tool(peek, 2))
    def tidies(run: Run, case: dict[str, Any]) -> None:
        run.sleep(3600)

    @workflow.workflow("c.fails")
    def fails(run: Run, case: dict[str, Any]) -> int:
        run.tool(peek, 1)
        raise Refused("not today")

    @workflow.workflow("c.asks")
    def asks(run: Run, case: dict[str, Any]) -> str:
        return str(run.ask("Which one?", type=str))

    @workflow.workflow("c.hears")
    def hears(run: Run, case: dict[str, Any]) -> Any:
        return run.wait_for("news", type=dict[str, Any])


def start(name: str, value: Any = None) -> RunRow:
    run = services.start_run(name, value or {}, actor="user:omar")
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


class TestStart:
    def test_it_works(self, type_: Type) -> None:
        line = ("runs", "start", "c.nap", "--key", "K1", "--priority", "7", *OMAR, "--json")
        made = type_(*line, "--deadline", "2100-01-01T00:00:00+00:00").value
        assert (made["state"], made["key"], made["priority"]) == ("queued", "K1", 7)
        assert made["input"] == {}
        again = type_(*line)
        assert (again.code, again.value["id"]) == (0, made["id"])
        assert RunRow.objects.get().source == "command"

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (["--key", "K1", "--on-duplicate", "refuse", *OMAR], 6, "already"),
            (["--priority", "99", *OMAR], 2, "--priority"),
            (["--at", "tomorrow", *OMAR], 2, "no moment"),
            (["--at", "2100-01-01T00:00:00", *OMAR], 2, "no time zone"),
            (["--deadline", "2001-01-01T00:00:00+00:00", *OMAR], 2, "future"),
            (["--version", "9", *OMAR], 4, "no version 9"),
            (["--by", "nobody"], 4, "no active user"),
            (["--by", "gone"], 4, "no active user"),
            (["--by", "ana"], 5, "runs.start_run"),
            (["--input", "{", *OMAR], 2, "not JSON"),
        ],
    )
    def test_it_says_what_is_wrong(self, type_: Type, words: list[str], code: int, says: str) -> None:
        type_("runs", "start", "c.nap", "--key", "K1", *OMAR)
        answer = type_("runs", "start", "c.nap", *words, "--json")
        assert (answer.code, says in answer.err) == (code, True), answer.err
        assert answer.value["error"]["message"] in answer.err
        assert RunRow.objects.count() == 1

    def test_a_full_queue_refuses(self, type_: Type, settings: Any) -> None:
        settings.HOLDPOINT_QUEUE_LIMIT = 1
        type_("runs", "start", "c.nap", *OMAR)
        assert type_("runs", "start", "c.nap", *OMAR).code == 5

    def test_it_waits_until_the_end(self, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
        _worker(monkeypatch)
        done = type_("runs", "start", "c.nap", "--input", '{"seconds": 0}', "--wait", *OMAR, "--json")
        assert (done.code, done.value["state"], done.value["output"]) == (0, "succeeded", 10)
        failed = type_("runs", "start", "c.fails", "--wait", *OMAR)
        assert (failed.code, "not today" in failed.out) == (1, True)
        waits = type_("runs", "start", "c.asks", "--until-waiting", *OMAR, "--json")
        assert (waits.code, waits.value["state"]) == (3, "waiting")


def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks away comes back to find that the runs have gone on."""

    def go_on(seconds: float) -> None:
        for run_id in RunRow.objects.filter(state="queued").values_list("id", flat=True):
            engine.advance(run_id, "wrk_a")

    monkeypatch.setattr(time, "sleep", go_on)


class TestCall:
    def test_it_works(self, type_: Type) -> None:
        made = type_("runs", "call", "peek", "--arguments", '{"place": 4}', *OMAR, "--json").value
        engine.advance(made["id"], "wrk_a")
        assert RunRow.objects.get().output == 40
        assert type_("runs", "show", made["id"], *OMAR).out.splitlines()[2] == "returned  40"

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["nothing", *OMAR], 4),
            (["peek", *OMAR], 2),
            (["peek", "--arguments", "[]", *OMAR], 2),
            (["peek", "--arguments", '{"place": 1}', "--by", "ada"], 5),
        ],
    )
    def test_it_says_what_is_wrong(self, type_: Type, words: list[str], code: int) -> None:
        assert type_("runs", "call", *words).code == code
        assert not RunRow.objects.exists()


class TestLooking:
    def test_list_and_show(self, type_: Type) -> None:
        run = start("c.nap")
        start("c.fails")
        told = type_("runs", "list", "--state", "waiting", "--workflow", "c.nap", "--json").value
        assert [each["id"] for each in told] == [run.id]
        assert type_("runs", "list", "--workflow", "none", "--json").value == []
        shown = type_("runs", "show", run.id, "--json").value
        assert shown["journal"][0]["kind"] == "run.started"
        assert "input" not in shown
        assert type_("runs", "show", run.id, "--json", *OMAR).value["input"] == {}
        assert "input" not in type_("runs", "show", run.id, "--json", "--by", "ana").value
        assert "given     {}\n" in type_("runs", "show", run.id, *OMAR).out
        assert "given" not in type_("runs", "show", run.id, "--by", "ana").out

    def test_refusals(self, type_: Type) -> None:
        assert type_("runs", "show", "run_none").code == 4
        assert type_("runs", "watch", "run_none").code == 4
        assert type_("runs", "list", "--limit", "0").code == 2
        assert (
            type_("runs", "list", "--state", "asleep").code == 1
        )  # by argparse, which ends with 2 in a shell
        assert type_("runs", "replay", start("c.nap").id, "--version", "9").code == 4

    def test_workflows(self, type_: Type) -> None:
        told = {each["name"]: each for each in type_("runs", "workflows", "--json").value}
        assert told["c.nap"]["description"] == "Look, then sleep."
        assert "c.nap version 1, not active: Look, then sleep." in type_("runs", "workflows").out
        WorkflowVersion.objects.create(name="c.nap", version=1, state="active")
        assert "c.nap version 1, active: Look, then sleep." in type_("runs", "workflows").out

    def test_a_paused_run_waits_for_nobody_but_who_resumes_it(self, type_: Type) -> None:
        run = start("c.nap")
        assert "Waiting for " in type_("runs", "list").out
        type_("runs", "pause", run.id, "--reason", "Look first", *OMAR)
        assert f"{run.id}  Paused  c.nap" in type_("runs", "list").out

    def test_watch_says_when_nobody_will_carry_the_run_on(self, type_: Type) -> None:
        asks = start("c.asks")
        words = ("runs", "watch", asks.id, "--until-waiting")
        assert f"No worker takes runs from the queue {asks.queue}" in type_(*words).err
        here = {"host": "here", "pid": 1, "pool": "threads", "queues": asks.queue}
        Worker.objects.create(id="wrk_b", started_at=db_now(), beat_at=db_now(), **here)
        assert "No worker" not in type_(*words).err

    def test_watch(self, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
        assert type_("runs", "watch", start("c.nap", {"seconds": 0}).id).code == 0
        failed = start("c.fails")
        answer = type_("runs", "watch", failed.id, "--json")
        assert (answer.code, answer.value["journal"][-1]["kind"]) == (1, "run.failed")
        asks = start("c.asks")
        assert type_("runs", "watch", asks.id, "--until-waiting").code == 3

    def test_ctrl_c_stops_watching_and_nothing_else(
        self, type_: Type, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = start("c.nap")

        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(time, "sleep", interrupted)
        answer = type_("runs", "watch", run.id)
        assert (answer.code, f"{run.id} goes on" in answer.err) == (130, True)
        run.refresh_from_db()
        assert run.state == "waiting"


class TestControl:
    def test_they_work(self, type_: Type) -> None:
        run = start("c.nap")
        assert type_("runs", "pause", run.id, *WHY, "--json").value["state"] == "paused"
        assert type_("runs", "resume", run.id, *WHY, "--json").value["state"] == "queued"
        assert type_("runs", "cancel", run.id, *WHY, "--json").value["state"] == "cancelled"
        failed = start("c.fails")
        fork = type_("runs", "fork", failed.id, "--at", "1", *WHY, "--json").value
        assert fork["forked_from"] == failed.id
        assert type_("runs", "retry", failed.id, "--from", "1", *WHY, "--json").value["state"] == "queued"

    @pytest.mark.parametrize("verb", CONTROL)
    def test_bad_input_changes_nothing(self, type_: Type, verb: str) -> None:
        run = start("c.nap", {"seconds": 0})  # it has succeeded: no verb is possible
        before = (RunRow.objects.values().get(), JournalEntry.objects.count())
        line = ("runs", verb)
        assert type_(*line, run.id, *WHY).code == 6
        assert type_(*line, "run_none", *WHY).code == 4
        assert type_(*line, run.id, "--reason", "x", "--by", "ana").code == 5
        assert type_(*line, run.id, "--reason", "x", "--by", "gone").code == 4
        assert type_(*line, run.id, "--reason", " ", *OMAR).code == 2
        assert type_(*line, *WHY).code == 2
        assert type_(*line, run.id, "--all", *WHY).code == 2
        assert type_(*line, "--all", *WHY).code == 2
        assert (RunRow.objects.values().get(), JournalEntry.objects.count()) == before

    def test_bad_paths(self, type_: Type) -> None:
        run = start("c.fails")
        assert type_("runs", "retry", run.id, "--from", "77", *WHY).code == 4
        assert type_("runs", "fork", run.id, "--at", "77", *WHY).code == 4
        assert type_("runs", "fork", run.id, "--at", "1", "--version", "9", *WHY).code == 4
        assert RunRow.objects.count() == 1

    def test_many_at_once(self, type_: Type) -> None:
        for _ in range(3):
            start("c.nap")
        start("c.fails")
        line = ("runs", "cancel", "--all", "--workflow", "c.nap", *WHY)
        foreseen = type_(*line, "--dry-run", "--json").value
        assert (foreseen["chosen"], foreseen["possible"], foreseen["done"]) == (3, 3, False)
        assert RunRow.objects.filter(state="waiting").count() == 3
        assert type_(*line).code == 2  # nobody is there to be asked
        done = type_(*line, "--yes", "--json")
        assert (done.code, done.value["possible"]) == (0, 3)
        assert not RunRow.objects.filter(state="waiting").exists()
        assert type_(*line, "--yes").code == 4  # they have ended: none is chosen
        assert type_(*line, "--state", "cancelled", "--yes").code == 1

    def test_it_takes_more_than_the_service_takes_at_once(
        self, type_: Type, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("runs.services.bulk.MOST_AT_ONCE", 2)
        monkeypatch.setattr(services, "MOST_AT_ONCE", 2)
        begun = {start("c.nap").id for _ in range(5)}
        done = type_("runs", "pause", "--all", "--workflow", "c.nap", "--yes", "--json", *WHY).value
        assert {each["run"] for each in done["runs"]} == begun
        assert (done["sentence"], done["done"]) == ("5 chosen, 5 were paused", True)
        assert RunRow.objects.filter(state="paused").count() == 5

    def test_it_says_what_is_still_to_be_done(self, type_: Type) -> None:
        runs = [start("c.tidies").id, start("c.nap").id]
        answer = type_("runs", "cancel", "--all", "--state", "waiting", "--yes", *WHY)
        assert f"{runs[0]}  Now cancelling." in answer.out
        assert f"{runs[1]}  Now cancelled." in answer.out
        assert "2 chosen, 2 were cancelled, 1 of them once the clean-up is done." in answer.out

    def test_one_dry_run(self, type_: Type) -> None:
        run = start("c.nap")
        assert type_("runs", "cancel", run.id, "--dry-run", *WHY, "--json").value["possible"] == 1
        run.refresh_from_db()
        assert run.state == "waiting"


class TestTelling:
    def test_send(self, type_: Type) -> None:
        run = start("c.hears")
        line = ("runs", "send", run.id, "news", "--payload", '{"a": 1}', "--key", "m1", *OMAR, "--json")
        assert type_(*line).value["id"] == type_(*line).value["id"]
        engine.advance(run.id, "wrk_a")
        run.refresh_from_db()
        assert run.output == {"a": 1}
        assert type_("runs", "send", run.id, "news", *OMAR).code == 6
        assert type_("runs", "send", run.id, "no good name", *OMAR).code == 2
        assert type_("runs", "send", run.id, "news", "--by", "ana").code == 5
        assert type_("runs", "send", "run_none", "news", *OMAR).code == 4

    def test_answer(self, type_: Type) -> None:
        run = start("c.asks")
        step = run.steps.get()
        assert type_("runs", "answer", step.id, "--value", "7", *OMAR).code == 2
        assert type_("runs", "answer", step.id, "--value", '"left"', "--by", "ada").code == 5
        assert type_("runs", "answer", "stp_none", "--value", '"left"', *OMAR).code == 4
        assert type_("runs", "answer", run.id, "--value", '"left"', "--by", "ana", "--json").code == 0
        assert type_("runs", "answer", step.id, "--value", '"right"', *OMAR).code == 6
        assert type_("runs", "answer", run.id, "--value", '"right"', *OMAR).code == 6
        engine.advance(run.id, "wrk_a")
        run.refresh_from_db()
        assert run.output == "left"


class TestChecking:
    @pytest.fixture(autouse=True)
    def no_other_histories(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from runs.replays import golden

        monkeypatch.setattr(golden, "FOLDER", "no-such-folder")

    def deploy(self) -> None:
        """Other code for a version under way."""
        known = workflow._registry.pop(("c.nap", 1))
        peek = known.function.__closure__[0].cell_contents  # type: ignore[index]

        @workflow.workflow("c.nap")
        def nap(run: Run, case: dict[str, Any]) -> int:
            run.tool(peek, 77)
            return 1

    def test_replay_and_check(self, type_: Type) -> None:
        run, other = start("c.nap"), start("c.nap")
        report = type_("runs", "replay", run.id, "--json")
        assert (report.code, report.value["verdict"]) == (0, "matches")
        clean = type_("runs", "check", "--json")
        assert (clean.code, clean.value) == (0, {"checked": 2, "misfits": []})
        self.deploy()
        parted = type_("runs", "replay", run.id)
        assert parted.code == 1
        assert '"place": 1' in parted.out
        asks = start("c.asks")
        workflow._registry.pop(("c.asks", 1))

        @workflow.workflow("c.asks")
        def hears_instead(run: Run, case: dict[str, Any]) -> Any:
            return run.wait_for("news")

        assert "recorded is question, the code asks for message news" in type_("runs", "replay", asks.id).out
        services.cancel_run(asks.id, actor="user:omar", reason="Seen")
        assert "| " in parted.out
        first = type_("runs", "check")
        assert (first.code, first.out.count("diverged"), "1 does not fit" in first.out) == (1, 0, True)
        every = type_("runs", "check", "--all", "--json")
        assert {each["run"] for each in every.value["misfits"]} == {run.id, other.id}
        assert type_("runs", "replay", "run_none").code == 4

    def test_golden_histories(self, type_: Type, tmp_path: Path) -> None:
        run = start("c.nap", {"seconds": 0})
        file = tmp_path / "nap.json"
        made = type_("runs", "export", run.id, "--output", str(file), *OMAR, "--json")
        assert (made.code, made.value["steps"]) == (0, 2)
        assert json.loads(file.read_text()) == type_("runs", "export", run.id, *OMAR, "--json").value
        line = ("runs", "check", "--golden", str(tmp_path), "--only-golden", "--json")
        assert type_(*line).value == {"checked": 1, "misfits": []}
        self.deploy()
        answer = type_(*line)
        assert (answer.code, answer.value["misfits"][0]["where"]) == (1, str(file))
        file.write_text("{}")
        empty = type_(*line)
        assert (empty.code, "it has no 'format'." in empty.err) == (2, True)
        file.write_text("{")
        broken = type_(*line)
        assert (broken.code, "Expecting property name" in broken.err) == (2, True)
        assert "Error(" not in broken.err
        assert type_("runs", "check", "--golden", str(tmp_path / "none")).code == 2
        assert type_("runs", "export", run.id, "--by", "ana").code == 5
        assert type_("runs", "export", "run_none", *OMAR).code == 4

    def test_golden_histories_need_no_database(self, type_: Type, tmp_path: Path) -> None:
        run = start("c.nap", {"seconds": 0})
        type_("runs", "export", run.id, "--output", str(tmp_path / "nap.json"), *OMAR)

        def refuse(*_: Any) -> None:
            raise AssertionError("the database was asked")

        with connection.execute_wrapper(refuse):
            answer = type_("runs", "check", "--golden", str(tmp_path), "--only-golden", "--json")
        assert answer.value["checked"] == 1

    def test_progress_is_shown_beside_the_answer(self, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
        from runs.cli import checking

        start("c.nap")
        monkeypatch.setattr(checking, "QUIET", 0.0)
        answer = type_("runs", "check", "--json")
        assert answer.value["checked"] == 1
        assert "1 checked in" in answer.err
