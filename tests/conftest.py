"""What every test may ask for: a real broker, the environment of real processes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlencode

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection

from ops.launch.broker import Broker
from ops.launch.packages import find_chromium
from runs import messages
from tools import orders, registry


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, before anything runs, what belongs to the other database's round."""
    here, other = ("sqlite", "postgres") if connection.vendor == "sqlite" else ("postgres", "sqlite")
    left_out = [
        item for item in items if item.get_closest_marker(other) and not item.get_closest_marker(here)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """What a test wrote may hold half of a character, with which a process of xdist cannot tell its end."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A real Redis or Valkey, alone for this test session."""
    with Broker(Path(settings.HOLDPOINT_DATA)) as started:
        yield started


@pytest.fixture
def process_env(broker: Broker, transactional_db: None) -> dict[str, str]:
    """The environment in which a child process works on the test database and the test broker."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": database_url(),
        "REDIS_URL": broker.url,
        "HOLDPOINT_LOG_LEVEL": "INFO",
    }


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser for tests marked `browser`."""
    path = find_chromium()
    return path or _absent("There is no Chromium here: manage.py test --install brings it.")


@pytest.fixture(scope="session")
def retail_data() -> Path:
    """The folder of the retail data set."""
    folder = os.environ.get("HOLDPOINT_RETAIL_DATA", "")
    if folder and Path(folder).is_dir():
        return Path(folder)
    _absent("HOLDPOINT_RETAIL_DATA does not name the folder of the retail data.")


def _absent(why: str) -> NoReturn:
    # What may be missing on a laptop must never be missing unnoticed where changes are let in.
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def database_url() -> str:
    """DATABASE_URL of the database that the tests use at this moment."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    place = urlencode(
        {name: values[key] for name, key in (("host", "HOST"), ("port", "PORT")) if values[key]}
    )
    password = f":{quote(values['PASSWORD'])}" if values["PASSWORD"] else ""
    return f"postgresql://{quote(values['USER'])}{password}@/{quote(str(values['NAME']))}?{place}"


@pytest.fixture
def installed_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tools of installed apps: other tests bring theirs into this process, and the benchmarks."""
    homes = tuple(f"{app.name}." for app in apps.get_app_configs())
    known = {
        name: tool for name, tool in registry._tools.items() if tool.function.__module__.startswith(homes)
    }
    monkeypatch.setattr(registry, "_tools", known)


@pytest.fixture(autouse=True)
def no_orders_known() -> None:
    """What operators allowed in one test is read anew in the next."""
    orders.forget()


@pytest.fixture
def orders_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What operators allow is known, and not read while a test counts queries."""
    known = orders.InForce(1, (), 0.0)
    monkeypatch.setattr(orders, "in_force", lambda max_age=1.0: known)


@pytest.fixture(autouse=True)
def talking_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was away in one test is asked again in the next."""
    monkeypatch.setattr(messages, "_silent_until", 0.0)
