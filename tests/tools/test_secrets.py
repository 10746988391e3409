"""Secrets: named on the tool, open while its body or lookup runs, and in no text that is made of them."""

from __future__ import annotations

import base64
import copy
import json
import logging.config
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from pydantic import Field

from config.logs import logging_settings
from tools import calling, scrubbing, secrets
from tools.canonical import NotJson, normalise
from tools.contract import ContractError, IdempotencyKey, InvalidOutput, Tool
from tools.failures import FailureClass, Proof, classify
from tools.registry import tool
from tools.retry import Action, decide
from tools.secrets import NotOpen, Secret, SecretMissing, SecretsAway, basic_auth, secret
from tools.unknown import CannotLook, look_up

VALUE = 'canary "7f3a9c" /+= öße'
REFERENCE = {"api_key": "env:CANARY_KEY"}


@pytest.fixture(autouse=True)
def own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_masks", {})
    monkeypatch.setattr(scrubbing, "_forms", ())
    known = {scheme: secrets._resolvers[scheme] for scheme in ("env", "file")}
    monkeypatch.setattr(secrets, "_resolvers", known)
    monkeypatch.setenv("CANARY_KEY", VALUE)


Short = Annotated[str, Field(max_length=8)]


def told() -> str:
    """A tool's body that gives its secret away."""
    return secret("api_key").reveal()


def declared(function=told, **options) -> Tool:  # type: ignore[no-untyped-def]
    return Tool(function, **{"effect": "read", "secrets": REFERENCE, **options})


def performed(made: Tool) -> object:
    return calling.perform(made, {}, "k1", "call_1")


class TestOpen:
    def test_it_works(self) -> None:
        seen: list[str] = []

        def use() -> str:
            """Use it."""
            seen.append(secret("api_key").reveal())
            return "used"

        assert performed(declared(use)) == "used"
        assert seen == [VALUE]

    def test_it_is_closed_before_and_after_the_body_also_for_what_the_body_kept(self) -> None:
        kept: list[Secret] = []

        def keep() -> None:
            """Keep it."""
            kept.append(secret("api_key").within("Bearer {}"))
            assert kept[0].reveal() == f"Bearer {VALUE}"

        with pytest.raises(NotOpen):
            secret("api_key")
        performed(declared(keep))
        with pytest.raises(NotOpen):
            secret("api_key")
        with pytest.raises(NotOpen):
            kept[0].reveal()

    def test_a_body_that_fails_closes_it_too(self) -> None:
        kept: list[Secret] = []

        def fail() -> None:
            """Fail."""
            kept.append(secret("api_key"))
            raise ValueError("no")

        with pytest.raises(ValueError):
            performed(declared(fail))
        with pytest.raises(NotOpen):
            kept[0].reveal()

    def test_two_bodies_at_once_see_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTHER_KEY", "another-canary")
        together, seen = threading.Barrier(2), {}

        def look() -> None:
            """Look."""
            together.wait(10)
            key = calling.current().key  # type: ignore[union-attr]
            seen[key] = secret("api_key").reveal()
            together.wait(10)

        tools = {"a": declared(look), "b": declared(look, secrets={"api_key": "env:OTHER_KEY"})}
        threads = [
            threading.Thread(target=calling.perform, args=(made, {}, key, "call_1"))
            for key, made in tools.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert seen == {"a": VALUE, "b": "another-canary"}

    def test_a_name_that_the_tool_does_not_declare_is_not_there(self) -> None:
        def ask() -> None:
            """Ask."""
            secret("password")

        with pytest.raises(NotOpen, match="declares: api_key"):
            performed(declared(ask))

    def test_a_lookup_has_them_too(self) -> None:
        def pay(*, key: IdempotencyKey) -> str:
            """Pay."""
            return "paid"

        made = declared(pay, effect="irreversible")
        made.lookup(lambda key: f"{key} {secret('api_key').reveal()}")
        assert look_up(made, "k1") == "k1 [secret api_key]"

    def test_it_may_rotate_without_a_restart(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        place = tmp_path / "key"
        made = declared(lambda_of(seen := []), secrets={"api_key": f"file:{place}"})
        for value in ("first-value", "second-value\n"):
            place.write_text(value)
            performed(made)
        place.unlink()
        with pytest.raises(SecretMissing):
            performed(made)
        assert seen == ["first-value", "second-value"]


def lambda_of(seen: list[str]):  # type: ignore[no-untyped-def]
    def see() -> None:
        """See it."""
        seen.append(secret("api_key").reveal())

    return see


class TestMissing:
    @pytest.mark.parametrize(
        "value",
        [None, "", "short", "a\0canary-key", "x" * (secrets.LONGEST + 1)],
        ids=["none", "empty", "short", "nul", "long"],
    )
    def test_what_cannot_be_used_is_a_permission_that_somebody_must_give(self, value: str | None) -> None:
        secrets.register_resolver("vault", {}.__getitem__ if value is None else lambda name: value)
        begun: list[str] = []
        with pytest.raises(SecretMissing, match="pay needs the secret api_key, and vault:a/b") as caught:
            performed(declared(lambda_of(begun), name="pay", secrets={"api_key": "vault:a/b"}))
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.PERMISSION, Proof.DECLARED)
        assert begun == []
        assert decide(made_effect("irreversible"), failure, 1, 0.0).action is Action.ASK

    def test_a_place_that_does_not_answer_may_answer_later(self) -> None:
        def away(name: str) -> str:
            raise RuntimeError("canary in the error of the vault")

        secrets.register_resolver("vault", away)
        with pytest.raises(SecretsAway) as caught:
            performed(declared(secrets={"api_key": "vault:x"}))
        failure = classify(caught.value)
        assert (failure.kind, failure.proof) == (FailureClass.TRANSIENT, Proof.DECLARED)
        assert "canary" not in failure.message
        assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
        assert decide(made_effect("irreversible"), failure, 1, 0.0).action is Action.STOP

    def test_a_lookup_without_its_secret_proves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CANARY_KEY")
        made = declared()
        made.lookup(lambda key: "found")
        with pytest.raises(CannotLook, match="permission"):
            look_up(made, "k1")

    @pytest.mark.parametrize("reference", ["file:relative/key", "file:/nowhere/at/all", "env:NOT_SET_HERE"])
    def test_none_of_these_is_there(self, reference: str) -> None:
        with pytest.raises(SecretMissing):
            performed(declared(secrets={"api_key": reference}))


def made_effect(name: str):  # type: ignore[no-untyped-def]
    return Tool(told_with_key, effect=name).effect


def told_with_key(*, key: IdempotencyKey) -> str:
    """A body."""
    return ""


class TestDeclared:
    @pytest.mark.parametrize("given", ["sk-live-canary", "canary:password", "env:", ":x", "", "ENV:X"])
    def test_a_value_in_place_of_a_reference_is_refused_and_not_repeated(self, given: str) -> None:
        with pytest.raises(ContractError, match="never the value") as caught:
            declared(secrets={"api_key": given})
        assert "canary" not in str(caught.value)

    def test_names_are_plain(self) -> None:
        with pytest.raises(ContractError, match="cannot be a secret's name"):
            declared(secrets={"API key": "env:X"})

    def test_they_are_no_part_of_the_contract(self) -> None:
        assert declared().contract_digest == declared(secrets={}).contract_digest

    def test_the_decorator_takes_them(self) -> None:
        assert tool(effect="read", secrets=REFERENCE)(told).secrets == REFERENCE

    def test_a_scheme_has_one_resolver(self) -> None:
        secrets.register_resolver("vault", str.upper)
        secrets.register_resolver("vault", str.upper)
        with pytest.raises(ContractError, match="already"):
            secrets.register_resolver("vault", str.lower)
        with pytest.raises(ContractError, match="already"):
            secrets.register_resolver("env", str.lower)


class TestShownToNobody:
    @pytest.fixture
    def hidden(self) -> Iterator[Secret]:
        with secrets.opened(REFERENCE, "pay"):
            yield secret("api_key")

    def test_every_text_of_it_is_a_mask(self, hidden: Secret) -> None:
        texts = [repr(hidden), str(hidden), f"{hidden}", f"{hidden:>40}", "%s" % hidden, f"{[hidden]}"]  # noqa: UP031
        assert {text.strip("[]").strip() for text in texts} == {"secret api_key"}

    def test_it_cannot_be_stored_copied_or_sent(self, hidden: Secret) -> None:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
            with pytest.raises(TypeError) as caught:
                attempt(hidden)  # type: ignore[operator]
            assert "canary" not in str(caught.value)

    def test_it_has_no_form_in_json(self, hidden: Secret) -> None:
        with pytest.raises(NotJson) as caught:
            normalise({"key": hidden})
        assert "canary" not in str(caught.value)

    def test_a_tool_cannot_return_it(self) -> None:
        def give() -> dict[str, object]:
            """Give it."""
            return {"key": secret("api_key")}

        with pytest.raises(InvalidOutput) as caught:
            performed(declared(give))
        assert "canary" not in str(caught.value)


class TestScrubbed:
    def test_a_result_that_holds_it_is_masked(self) -> None:
        def give() -> dict[str, list[str]]:
            """Give it away."""
            value = secret("api_key").reveal()
            return {value: [f"<{value}>", quote(value, safe=""), base64.b64encode(value.encode()).decode()]}

        mask = "[secret api_key]"
        assert performed(declared(give)) == {mask: [f"<{mask}>", mask, f"{mask}=="]}

    def test_an_error_that_holds_it_is_masked(self) -> None:
        def fail() -> str:
            """Fail."""
            raise ConnectionError(f"GET https://bank.example/?key={quote(told())}: {told()!r}")

        with pytest.raises(ConnectionError) as caught:
            performed(declared(fail))
        said = classify(caught.value).message
        assert "canary" not in said
        assert said.count("[secret api_key]") == 2

    def test_basic_auth_is_masked(self) -> None:
        sent: list[str] = []

        def give() -> str:
            """Give it away."""
            sent.append(basic_auth("shop", secret("api_key")))
            return sent[0]

        assert performed(declared(give)) == "Basic [secret password]"
        assert base64.b64decode(sent[0].removeprefix("Basic ")).decode() == f"shop:{VALUE}"

    def test_each_line_of_a_long_key_is_masked(self) -> None:
        lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"]
        scrubbing.remember("-----BEGIN KEY-----\n" + "\n".join(lines) + "\n-----END KEY-----\n", "pem")
        assert scrubbing.scrub_text("\r\n".join(lines)) == "[secret pem]\r\n[secret pem]"

    def test_the_oldest_is_forgotten_and_remembered_when_it_is_used_again(self) -> None:
        for number in range(scrubbing.MOST + 1):
            scrubbing.remember(f"canary-{number:04}", "api_key")
        assert scrubbing.scrub_text("canary-0000 canary-0001") == "canary-0000 [secret api_key]"
        scrubbing.remember("canary-0000", "api_key")
        assert scrubbing.scrub_text("canary-0000") == "[secret api_key]"

    def test_a_result_that_does_not_fit_without_it_fails(self) -> None:
        secrets.register_resolver("fixed", lambda name: "canary01")

        def give() -> Short:
            """Give it away."""
            return secret("api_key").reveal()

        with pytest.raises(InvalidOutput):
            performed(declared(give, secrets={"api_key": "fixed:x"}))

    def test_nothing_else_is_touched(self) -> None:
        value = {"a": [1, 2.5, None, True, "canary"], "b": ("x",)}
        assert scrubbing.scrub(value) is value
        scrubbing.remember("quite another", "x")
        assert scrubbing.scrub(value) == {"a": [1, 2.5, None, True, "canary"], "b": ["x"]}


class TestCurrent:
    def test_a_body_knows_its_call(self) -> None:
        def ask() -> str:
            """Ask."""
            call = calling.current()
            assert call is not None and 0 < call.left() <= 3
            return f"{call.tool} {call.key} {call.call_id}"

        assert performed(declared(ask, timeout=3, secrets={})) == "ask k1 call_1"
        assert calling.current() is None

    def test_time_that_is_used_up_is_none(self) -> None:
        assert calling.Current("t", "k", "c", time.monotonic() - 5).left() == 0.0

    def test_pretended_secrets_are_for_tests_of_a_function(self) -> None:
        with secrets.pretended(api_key="a-canary-value"):
            assert told() == "a-canary-value"
        with pytest.raises(NotOpen):
            told()


def test_a_log_does_not_show_it() -> None:
    """What is logged anywhere in this process is masked, tracebacks too."""
    scrubbing.remember(VALUE, "api_key")
    for as_json in (True, False):
        settings = logging_settings(json=as_json, level="INFO")
        made: Any = logging.config.DictConfigurator(settings)  # type: ignore[attr-defined]
        try:
            raise ValueError(f"refused {VALUE}")
        except ValueError:
            record = logging.LogRecord("x", 40, __file__, 1, "said %s marker", (VALUE,), sys.exc_info())
        record.key = {"deep": [VALUE, Holder()]}
        record.sent = json.dumps({"key": VALUE})
        line = made.configure_formatter(settings["formatters"]["structured"]).format(record)
        assert "canary" not in line
        assert "marker" in line
        assert line.count("[secret api_key]") >= 5


class Holder:
    def __repr__(self) -> str:
        return f"Holder({VALUE!r})"
