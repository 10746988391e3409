"""Runs over HTTP: started, listed, shown, followed and controlled like anywhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import services as approvals
from runs import engine, workflow
from runs.models import Message, Run
from runs.services import QueueFull
from tests.api.conftest import SECRET, Caller, World, a_run, a_token
from tools.models import ToolCall

pytestmark = pytest.mark.django_db(transaction=True)


class TestStart:
    def test_it_works(self, omar: Caller) -> None:
        body = {"workflow": "test.looks", "input": {"note": "A1"}, "intent": "Look at A1", "priority": 7}
        response = omar.post("runs", body)
        assert response.status_code == 201, response.content
        run = Run.objects.get()
        assert response["Location"] == f"/api/v1/runs/{run.pk}" == response.json()["url"]
        assert (run.requester, run.source, run.intent, run.priority) == ("user:omar", "api", "Look at A1", 7)
        assert run.input == {"note": "A1"}
        assert "no-store" in response["Cache-Control"]

    def test_a_token_starts_in_the_name_of_its_user(self, people: Any) -> None:
        token, secret = a_token(people["omar"], "runs:start")
        response = Caller(secret=secret).post("runs", {"workflow": "test.looks"})
        assert response.status_code == 201
        run = Run.objects.get()
        assert (run.requester, run.source) == ("user:omar", f"api:{token.pk}")

    def test_a_business_key_gives_the_run_back(self, omar: Caller) -> None:
        first = omar.post("runs", {"workflow": "test.looks", "key": "C-1"})
        again = omar.post("runs", {"workflow": "test.looks", "key": "C-1"})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        refused = omar.post("runs", {"workflow": "test.looks", "key": "C-1", "on_duplicate": "refuse"})
        assert refused.status_code == 409
        assert refused.json()["instead"] == first.json()["id"]
        assert refused.json()["state"] == "queued"
        assert Run.objects.count() == 1

    def test_an_unknown_workflow_is_named(self, omar: Caller) -> None:
        response = omar.post("runs", {"workflow": "test.none"})
        assert response.status_code == 404
        assert "no workflow called test.none" in response.json()["detail"]

    def test_input_that_does_not_fit_is_told_place_by_place(self, omar: Caller) -> None:
        response = omar.post("runs", {"workflow": "test.looks", "input": {"note": 5}})
        assert response.status_code == 422
        assert [each["place"] for each in response.json()["errors"]] == ["input.note"]
        assert Run.objects.count() == 0

    def test_a_misspelt_name_is_not_passed_over(self, omar: Caller) -> None:
        response = omar.post("runs", {"workflow": "test.looks", "dealine": "2027-01-01T00:00:00Z"})
        assert response.status_code == 422
        assert response.json()["errors"][0]["place"] == "dealine"

    def test_a_full_queue_says_when_to_come_back(self, omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: Any, **more: Any) -> None:
            raise QueueFull("runs", 10)

        monkeypatch.setattr("runs.services.start_run", full)
        response = omar.post("runs", {"workflow": "test.looks"})
        assert response.status_code == 503
        assert int(response["Retry-After"]) > 0
        assert response.json()["type"].endswith(":queue_full")

    def test_too_many_messages_say_when_to_come_back(self, omar: Caller, settings: Any) -> None:
        settings.HOLDPOINT_MESSAGE_LIMIT = 1
        run = omar.post("runs", {"workflow": "test.looks"}).json()["id"]
        answers = [omar.post(f"runs/{run}/messages", {"name": "go", "payload": n}) for n in range(2)]
        assert [answer.status_code for answer in answers] == [201, 503]
        assert int(answers[1]["Retry-After"]) > 0
        assert answers[1].json()["type"].endswith(":messages_full")


class TestLists:
    def test_pages_hold_every_run_once(self, omar: Caller) -> None:
        made = [a_run(advance=False).pk for _ in range(5)]
        url, seen = "/api/v1/runs?limit=2", []
        while url:
            page = omar.get(url).json()
            seen += [run["id"] for run in page["items"]]
            url = page["next"]
        assert seen == made[::-1]

    @pytest.mark.parametrize("what", ["steps", "artifacts", "journal"])
    def test_pages_of_what_belongs_to_a_run_hold_all_in_order(
        self, omar: Caller, world: World, what: str
    ) -> None:
        path = f"/api/v1/runs/{world.runs['test.keeps'].pk}/{what}"
        whole = omar.get(path).json()["items"]
        url, seen = f"{path}?limit=1", []
        while url:
            page = omar.get(url).json()
            seen += page["items"]
            url = page["next"]
        assert len(seen) > 2
        assert seen == whole

    def test_filters_stay_on_the_next_page(self, omar: Caller) -> None:
        for name in ("test.looks", "test.sleeps", "test.looks", "test.looks"):
            a_run(name, advance=False, key="")
        page = omar.get("runs?workflow=test.looks&limit=2&requester=omar").json()
        rest = omar.get(page["next"]).json()
        assert [run["workflow"] for run in page["items"] + rest["items"]] == ["test.looks"] * 3
        assert rest["next"] is None

    def test_filters_narrow(self, omar: Caller) -> None:
        a_run()
        kept = a_run("test.sleeps", key="C-9")
        for query in ("state=waiting", "workflow=test.sleeps", "key=C-9"):
            assert [run["id"] for run in omar.get(f"runs?{query}").json()["items"]] == [kept.pk], query
        assert omar.get("runs?requester=ana").json()["items"] == []

    @pytest.mark.parametrize(
        "query",
        ["state=lost", "sate=failed", "limit=0", "limit=201", "cursor=abc", "limit=5&limit=6", "cursor=WzFd"],
    )
    def test_a_query_that_means_nothing_is_refused(self, omar: Caller, query: str) -> None:
        response = omar.get(f"runs?{query}")
        assert response.status_code == 400
        assert response.json()["errors"][0]["place"] == query.partition("=")[0]

    def test_the_number_of_queries_is_constant(self, omar: Caller, world: World) -> None:
        run = world.runs["test.looks"].pk
        paths = ("runs", "calls", "schedules", "questions", "approvals", "approvals?view=mine", "workflows")
        paths += tuple(f"runs/{run}/{what}" for what in ("steps", "journal", "artifacts"))
        counts = []
        for _ in range(2):
            for path in paths:
                with CaptureQueriesContext(connection) as seen:
                    assert omar.get(path).status_code == 200, path
                counts.append((path, len(seen)))
            for name in ("test.pays", "test.wires", "test.asks", "test.sleeps"):
                a_run(name)
                a_run(name)
            for table in ("steps", "journal", "artifacts"):
                assert table
        assert counts[: len(paths)] == counts[len(paths) :]


class TestOneRun:
    def test_it_shows_how_it_stands(self, omar: Caller, world: World) -> None:
        shown = omar.get(f"runs/{world.runs['test.breaks'].pk}").json()
        assert (shown["state"], shown["state_word"]) == ("failed", "Failed")
        assert shown["head_seq"] > 0

    def test_contents_are_for_those_who_may_see_them(self, omar: Caller, ana: Caller, world: World) -> None:
        run = world.runs["test.looks"].pk
        for path in (f"runs/{run}", f"runs/{run}/steps", f"runs/{run}/journal", "runs"):
            for caller in (ana,):
                assert SECRET not in caller.get(path).content.decode(), path
        assert omar.get(f"runs/{run}").json()["input"] == {"note": SECRET}
        assert any(
            SECRET in str(step.get("result")) for step in omar.get(f"runs/{run}/steps").json()["items"]
        )
        assert all("content" in entry for entry in omar.get(f"runs/{run}/journal").json()["items"])

    def test_a_token_without_the_scope_sees_no_contents(self, people: Any, world: World) -> None:
        caller = Caller(secret=a_token(people["omar"], "runs:read", "calls:read", "approvals:read")[1])
        run = world.runs["test.looks"].pk
        for path in (
            f"runs/{run}",
            f"runs/{run}/steps",
            f"runs/{run}/journal",
            f"approvals/{world.approval.pk}",
        ):
            response = caller.get(path)
            assert response.status_code == 200
            assert '"input"' not in response.content.decode()
            assert '"arguments"' not in response.content.decode()
        assert caller.get(f"runs/{run}/artifacts/{world.artifact.pk}/content").status_code == 403

    def test_unknown_runs_are_nowhere(self, omar: Caller) -> None:
        for path in ("runs/run_0", "runs/run_0/steps", "runs/run_0/journal", "runs/run_0/artifacts"):
            response = omar.get(path)
            assert response.status_code == 404
            assert "run_0" in response.json()["detail"]

    def test_what_belongs_to_another_run_is_not_here(self, omar: Caller, world: World) -> None:
        other, run = world.runs["test.sleeps"].pk, world.runs["test.looks"].pk
        step = world.runs["test.looks"].steps.first()
        assert step is not None
        assert omar.get(f"runs/{run}/steps/{step.pk}").status_code == 200
        assert omar.get(f"runs/{other}/steps/{step.pk}").status_code == 404
        assert omar.get(f"runs/{run}/artifacts/{world.artifact.pk}/content").status_code == 200
        assert omar.get(f"runs/{other}/artifacts/{world.artifact.pk}/content").status_code == 404
        answer = omar.post(f"runs/{other}/steps/{world.question.pk}/answer", {"value": "blue"})
        assert answer.status_code == 404
        assert world.question.state == "held"

    def test_the_journal_goes_on_by_number(self, omar: Caller, world: World) -> None:
        run = world.runs["test.looks"]
        url, seen = f"/api/v1/runs/{run.pk}/journal?limit=2", []
        while url:
            page = omar.get(url).json()
            seen += [entry["seq"] for entry in page["items"]]
            url = page["next"]
        assert seen == list(range(1, run.head_seq + 1))

    def test_artifacts_are_saved_and_never_shown_in_place(self, omar: Caller, world: World) -> None:
        run = world.runs["test.looks"].pk
        listed = omar.get(f"runs/{run}/artifacts").json()["items"]
        assert [(each["name"], each["version"]) for each in listed] == [("letter", 1)]
        response = omar.get(listed[0]["url"])
        assert response.content == f"Dear {SECRET}".encode()
        assert response["Content-Disposition"].startswith("attachment")
        assert response["Content-Type"] == "application/octet-stream"
        assert response["X-Content-Type-Options"] == "nosniff"


class TestControl:
    def test_pause_and_resume(self, omar: Caller, world: World) -> None:
        run = world.runs["test.sleeps"].pk
        paused = omar.post(f"runs/{run}/pause", {"reason": "Prices are wrong"})
        assert (paused.status_code, paused.json()["state"]) == (200, "paused"), paused.content
        again = omar.post(f"runs/{run}/pause", {"reason": "Prices are wrong"})
        assert again.status_code == 409
        told = again.json()
        assert (told["state"], told["changed_by"]) == ("paused", "user:omar")
        assert told["changed_at"]
        resumed = omar.post(f"runs/{run}/resume", {"reason": "Prices are right"})
        assert resumed.json()["state"] == "queued"

    def test_cancel(self, machine: Caller, world: World) -> None:
        run = world.runs["test.sleeps"].pk
        response = machine.post(f"runs/{run}/cancel", {"reason": "Ordered twice"})
        assert response.status_code == 200
        assert response.json()["state"] in ("cancelling", "cancelled")

    def test_retry_and_fork(self, omar: Caller, world: World) -> None:
        run = world.runs["test.looks"]
        forked = omar.post(f"runs/{run.pk}/fork", {"reason": "Once more", "at_path": "2"})
        assert forked.status_code == 201, forked.content
        assert forked.json()["forked_from"] == run.pk
        assert forked["Location"] == forked.json()["url"]
        retried = omar.post(f"runs/{world.runs['test.breaks'].pk}/retry", {"reason": "Fixed"})
        assert retried.status_code in (200, 409)
        assert omar.post(f"runs/{run.pk}/retry", {"reason": "Why not"}).status_code == 409

    def test_replay_changes_nothing(self, omar: Caller, world: World) -> None:
        run = world.runs["test.looks"]
        response = omar.post(f"runs/{run.pk}/replay", {})
        assert (response.status_code, response.json()["verdict"]) == (200, "matches"), response.content
        run.refresh_from_db()
        assert run.head_seq == Run.objects.get(pk=run.pk).journal.count()

    def test_a_divergence_hides_arguments(
        self, people: Any, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = world.runs["test.looks"]

        def changed(handle: Any, case: Any) -> str:
            return str(handle.ask(f"Really {case.note}?"))

        known = workflow.get("test.looks")
        other = replace(known, function=changed)
        monkeypatch.setitem(workflow._registry, ("test.looks", 1), other)
        plain = Caller(secret=a_token(people["omar"], "runs:control")[1]).post(f"runs/{run.pk}/replay", {})
        assert plain.json()["verdict"] == "diverged", plain.content
        assert SECRET not in plain.content.decode()
        assert "arguments" not in plain.json()["divergence"]["asked"]
        assert (
            "arguments"
            in Caller(people["omar"]).post(f"runs/{run.pk}/replay", {}).json()["divergence"]["asked"]
        )

    def test_many_at_once_are_looked_at_first(self, omar: Caller, world: World) -> None:
        ids = [world.runs["test.sleeps"].pk, world.runs["test.looks"].pk, "run_0"]
        body = {"verb": "pause", "runs": ids, "reason": "Prices are wrong"}
        look = omar.post("runs/bulk", body).json()
        assert (look["done"], look["chosen"], look["possible"]) == (False, 3, 1)
        assert Run.objects.get(pk=ids[0]).state == "waiting"
        done = omar.post("runs/bulk", {**body, "dry_run": False}, Idempotency_Key="bulk-1").json()
        assert (done["done"], done["possible"]) == (True, 1)
        assert Run.objects.get(pk=ids[0]).state == "paused"
        again = omar.post("runs/bulk", {**body, "dry_run": False}, Idempotency_Key="bulk-1")
        assert again.json() == done
        assert again["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry", "fork"])
    def test_no_act_without_a_reason(self, omar: Caller, world: World, verb: str) -> None:
        for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}):
            response = omar.post(f"runs/{world.runs['test.sleeps'].pk}/{verb}", body)
            assert response.status_code == 422, body
            assert "reason" in [each["place"] for each in response.json()["errors"]]
        assert Run.objects.get(pk=world.runs["test.sleeps"].pk).state == "waiting"


class TestWords:
    def test_a_message_reaches_its_run_once(self, machine: Caller, world: World) -> None:
        run = world.runs["test.waits"]
        body = {"name": "parcel.returned", "payload": {"order": "A1"}, "key": "carrier-77"}
        first, again = (
            machine.post(f"runs/{run.pk}/messages", body),
            machine.post(f"runs/{run.pk}/messages", body),
        )
        assert first.status_code == 201, first.content
        assert again.json() == first.json()
        assert Message.objects.count() == 1
        engine.advance(run.pk, "wrk_test")
        run.refresh_from_db()
        assert (run.state, run.output) == ("succeeded", {"order": "A1"})

    def test_a_run_that_has_ended_takes_no_message(self, machine: Caller, world: World) -> None:
        response = machine.post(f"runs/{world.runs['test.looks'].pk}/messages", {"name": "x", "payload": 1})
        assert response.status_code == 409
        assert response.json()["state"] == "succeeded"

    def test_a_person_answers_a_question(self, ana: Caller, world: World) -> None:
        asked = ana.get("questions").json()["items"]
        assert [each["step"] for each in asked] == [world.question.pk]
        assert SECRET in asked[0]["question"]
        path = f"runs/{asked[0]['run']}/steps/{asked[0]['step']}/answer"
        assert ana.post(path, {"value": 5}).status_code == 422
        assert ana.post(path, {"value": "blue"}).status_code == 200
        late = ana.post(path, {"value": "red"})
        assert late.status_code == 409
        assert "ana" in late.json()["detail"]

    def test_a_person_settles_a_call(self, omar: Caller, world: World) -> None:
        listed = omar.get("calls").json()["items"]
        assert [each["id"] for each in listed] == [world.call.pk]
        ToolCall.objects.update(not_before=world.call.started_at)
        path = f"calls/{world.call.pk}/settle"
        done = omar.post(path, {"outcome": "did_not_happen", "note": "The bank does not have it"})
        assert done.status_code == 200, done.content
        late = omar.post(path, {"outcome": "did_not_happen", "note": "The bank does not have it"})
        assert late.status_code == 409
        assert (late.json()["state"], late.json()["changed_by"]) == ("failed", "user:omar")

    def test_a_person_who_cannot_tell_and_one_who_reads_late(self, omar: Caller, world: World) -> None:
        path = f"calls/{world.call.pk}/settle"
        done = omar.post(path, {"outcome": "cannot_tell", "note": "No list today", "seen": ""})
        assert (done.status_code, done.json()["state"]) == (200, "unknown")
        (listed,) = omar.get("calls").json()["items"]
        assert [(each["by"], each["outcome"]) for each in listed["said"]] == [("user:omar", "cannot_tell")]
        late = omar.post(path, {"outcome": "cannot_tell", "note": "Nor today", "seen": ""})
        assert late.status_code == 409 and "omar said at" in late.json()["detail"]
        again = {"outcome": "cannot_tell", "note": "Nor today", "seen": listed["last_said"]}
        assert omar.post(path, again).status_code == 200

    def test_whoever_asked_for_the_run_settles_nothing(self, omar: Caller, world: World) -> None:
        Run.objects.filter(pk=world.call.run_id).update(requester="user:omar")
        path = f"calls/{world.call.pk}/settle"
        refused = omar.post(path, {"outcome": "cannot_tell", "note": "No list today"})
        assert refused.status_code == 403 and "somebody else must say" in refused.json()["detail"]

    def test_one_tool_call_is_a_run_of_its_own(self, machine: Caller, world: World) -> None:
        asked = {"tool": "look_up", "arguments": {"note": "x"}, "intent": "See whether it is there"}
        done = machine.post("calls", asked)
        assert done.status_code == 201, done.content
        run = Run.objects.get(pk=done.json()["id"])
        assert (run.workflow, run.intent) == ("holdpoint.call", "See whether it is there")
        assert done["Location"].endswith(run.pk)
        before = Run.objects.count()
        assert machine.post("calls", {"tool": "nothing"}).status_code == 404
        wrong = machine.post("calls", asked | {"arguments": {"colour": 1}})
        assert wrong.status_code == 422
        assert wrong.json()["errors"][0]["place"] == "arguments"
        assert Run.objects.count() == before

    def test_schedules_and_workflows_are_listed(self, machine: Caller, world: World) -> None:
        assert [each["name"] for each in machine.get("schedules").json()["items"]] == ["nightly"]
        shown = {each["name"]: each for each in machine.get("workflows").json()["items"]}
        assert shown["test.looks"]["input_schema"]["properties"]["note"]["type"] == "string"

    def test_a_person_activates_a_version(self, omar: Caller, machine: Caller) -> None:
        path, body = "workflows/test.looks/versions/1", {"reason": "Tried"}
        assert machine.post(f"{path}/activate", body).status_code == 403
        done = omar.post(f"{path}/activate", body)
        assert (done.json()["state"], done.json()["activated_by"]) == ("active", "user:omar"), done.content
        assert omar.post(f"{path}/retire", body).json()["state"] == "retired"
        assert omar.post(f"{path}/retire", body).status_code == 409
        assert omar.post("workflows/test.none/versions/1/activate", body).status_code == 404


class TestDecisions:
    def test_it_works(self, ana: Caller, world: World) -> None:
        approval = world.approval
        assert [each["id"] for each in ana.get("approvals?view=mine").json()["items"]] == [approval.pk]
        shown = ana.get(f"approvals/{approval.pk}").json()
        assert shown["can_decide"] is True
        body = {"verdict": "approve", "digest": shown["digest"], "checked": True}
        done = ana.post(f"approvals/{approval.pk}/decisions", body)
        assert (done.status_code, done.json()["actor"]) == (201, "user:ana"), done.content
        run = world.runs["test.pays"]
        engine.advance(run.pk, "wrk_test")
        run.refresh_from_db()
        assert run.state == "succeeded"

    def test_an_old_digest_decides_nothing(self, ana: Caller, world: World) -> None:
        body = {"verdict": "approve", "digest": "0" * 64, "checked": True}
        response = ana.post(f"approvals/{world.approval.pk}/decisions", body)
        assert response.status_code == 409
        assert response.json()["state"] == "pending"
        assert world.approval.state == "pending"

    def test_the_second_decision_is_told_of_the_first(self, ana: Caller, ben: Caller, world: World) -> None:
        approval = world.approval
        no = {"verdict": "reject", "digest": approval.digest, "reason": "Delivered"}
        assert ana.post(f"approvals/{approval.pk}/decisions", no).status_code == 201
        response = ben.post(
            f"approvals/{approval.pk}/decisions",
            {"verdict": "approve", "digest": approval.digest, "checked": True},
        )
        assert response.status_code == 409
        told = response.json()
        assert (told["state"], told["changed_by"]) == ("rejected", "user:ana")
        assert told["changed_at"]

    def test_a_no_needs_a_reason(self, ana: Caller, world: World) -> None:
        body = {"verdict": "reject", "digest": world.approval.digest}
        response = ana.post(f"approvals/{world.approval.pk}/decisions", body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["place"] == "reason"

    def test_nothing_grave_is_approved_at_a_glance(
        self, ana: Caller, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("approvals.api.needs_a_tick", lambda approval: True)
        body = {"verdict": "approve", "digest": world.approval.digest}
        response = ana.post(f"approvals/{world.approval.pk}/decisions", body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["place"] == "checked"
        assert world.approval.state == "pending"

    def test_nobody_decides_what_their_own_token_asked_for(self, people: Any) -> None:
        people["ben"].groups.add(*people["omar"].groups.all())
        secret = a_token(people["ben"], "runs:start")[1]
        run_id = Caller(secret=secret).post("runs", {"workflow": "test.pays"}).json()["id"]
        engine.advance(run_id, "wrk_test")
        approval = approvals.Approval.objects.get(run=run_id)
        body = {"verdict": "approve", "digest": approval.digest, "checked": True}
        response = Caller(people["ben"]).post(f"approvals/{approval.pk}/decisions", body)
        assert response.status_code == 403
        assert "asked for this yourself" in response.json()["detail"]
