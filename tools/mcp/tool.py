"""A tool of an MCP server: its contract is what a person signed, its body one exchange with the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pydantic
from django.db import Error as DatabaseError

from tools import calling, registry
from tools.canonical import Json, in_kept_order, normalise
from tools.contract import Call, InvalidArguments, InvalidOutput, Tool
from tools.effects import REVERSIBILITY_BY_EFFECT, Effect, Risk
from tools.failures import Refused
from tools.mcp import review
from tools.mcp.offers import TEXT_RESULT, local_name
from tools.mcp.rows import RemoteState, RemoteTool
from tools.mcp.servers import Server, UnknownServer, server
from tools.models import ToolCall
from tools.preview import plain_text
from tools.values import IdempotencyKey

if TYPE_CHECKING:
    from tools.mcp.session import Session

FRESH = 1.0  # seconds for which what was read of a row counts
MOST_TEXT = 100_000  # characters of text that a result keeps
_KEY = "holdpoint/idempotency-key"
_CALL = "holdpoint/call"


class ToolDisabled(Refused):
    """The tool of an MCP server is not signed, or is disabled; nothing was sent."""


def mcp_tool(server_name: str, remote: str, *, rollback: str = "", queue: str = "") -> McpTool:
    """The tool that the server of this name calls `remote`, for workflows and agents; write it in a tools.py.

    It may be called once an operator has read and signed it (``manage.py tools mcp sync`` and ``sign``);
    until then it is irreversible, of high risk, and refused. Hooks are set as on any tool. Raises
    ContractError.
    """
    name = local_name(server_name, remote)
    known = {tool.name: tool for tool in registry.all_tools()}.get(name)
    if isinstance(known, McpTool) and known.remote == remote:
        return known
    made = McpTool(server_name, remote, rollback=rollback, queue=queue)
    registry.add(made)
    return made


def _elsewhere(*, key: IdempotencyKey) -> Any:
    """What stands where other tools have their function: the body is on the other side."""
    raise TypeError("a tool of an MCP server has no function here")


class _Arguments(pydantic.RootModel[dict[str, Any]]):
    """Arguments as they are given: what they must be, the server's own schema says."""


class McpTool(Tool):
    """Like any tool, but its contract is read from its row, and may be signed anew while a process runs."""

    def __init__(self, server_name: str, remote: str, *, rollback: str = "", queue: str = "") -> None:
        """Declare it; nothing is read yet. Raises ContractError."""
        self.server_name, self.remote = server_name, remote
        super().__init__(
            _elsewhere,
            name=local_name(server_name, remote),
            description=f"A tool of the MCP server {server_name}.",
            effect=Effect.IRREVERSIBLE,
            risk=Risk.HIGH,
            rollback=rollback,
            queue=queue,
        )
        self.input_schema = {"type": "object"}
        self.output_schema = {}
        self._signed = ""
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    # Its contract

    def refresh(self) -> None:
        """Read what was signed, if that was not done a moment ago. Workers act on what they read; whether it
        is signed still is asked again right before a call is sent.
        """
        if time.monotonic() - self._read_at < FRESH or _on_a_loop():
            return
        try:
            row = RemoteTool.objects.filter(name=self.name).first()
        except DatabaseError:
            if self._signed:
                return
            raise
        if row is not None and row.signed:
            self._become(row)
        self._read_at = time.monotonic()

    def _become(self, row: RemoteTool) -> None:
        mark = f"{row.version} {row.signed_digest}"
        with self._reading:
            if mark == self._signed:
                return
            contract: Any = in_kept_order(row.signed)
            self.effect, self.risk = Effect(row.effect), Risk(row.risk)
            self.reversibility = REVERSIBILITY_BY_EFFECT[self.effect]
            self.version = row.version
            self.title = plain_text(contract["title"], 100) or self.title
            self.description = contract["description"]
            self.input_schema = contract["input"]
            self.output_schema = TEXT_RESULT if contract["output"] is None else contract["output"]
            for kept in ("contract_digest", "_input_check", "_output_check"):
                self.__dict__.pop(kept, None)
            self.timeout = _timeout(self.server_name)
            self._signed = mark

    # What the engine and the gate ask

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """The arguments by name, which is how such a tool takes them. Raises InvalidArguments."""
        if args:
            raise InvalidArguments(self.name, ["its arguments are given by name"])
        return self._plain(kwargs)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Json]:
        """As of any tool, against the schema that was signed."""
        self.refresh()
        return super().validate(arguments)

    def check(self, call: Call) -> None:
        """Whether it is signed, then its own rules. Raises Refused."""
        self._standing()
        super().check(call)

    def invoke(self, arguments: Mapping[str, Any], key: str) -> Json:
        """One exchange with the server, sent at most once, within what is left of the call's time.

        Raises ToolDisabled and ServerAway before anything was sent; afterwards AnswerLost, CallFailed,
        CallNotTaken, and InvalidOutput for a result that was not promised.
        """
        row = self._standing()
        given = self.validate(arguments)
        call = calling.current()
        _refuse_unless_asked_so(row, call)
        ends = time.monotonic() + self.timeout if call is None else call.ends
        # Loaded by the first call and not at start: the package is slow to load, and an extra.
        from tools.mcp.session import session_of

        session = session_of(self._server(), _left(ends))
        try:
            self._must_be_as_signed(session, row, _left(ends))
            meta = {_KEY: key, _CALL: call.call_id if call else ""}
            answer = session.call(self.remote, given, meta, _left(ends))
        finally:
            session.leave()
        return self._result(answer, row)

    def _standing(self) -> RemoteTool:
        """Its row, which is signed. Raises ToolDisabled."""
        row = RemoteTool.objects.filter(name=self.name).first()
        if row is None or row.state == RemoteState.SEEN:
            raise ToolDisabled(f"Nobody has signed {self.name} yet: manage.py tools mcp sign {self.name}")
        if row.state == RemoteState.DISABLED:
            raise ToolDisabled(
                f"{self.name} is disabled until somebody has reviewed it. {row.reason.rstrip('.')}."
            )
        return row

    def _server(self) -> Server:
        try:
            return server(self.server_name)
        except UnknownServer as error:
            raise ToolDisabled(f"{self.name} cannot be called here. {error}") from None

    def _must_be_as_signed(self, session: Session, row: RemoteTool, within: float) -> None:
        session.look(within)
        if not session.heeded:
            review.heed(session.server, session.offers)
            session.heeded = True
        offered = session.offers.get(self.remote)
        if offered is None or offered.digest != row.signed_digest:
            review.heed(session.server, session.offers)
            self._standing()
            raise ToolDisabled(f"{self.name} was signed anew while it was called; nothing was sent")

    def _result(self, answer: Any, row: RemoteTool) -> Json:
        """What the server answered, as the contract has it. Raises CallFailed and InvalidOutput."""
        from tools.mcp.session import CallFailed

        if answer.result_type == "input_required":
            raise CallFailed(f"{self.title} asks for more than it was given, which nobody can give it here")
        text, left_out = _texts(answer.content)
        if answer.is_error:
            raise CallFailed(f"{self.title} says that it failed: {text[:2000] or 'it does not say why'}")
        if (row.signed or {}).get("output") is None:
            cut = len(text) > MOST_TEXT
            return self.as_result({"text": text[:MOST_TEXT], "cut": cut, "left_out": left_out})
        if answer.structured_content is None:
            raise InvalidOutput(self.name, ["it promises structured content and gave none"])
        return self.as_result(answer.structured_content)

    # Inside

    def _model(self, arguments: bytes) -> pydantic.BaseModel:
        return _Arguments.model_validate_json(arguments)

    def _canonical(self, model: pydantic.BaseModel) -> dict[str, Json]:
        canonical: dict[str, Json] = normalise(self._values(model))
        return canonical

    def _values(self, model: pydantic.BaseModel) -> dict[str, Any]:
        return dict(model.root) if isinstance(model, _Arguments) else {}


def _refuse_unless_asked_so(row: RemoteTool, call: calling.Current | None) -> None:
    """What was asked for, and perhaps approved, must be what is signed now."""
    if call is None or not call.call_id:
        return
    asked = ToolCall.objects.filter(pk=call.call_id).values_list("version", "effect").first()
    if asked != (row.version, row.effect):
        raise ToolDisabled(
            f"{row.name} was signed anew, as version {row.version}, since this call was asked for; "
            "nothing was sent"
        )


def _texts(content: Any) -> tuple[str, list[str]]:
    """The text of an answer, and what else it holds in words."""
    texts = [part.text for part in content if part.type == "text"]
    others = [part for part in content if part.type != "text"]
    kinds = [f"{part.type} {getattr(part, 'mime_type', None) or ''}".strip() for part in others]
    return "\n".join(texts), [plain_text(kind, 100) for kind in kinds[:100]]


def _timeout(server_name: str) -> float:
    try:
        return server(server_name).timeout
    except UnknownServer:
        return Server(server_name).timeout


def _left(ends: float) -> float:
    return max(0.001, ends - time.monotonic())


def _on_a_loop() -> bool:
    """Whether this is the thread of an agent's loop, which must not wait for the database."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
