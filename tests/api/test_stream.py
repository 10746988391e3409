"""The stream of a journal: contiguous, without repeats, from wherever a client left off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import AsyncClient, override_settings

from runs import engine, services
from runs.api import stream
from runs.models import Run
from tests.api.conftest import SECRET, Caller, World, a_run, a_token

pytestmark = pytest.mark.django_db(transaction=True)
Event = dict[str, str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stream, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(stream, "BEAT_EVERY", 0.1)
    monkeypatch.setattr(stream, "LASTS", 20.0)
    monkeypatch.setattr(stream, "places", stream._Places())
    yield
    assert stream.places.count() == 0  # every place was given back


async def opened(user: User | None, run: Run, secret: str = "", **headers: str) -> Any:
    """The response, its stream not yet read."""
    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret:
        sent["Authorization"] = f"Bearer {secret}"
    return await client.get(f"/api/v1/runs/{run.pk}/journal/stream", headers=sent)


async def events(response: Any) -> AsyncIterator[Event]:
    """What arrives, comments included."""
    async for part in response.streaming_content:
        lines = part.decode().strip().split("\n")
        yield dict(line.partition(": ")[::2] if ":" in line else (line, "") for line in lines)


async def read(response: Any, until: int | None = None) -> list[Event]:
    """Entries and the end, up to entry `until`; closes the stream."""
    found = []
    try:
        async with asyncio.timeout(20):
            async for event in events(response):
                if "event" not in event:
                    continue
                found.append(event)
                if until is not None and int(event["id"]) >= until:
                    break
    finally:
        await response.streaming_content.aclose()
        response.close()
    return found


async def apart(act: Any, *args: Any, **more: Any) -> None:
    """Do it on another thread, which leaves no connection behind."""

    def do() -> None:
        try:
            act(*args, **more)
        finally:
            connections.close_all()

    await sync_to_async(do, thread_sensitive=False)()


def play(test: Any) -> Any:
    """Run the coroutine of a test to its end."""
    return asyncio.run(test)


def test_it_works(people: dict[str, User], world: World) -> None:
    run = world.runs["test.looks"]
    response = play(_whole(people["omar"], run))
    told, kind = response
    assert kind == "text/event-stream"
    assert [int(event["id"]) for event in told] == [*range(1, run.head_seq + 1), run.head_seq]
    assert [event["event"] for event in told] == ["entry"] * run.head_seq + ["end"]
    assert json.loads(told[-1]["data"])["state"] == "succeeded"
    assert json.loads(told[0]["data"])["sentence"].startswith("omar asked for test.looks")


async def _whole(user: User, run: Run, **headers: str) -> tuple[list[Event], str]:
    response = await opened(user, run, **headers)
    assert response.status_code == 200, response.content
    return await read(response), response["Content-Type"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_it_goes_on_after_any_number(people: dict[str, User], world: World, after: int) -> None:
    run = world.runs["test.looks"]
    told, _ = play(_whole(people["omar"], run, Last_Event_ID=str(after)))
    assert [int(event["id"]) for event in told[:-1]] == list(range(after + 1, run.head_seq + 1))


def test_a_client_that_has_everything_gets_the_end(people: dict[str, User], world: World) -> None:
    run = world.runs["test.looks"]
    told, _ = play(_whole(people["omar"], run, Last_Event_ID=str(run.head_seq)))
    assert [event["event"] for event in told] == ["end"]


def test_what_is_written_meanwhile_arrives(people: dict[str, User]) -> None:
    run = a_run("test.waits")

    async def story() -> list[Event]:
        response = await opened(people["omar"], run)
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0.1)
        await apart(services.send_message, run.pk, "parcel.returned", 1, actor="user:omar")
        await apart(engine.advance, run.pk, "wrk_test")
        return await reading

    told = play(story())
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert [int(event["id"]) for event in told] == [*range(1, run.head_seq + 1), run.head_seq]


def test_drops_at_every_place_lose_and_repeat_nothing(people: dict[str, User], world: World) -> None:
    run = world.runs["test.looks"]

    async def story() -> list[int]:
        seen: list[int] = []
        while len(seen) < run.head_seq:
            last = {"Last_Event_ID": str(seen[-1])} if seen else {}
            part = await read(await opened(people["omar"], run, **last), until=len(seen) + 1)
            seen += [int(event["id"]) for event in part if event["event"] == "entry"]
        return seen

    assert play(story()) == list(range(1, run.head_seq + 1))


def test_contents_are_for_those_who_may_see_them(people: dict[str, User]) -> None:
    run = a_run("test.asks")

    async def told_to(name: str, secret: str = "") -> str:
        response = await opened(None if secret else people[name], run, secret)
        return json.dumps(await read(response, until=run.head_seq))

    assert SECRET in play(told_to("omar"))
    assert SECRET not in play(told_to("ana"))
    assert SECRET not in play(told_to("", a_token(people["omar"], "runs:read")[1]))


def test_silence_is_filled_with_comments(people: dict[str, User]) -> None:
    run = a_run("test.sleeps")

    async def story() -> bool:
        response = await opened(people["omar"], run)
        try:
            async with asyncio.timeout(20):
                async for part in response.streaming_content:
                    if part.startswith(b": alive"):
                        return True
        finally:
            await response.streaming_content.aclose()
            response.close()
        return False

    assert play(story())


@pytest.mark.parametrize(
    ("caller", "end"),
    [(caller, end) for caller in ("token", "session") for end in (caller, "user", "permission")]
    + [("session", "password")],
)
def test_it_ends_when_the_right_to_see_it_ends(people: dict[str, User], caller: str, end: str) -> None:
    run = a_run("test.sleeps")
    token, secret = a_token(people["omar"], "runs:read")

    def take_away() -> None:
        omar = User.objects.get(pk=people["omar"].pk)
        if end == "token":
            services.revoke_token(token.pk, actor="user:ada")
        elif end == "user":
            User.objects.filter(pk=omar.pk).update(is_active=False)
        elif end == "permission":
            omar.groups.clear()
        elif end == "session":
            Session.objects.all().delete()
        else:
            omar.set_password("another one")
            omar.save()

    async def story() -> None:
        response = await (opened(None, run, secret) if caller == "token" else opened(people["omar"], run))
        await apart(take_away)
        async with asyncio.timeout(10):
            assert all([event.get("event") != "end" async for event in events(response)])
        response.close()

    play(story())


def test_contents_stop_with_the_right_to_see_them(people: dict[str, User]) -> None:
    run = a_run("test.waits")
    both = Permission.objects.filter(codename__in=["view_journalentry", "view_technical"])
    pia = User.objects.create_user("pia")
    pia.user_permissions.set(both)

    async def told() -> list[Event]:
        response = await opened(pia, run)
        arriving, found = events(response), []
        try:
            async with asyncio.timeout(20):
                async for event in arriving:
                    if "event" in event:
                        found.append(event)
                    elif "" in event and len(found) == run.head_seq:
                        break
                await apart(pia.user_permissions.set, both.filter(codename="view_journalentry"))
                alive = 0
                async for event in arriving:
                    alive += "" in event
                    if alive == 2:
                        break
                await apart(services.send_message, run.pk, "parcel.returned", 1, actor="user:omar")
                found.append(await anext(event async for event in arriving if "event" in event))
        finally:
            await response.streaming_content.aclose()
            response.close()
        return found

    *before, after = [json.loads(event["data"]) for event in play(told())]
    assert all("content" in entry for entry in before)
    assert after["kind"] == "message.received"
    assert "content" not in after


def test_there_is_a_limit_to_open_streams(people: dict[str, User], monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run("test.sleeps")
    monkeypatch.setattr(stream, "EACH", 2)

    async def story() -> list[Any]:
        asked = [await opened(people["omar"], run) for _ in range(3)]
        other = await opened(people["ana"], run)
        for response in (*asked[:2], other):
            response.close()
        again = await opened(people["omar"], run)
        again.close()
        return [response.status_code for response in (*asked, other, again)] + [asked[2]["Retry-After"]]

    assert play(story()) == [200, 200, 503, 200, 200, "5"]
    with override_settings(HOLDPOINT_API_STREAMS=0):
        assert play(opened(people["omar"], run)).status_code == 503


def test_it_closes_after_a_while(people: dict[str, User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LASTS", 0.05)
    run = a_run("test.sleeps")
    told, _ = play(_whole(people["omar"], run))
    assert [event["event"] for event in told] == ["entry"] * run.head_seq


@pytest.mark.parametrize("sent", ["x", "-1", "1.5", "1 2", "9" * 16])
def test_a_place_that_is_none_is_refused(omar: Caller, world: World, sent: str) -> None:
    path = f"runs/{world.runs['test.looks'].pk}/journal/stream"
    assert omar.get(path, Last_Event_ID=sent).status_code == 400


@pytest.mark.parametrize("where", ["header", "query"])
@pytest.mark.parametrize("name", ["test.looks", "test.waits"])
def test_a_place_beyond_the_end_is_refused(omar: Caller, name: str, where: str) -> None:
    run = a_run(name)
    path, beyond = f"runs/{run.pk}/journal/stream", run.head_seq + 1
    given = {"Last_Event_ID": str(beyond)} if where == "header" else {}
    said = omar.get(path if given else f"{path}?after={beyond}", **given)
    assert (said.status_code, said["Content-Type"]) == (400, "application/problem+json")
    assert f"ends with entry {run.head_seq}: nobody can have entry {beyond}" in said.json()["detail"]


def test_an_unknown_run_has_no_stream(omar: Caller) -> None:
    assert omar.get("runs/run_0/journal/stream").status_code == 404
