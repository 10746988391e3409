"""A live model over HTTP: a small server that speaks the chat-completions protocol stands for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runs.agent import AgentFailed, Limits
from runs.agents.run import run_agent
from tests.runs.agents.book import Book, Crash
from tests.runs.agents.cast import analyst
from tools.failures import FailureClass


class Model(ThreadingHTTPServer):
    """Answers by the number of the request; `requests` are those it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.answers: list[Any] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Model)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append(body)
        answer = server.answers[min(len(server.requests), len(server.answers)) - 1]
        if callable(answer):
            answer = answer()
        status, headers, content = answer if isinstance(answer, tuple) else (200, {}, completion(answer))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def completion(calls: list[tuple[str, Any]]) -> dict[str, Any]:
    """An answer that calls these tools; the ids are the same in every answer, as some servers have them."""
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "I look it up." if calls[0][0] == "get_order" else None,
                    "tool_calls": [
                        {
                            "id": f"call_{number}",
                            "type": "function",
                            "function": {
                                "name": name,
                                "arguments": arguments
                                if isinstance(arguments, str)
                                else json.dumps(arguments),
                            },
                        }
                        for number, (name, arguments) in enumerate(calls)
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Model]:
    with Model() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        settings.HOLDPOINT_MODEL = "openai-chat:small"
        yield server
        server.shutdown()


def _hang() -> Any:
    time.sleep(1.5)
    return 200, {}, b"{}"


LOOK_UP = [("get_order", {"order_id": "W1"}), ("get_payments", {"order_id": "W1"})]
DONE = [("final_result", {"order_id": "W1", "amount": 40.5})]


class TestLive:
    def test_it_works(self, model: Model) -> None:
        model.answers = [LOOK_UP, DONE]
        book = Book()
        result = run_agent(book.turn(), "agent#1", analyst(None), "Case 7")
        assert result.output.amount == 40.5
        assert (result.model, result.scripted) == ("openai-chat:small", False)
        assert (result.usage.requests, result.usage.input_tokens, result.usage.output_tokens) == (2, 200, 40)
        assert book.rows["agent#1/model:1"].sentence == "analyst asked for get_order and get_payments."
        assert {tool["function"]["name"] for tool in model.requests[0]["tools"]} >= {"get_order", "refund"}
        assert [m["role"] for m in model.requests[1]["messages"]][-3:] == ["assistant", "tool", "tool"]

    def test_no_recorded_request_is_made_again(self, model: Model) -> None:
        model.answers = [LOOK_UP, [("get_order", {"order_id": "W2"})], DONE]
        book, definition = Book(), analyst(None)
        with pytest.raises(Crash):
            run_agent(book.turn(crash_at=14), "agent#1", definition, "Case 7")
        run_agent(book.turn(), "agent#1", definition, "Case 7")
        asked = [json.dumps(request["messages"], sort_keys=True) for request in model.requests]
        recorded = [path for path in book.rows if "/model:" in path]
        assert len(set(asked)) == len(asked) == len(recorded) == 3
        run_agent(book.turn(), "agent#1", definition, "Case 7")
        assert len(model.requests) == 3

    def test_arguments_that_are_no_json_are_put_right(self, model: Model) -> None:
        model.answers = [[("get_order", '{"order_id": ')], DONE]
        assert run_agent(Book().turn(), "agent#1", analyst(None), "Case 7").output.order_id == "W1"
        assert "cannot be read" in model.requests[1]["messages"][-1]["content"]

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            ((401, {}, {"error": {"message": "no such key"}}), FailureClass.PERMISSION),
            ((400, {}, {"error": {"message": "no such model"}}), FailureClass.INVALID_DATA),
            ((429, {"Retry-After": "0.01"}, {"error": {"message": "slower"}}), FailureClass.RATE_LIMITED),
            ((500, {"Retry-After": "0.01"}, {"error": {"message": "oops"}}), FailureClass.TRANSIENT),
            ((200, {}, b'{"choices": ['), FailureClass.TRANSIENT),
        ],
    )
    def test_its_failures_are_classified(self, model: Model, answer: Any, kind: FailureClass) -> None:
        model.answers = [answer]
        book = Book()
        with pytest.raises(AgentFailed) as caught:
            run_agent(book.turn(), "agent#1", analyst(None), "Case 7")
        assert caught.value.kind is kind, caught.value
        assert book.states() == {"agent#1/model:1": "failed"}

    def test_one_that_hangs_is_not_waited_for(self, model: Model) -> None:
        model.answers = [_hang]
        definition = analyst(None, limits=Limits(request_seconds=0.4))
        with pytest.raises(AgentFailed, match=r"within 0.4 s"):
            run_agent(Book().turn(), "agent#1", definition, "Case 7")

    def test_one_that_is_not_there_is_a_passing_failure(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        with pytest.raises(AgentFailed) as caught:
            run_agent(Book().turn(), "agent#1", analyst(None), "Case 7")
        assert caught.value.kind is FailureClass.TRANSIENT
