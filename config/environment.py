"""Reads settings from the environment, and keeps generated secrets in the data folder."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def flag(name: str, default: bool, environ: Mapping[str, str] = os.environ) -> bool:
    """The boolean meaning of a variable; refuses a value that is neither yes nor no."""
    value = environ.get(name)
    if value is None:
        return default
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}: write 1 for yes or 0 for no.")
    return word in _TRUE


def words(name: str, default: str = "", environ: Mapping[str, str] = os.environ) -> list[str]:
    """The comma separated words of a variable, without blanks."""
    return [word.strip() for word in environ.get(name, default).split(",") if word.strip()]


def whole(name: str, default: int, environ: Mapping[str, str] = os.environ, *, least: int = 0) -> int:
    """The whole number a variable holds, which is not below `least`."""
    value = environ.get(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}: write a whole number.") from None
    if number < least:
        raise ImproperlyConfigured(f"{name} is {value!r}: write {least} or more.")
    return number


def amount(name: str, environ: Mapping[str, str] = os.environ) -> tuple[Decimal, str] | None:
    """The amount and the currency a variable holds, such as ``500 EUR``; None when it is empty."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    parts = value.split()
    try:
        size = Decimal(parts[0])
    except InvalidOperation:
        size = Decimal("NaN")
    if len(parts) != 2 or not size.is_finite() or size < 0 or not parts[1].isalpha():
        raise ImproperlyConfigured(f"{name} is {value!r}: write an amount and its currency, such as 500 EUR.")
    return size, parts[1]


def data_folder(place: str | Path) -> Path:
    """The folder for everything this installation generates, made with mode 0700 when it is missing."""
    path = Path(place).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {path} cannot be made ({error.strerror}): "
            "set HOLDPOINT_DATA to a folder that you may write to."
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"The data folder {path} is not writable: change its owner or mode, "
            "or set HOLDPOINT_DATA to a folder that you may write to."
        )
    return path


def kept_secret(folder: Path, name: str) -> str:
    """A random secret, made once for this data folder and readable by its owner alone."""
    path = folder / name
    try:
        if not path.exists():
            _write_once(path, secrets.token_hex(32))
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"The secret in {path} cannot be kept or read ({error}): "
            "let this user own the data folder, or set HOLDPOINT_DATA to another folder."
        ) from None
    if len(value) < 32:
        raise ImproperlyConfigured(f"The secret in {path} is too short: put the original file back.")
    return value


def _write_once(path: Path, value: str) -> None:
    # Several processes may start at once: whoever links first wins and the others read that file.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def journal_keys(text: str) -> dict[str, bytes]:
    """Keys by id from "id:hex,id:hex"; the first signs, all of them verify."""
    keys: dict[str, bytes] = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        key_id, colon, secret = part.partition(":")
        try:
            key = bytes.fromhex(secret)
        except ValueError:
            key = b""
        if not colon or not key_id or len(key) < 32 or key_id in keys:
            raise ImproperlyConfigured(
                "HOLDPOINT_JOURNAL_KEYS must be id:hex,id:hex with different ids "
                "and at least 64 hexadecimal digits a key."
            )
        keys[key_id] = key
    if not keys:
        raise ImproperlyConfigured("HOLDPOINT_JOURNAL_KEYS is empty: leave it out, or name at least one key.")
    return keys


def database(url: str, *, pool: bool, pool_size: int) -> dict[str, Any]:
    """Django's DATABASES entry for sqlite:///path or postgresql://user:password@host:port/name?option=value."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # What could not be read may be part of the password, so it is not shown.
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read: its port must be a number, and in user name and password each of "
            ": / ? # [ ] @ is written as % and two digits, such as %23 for #."
        ) from None
    if parts.scheme == "sqlite":
        return _sqlite(unquote(parts.path[1:]))
    if parts.scheme in {"postgres", "postgresql"}:
        return _postgresql(url, pool=pool, pool_size=pool_size)
    raise ImproperlyConfigured(
        f"DATABASE_URL begins with {parts.scheme or 'no scheme'!r}: "
        "write postgresql://user:password@host:port/name or sqlite:////folder/file.sqlite3."
    )


def _sqlite(name: str) -> dict[str, Any]:
    if not name:
        raise ImproperlyConfigured("DATABASE_URL names no file: write sqlite:////folder/file.sqlite3.")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        # Held for the life of the thread: opening one costs more than a statement.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                "PRAGMA busy_timeout=20000;"
            ),
        },
    }


def _postgresql(url: str, *, pool: bool, pool_size: int) -> dict[str, Any]:
    parts = urlsplit(url)
    if not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL names no database: write postgresql://user@host/name.")
    options: dict[str, object] = {
        # Statements bound on the server may be prepared from their fifth use on.
        "prepare_threshold": 5,
        "connect_timeout": 5,
        "application_name": "holdpoint",
        # What is prepared is found by its key: one plan does, and planning takes longer than the statement.
        "options": (
            "-c statement_timeout=60s -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s"
            " -c plan_cache_mode=force_generic_plan"
        ),
    }
    options.update(parse_qsl(parts.query))
    host = str(options.pop("host", "") or unquote(parts.hostname or ""))
    if pool:
        options["pool"] = {"min_size": 0, "max_size": pool_size, "timeout": 10, "max_idle": 60}
    return {
        "ENGINE": "config.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(options.pop("port", "") or parts.port or ""),
        "CONN_MAX_AGE": 0 if pool else None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
