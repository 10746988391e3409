"""What is sent, once, and what each way to fail means."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from typing import Any

import pytest

from tests.tools.http.conftest import API, WRONG, Judge, Make, Names, Server
from tools import calling, secrets
from tools.contract import IdempotencyKey, Tool
from tools.failures import FailureClass, InvalidData, Proof, classify
from tools.http import (
    Answered,
    Api,
    BadAnswer,
    HalfDone,
    NoAnswer,
    NotReached,
    NotTrusted,
)
from tools.http.answers import Headers, unpacked
from tools.secrets import secret

SILENT = 0.3  # seconds after which nobody waits any longer


def performed(body: Any, effect: str = "write", **options: Any) -> Any:
    """What comes of `body` as the body of a tool."""

    def act(*, key: IdempotencyKey) -> Any:
        """Act."""
        return body()

    return calling.perform(Tool(act, effect=effect, **options), {}, "key-1", "call_1")


class TestSent:
    def test_it_works(self, api: Api, plain: Server) -> None:
        answer = api.post("/ok", json={"amount": "12.50", "lines": [1, None]})
        assert (answer.status_code, answer.json(), answer.text()) == (200, {"ok": True}, '{"ok": true}')
        assert answer.headers["content-type"] == answer.headers["Content-Type"] == "application/json"
        (line,) = plain.seen()
        assert line["body"] == '{"amount":"12.50","lines":[1,null]}'
        assert line["headers"]["content-type"] == "application/json"
        assert line["headers"]["host"] == f"{API}:{plain.port}"

    def test_over_tls_by_the_name_of_the_host(self, safe_api: Make, safe: Server) -> None:
        assert safe_api().get("/ok").json() == {"ok": True}
        assert safe.seen()[0]["headers"]["host"] == f"{API}:{safe.port}"

    def test_another_name_is_not_trusted(self, safe_api: Make, safe: Server) -> None:
        with pytest.raises(NotTrusted) as caught:
            safe_api(WRONG).post("/ok")
        assert safe.seen() == []
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.FATAL, Proof.NOT_ACCEPTED)

    def test_nor_a_certificate_of_nobody(self, safe_api: Make, safe: Server) -> None:
        with pytest.raises(NotTrusted):
            safe_api(trusted="").get("/ok")
        assert safe.seen() == []

    def test_a_form_and_bytes(self, api: Api, plain: Server) -> None:
        api.post("/ok", form={"a": "x&y", "n": 2})
        api.send("PUT", "/ok", content=b"\x00\x01", headers={"Content-Type": "image/png"})
        assert [line["body"] for line in plain.seen()] == ["a=x%26y&n=2", "\x00\x01"]
        assert [line["headers"]["content-type"] for line in plain.seen()] == [
            "application/x-www-form-urlencoded",
            "image/png",
        ]

    def test_a_connection_is_never_kept(self, api: Api, plain: Server) -> None:
        for _ in range(3):
            api.get("/ok")
        assert len(plain.seen("connection")) == 3
        assert {line["headers"]["connection"] for line in plain.seen()} == {"close"}

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize(
        "path", ["/drop", "/cut", "/garbage", "/status/500", "/status/503", "/status/429"]
    )
    def test_nothing_is_sent_twice(self, api: Api, plain: Server, method: str, path: str) -> None:
        with pytest.raises((NoAnswer, Answered)):
            api.send(method, path)
        assert len(plain.seen()) == 1

    def test_the_call_is_told(self, api: Api, plain: Server) -> None:
        def act() -> None:
            api.get("/ok")
            api.post("/ok")
            api.post("/ok", act="charge")

        performed(act)
        told = [line["headers"] for line in plain.seen()]
        assert [headers["x-correlation-id"] for headers in told] == ["call_1"] * 3
        assert [headers.get("idempotency-key") for headers in told] == [None, "key-1", "key-1:charge"]

    def test_the_key_may_have_another_name(self, plain: Server) -> None:
        performed(lambda: Api(plain.url(), key_header="X-Request-Key").post("/ok").json())
        headers = plain.seen()[0]["headers"]
        assert (headers["x-request-key"], "idempotency-key" in headers) == ("key-1", False)

    def test_outside_a_call_there_is_no_key(self, api: Api, plain: Server) -> None:
        api.post("/ok")
        assert not {"idempotency-key", "x-correlation-id"} & set(plain.seen()[0]["headers"])

    @pytest.mark.parametrize(
        "options",
        [
            {"headers": {"Host": "evil"}},
            {"headers": {"Idempotency-Key": "mine"}},
            {"headers": {"X-Correlation-ID": "mine"}},
            {"headers": {"Transfer-Encoding": "chunked"}},
            {"headers": {"X-A": "a\r\nX-B: b"}},
            {"headers": {"X A": "a"}},
            {"headers": {"X-A": "\u20ac"}},
            {"json": {"a": float("nan")}},
            {"json": {"a": {1}}},
            {"json": {}, "form": {"a": "b"}},
        ],
    )
    def test_these_are_refused_before_anything_is_sent(
        self, api: Api, plain: Server, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidData):
            api.post("/ok", **options)
        assert plain.seen("connection") == []

    @pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /x", ""])
    def test_only_plain_methods(self, api: Api, method: str) -> None:
        with pytest.raises(InvalidData):
            api.send(method, "/ok")

    def test_secrets_go_out_and_are_not_told(self, api: Api, plain: Server, monkeypatch: Any) -> None:
        monkeypatch.setenv("CANARY_KEY", "canary-of-the-api")

        def act() -> None:
            key = secret("api_key")
            api.post("/status/401", headers={"Authorization": key.within("Bearer {}")}, form={"key": key})

        with pytest.raises(Answered) as caught:
            performed(act, secrets={"api_key": "env:CANARY_KEY"})
        (line,) = plain.seen()
        assert line["headers"]["authorization"] == "Bearer canary-of-the-api"
        assert line["body"] == "key=canary-of-the-api"
        assert "canary" not in str(caught.value) + classify(caught.value).message

    def test_a_secret_has_no_place_in_json_or_a_path(self, api: Api, plain: Server) -> None:
        with secrets.pretended(api_key="canary-of-the-api"):
            with pytest.raises(InvalidData):
                api.post("/ok", json={"key": secret("api_key")})
            with pytest.raises(Exception, match="no secret"):
                api.post("/ok/{}", secret("api_key"))
        assert plain.seen() == []


class TestAnswers:
    @pytest.mark.parametrize("name", ["nan", "twice", "page", "deep", "notutf8", "empty"])
    def test_json_is_strict(self, api: Api, name: str) -> None:
        answer = api.get(f"/body/{name}")
        with pytest.raises(BadAnswer) as caught:
            answer.json()
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.FATAL, Proof.NONE)

    def test_text_is_utf8(self, api: Api) -> None:
        with pytest.raises(BadAnswer):
            api.get("/body/notutf8").text()

    @pytest.mark.parametrize("path", ["/big/1001", "/chunks/2000", "/big/1001?packed=1", "/chunks/9000000"])
    def test_what_is_too_large_is_not_read(self, plain: Server, path: str) -> None:
        path, _, packed = path.partition("?packed=")
        with pytest.raises(BadAnswer, match="more than 1000 bytes"):
            Api(plain.url(), largest=1000).get(path, params={"packed": packed} if packed else None)

    def test_what_just_fits_is(self, plain: Server) -> None:
        api = Api(plain.url(), largest=1000)
        assert (
            len(api.get("/big/1000").body) == len(api.get("/big/1000", params={"packed": "1"}).body) == 1000
        )

    def test_a_small_answer_that_unpacks_to_a_large_one_is_never_held(self, plain: Server) -> None:
        api = Api(plain.url(), largest=100_000)
        tracemalloc.start()
        with pytest.raises(BadAnswer):
            api.get("/big/80000000", params={"packed": "1"})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 5_000_000

    def test_blocks_without_content_are_counted_too(self) -> None:
        taken = []

        def chunks():  # type: ignore[no-untyped-def]
            yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
            while True:  # empty stored blocks: they unpack to nothing, for ever
                taken.append(1)
                yield b"\x00\x00\x00\xff\xff" * 100

        packed = Headers([(b"Content-Encoding", b"gzip")])
        with pytest.raises(BadAnswer, match="more than 10000 bytes"):
            unpacked(chunks(), packed, 10_000, "https://x")
        assert len(taken) <= 21

    @pytest.mark.parametrize("path", ["/packed/cut", "/packed/two", "/packed/not", "/unasked"])
    def test_what_cannot_be_unpacked(self, api: Api, path: str) -> None:
        with pytest.raises(BadAnswer):
            api.get(path)

    def test_what_can(self, api: Api) -> None:
        assert api.get("/packed/well").json() == {"ok": True}
        assert api.send("HEAD", "/big/99999999").body == b""

    def test_one_that_is_expected_is_an_answer(self, api: Api) -> None:
        assert api.get("/status/404", expect=[404]).status_code == 404
        with pytest.raises(Answered) as caught:
            api.get("/status/404")
        assert caught.value.answer.json() == {"error": "no"}

    @pytest.mark.parametrize(
        ("status", "kind", "proof"),
        [
            (400, "invalid_data", "not_accepted"),
            (401, "permission", "not_accepted"),
            (403, "permission", "not_accepted"),
            (404, "invalid_data", "not_accepted"),
            (408, "transient", "none"),
            (409, "stale_data", "none"),
            (412, "stale_data", "not_accepted"),
            (422, "invalid_data", "not_accepted"),
            (429, "rate_limited", "not_accepted"),
            (500, "transient", "none"),
            (501, "fatal", "none"),
            (502, "transient", "none"),
            (503, "transient", "none"),
            (304, "fatal", "none"),
        ],
    )
    def test_each_status_is_classed(self, api: Api, status: int, kind: str, proof: str) -> None:
        with pytest.raises(Answered) as caught:
            api.post("/status/{}", status)
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (kind, proof)
        assert failure.message.startswith(f"HTTP {status}: POST http://{API}")

    def test_how_long_to_wait_is_heard(self, api: Api) -> None:
        with pytest.raises(Answered) as caught:
            api.get("/status/429", params={"retry_after": "17"})
        assert classify(caught.value).retry_after == 17


class TestTime:
    """One limit for the whole exchange; each of these takes longer, though never long without a sign."""

    @pytest.mark.parametrize("path", ["/silent", "/drip/headers", "/drip/body"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_answer_that_does_not_end(self, plain: Server, method: str, path: str) -> None:
        with pytest.raises(NoAnswer) as caught:
            Api(plain.url(), timeout=SILENT).send(method, path)
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.TRANSIENT, Proof.NONE)

    def test_a_request_that_nobody_takes(self, judge: Judge, plain: Server, settings: Any) -> None:
        settings.HOLDPOINT_PRIVATE_HOSTS = [f"{API}:{judge.port}"]
        with pytest.raises(NoAnswer):
            Api(f"http://{API}:{judge.port}", timeout=SILENT).post("/", content=b"0" * 40_000_000)

    def test_a_greeting_that_nobody_answers(self, judge: Judge, plain: Server, settings: Any) -> None:
        settings.HOLDPOINT_PRIVATE_HOSTS = [f"{API}:{judge.port}"]
        with pytest.raises(NotReached) as caught:
            Api(f"https://{API}:{judge.port}", timeout=SILENT).post("/")
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.TRANSIENT, Proof.NOT_ACCEPTED)

    def test_a_resolver_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        over = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
        with pytest.raises(NotReached, match="in time"):
            Api("https://api.example.test", timeout=SILENT).get("/")
        over.set()

    def test_a_name_that_nobody_knows(self, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(NotReached):
            Api("https://api.example.test").get("/")

    def test_a_port_where_nobody_listens(self, names: Names, settings: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        settings.HOLDPOINT_PRIVATE_HOSTS = [f"{API}:{port}"]
        with pytest.raises(NotReached) as caught:
            Api(f"http://{API}:{port}").post("/")
        assert classify(caught.value).proof is Proof.NOT_ACCEPTED

    def test_redirects_share_the_time(self, plain: Server) -> None:
        with pytest.raises(NoAnswer):
            Api(plain.url(), timeout=SILENT).get("/moved/302", params={"to": "/drip/body"})

    def test_it_does_not_outlive_the_call(self, plain: Server) -> None:
        with pytest.raises(NoAnswer):
            performed(lambda: Api(plain.url(), timeout=600).post("/silent"), timeout=SILENT)

    def test_when_no_time_is_left_nothing_is_sent(self, api: Api, plain: Server) -> None:
        over = calling.Current("t", "k", "c", time.monotonic() - 1)
        with calling.during(over), pytest.raises(NotReached):
            api.post("/ok")
        assert plain.seen() == []


class TestHalfDone:
    """What a request of the same call may have changed takes the proof from a later failure."""

    @pytest.mark.parametrize("first", ["/ok", "/status/500", "/drop"])
    @pytest.mark.parametrize(
        "then", [("POST", "/status/422"), ("GET", "/status/404"), ("POST", "unreachable")]
    )
    def test_a_later_refusal_proves_nothing(
        self, api: Api, first: str, then: tuple[str, str], names: Names, settings: Any
    ) -> None:
        other = Api("https://1.1.1.1:9", timeout=0.0) if then[1] == "unreachable" else api

        def act() -> None:
            with contextlib.suppress(Answered, NoAnswer):
                api.post(first)
            other.send(then[0], "/" if other is not api else then[1])

        with pytest.raises(HalfDone) as caught:
            performed(act)
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.UNKNOWN_OUTCOME, Proof.NONE)

    @pytest.mark.parametrize("first", [("GET", "/ok"), ("POST", "/status/422")])
    def test_after_what_changed_nothing_it_does(self, api: Api, first: tuple[str, str]) -> None:
        def act() -> None:
            with contextlib.suppress(Answered):
                api.send(*first)
            api.post("/status/403")

        with pytest.raises(Answered) as caught:
            performed(act)
        assert classify(caught.value).proof is Proof.NOT_ACCEPTED

    def test_a_tool_that_only_reads_changes_nothing(self, api: Api) -> None:
        def search() -> None:
            """Search."""
            api.post("/ok")
            api.post("/status/403")

        with pytest.raises(Answered):
            calling.perform(Tool(search, effect="read"), {}, "", "call_1")
