"""How agents are declared, found and given a model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from runs import agent as agents
from runs.agents.live import live_model
from tests.runs.agents.cast import analyst, get_order


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_agents", {})


def define(name: str = "clerk", **more: Any) -> agents.AgentDefinition:
    return agents.agent(name, output=str, instructions="Help.", **more)


class TestRegistry:
    def test_it_works(self) -> None:
        first, second = define(), define(version=2)
        assert agents.get("clerk") is second
        assert agents.get("clerk", 1) is first

    def test_an_unknown_one_names_those_there_are(self) -> None:
        define()
        with pytest.raises(agents.UnknownAgent, match="Defined are: clerk 1"):
            agents.get("clerk", 3)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"name": "Clerk A"}, "lower-case"),
            ({"version": 0}, "count from 1"),
            ({"tools": ["get_order"]}, "is not a tool"),
            ({"tools": [get_order, get_order]}, "twice"),
        ],
    )
    def test_what_cannot_work_is_refused(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            define(**wrong)
        with pytest.raises(agents.UnknownAgent, match="Defined are: none"):
            agents.get(str(wrong.get("name", "clerk")))

    def test_a_second_one_of_the_same_version_is_refused(self) -> None:
        define()
        with pytest.raises(ValueError, match="defined twice"):
            define()


class TestModel:
    def test_a_script_plays_by_default(self) -> None:
        scripted = analyst(lambda _: None)
        assert (scripted.model_identifier, scripted.scripted) == ("scripted:analyst", True)

    @override_settings(HOLDPOINT_MODEL="openai-chat:small")
    def test_a_live_model_takes_over_when_named(self) -> None:
        assert analyst(lambda _: None).model_identifier == "openai-chat:small"
        assert analyst(lambda _: None, model="openai-chat:large").model_identifier == "openai-chat:large"
        assert not analyst(lambda _: None).scripted

    def test_an_agent_that_nobody_can_play_says_so(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"no script.*HOLDPOINT_MODEL"):
            _ = analyst(None).model_identifier

    def test_an_agent_without_a_script_uses_the_model_it_names(self) -> None:
        assert analyst(None, model="openai-chat:large").model_identifier == "openai-chat:large"

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("gpt-of-tomorrow", "names no provider: .*openai-chat:gpt-of-tomorrow"),
            ("nobody:large", "Unknown model"),
            ("openai-chat:small", "OPENAI_API_KEY"),
            ("anthropic:large", "not installed"),
        ],
    )
    def test_a_wrong_live_model_is_one_clear_line(
        self, name: str, says: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
        with pytest.raises(ImproperlyConfigured, match=says) as caught:
            live_model(name)
        assert "\n" not in str(caught.value)


class TestImport:
    def test_declaring_agents_does_not_load_pydantic_ai(self) -> None:
        code = (
            "import sys, django; django.setup(); import runs.agent, runs.agents.script, runs.agents.port; "
            "sys.exit('pydantic_ai' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
