"""Tools are found by name, and a name belongs to one of them."""

from __future__ import annotations

import pytest

from tools import registry
from tools.contract import ContractError, IdempotencyKey
from tools.registry import UnknownTool, all_tools, get, rollback_of, tool


def look_around(place: str) -> str:
    return place


class TestRegistry:
    def test_it_works(self) -> None:
        declared = tool(effect="read", name="test_look", title="Look")(look_around)
        assert get("test_look") is declared
        assert declared in all_tools()
        assert declared.title == "Look"

    def test_a_second_tool_of_the_same_name_is_refused(self) -> None:
        tool(effect="read", name="test_look")(look_around)
        with pytest.raises(ContractError, match="two tools called test_look"):
            tool(effect="draft", name="test_look")(look_around)

    def test_an_unknown_name_is_answered_with_a_near_one(self) -> None:
        tool(effect="read", name="test_look")(look_around)
        with pytest.raises(UnknownTool, match="did you mean test_look"):
            get("test_lock")
        with pytest.raises(UnknownTool, match=r"tools\.py"):
            get("zzzzzzzzzz")

    def test_a_rollback_is_a_sentence_or_a_tool(self) -> None:
        @tool(effect="write", name="test_undo")
        def undo(place: str, *, key: IdempotencyKey) -> str:
            return place

        by_tool = tool(effect="read", name="test_by_tool", rollback=undo)(look_around)
        by_sentence = tool(effect="read", name="test_by_hand", rollback="Call the shop.")(look_around)
        assert rollback_of(by_tool) is undo
        assert rollback_of(by_sentence) is None

    def test_scratch_forgets(self) -> None:
        before = all_tools()
        with registry.scratch():
            tool(effect="read", name="test_look")(look_around)
        assert all_tools() == before
