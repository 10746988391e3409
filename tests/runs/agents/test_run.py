"""An agent's life: it replays what is on record, goes on from there, proposes, waits and hears why not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from runs.agent import AgentFailed, Limits
from runs.agents.port import Approved, Usage
from runs.agents.run import recorded_result, run_agent
from runs.agents.script import CallTool, Conversation, Finish, Say
from runs.gate import Next, Rejected
from runs.stops import Diverged, Suspend
from tests.runs.agents.book import Book, Crash, no
from tests.runs.agents.cast import DONE, LOOK_UP, PROPOSE, Recommendation, analyst, broken, by_turn, get_order
from tests.runs.agents.cast import message as message_tool
from tests.runs.agents.cast import refund as refund_tool
from tools.failures import FailureClass


def play(book: Book, script: Any, prompt: Any = "Case 7", **more: Any) -> Any:
    definition = more.pop("definition", None) or analyst(script)
    return run_agent(book.turn(), "agent#1", definition, prompt, **more)


class TestRecord:
    def test_it_works(self) -> None:
        book = Book()
        result = play(book, by_turn(LOOK_UP, DONE))
        assert result.output == Recommendation(
            order_id="W1", amount=40.5, reasoning="Lost.", evidence=["order W1"], confidence=0.9
        )
        assert (result.reasoning, result.evidence, result.confidence) == ("Lost.", ["order W1"], 0.9)
        assert result.data["amount"] == 40.5
        assert (result.model, result.scripted, result.usage.requests) == ("scripted:analyst", True, 2)
        assert book.states() == {
            "agent#1/model:1": "succeeded",
            "agent#1/tool:1.1": "succeeded",
            "agent#1/tool:1.2": "succeeded",
            "agent#1/model:2": "succeeded",
        }

    def test_the_record_says_who_was_asked_and_what_came(self) -> None:
        book = Book()
        play(book, by_turn(LOOK_UP, DONE))
        first = book.rows["agent#1/model:1"]
        assert first.arguments["model"] == "scripted:analyst"
        assert first.arguments["message"] == [{"kind": "prompt", "content": "Case 7"}]
        assert first.sentence == "The script of analyst asked for get_order and get_payments."
        assert book.rows["agent#1/model:2"].sentence == "The script of analyst gave its answer."
        assert first.usage == Usage(0, 0, Decimal(0), "scripted:analyst")

    def test_a_replay_asks_no_model_and_calls_no_tool(self) -> None:
        book = Book()
        first = play(book, by_turn(LOOK_UP, DONE))
        script = by_turn()
        world = list(book.world)
        again = play(book, script)
        assert script.seen == []
        assert book.world == world
        assert (again.output, again.usage) == (first.output, first.usage)

    def test_another_prompt_than_recorded_diverges(self) -> None:
        book = Book()
        play(book, by_turn(DONE))
        with pytest.raises(Diverged, match="agent#1/model:1"):
            play(book, by_turn(DONE), prompt="Case 8")

    def test_new_instructions_do_not_diverge(self) -> None:
        book = Book()
        play(book, by_turn(LOOK_UP, DONE))
        other = analyst(by_turn())
        object.__setattr__(other, "instructions", "Decide more carefully.")
        assert play(book, None, definition=other).output.amount == 40.5

    def test_a_crash_at_every_moment_comes_to_the_same_end(self) -> None:
        calm = Book(needs_person={"refund"}, decisions={"agent#1/tool:2.1": Approved()})
        expected = play(calm, by_turn(LOOK_UP, PROPOSE, DONE))
        for moment in range(1, calm.moments + 1):
            book = Book(needs_person={"refund"}, decisions={"agent#1/tool:2.1": Approved()})
            definition = analyst(by_turn(LOOK_UP, PROPOSE, DONE))
            with pytest.raises(Crash):
                run_agent(book.turn(crash_at=moment), "agent#1", definition, "Case 7")
            result = run_agent(book.turn(), "agent#1", definition, "Case 7")
            assert (result.output, result.usage) == (expected.output, expected.usage), moment
            assert book.states() == calm.states(), moment
            assert book.world == calm.world, moment

    def test_thirty_two_agents_wait_at_the_same_time(self) -> None:
        limits = Limits()
        all_here = threading.Barrier(32)

        def one(number: int) -> str:
            def script(conversation: Conversation) -> Any:
                # Nobody gets past this before all of them are here: one after the other, they never would.
                all_here.wait(timeout=60)
                return [LOOK_UP, PROPOSE, Finish(f"{number}")][conversation.turn - 1]

            return str(play(Book(), None, definition=analyst(script, output=str, limits=limits)).output)

        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(one, range(32))) == [str(number) for number in range(32)]


class TestFinished:
    def test_the_answer_comes_back_from_its_record(self) -> None:
        definition = analyst(by_turn(DONE))
        result = run_agent(Book().turn(), "agent#1", definition, "Case 7")
        again = recorded_result(definition, result.data, result.model)
        assert (again.output, again.data, again.confidence) == (result.output, result.data, 0.9)
        assert again.scripted
        assert again.usage.requests == 0

    def test_one_that_fits_no_longer_says_so(self) -> None:
        with pytest.raises(AgentFailed, match="analyst"):
            recorded_result(analyst(by_turn()), {"order": 1}, "scripted:analyst")


class TestProposals:
    def test_held_ones_wait_and_the_others_go_on(self) -> None:
        book = Book(needs_person={"refund"})
        with pytest.raises(Suspend, match="a decision: Refund"):
            play(book, by_turn(PROPOSE, DONE))
        assert book.opened == {"agent#1/tool:1.1": {"order_id": "W1", "amount": 40.5}}
        assert book.whys["agent#1/tool:1.1"] == "The parcel never arrived."
        assert [entry["tool"] for _, entry in book.world] == ["message"]
        book.decisions["agent#1/tool:1.1"] = Approved()
        assert play(book, by_turn(PROPOSE, DONE)).output.order_id == "W1"
        assert [entry["tool"] for _, entry in book.world] == ["message", "refund"]

    def test_all_of_one_answer_are_opened_before_the_run_waits(self) -> None:
        book = Book(needs_person={"refund", "message"})
        with pytest.raises(Suspend, match="a decision: Refund, Message"):
            play(book, by_turn([*LOOK_UP, *PROPOSE], DONE))
        assert list(book.opened) == ["agent#1/tool:1.3", "agent#1/tool:1.4"]
        assert [entry["tool"] for _, entry in book.world] == ["get_order", "get_payments"]

    def test_waiting_costs_nothing_more(self) -> None:
        book = Book(needs_person={"refund"})
        script = by_turn(PROPOSE, DONE)
        for _ in range(3):
            with pytest.raises(Suspend):
                play(book, script)
        assert len(script.seen) == 1

    def test_the_reason_of_a_rejection_reaches_the_model(self) -> None:
        book = Book(needs_person={"refund"}, decisions={"agent#1/tool:1.1": no("The parcel was found.")})
        script = by_turn(PROPOSE, DONE)
        play(book, script)
        told = script.seen[1].results_of("refund")[0]
        assert (told.outcome, told.content) == ("denied", "The parcel was found.")
        assert [entry["tool"] for _, entry in book.world] == ["message"]

    def test_an_edited_call_is_made_as_edited_and_the_model_is_told(self) -> None:
        edited = {"order_id": "W1", "amount": 20.0}
        book = Book(needs_person={"refund"}, decisions={"agent#1/tool:1.1": Approved(edited)})
        script = by_turn(PROPOSE, DONE)
        play(book, script)
        assert ("agent#1/tool:1.1", {"tool": "refund", **edited}) in book.world
        told = script.seen[1].results_of("refund")[0].content
        assert told == {"edited_by_reviewer": edited, "result": "refunded 20.0 on W1"}

    @pytest.mark.parametrize("after", [Next.SEND_BACK, Next.CONTINUE])
    def test_a_rejection_that_goes_on_is_told_to_the_model(self, after: Next) -> None:
        book = Book()
        turn = book.turn()
        turn.review_tool = _rejects(after)  # type: ignore[method-assign]
        script = by_turn([PROPOSE[0]], DONE)
        run_agent(turn, "agent#1", analyst(script), "Case 7")
        assert script.seen[1].results[0].content == "Not approved: not today"

    def test_a_rejection_that_stops_ends_the_agent(self) -> None:
        turn = Book().turn()
        turn.review_tool = _rejects(Next.STOP)  # type: ignore[method-assign]
        with pytest.raises(Rejected, match="not today"):
            run_agent(turn, "agent#1", analyst(by_turn(PROPOSE, DONE)), "Case 7")


def _rejects(after: Next) -> Any:
    def review(*_: Any) -> None:
        raise Rejected("not today", next=after)

    return review


class TestRefusals:
    def test_the_tools_own_refusal_is_a_result(self) -> None:
        script = by_turn([CallTool(refund_tool, {"order_id": "W1", "amount": 5000})], DONE)
        book = Book()
        play(book, script)
        told = script.seen[1].results[0]
        assert (told.outcome, told.content) == ("failed", "Refused: more than was paid")
        assert book.states()["agent#1/tool:1.1"] == "refused"
        assert play(book, by_turn()).output.order_id == "W1"

    def test_other_failures_are_told_too(self) -> None:
        script = by_turn([CallTool(broken, {"order_id": "W1"})], DONE)
        play(Book(), script)
        assert script.seen[1].results[0].content == "Failed: no key"

    def test_wrong_arguments_come_back_and_are_never_proposed(self) -> None:
        wrong = CallTool(refund_tool, {"order_id": "W1", "amount": "a lot"})
        book = Book(needs_person={"refund"})
        script = by_turn([wrong, CallTool(get_order, {})], DONE)
        play(book, script)
        assert [result.outcome for result in script.seen[1].results] == ["retried", "retried"]
        assert book.opened == {}
        assert list(book.rows) == ["agent#1/model:1", "agent#1/model:2"]

    def test_a_tool_it_does_not_have_is_refused_and_recorded(self) -> None:
        book = Book()
        script = by_turn(
            [CallTool("drop_tables", {"all": True}), CallTool(message_tool, {"text": "x"})], DONE
        )
        play(book, script)
        row = book.rows["agent#1/tool:1.1"]
        assert (row.state, row.name, row.arguments) == ("refused", "drop_tables", {"all": True})
        assert "drop_tables" in script.seen[1].results[0].content
        assert play(book, by_turn()).output.order_id == "W1"

    def test_an_exception_of_the_engine_is_nobodys_business_in_between(self) -> None:
        turn = Book().turn()

        def gone(*_: Any) -> None:
            raise ConnectionResetError("the database went away")

        turn.call_tool = gone  # type: ignore[method-assign, assignment]
        with pytest.raises(ConnectionResetError):
            run_agent(turn, "agent#1", analyst(by_turn(LOOK_UP, DONE)), "Case 7")


class TestAnswers:
    def test_a_wrong_answer_is_put_right(self) -> None:
        script = by_turn(Finish({"order_id": "W1", "amount": -1}), DONE)
        assert play(Book(), script).output.amount == 40.5
        assert "greater than 0" in script.seen[1].corrections[0]

    def test_words_where_an_answer_was_due_are_put_right(self) -> None:
        script = by_turn(Say("I would refund it."), DONE)
        assert play(Book(), script).output.amount == 40.5
        assert len(script.seen[1].corrections) == 1

    def test_wrong_answers_end(self) -> None:
        wrong = Finish({"order_id": "W1", "amount": -1})
        with pytest.raises(AgentFailed) as caught:
            play(Book(), lambda conversation: wrong)
        assert caught.value.kind is FailureClass.INVALID_DATA

    def test_words_are_the_answer_where_words_were_asked_for(self) -> None:
        assert play(Book(), None, definition=analyst(by_turn(Say("Yes.")), output=str)).output == "Yes."

    def test_a_list_is_an_answer_where_one_was_asked_for(self) -> None:
        definition = analyst(by_turn(Finish([1, 2])), output=list[int])
        assert play(Book(), None, definition=definition).output == [1, 2]

    def test_input_deps_and_feedback_reach_the_script(self) -> None:
        script = by_turn(DONE)
        play(Book(), script, prompt={"case": 7}, deps={"shop": "north"}, feedback="Cite the order.")
        seen = script.seen[0]
        assert (seen.input, seen.deps, seen.feedback, seen.turn) == (
            {"case": 7},
            {"shop": "north"},
            "Cite the order.",
            1,
        )

    def test_feedback_is_in_the_prompt(self) -> None:
        book = Book()
        play(book, by_turn(DONE), feedback="Cite the order.")
        assert book.rows["agent#1/model:1"].arguments["message"][0]["content"].endswith("Cite the order.")


class TestLimits:
    def test_model_requests(self) -> None:
        definition = analyst(
            lambda _: CallTool(get_order, {"order_id": "W1"}), limits=Limits(model_requests=3)
        )
        book = Book()
        with pytest.raises(AgentFailed) as caught:
            play(book, None, definition=definition)
        assert caught.value.kind is FailureClass.BUDGET
        assert [row.kind for row in book.rows.values()].count("model") == 3

    def test_a_script_that_fails_is_on_record_and_fails_again(self) -> None:
        book = Book()
        with pytest.raises(AgentFailed, match="by zero"):
            play(book, lambda _: 1 / 0)
        assert book.states() == {"agent#1/model:1": "failed"}
        with pytest.raises(AgentFailed, match="by zero"):
            play(book, by_turn(DONE))

    def test_a_script_that_answers_nonsense_says_so(self) -> None:
        with pytest.raises(AgentFailed, match="not Say, CallTool"):
            play(Book(), lambda _: 42)

    def test_a_script_that_exits_the_process_does_not(self) -> None:
        with pytest.raises(AgentFailed, match="end the process"):
            play(Book(), lambda _: exit(1))
        assert play(Book(), by_turn(DONE)).scripted

    def test_a_request_that_takes_too_long_is_ended(self) -> None:
        def slow(_: Conversation) -> Any:
            time.sleep(0.6)
            return DONE

        with pytest.raises(AgentFailed, match="within 0.2 s") as caught:
            play(Book(), None, definition=analyst(slow, limits=Limits(request_seconds=0.2)))
        assert caught.value.kind is FailureClass.TRANSIENT
