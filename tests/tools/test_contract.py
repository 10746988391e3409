"""A tool is declared once, takes only what its contract allows, and refuses to be called past the gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tools.canonical import canonical, digest
from tools.contract import (
    Call,
    Change,
    Check,
    ContractError,
    Evidence,
    IdempotencyKey,
    InvalidArguments,
    InvalidOutput,
    Money,
    Preview,
    Tool,
    ToolExit,
    cents,
)
from tools.failures import Refused


class Refund(BaseModel):
    payment: str
    amount: Money


class Address(BaseModel):
    street: str
    zip: str = ""


def refund(
    order_id: str,
    amount: Money,
    reason: Literal["broken", "late"] = "broken",
    *,
    note: str | None = None,
    key: IdempotencyKey,
) -> Refund:
    """Pay money back."""
    return Refund(payment=f"{order_id}/{key}", amount=amount)


def declared(effect: str = "irreversible", **more: Any) -> Tool:
    return Tool(refund, effect=effect, risk="high", **more)


# Functions that no contract can be made of; annotations are looked up at this level.


def without_key(order_id: str) -> None: ...
def positional_key(key: IdempotencyKey) -> None: ...
def two_keys(*, one: IdempotencyKey, two: IdempotencyKey) -> None: ...
def without_return(order_id: str): ...  # type: ignore[no-untyped-def]
def without_type(order_id) -> None: ...  # type: ignore[no-untyped-def]
def starred(*orders: str) -> None: ...
def double_starred(**orders: str) -> None: ...
def with_set(orders: set[str]) -> None: ...
def gives_set() -> frozenset[str]: ...  # type: ignore[empty-body]
def with_unknown(order: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def with_iterator(order: object = object()) -> Iterator[int]:
    yield 1


def with_wrong_default(count: int = "many") -> None: ...  # type: ignore[assignment]
async def in_a_loop(order_id: str) -> None: ...


class TestDeclaration:
    def test_it_works(self) -> None:
        tool = declared(rollback="Ask finance to reverse it")
        assert (tool.name, tool.title, tool.description) == ("refund", "Refund", "Pay money back.")
        assert (tool.effect, tool.risk, tool.reversibility) == ("irreversible", "high", "none")
        assert (tool.version, tool.timeout, tool.queue, tool.takes_key) == (1, 30.0, "", True)
        assert tool.input_schema["required"] == ["order_id", "amount"]
        assert list(tool.input_schema["properties"]) == ["order_id", "amount", "reason", "note"]
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["properties"]["amount"]["type"] == "string"

    @pytest.mark.parametrize(
        ("function", "words"),
        [
            (without_key, r"add `\*, key: IdempotencyKey`"),
            (positional_key, r"after a \*"),
            (two_keys, "once"),
            (without_return, "what it returns"),
            (without_type, "order_id has no type"),
            (starred, "its own name"),
            (double_starred, "its own name"),
            (with_set, "use a list"),
            (gives_set, "use a list"),
            (with_unknown, "module's own level"),
            (with_iterator, "return one value"),
            (with_wrong_default, "the default of count does not fit"),
            (in_a_loop, "plain function"),
        ],
    )
    def test_it_refuses_with_the_cure(self, function: Any, words: str) -> None:
        effect = "write" if "key" in function.__name__ else "read"
        with pytest.raises(ContractError, match=words):
            Tool(function, effect=effect)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"effect": "delete"}, "read, draft, write, irreversible"),
            ({"effect": "write", "risk": "huge"}, "low, medium, high, critical"),
            ({"effect": "write", "timeout": 0}, "seconds above 0"),
            ({"effect": "write", "timeout": float("inf")}, "seconds above 0"),
            ({"effect": "write", "version": 0}, "1 or more"),
            ({"effect": "write", "name": "Refund it"}, "cannot be a tool's name"),
            ({"effect": "write", "queue": "pay ments"}, "cannot run on queue 'pay ments'"),
            ({"effect": "write", "queue": "p" * 41}, "at most 40 of them"),
            ({"effect": "irreversible", "reversibility": "full"}, "declare it as a write"),
        ],
    )
    def test_it_refuses_nonsense(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(ContractError, match=words):
            Tool(refund, **options)

    def test_a_read_needs_no_key_and_undoing_follows_the_effect(self) -> None:
        assert Tool(without_key, effect="read").reversibility == "full"
        assert declared("write").reversibility == "partial"
        assert declared("write", reversibility="full").reversibility == "full"

    def test_another_tool_may_undo_it(self) -> None:
        undo = Tool(refund, effect="write", name="take_back")
        assert declared("write", rollback=undo).rollback == "take_back"

    def test_calling_it_past_the_gate_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"run\.tool\(refund"):
            declared()("o1", 3)

    def test_parameters_may_have_any_name(self) -> None:
        def odd(json: str, copy: int, model_config: str, schema: str, _x: int = 1) -> list[str]:
            return [json, str(copy), model_config, schema, str(_x)]

        tool = Tool(odd, effect="read")
        arguments = tool.bind("a", 2, model_config="c", schema="d")
        assert tool.invoke(arguments, "") == ["a", "2", "c", "d", "1"]

    def test_the_contract_digest_changes_with_the_contract_alone(self) -> None:
        assert declared().contract_digest == declared(timeout=5, title="Pay").contract_digest
        assert declared().contract_digest != declared(version=2).contract_digest
        assert declared().contract_digest != declared("write").contract_digest


class TestArguments:
    def test_bind_names_what_is_given_by_place(self) -> None:
        assert declared().bind("o1", Decimal("3.50"), note="x") == {
            "order_id": "o1",
            "amount": "3.50",
            "note": "x",
        }

    @pytest.mark.parametrize(
        ("args", "kwargs", "words"),
        [
            (("a", 1, "late", "x"), {}, "too many positional"),
            (("a",), {"order_id": "b"}, "multiple values"),
            ((), {"key": "mine"}, "unexpected keyword argument 'key'"),
            (({1, 2},), {}, "use a list"),
        ],
    )
    def test_bind_refuses(self, args: Any, kwargs: Any, words: str) -> None:
        with pytest.raises(InvalidArguments, match=words):
            declared().bind(*args, **kwargs)

    def test_defaults_are_filled_in(self) -> None:
        assert declared().validate({"order_id": "o1", "amount": 3}) == {
            "order_id": "o1",
            "amount": "3.00",
            "reason": "broken",
            "note": None,
        }

    def test_every_problem_is_named_in_plain_words(self) -> None:
        with pytest.raises(InvalidArguments) as caught:
            declared().validate({"amount": "3.005", "reason": "bored", "key": "mine"})
        assert caught.value.problems == [
            "order_id is missing",
            "amount: has more than two decimals; round it first, with cents()",
            "reason: should be 'broken' or 'late'",
            "key is not known here",
        ]

    def test_the_names_inside_are_not_known(self) -> None:
        with pytest.raises(InvalidArguments, match="argument_0 is not known here"):
            declared().validate({"argument_0": "o1", "amount": 1})

    @given(
        st.text(max_size=20),
        st.decimals(-99999, 99999, places=2),
        st.sampled_from([None, "a", "\x00", "\ud800"]),
    )
    def test_validating_twice_changes_nothing(self, order_id: str, amount: Decimal, note: str | None) -> None:
        once = declared().validate(declared().bind(order_id, amount, note=note))
        assert digest(declared().validate(once)) == digest(once)
        assert Decimal(once["amount"]) == amount

    def test_types_arrive_as_declared(self) -> None:
        def ship(to: Address, on: date, parcels: list[Annotated[int, Field(gt=0)]]) -> str:
            return f"{to.street} {on.year} {sum(parcels)}"

        tool = Tool(ship, effect="read")
        arguments = tool.validate(tool.bind(Address(street="Elm"), date(2026, 11, 21), [1, 2]))
        assert arguments == {"to": {"street": "Elm", "zip": ""}, "on": "2026-11-21", "parcels": [1, 2]}
        assert tool.invoke(arguments, "") == "Elm 2026 3"
        with pytest.raises(InvalidArguments, match=r"parcels\.1: should be greater than 0"):
            tool.validate({**arguments, "parcels": [1, 0]})


class TestMoney:
    @pytest.mark.parametrize(
        ("given_", "kept"),
        [
            ("12.5", "12.50"),
            (12.5, "12.50"),
            (0.07, "0.07"),
            (3, "3.00"),
            ("-0.00", "0.00"),
            ("1e2", "100.00"),
        ]
        + [(9999999999999.99, "9999999999999.99"), (Decimal("4.100"), "4.10")],
    )
    def test_exact_amounts_pass(self, given_: Any, kept: str) -> None:
        assert declared().validate({"order_id": "", "amount": given_})["amount"] == kept

    @pytest.mark.parametrize(
        "given_",
        [0.1 + 0.2, "1.001", "NaN", "Infinity", True, None, [], "ten", 1e14, "1e99999999", "1e-99999999"],
    )
    def test_nothing_is_rounded_behind_anybodys_back(self, given_: Any) -> None:
        with pytest.raises(InvalidArguments, match="amount"):
            declared().validate({"order_id": "", "amount": given_})

    def test_cents_rounds_where_the_author_says_so(self) -> None:
        assert cents(0.04999999999999716) == Decimal("0.05")
        assert str(cents(-0.001)) == "0.00"


class TestInvoke:
    def test_the_key_is_given_by_the_engine(self) -> None:
        done = declared().invoke({"order_id": "o1", "amount": "3.50"}, "k1")
        assert done == {"payment": "o1/k1", "amount": "3.50"}
        assert declared().restore(done) == Refund(payment="o1/k1", amount=Decimal("3.50"))

    def test_a_result_outside_the_contract_is_refused(self) -> None:
        def count() -> int:
            return "many"  # type: ignore[return-value]

        with pytest.raises(InvalidOutput, match="the value: should be a whole number"):
            Tool(count, effect="read").invoke({}, "")
        with pytest.raises(InvalidOutput, match="payment is missing"):
            declared().as_result({"amount": "1.00"})
        with pytest.raises(InvalidOutput):
            declared().restore({"old": "shape"})

    def test_ending_the_process_is_a_failure(self) -> None:
        def leave() -> None:
            raise SystemExit(3)

        with pytest.raises(ToolExit, match="SystemExit"):
            Tool(leave, effect="read").invoke({}, "")

    def test_what_the_tool_raises_comes_through(self) -> None:
        def refuse() -> None:
            raise Refused("Not on Sundays.")

        with pytest.raises(Refused, match="Sundays"):
            Tool(refuse, effect="read").invoke({}, "")


class TestHooks:
    def call(self, tool: Tool, **more: Any) -> Call:
        return tool.call({"order_id": "o1", "amount": "3.5", **more}, "k1", "run_1", "stp_1")

    def test_a_call_carries_json_and_types(self) -> None:
        call = self.call(declared())
        assert call.arguments["amount"] == "3.50"
        assert call.values["amount"] == Decimal("3.50")
        assert (call.key, call.run_id, call.step_id) == ("k1", "run_1", "stp_1")

    def test_without_hooks(self) -> None:
        tool = declared()
        assert tool.show(self.call(tool)).sentence == "Refund: order id o1, amount 3.50, reason broken."
        assert tool.declared_facts(self.call(tool)) == {}
        tool.check(self.call(tool))
        with pytest.raises(LookupError, match="has no lookup"):
            tool.find("k1")

    def test_the_default_sentence_hides_nothing_and_has_an_end(self) -> None:
        tool = declared()
        sentence = tool.show(self.call(tool, note="a\x1b[2Jb\u202ec\nd" + "x" * 600)).sentence
        assert "note a[2Jb\\u202ec dxxx" in sentence
        assert len(sentence) == 512

    def test_preview(self) -> None:
        tool = declared()

        @tool.preview
        def _(call: Call) -> Preview:
            return Preview(
                "Pay back",
                changes=[Change("Balance", Decimal("10.00"), None)],
                evidence=[Evidence("order o1", "paid \u200btwice")],
                checks=[Check("Paid", True), Check("Sent", "yes")],  # type: ignore[arg-type]
            )

        kept = tool.show(self.call(tool)).as_json()
        assert kept["changes"] == [{"label": "Balance", "before": "10.00", "after": ""}]
        assert kept["evidence"][0]["text"] == "paid \\u200btwice"
        assert [check["ok"] for check in kept["checks"]] == [True, False]
        canonical(kept)

    def test_a_sentence_is_a_preview(self) -> None:
        tool = declared()
        tool.preview(lambda call: f"Pay {call.values['amount']} back")
        assert tool.show(self.call(tool)) == Preview("Pay 3.50 back")

    @pytest.mark.parametrize("answer", [None, True])
    def test_a_precondition_that_holds(self, answer: object) -> None:
        tool = declared()
        tool.precondition(lambda call: answer)
        tool.check(self.call(tool))

    @pytest.mark.parametrize("answer", [False, "yes", 0, 1.5])
    def test_anything_else_refuses(self, answer: object) -> None:
        tool = declared()
        tool.precondition(lambda call: answer)
        with pytest.raises(Refused, match="precondition of refund"):
            tool.check(self.call(tool))

    def test_facts_are_json(self) -> None:
        tool = declared()
        tool.facts(lambda call: {"amount": call.values["amount"], "currency": "EUR", "suspicious": False})
        assert tool.declared_facts(self.call(tool)) == {
            "amount": "3.50",
            "currency": "EUR",
            "suspicious": False,
        }

    @pytest.mark.parametrize("facts", [{"amount": float("nan")}, ["amount"], {1: 2}])
    def test_facts_that_cannot_be_recorded(self, facts: object) -> None:
        tool = declared()
        tool.facts(lambda call: facts)
        with pytest.raises(ContractError, match="facts of refund"):
            tool.declared_facts(self.call(tool))

    def test_lookup(self) -> None:
        tool = declared()
        tool.lookup(lambda key: Refund(payment="p", amount=Decimal(1)) if key == "k1" else None)
        assert tool.find("k1") == {"payment": "p", "amount": "1.00"}
        assert tool.find("k2") is None
        assert not tool.lookup_is_final

    def test_a_final_lookup_says_so(self) -> None:
        tool = declared()

        @tool.lookup(final=True)
        def _(key: str) -> None:
            return None

        assert tool.lookup_is_final

    def test_a_lookup_needs_something_to_find(self) -> None:
        with pytest.raises(ContractError, match="return a receipt"):
            Tool(without_key, effect="read").lookup(lambda key: None)

    @pytest.mark.parametrize("hook", ["preview", "lookup", "precondition", "facts"])
    def test_each_is_set_once(self, hook: str) -> None:
        tool = declared()
        assert not tool.has(hook)
        getattr(tool, hook)(lambda given: None)
        assert tool.has(hook)
        with pytest.raises(ContractError, match=f"already has a {hook}"):
            getattr(tool, hook)(lambda given: None)
