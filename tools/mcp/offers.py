"""What an MCP server offers, as people sign it: a name, a description and two schemas under one digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from tools.canonical import Json, NotJson, digest, normalise

MOST_BYTES = 64 * 1024  # of one offer as JSON
LONGEST_NAME = 64
_NOT_OURS = re.compile(r"[^a-z0-9_]+")
_REMOTE = re.compile(r"[A-Za-z0-9_./-]{1,128}")

#: What a tool without an output schema returns: its texts, and what else there was, in words.
TEXT_RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "title": "Text"},
        "cut": {"type": "boolean", "title": "Whether the text was longer"},
        "left_out": {"type": "array", "items": {"type": "string"}, "title": "What else there was"},
    },
    "required": ["text", "cut", "left_out"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Offer:
    """One tool as its server describes it; `problem` says why nobody can sign it, if so."""

    remote: str
    contract: dict[str, Json]  # title, description, input, output (None: none declared)
    hints: dict[str, Json]
    problem: str = ""

    @property
    def digest(self) -> str:
        """Digest over what people sign: name, title, description and schemas. Hints are no part of it."""
        return digest({"name": self.remote, **self.contract})


def local_name(server: str, remote: str) -> str:
    """What the tool `remote` of `server` is called here."""
    return f"mcp_{server}_{_NOT_OURS.sub('_', remote.lower()).strip('_')}"


def offer(
    server: str, remote: str, title: str | None, description: str | None, given: Any, gives: Any, hints: Any
) -> Offer:
    """The offer of a tool with the input schema `given` and the output schema `gives`, or None."""
    told = {"title": title or "", "description": description or "", "input": given, "output": gives}
    try:
        contract: dict[str, Json] = normalise(told, most=MOST_BYTES)
        shown: dict[str, Json] = normalise(hints or {}, most=MOST_BYTES)
    except NotJson as error:
        return Offer(remote, {"title": "", "description": "", "input": {}, "output": None}, {}, str(error))
    return Offer(remote, contract, shown, _problem(server, remote, contract))


def _problem(server: str, remote: str, contract: dict[str, Any]) -> str:
    if not _REMOTE.fullmatch(remote):
        return "its name has other characters than A to Z, a to z, 0 to 9, _, ., / and -, or too many"
    name = local_name(server, remote)
    if len(name) > LONGEST_NAME or name == f"mcp_{server}_":
        return f"its name here would be {name}, which is too long or says nothing"
    if contract["input"].get("type") != "object":
        return "its arguments are no object"
    for what, schema in (("arguments", contract["input"]), ("result", contract["output"])):
        if schema is None:
            continue
        try:
            jsonschema_rs.Draft202012Validator(schema, retriever=_nothing_from_outside)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            return f"the schema of its {what} cannot be used: {str(error).splitlines()[0][:200]}"
    return ""


def _nothing_from_outside(uri: str) -> Any:
    raise ValueError(f"it refers to {uri}, and nothing is fetched for it")
