"""How tools reach the ledger: one request each, no hidden retries, and its answer in terms of failures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.error import HTTPError

from tools import failures

PATIENCE = 30.0  # seconds for an answer; only a process that is being ended waits for so long
HANGS = 0.02  # seconds for the rest of an answer that will never come

_SAYS: dict[str, type[failures.ToolError]] = {
    error.kind.value: error
    for error in (
        failures.Refused,
        failures.InvalidData,
        failures.StaleData,
        failures.PermissionNeeded,
        failures.LowConfidence,
        failures.NeedsInput,
        failures.BudgetUsedUp,
        failures.UnknownOutcome,
    )
}


@dataclass
class Line:
    """Where the ledger is, and whether it ends a process that asks first in its case, before it answers."""

    port: int = 0
    dies: bool = False


LINE = Line()


def do(tool: str, effect: str, case: str, plan: str, key: str = "") -> Any:
    """Have the ledger do something; what it answers. Raises what a client of a real provider raises."""
    asked = {
        "tool": tool,
        "effect": effect,
        "case": case,
        "key": key or case,
        "arguments": {"case": case, "plan": plan},
        "dies": os.getpid() if LINE.dies else 0,
    }
    status, headers, text = _send("POST", "/", json.dumps(asked))
    if status >= 400:
        raise HTTPError("http://ledger/", status, "the ledger says no", headers, None)
    said = json.loads(text)
    if "says" in said:
        raise _SAYS[said["says"]]("the ledger says so")
    return said


def find(key: str) -> Any:
    """What was done with `key`, or None."""
    return json.loads(_send("GET", f"/{key}")[2])


def _send(method: str, path: str, body: str | None = None) -> tuple[int, HTTPMessage, str]:
    line = HTTPConnection("127.0.0.1", LINE.port, timeout=PATIENCE)
    try:
        line.connect()
        socket = line.sock
        line.request(method, path, body)
        with line.getresponse() as answer:
            if answer.headers["Hangs"]:
                socket.settimeout(HANGS)
            return answer.status, answer.headers, answer.read().decode()
    finally:
        line.close()
