"""Tools that give their secrets away: in results, errors, logs, lookups, and to another system."""

from __future__ import annotations

import base64
import logging
import os
from urllib.parse import quote

from tools.contract import IdempotencyKey
from tools.failures import PermissionNeeded
from tools.http import Answered, Api
from tools.registry import tool
from tools.secrets import basic_auth, secret

BY_ENVIRONMENT = {"api_key": "env:CANARY_KEY"}
PIN = f"file:{os.environ.get('CANARY_PIN_FILE', '/nowhere')}"
logger = logging.getLogger(__name__)
#: It tells the headers of answers, in which the other system says the secret back.
logging.getLogger("httpcore").setLevel(logging.DEBUG)


@tool(effect="read", timeout=10, secrets=BY_ENVIRONMENT)
def give(marker: str) -> dict[str, list[str]]:
    """Give it away as a result, and to the log."""
    value = secret("api_key").reveal()
    logger.warning("%s with %s", marker, value, extra={"value": {"deep": [value]}})
    forms = [value, quote(value), base64.b64encode(value.encode()).decode(), repr(value)]
    return {f"{marker} {value}": [marker, *forms, basic_auth("shop", secret("api_key"))]}


@tool(effect="read", timeout=10, secrets=BY_ENVIRONMENT)
def refuse(marker: str) -> str:
    """Give it away as an error, with a traceback."""
    try:
        raise ValueError(f"{marker} at https://api.test/?key={quote(secret('api_key').reveal())}")
    except ValueError as error:
        logger.exception("%s: no", marker)
        raise PermissionNeeded(f"{marker} {secret('api_key').reveal()!r}") from error


@tool(effect="read", timeout=10, queue="vault", secrets={"pin": PIN})
def elsewhere(marker: str) -> str:
    """Give it away from another worker."""
    return f"{marker} {secret('pin').reveal()}"


@tool(effect="read", timeout=10, secrets=BY_ENVIRONMENT)
def call(marker: str, base: str) -> str:
    """Give it away to another system, which says it back."""
    api, key = Api(base), secret("api_key")
    headers = {"Authorization": key.within("Bearer {}")}
    told = api.post("/echo", params={"marker": marker, "key": key}, form={"key": key}, headers=headers).text()
    try:
        api.get("/refuse", params={"key": key}, headers=headers)
    except Answered as error:
        told += f" {error} {error.answer.text()} {error.answer.headers['x-echo']}"
    return told


@tool(effect="write", risk="low", timeout=10, secrets=BY_ENVIRONMENT, rollback="None")
def doubt(marker: str, *, key: IdempotencyKey) -> str:
    """Give it away as a failure that proves nothing."""
    raise RuntimeError(f"{marker} {secret('api_key').reveal()}")


@doubt.lookup
def _(key: IdempotencyKey) -> str | None:
    raise LookupError(f"no answer to {secret('api_key').reveal()}")
