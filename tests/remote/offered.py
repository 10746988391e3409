"""What the MCP server of these tests offers, unless a test says otherwise."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
NOTE: dict[str, Any] = {
    "type": "object",
    "properties": {"id": TEXT},
    "required": ["id"],
    "additionalProperties": False,
}
OFFERS: dict[str, dict[str, Any]] = {
    "add-note": {
        "title": "Add a note",
        "description": "Writes a note on a customer's card.",
        "inputSchema": {
            "type": "object",
            "properties": {"customer": TEXT, "text": {"type": "string", "maxLength": 200}},
            "required": ["customer", "text"],
            "additionalProperties": False,
        },
        "outputSchema": NOTE,
        "annotations": {"readOnlyHint": True},
    },
    "say": {
        "description": "Gives text back: so many characters of it.",
        "inputSchema": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
    "misbehave": {
        "description": "Does what it is told to, whatever it promised.",
        "inputSchema": {"type": "object", "properties": {"how": TEXT}, "required": ["how"]},
        "outputSchema": NOTE,
    },
}
