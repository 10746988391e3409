"""What binds a decision to a call, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from approvals.digest import digest_of
from tests.approvals.conftest import Proposed, made


def test_the_same_call_has_the_same_digest(call: Proposed) -> None:
    first = call()
    assert digest_of(first, "refunds v3") == digest_of(replace(first), "refunds v3")
    assert len(digest_of(first, "refunds v3")) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"order_id": "A1", "amount": "120.01"}},
        {"arguments": {"order_id": "A2", "amount": "120.00"}},
        {"tool": made(version=2)},
        {"tool": made("irreversible")},
        {"tool": made(name="pay_out")},
        {"evidence": []},
        {"agent": "analyst"},
        {"agent_version": "2"},
        {"key": "another step or another run"},
    ],
)
def test_another_call_has_another(call: Proposed, other: dict[str, Any]) -> None:
    proposed = call()
    assert digest_of(replace(proposed, **other), "refunds v3") != digest_of(proposed, "refunds v3")


def test_another_version_of_the_policy_has_another(call: Proposed) -> None:
    proposed = call()
    assert digest_of(proposed, "refunds v3") != digest_of(proposed, "refunds v4")


@pytest.mark.parametrize("other", [{"why": "Other words."}, {"model": "another"}, {"confidence": 0.1}])
def test_the_proposers_opinion_binds_nothing(call: Proposed, other: dict[str, Any]) -> None:
    proposed = call()
    assert digest_of(replace(proposed, **other), "refunds v3") == digest_of(proposed, "refunds v3")
