"""The system check names what is missing on a tool, and how to add it."""

from __future__ import annotations

from typing import Any

import pytest

from tools.checks import check_tools
from tools.contract import IdempotencyKey
from tools.registry import tool


def pay(amount: int, *, key: IdempotencyKey) -> str:
    """Pay."""
    return key


def undocumented(amount: int) -> str:
    return ""


def remarks(name: str = "test_pay") -> list[str]:
    return [str(remark.id) for remark in check_tools(None) if getattr(remark.obj, "name", "") == name]


class TestChecks:
    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            ({"effect": "irreversible"}, ["tools.W001", "tools.W002", "tools.W003"]),
            ({"effect": "write", "risk": "medium"}, []),
            ({"effect": "write", "risk": "critical"}, ["tools.W002"]),
            ({"effect": "write", "rollback": "take_it_back"}, ["tools.W004"]),
            ({"effect": "write", "rollback": "test_pay"}, []),
            ({"effect": "write", "rollback": "Call the shop."}, []),
        ],
    )
    def test_what_is_missing(self, options: dict[str, Any], ids: list[str]) -> None:
        tool(name="test_pay", **options)(pay)
        assert remarks() == ids

    def test_nothing_is_missing(self) -> None:
        whole = tool(name="test_pay", effect="irreversible", rollback="Ask finance.")(pay)
        whole.preview(lambda call: "Pay")
        whole.lookup(lambda key: None)
        assert remarks() == []

    def test_a_description(self) -> None:
        tool(name="test_pay", effect="read")(undocumented)
        assert remarks() == ["tools.W005"]
