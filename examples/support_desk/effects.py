"""A file outside the database to which every write is reported, so that somebody else can count them.

One line when a write is sent, before anything has looked whether it was done already, and one when its
outcome is known. A process that is killed in between leaves the first line alone.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

SENT = "sent"
DONE = "done"
ALREADY = "already done"
REFUSED = "refused"


def path() -> str:
    """Where the lines go: HOLDPOINT_EFFECTS_FILE of the settings or the environment; empty means nowhere."""
    return str(
        getattr(settings, "HOLDPOINT_EFFECTS_FILE", "") or os.environ.get("HOLDPOINT_EFFECTS_FILE", "")
    )


def report(event: str, *, key: str, tool: str, shop: str, arguments_digest: str) -> None:
    """Append one line and have the disk keep it before going on."""
    if not (target := path()):
        return
    line = {
        "event": event,
        "key": key,
        "tool": tool,
        "shop": shop,
        "arguments": arguments_digest,
        "pid": os.getpid(),
        "at": datetime.now(UTC).isoformat(),
    }
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # One call: lines of several processes never mix.
        os.write(descriptor, (json.dumps(line) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_time() -> None:
    """The way to the shop or back: up to HOLDPOINT_SHOP_LATENCY seconds, for trials; none when unset."""
    longest = float(os.environ.get("HOLDPOINT_SHOP_LATENCY") or 0)
    if longest > 0:
        time.sleep(random.uniform(longest / 4, longest))  # noqa: S311 - nothing secret about it


def repeated_writes(target: Path) -> int:
    """How many writes reached the shop again after they had been done.

    A write that is sent again because its first process died before the shop had done it is not a repetition:
    that is what the key is for. Raises OSError when the file cannot be read.
    """
    if not target.exists():
        return 0
    again, done = 0, Counter[str]()
    for line in target.read_text().splitlines():
        entry = json.loads(line)
        again += entry["event"] == ALREADY
        done[entry["key"]] += entry["event"] == DONE
    return again + sum(times - 1 for times in done.values() if times > 1)
