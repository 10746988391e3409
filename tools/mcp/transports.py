"""How messages reach an MCP server: the pipes of a child that ends with us, or HTTP; both with limits."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx2
import mcp_types as types
from anyio.abc import ByteReceiveStream, Process
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from tools.contract import LARGEST_RESULT
from tools.mcp.servers import Server
from tools.preview import plain_text
from tools.scrubbing import scrub_text

logger = logging.getLogger(__name__)

#: The most bytes of one message: a result that may be recorded, with what goes around it.
LARGEST_MESSAGE = 2 * LARGEST_RESULT + 64 * 1024
GRACE = 1.0  # seconds that a server has to end by itself, and again after it was told to
_LONGEST_LINE = 500  # characters of what a server says on its standard error
_MOST_LINES = 500  # of those that a session logs
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

# The kernel kills the server when the thread that started it is gone, however that came about.
_TIED = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)

#: Told once the connection is over, with why, if there is more to say than that.
Ended = Callable[[str], None]


class NoSuchProgram(OSError):
    """The program of a server is not here."""


@asynccontextmanager
async def to(server: Server, ended: Ended) -> AsyncIterator[Any]:
    """The streams of a connection to `server`. Raises NoSuchProgram, OSError, and what secrets raise."""
    transport = _command(server, ended) if server.command else _http(server)
    async with transport as streams:
        yield streams


# Over HTTP


@asynccontextmanager
async def _http(server: Server) -> AsyncGenerator[Any]:
    headers = {"Accept-Encoding": "identity", **server.filled()}
    # No redirects, no proxy of the environment's, and no second try: a request is sent once.
    client = httpx2.AsyncClient(
        headers=headers, timeout=httpx2.Timeout(30.0, read=None), transport=_Limited(), max_redirects=0
    )
    async with (
        client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=LARGEST_MESSAGE) as streams,
    ):
        yield streams


class _Limited(httpx2.AsyncHTTPTransport):
    """A transport that stops reading an answer which is larger than any that can be used."""

    def __init__(self) -> None:
        super().__init__(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.ReadError("the answer is encoded, which was not asked for", request=request)
        # A stream of events is limited event by event.
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - what the type cannot say
            response.stream = _Counted(response.stream)
        return response


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > LARGEST_MESSAGE:
                raise httpx2.ReadError(f"the answer is larger than {LARGEST_MESSAGE} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


# To a child


@asynccontextmanager
async def _command(server: Server, ended: Ended) -> AsyncGenerator[Any]:
    environment = {name: os.environ[name] for name in server.passes if name in os.environ}
    process = await anyio.open_process(
        _line(server), env={**environment, **server.filled()}, start_new_session=True
    )
    to_us, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write_stream, from_us = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        why = ""
        try:
            async with to_us:
                why = await _pass_on(process.stdout, to_us)
        except _CLOSED:
            pass
        finally:
            ended(why)

    async def write() -> None:
        with suppress(*_CLOSED):
            async with from_us:
                async for message in from_us:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode() + b"\n")  # type: ignore[union-attr]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        tasks.start_soon(_note, server.name, process.stderr)
        try:
            yield read_stream, write_stream
        finally:
            with anyio.CancelScope(shield=True):
                read_stream.close()
                write_stream.close()
                await _end(process)
            tasks.cancel_scope.cancel()


def _line(server: Server) -> list[str]:
    program = shutil.which(server.command[0])
    if program is None:
        raise NoSuchProgram(f"there is no program {server.command[0]} here")
    line = [os.path.abspath(program), *server.command[1:]]
    if not sys.platform.startswith("linux"):
        return line
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *line]


async def _pass_on(stdout: ByteReceiveStream | None, to_us: Any) -> str:
    """Pass every message on as it comes; why it ended, where the server is to blame."""
    rest = b""
    while stdout is not None:
        try:
            *lines, rest = (rest + await stdout.receive()).split(b"\n")
        except anyio.EndOfStream:
            break
        for line in lines:
            await to_us.send(_parsed(line))
        if len(rest) > LARGEST_MESSAGE:
            return f"its answer is larger than {LARGEST_MESSAGE} bytes"
    return ""


def _parsed(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _note(name: str, stderr: ByteReceiveStream | None) -> None:
    """Log what a server says beside its messages, in pieces of a line; read on when it says too much."""
    said = 0
    with suppress(*_CLOSED):
        while stderr is not None:
            lines = (await stderr.receive()).decode(errors="replace").splitlines()
            for line in lines[: max(0, _MOST_LINES - said)]:
                logger.info("the MCP server %s says: %s", name, scrub_text(plain_text(line, _LONGEST_LINE)))
            said += len(lines)


async def _end(process: Process) -> None:
    """Close its input and wait; then tell its whole group to end, then kill it."""
    with suppress(*_CLOSED):
        await process.stdin.aclose()  # type: ignore[union-attr]
    for told in (None, signal.SIGTERM, signal.SIGKILL):
        if told is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, told)
        with anyio.move_on_after(GRACE):
            while process.returncode is None:
                await anyio.sleep(0.01)
        if process.returncode is not None:
            break
    with suppress(*_CLOSED):
        await process.aclose()
