"""What Holdpoint relies on in pydantic-ai and a new release of it might change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic_ai.durable_exec import CapabilityOperationId, DurableOperationId
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import RunContext

from runs.agents import durable
from runs.agents.durable import Durability, messages_of, tools_of
from runs.agents.loop import Pump, run_on_loop
from runs.agents.run import run_agent
from runs.agents.work import Work, last_message, place_of
from tests.runs.agents.book import Book
from tests.runs.agents.cast import DONE, LOOK_UP, analyst, by_turn


class TestKeyOfAModelRequest:
    def test_its_layout_is_the_one_we_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys: list[tuple[object, ...]] = []
        original = durable._Backend._step

        def spy(self: Any, operation: DurableOperationId, name: str, key: tuple[object, ...]) -> Any:
            keys.append(key)
            return original(self, operation, name, key)

        monkeypatch.setattr(durable._Backend, "_step", spy)
        run_agent(Book().turn(), "agent#1", analyst(by_turn(LOOK_UP, DONE)), "Case 7")
        assert len(keys) == 2
        for key in keys:
            model, messages, _, parameters, context = key
            assert model is None
            assert isinstance(messages, list)
            assert isinstance(parameters, ModelRequestParameters)
            assert isinstance(context, RunContext)
        assert [type(message) for message in messages_of(keys[1])] == [
            ModelRequest,
            ModelResponse,
            ModelRequest,
        ]
        assert {tool.name for tool in tools_of(keys[0])} == {
            "get_order",
            "get_payments",
            "refund",
            "message",
            "broken",
        }


class TestOperationsOfALaterRelease:
    @pytest.mark.parametrize("operation", [CapabilityOperationId("memory", operation="recall"), object()])
    def test_they_are_kept_by_name(self, operation: Any) -> None:
        book = Book()

        def once() -> object:
            turn = book.turn()

            async def main(pump: Pump) -> object:
                work = Work(turn, "agent#1", analyst(by_turn()), "scripted:analyst", pump)
                backend = Durability(work).get_durable_operation_backend()
                body: Callable[[], Awaitable[object]] = bodies.pop()
                return await backend.execute(
                    operation_id=operation, name="new", body=body, cache_key=(), config=None
                )

            return run_on_loop(main)

        async def answer() -> object:
            return {"a": 1}

        async def never() -> object:
            raise AssertionError("a recorded operation was done again")

        bodies = [never, answer]
        assert once() == {"a": 1}
        assert once() == {"a": 1}
        assert book.states() == {"agent#1/new:1": "succeeded"}


class TestLastMessage:
    def test_times_ids_and_instructions_do_not_count(self) -> None:
        one = ModelRequest(
            [ToolReturnPart("get_order", {"total": 1}, tool_call_id="a"), UserPromptPart("Go on.")],
            instructions="Be kind.",
        )
        other = ModelRequest(
            [ToolReturnPart("get_order", {"total": 1}, tool_call_id="b"), UserPromptPart("Go on.")]
        )
        assert last_message([one]) == last_message([other])

    def test_what_was_said_counts(self) -> None:
        one, other = (
            ModelRequest([ToolReturnPart("get_order", total, tool_call_id="a")]) for total in (1, 2)
        )
        assert last_message([one]) != last_message([other])

    def test_only_the_newest_counts(self) -> None:
        newest = ModelRequest([UserPromptPart("Go on.")])
        assert last_message([ModelRequest([UserPromptPart("Old.")]), newest]) == last_message([newest])


class TestPlace:
    def test_a_call_that_nobody_made_has_none(self) -> None:
        with pytest.raises(LookupError):
            place_of("x", [])
