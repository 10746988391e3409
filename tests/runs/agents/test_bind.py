"""Arguments that the workflow fixes: the model neither sees nor sets them, and the tool gets them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from runs.agent import AgentDefinition, Limits
from runs.agents.run import run_agent
from runs.agents.script import CallTool, Finish
from runs.stops import Suspend
from tests.runs.agents.book import Book
from tests.runs.agents.cast import by_turn
from tools.contract import IdempotencyKey, Tool

SEEN: list[tuple[str, str]] = []


def _look(order_id: str, *, shop: str = "") -> str:
    """Look an order up."""
    SEEN.append((order_id, shop))
    return "found"


def _write(order_id: str, *, shop: str, key: IdempotencyKey) -> str:
    """Change an order."""
    SEEN.append((order_id, shop))
    return "done"


def _ping() -> str:
    """Take nothing."""
    return "pong"


TOOLS = tuple(
    Tool(function, effect=effect, name=function.__name__.strip("_"))
    for function, effect in ((_look, "read"), (_write, "write"), (_ping, "read"))
)


def clerk(script: Any) -> AgentDefinition:
    return AgentDefinition(
        "clerk", 1, str, TOOLS, "Help.", None, script, Limits(), lambda deps: {"shop": deps["overlay"]}
    )


def play(book: Book, script: Any) -> Any:
    SEEN.clear()
    return run_agent(book.turn(), "agent#1", clerk(script), "Case 7", deps={"overlay": "case-7"})


def test_it_works() -> None:
    book = Book()
    play(
        book,
        by_turn(
            [CallTool("look", {"order_id": "W1"}), CallTool("ping")],
            CallTool("write", {"order_id": "W1"}),
            Finish("Done."),
        ),
    )
    assert SEEN == [("W1", "case-7"), ("W1", "case-7")]
    assert book.rows["agent#1/tool:1.1"].arguments == {"order_id": "W1", "shop": "case-7"}
    assert book.rows["agent#1/tool:1.2"].arguments == {}


def test_a_proposal_shows_what_will_be_done() -> None:
    book = Book(needs_person={"write"})
    with pytest.raises(Suspend):
        play(book, by_turn(CallTool("write", {"order_id": "W1"})))
    assert book.opened["agent#1/tool:1.1"] == {"order_id": "W1", "shop": "case-7"}


def test_the_model_cannot_choose_another_value() -> None:
    play(
        Book(),
        by_turn(
            CallTool("look", {"order_id": "W1", "shop": "another"}),
            CallTool("look", {"order_id": "W1"}),
            Finish("Done."),
        ),
    )
    assert SEEN == [("W1", "case-7")]


def test_the_model_does_not_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}

    def look_at(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        shown.update({tool.name: tool.parameters_json_schema for tool in info.function_tools})
        return ModelResponse(parts=[TextPart("Done.")])

    monkeypatch.setattr("runs.agents.run.scripted_model", lambda *_: FunctionModel(look_at))
    play(Book(), by_turn())
    assert set(shown["look"]["properties"]) == set(shown["write"]["properties"]) == {"order_id"}
    assert shown["write"]["required"] == ["order_id"]
