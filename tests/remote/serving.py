"""A real MCP server for tests, a process of its own: ``serving.py FOLDER stdio``, or a port instead.

What it did stands in FOLDER/ledger, a line a call; what it offers, FOLDER/offers.json may change at any time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from offered import OFFERS

FOLDER = Path(sys.argv[1])
# The package turns descriptor 1 away from the pipe; who misbehaves writes there all the same.
PIPE = os.dup(1)


def offers() -> dict[str, dict[str, Any]]:
    changed = FOLDER / "offers.json"
    return json.loads(changed.read_text()) if changed.exists() else OFFERS


def note(**what: Any) -> None:
    with (FOLDER / "ledger").open("a") as ledger:
        ledger.write(json.dumps({**what, "pid": os.getpid()}) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    if (FOLDER / "deaf").exists():
        await asyncio.sleep(3600)
    tools = [types.Tool.model_validate({"name": name, **told}) for name, told in offers().items()]
    return types.ListToolsResult(tools=tools)


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    arguments = params.arguments or {}
    note(tool=params.name, arguments=arguments, key=(params.meta or {}).get("holdpoint/idempotency-key"))
    if params.name == "add-note":
        return answer({"id": f"note-of-{arguments['customer']}"})
    if params.name == "say":
        return types.CallToolResult(content=[types.TextContent(text="a" * arguments.get("size", 3))])
    return await misbehave(ctx, arguments["how"])


def answer(structured: Any, *, failed: bool = False) -> types.CallToolResult:
    text = types.TextContent(text=json.dumps(structured))
    return types.CallToolResult(content=[text], structured_content=structured, is_error=failed)


async def misbehave(ctx: Any, how: str) -> types.CallToolResult:
    if how == "hang":
        await asyncio.sleep(3600)
    if how == "block":
        time.sleep(3600)
    if how == "die":
        os._exit(9)
    if how == "garbage":
        os.write(PIPE, b'\xff\xfenot json at all\n{"jsonrpc": 7}\n')
        return answer({"id": "after the garbage"})
    if how == "huge":
        return answer({"id": "a" * 20_000_000})
    if how == "no-end":
        for _ in range(40):
            os.write(PIPE, b"a" * 1_000_000)
        await asyncio.sleep(3600)
    if how == "nothing":
        return types.CallToolResult(content=[])
    if how == "fail":
        return types.CallToolResult(content=[types.TextContent(text="The card is locked.")], is_error=True)
    if how == "tell":
        await BUS.publish(ToolsListChanged())  # of the newer protocol; then of the older one
        await ctx.session.send_tool_list_changed()
        return answer({"id": "told"})
    return answer({"other": how})


def environment() -> None:
    (FOLDER / "environment.json").write_text(json.dumps(dict(os.environ)))


BUS = InMemorySubscriptionBus()
SERVER: Server[Any] = Server(
    "for tests",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_subscriptions_listen=ListenHandler(BUS),
)


async def over_pipes() -> None:
    options = SERVER.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (to_read, to_write):
        await SERVER.run(to_read, to_write, options)


if __name__ == "__main__":
    environment()
    if sys.argv[2] == "stdio":
        asyncio.run(over_pipes())
    else:
        import uvicorn

        uvicorn.run(SERVER.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
