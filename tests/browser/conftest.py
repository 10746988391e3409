"""A browser on a live server, a person in it, and an eye on everything that goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Browser, Page, sync_playwright

from approvals.models import Approval, Policy
from runs import messages
from tests.approvals.conftest import a_call, a_run, an_approval, made

PASSWORD = "correct horse"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 720}}
NARROW = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
FLAGS = (
    "--no-sandbox --disable-dev-shm-usage --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser(chromium_path: str, django_db_setup: None) -> Iterator[Browser]:
    """Playwright keeps an event loop in this thread, which Django would take for asynchronous code.

    So it ends with the module, and until then rows may be read all the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS.split())
            yield started
            started.close()


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker listens here."""
    monkeypatch.setattr(messages, "send", lambda run_id, queue, priority=5: None)


@dataclass
class Visit:
    """One person's browser window. `wrong` collects console errors and refused content."""

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.address + path)
        return self.page

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(wider))


@pytest.fixture
def visit(browser: Browser, live_server: Any, people: dict[str, User]) -> Iterator[Callable[..., Visit]]:
    """Open a window: ``visit("bea", PHONE, color_scheme="dark", java_script_enabled=False)``."""
    contexts = []
    visits = []

    def opened(username: str = "", size: dict[str, Any] = DESKTOP, **options: Any) -> Visit:
        context = browser.new_context(**size, **options)
        contexts.append(context)
        made = Visit(context.new_page(), live_server.url)
        visits.append(made)
        made.page.on("console", lambda said: made.wrong.append(said.text) if said.type == "error" else None)
        made.page.on("pageerror", lambda error: made.wrong.append(str(error)))
        if username:
            sign_in(made, username)
        return made

    yield opened
    for context in contexts:
        context.close()
    # A refused form is no mistake of the page: browsers report its status as an error.
    mistakes = [said for made in visits for said in made.wrong if "the server responded with" not in said]
    assert mistakes == []


def sign_in(visit: Visit, username: str) -> None:
    page = visit.open("/sign-in/")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    """Bea and Carl review, Omar operates."""
    looks = Permission.objects.filter(
        content_type__app_label__in=("tools", "runs", "approvals"), codename__startswith="view_"
    )
    Policy.objects.all().delete()
    found = {name: User.objects.create_user(name, password=PASSWORD) for name in ("bea", "carl", "omar")}
    for name, person in found.items():
        person.user_permissions.set(looks if name == "omar" else looks.exclude(codename="view_technical"))
    for name in ("bea", "carl"):
        found[name].user_permissions.add(Permission.objects.get(codename="decide_approval"))
    found["omar"].user_permissions.add(Permission.objects.get(codename="control_run"))
    return found


@pytest.fixture
def ask(transactional_db: None) -> Callable[..., Approval]:
    """Open a request of a run of its own: ``ask("high", why="…")``."""

    def opened(risk: str = "medium", **more: Any) -> Approval:
        return an_approval(a_call(a_run(), made(risk=risk), **more))

    return opened
