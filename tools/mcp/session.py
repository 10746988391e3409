"""The sessions of this process with MCP servers: made when first needed, every exchange with a deadline."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import httpx2
import mcp_types as types
import pydantic
from mcp import MCPError
from mcp.client import Client
from mcp.client.subscriptions import ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tools.failures import FailureClass, Proof, ToolError, Transient
from tools.mcp import transports
from tools.mcp.offers import Offer, offer
from tools.mcp.servers import Server

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_AGAIN = 10.0  # seconds after which the server is asked again what it offers, before the next call
LIVES = 600.0  # seconds after which a session is replaced, and its secrets are resolved again
_SLACK = 1.0  # seconds more for the thread that waits than for the exchange itself
_MOST_PAGES = 50
_MOST_TOOLS = 500
_ANSWER: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(types.CallToolResult | types.InputRequiredResult)
_NOT_TAKEN = frozenset(
    {types.INVALID_PARAMS, types.INVALID_REQUEST, types.METHOD_NOT_FOUND, types.PARSE_ERROR}
)


class ServerAway(Transient):
    """The MCP server could not be reached, or did not say what it offers; no call was sent."""

    proof = Proof.DECLARED


class AnswerLost(Transient):
    """The call was sent, and the MCP server gave no answer in time, or went away."""


class CallFailed(ToolError):
    """The MCP server answered that the call failed, or answered what cannot be read."""


class CallNotTaken(ToolError):
    """The MCP server answered that it cannot take the call."""

    kind = FailureClass.INVALID_DATA
    proof = Proof.NOT_ACCEPTED


@dataclass
class Session:
    """One connection. Made and closed on the loop's thread; asked from any other, one session for all."""

    server: Server
    offers: dict[str, Offer] = field(default_factory=dict)
    changed: bool = False  # the server said that what it offers has changed
    heeded: bool = False  # whether what it offers was compared with what was signed
    over: bool = False  # no further call goes out by it
    closed: bool = False  # and its child, if it had one, has ended
    why: str = ""
    _client: Client | None = None
    _looked: float = 0.0
    _born: float = field(default_factory=time.monotonic)
    _users: int = 0
    _leave: asyncio.Event = field(default_factory=asyncio.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def usable(self) -> bool:
        """Whether another call may go out by it."""
        return not self.over and time.monotonic() - self._born < LIVES

    def look(self, within: float) -> None:
        """Ask the server again what it offers, where that is due. Raises ServerAway."""
        if not self.changed and time.monotonic() - self._looked < LOOK_AGAIN:
            return
        try:
            _wait_for(self._list(), within)
        except Exception as error:
            self.retire()
            raise _away(self, error) from error

    def call(self, remote: str, arguments: dict[str, Any], meta: dict[str, Any], within: float) -> Any:
        """The server's answer (a CallToolResult) to one call, sent once; `within` in seconds.

        Raises AnswerLost, CallNotTaken and CallFailed.
        """
        try:
            return _wait_for(self._send(remote, arguments, meta, within), within)
        except MCPError as error:
            raise self._told(error) from error
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            self.retire()
            raise AnswerLost(f"The MCP server {self.server.name} gave no answer in {within:.0f} s") from error
        except (*transports._CLOSED, httpx2.HTTPError) as error:
            self.retire()
            raise AnswerLost(
                f"The connection to the MCP server {self.server.name} was lost after the call was sent"
            ) from error
        except (pydantic.ValidationError, ValueError, TypeError, RuntimeError) as error:
            said = f"The MCP server {self.server.name} answered what is no result ({type(error).__name__})"
            raise CallFailed(said) from error

    def _told(self, error: MCPError) -> ToolError:
        if error.code in (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT):
            self.retire()
            if self.why:
                return CallFailed(f"The MCP server {self.server.name}: {self.why}")
            return AnswerLost(f"The MCP server {self.server.name} went away before it answered")
        said = f"The MCP server {self.server.name} answered with error {error.code}: {error.message[:1000]}"
        return CallNotTaken(said) if error.code in _NOT_TAKEN else CallFailed(said)

    # Who uses it

    def enter(self) -> None:
        """Somebody is about to use it: it is not closed under them."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """They are done; the last one closes what was retired."""
        with self._lock:
            self._users -= 1
            last = self._users == 0 and not self.usable
        if last:
            self.close()

    def retire(self) -> None:
        """No further call goes out by it; it is closed once nobody uses it."""
        self.over = True

    def close(self) -> None:
        """End it now; a child ends with it."""
        self.over = True
        with suppress(RuntimeError):  # the loop has ended before
            _loop().call_soon_threadsafe(self._leave.set)

    # On the loop's thread

    async def live(self, opened: concurrent.futures.Future[None]) -> None:
        """Connect, say so, and stay until it is told to leave."""
        try:
            client = Client(
                transports.to(self.server, self._ended),
                cache=None,
                message_handler=self._heard,
                client_info=types.Implementation(name="holdpoint", version="1"),
            )
            async with client, anyio.create_task_group() as tasks:
                self._client = client
                await self._list()
                if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    tasks.start_soon(self._listen, client)
                opened.set_result(None)
                await self._leave.wait()
                tasks.cancel_scope.cancel()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
            elif not isinstance(error, Exception):
                raise
        finally:
            self.over = self.closed = True

    async def _listen(self, client: Client) -> None:
        """Hear of changes; a server that cannot tell of them is asked every LOOK_AGAIN seconds anyway."""
        try:
            async with client.listen(tools_list_changed=True) as events:
                async for event in events:
                    self.changed = self.changed or isinstance(event, ToolsListChanged)
        except Exception:
            logger.debug("the MCP server %s tells of no changes", self.server.name, exc_info=True)

    async def _heard(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed = True

    def _ended(self, why: str) -> None:
        self.over, self.why = True, self.why or why

    async def _list(self) -> None:
        assert self._client is not None  # noqa: S101 - set before anybody can ask
        self.changed, cursor = False, None
        found: dict[str, Offer] = {}
        for _ in range(_MOST_PAGES):
            told = await self._client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            for each in told.tools:
                found[each.name] = _offer(self.server, each)
            cursor = told.next_cursor
            if len(found) > _MOST_TOOLS:
                break
            if cursor is None:
                self.heeded = self.heeded and found == self.offers
                self.offers, self._looked = found, time.monotonic()
                return
        raise ValueError(f"it offers more than {_MOST_TOOLS} tools, or its list has no end")

    async def _send(self, remote: str, arguments: dict[str, Any], meta: Any, within: float) -> Any:
        assert self._client is not None  # noqa: S101 - set before anybody can ask
        # Not Client.call_tool, which sends again after some errors.
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=remote, arguments=arguments, _meta=meta)
        )
        return await self._client.session.send_request(request, _ANSWER, request_read_timeout_seconds=within)


def _offer(server: Server, told: types.Tool) -> Offer:
    hints = (
        told.annotations.model_dump(mode="json", by_alias=True, exclude_none=True) if told.annotations else {}
    )
    title = told.title or hints.get("title")
    return offer(
        server.name, told.name, title, told.description, told.input_schema, told.output_schema, hints
    )


def _away(session: Session, error: Exception) -> ToolError:
    first = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
    if isinstance(first, ToolError):  # of its secrets
        return first
    name, why = session.server.name, session.why or str(first).partition("\n")[0][:300]
    if isinstance(first, TimeoutError | concurrent.futures.TimeoutError):
        why = "it did not answer in time"
    return ServerAway(f"The MCP server {name} cannot be used: {why or type(first).__name__}")


# The sessions of this process

_sessions: dict[str, Session] = {}
_guard = threading.Lock()
_opening: dict[str, threading.Lock] = {}
_running: asyncio.AbstractEventLoop | None = None
_left_behind: list[Any] = []


def session_of(server: Server, within: float) -> Session:
    """A session with `server`, entered: call `leave` when done. Raises ServerAway and what secrets raise."""
    with _guard:
        opening = _opening.setdefault(server.name, threading.Lock())
    with opening:
        session = _sessions.get(server.name)
        if session is None or not session.usable or session.server != server:
            if session is not None:
                session.retire()
                session.enter()
                session.leave()
            session = _sessions[server.name] = _opened(server, within)
        session.enter()
        return session


def _opened(server: Server, within: float) -> Session:
    session = Session(server)
    opened: concurrent.futures.Future[None] = concurrent.futures.Future()
    asyncio.run_coroutine_threadsafe(session.live(opened), _loop())
    try:
        opened.result(within)
    except Exception as error:
        session.close()
        raise _away(session, error) from error
    return session


def close_all() -> None:
    """End every session of this process, and the children with them."""
    for session in list(_sessions.values()):
        session.close()
    _sessions.clear()


def _wait_for(exchange: Coroutine[Any, Any, T], within: float) -> T:
    future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(exchange, within), _loop())
    try:
        return future.result(within + _SLACK)
    finally:
        future.cancel()


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _guard:
        if _running is None:
            _running = asyncio.new_event_loop()
            threading.Thread(target=_running.run_forever, name="mcp", daemon=True).start()
        return _running


def _after_fork() -> None:
    """A child has none of its parent's sessions, and must not end their servers by forgetting them."""
    global _running, _guard
    _left_behind.extend([dict(_sessions), _running])
    _sessions.clear()
    _opening.clear()
    _running, _guard = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
