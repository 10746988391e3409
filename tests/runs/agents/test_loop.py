"""The loop serves every turn of a process; whatever happens in one of them, it goes on for the others."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runs.agents import loop
from runs.agents.loop import Escaped, Pump, run_on_loop
from runs.stops import Fenced, Stalled, Suspend


def answers(value: Any = "fine") -> Any:
    async def main(pump: Pump) -> Any:
        return await pump.call(lambda: value)

    return run_on_loop(main)


class TestPump:
    def test_it_works(self) -> None:
        async def main(pump: Pump) -> tuple[int, int]:
            return await pump.call(threading.get_ident), threading.get_ident()

        there, here = run_on_loop(main)
        assert there == threading.get_ident()
        assert here != there

    def test_a_users_synchronous_code_runs_on_the_turns_thread(self) -> None:
        async def main(pump: Pump) -> int:
            return await asyncio.get_running_loop().run_in_executor(pump.executor, threading.get_ident)

        assert run_on_loop(main) == threading.get_ident()

    def test_what_the_coroutine_raises_comes_out(self) -> None:
        async def main(pump: Pump) -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            run_on_loop(main)

    def test_an_expected_exception_goes_back_to_the_coroutine(self) -> None:
        async def main(pump: Pump) -> str:
            try:
                await pump.call(int, "x", expected=(ValueError,))
            except ValueError:
                return "caught"
            return "missed"

        assert run_on_loop(main) == "caught"

    def test_stop_iteration_does_not_hang_it(self) -> None:
        async def main(pump: Pump) -> None:
            await pump.call(next, iter(()))

        with pytest.raises(RuntimeError, match="StopIteration"):
            run_on_loop(main)

    @pytest.mark.parametrize("stop", [Fenced("gone"), ZeroDivisionError("database"), SystemExit(3)])
    def test_an_unexpected_one_ends_the_coroutine_and_comes_out_as_it_is(self, stop: BaseException) -> None:
        ended = threading.Event()

        def fail() -> None:
            raise stop

        async def main(pump: Pump) -> None:
            try:
                await pump.call(fail)
            except Exception:  # noqa: BLE001 - a careless agent that swallows everything
                await pump.call(lambda: None)
            finally:
                ended.set()

        with pytest.raises(type(stop)) as caught:
            run_on_loop(main)
        assert caught.value is stop
        assert ended.is_set()
        assert answers() == "fine"

    def test_a_fenced_turn_begins_nothing_more(self) -> None:
        done: list[str] = []

        def fence() -> None:
            raise Fenced

        async def main(pump: Pump) -> None:
            await asyncio.gather(
                pump.call(done.append, "first"), pump.call(fence), pump.call(done.append, "late")
            )

        with pytest.raises(Fenced):
            run_on_loop(main)
        assert done == ["first"]

    def test_work_whose_coroutine_was_cancelled_is_not_done(self) -> None:
        done: list[str] = []

        async def main(pump: Pump) -> None:
            slow = asyncio.ensure_future(pump.call(time.sleep, 0.1))
            await asyncio.sleep(0)
            late = asyncio.ensure_future(pump.call(done.append, "late"))
            await asyncio.sleep(0)
            late.cancel()
            await slow

        run_on_loop(main)
        assert done == []


class TestSuspend:
    def test_siblings_that_were_asked_for_too_get_on_record(self) -> None:
        done: list[str] = []

        def suspend() -> None:
            raise Suspend("waits for a person")

        async def main(pump: Pump) -> None:
            await asyncio.gather(pump.call(suspend), pump.call(done.append, "sibling"))

        with pytest.raises(Suspend):
            run_on_loop(main)
        assert done == ["sibling"]

    def test_a_request_under_way_is_recorded_first(self) -> None:
        done: list[str] = []

        def suspend() -> None:
            raise Suspend

        async def request(pump: Pump) -> None:
            with pump.act():
                await asyncio.sleep(0.1)
            await pump.call(done.append, "recorded")

        async def main(pump: Pump) -> None:
            await asyncio.gather(request(pump), pump.call(suspend))

        with pytest.raises(Suspend):
            run_on_loop(main)
        assert done == ["recorded"]

    def test_the_loop_serves_the_next_turn(self) -> None:
        async def main(pump: Pump) -> None:
            def suspend() -> None:
                raise Suspend

            await pump.call(suspend)

        for _ in range(3):
            with pytest.raises(Suspend):
                run_on_loop(main)
        assert answers() == "fine"


class TestProcessEnds:
    def test_an_async_tool_that_exits_fails_alone(self) -> None:
        async def other(pump: Pump) -> str:
            for _ in range(10):
                await asyncio.sleep(0.02)
                await pump.call(lambda: None)
            return "undisturbed"

        async def tool() -> None:
            await asyncio.sleep(0.01)
            sys.exit(1)

        async def main(pump: Pump) -> None:
            await asyncio.gather(asyncio.ensure_future(tool()))

        with ThreadPoolExecutor() as pool:
            neighbour = pool.submit(run_on_loop, other)
            with pytest.raises(Escaped):
                run_on_loop(main)
            assert neighbour.result(timeout=5) == "undisturbed"

    def test_a_synchronous_one_fails_alone(self) -> None:
        async def main(pump: Pump) -> None:
            await asyncio.get_running_loop().run_in_executor(pump.executor, sys.exit, 1)

        with pytest.raises(Escaped):
            run_on_loop(main)
        assert answers() == "fine"


class TestLife:
    def test_a_loop_that_hangs_is_given_up_and_replaced(self) -> None:
        async def main(pump: Pump) -> None:
            time.sleep(2)  # noqa: ASYNC251 - the defect under test

        before = loop.process_loop()
        with pytest.raises(Stalled):
            run_on_loop(main, silent_too_long=0.8)
        assert answers() == "fine"
        assert loop.process_loop() is not before

    def test_a_child_process_gets_its_own(self) -> None:
        answers()
        if child := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        else:
            os._exit(0 if answers() == "fine" else 1)

    def test_turns_that_wait_overlap(self) -> None:
        async def main(pump: Pump) -> None:
            for _ in range(2):
                await pump.call(time.sleep, 0.001)
                await asyncio.sleep(0.25)

        began = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            turns: list[Callable[[Pump], Awaitable[None]]] = [main] * 32
            list(pool.map(run_on_loop, turns))
        assert 32 * 0.5 / (time.monotonic() - began) > 12
