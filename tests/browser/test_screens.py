"""The screens in a real browser: with and without scripts, on a phone and a desk, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from approvals import services
from approvals.models import Approval, Decision
from tests.browser.conftest import DESKTOP, NARROW, PHONE, Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Visits = Callable[..., Visit]
Asked = Callable[..., Approval]
LONG = "An_unbroken_word_of_somebody_who_means_no_good_" * 8


def path_of(approval: Approval) -> str:
    return f"/approvals/{approval.pk}/"


class TestSigningIn:
    def test_a_link_survives_it(self, visit: Visits, ask: Asked) -> None:
        approval = ask()
        window = visit()
        page = window.open(path_of(approval))
        page.get_by_label("User name").fill("bea")
        page.get_by_label("Password", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not right")
        expect(page.get_by_role("alert")).to_be_focused()
        page.get_by_label("Password", exact=True).fill("correct horse")
        page.get_by_role("button", name="Show the password").click()
        expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "text")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(approval.title)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desk"])
class TestDeciding:
    def test_approving_in_the_queue(self, visit: Visits, ask: Asked, size: Any, scripts: bool) -> None:
        first, second = ask("high"), ask("low")
        page = visit("bea", size, java_script_enabled=scripts).open("/queue/")
        page.locator(f'[data-item="{first.pk}"]').click()
        page.get_by_label("I checked what will change").check()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("status")).to_contain_text("You approved")
        assert f"approval={second.pk}" in page.url
        assert Decision.objects.get().approval == first

    def test_rejecting_on_its_page(self, visit: Visits, ask: Asked, size: Any, scripts: bool) -> None:
        approval = ask()
        page = visit("bea", size, java_script_enabled=scripts).open(path_of(approval))
        page.get_by_text("Reject …").click()
        page.get_by_label("Wrong amount").check()
        page.get_by_label("Stop the run").check()
        page.get_by_role("button", name="Reject", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("You rejected this")
        decision = Decision.objects.get()
        assert (decision.verdict, decision.reason_code, decision.next) == ("reject", "wrong_amount", "stop")


class TestScripts:
    def test_opening_another_item_moves_focus_and_address(self, visit: Visits, ask: Asked) -> None:
        ask("high")
        other = ask("low")
        page = visit("bea").open("/queue/")
        page.locator(f'[data-item="{other.pk}"]').click()
        expect(page.locator(f'[data-approval="{other.pk}"] #what')).to_be_focused()
        expect(page.locator(f'[data-item="{other.pk}"]')).to_have_attribute("aria-current", "true")
        assert f"approval={other.pk}" in page.url
        page.go_back()
        expect(page.locator(f'[data-approval="{other.pk}"]')).to_have_count(0)

    def test_two_windows_race_and_the_text_is_kept(self, visit: Visits, ask: Asked, people: Any) -> None:
        approval = ask()
        page = visit("bea").open(path_of(approval))
        page.get_by_text("Reject …").click()
        page.get_by_label("In your words").fill("minutes of typing")
        services.decide(
            approval.pk, by=people["carl"], verdict="reject", digest=approval.digest, reason="wrong account"
        )
        page.get_by_role("button", name="Reject", exact=True).click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("carl rejected this: wrong account")
        expect(alert).to_contain_text("minutes of typing")
        expect(alert).to_be_focused()

    def test_typed_text_survives_a_new_sign_in(self, visit: Visits, ask: Asked) -> None:
        approval = ask()
        window = visit("bea")
        page = window.open(path_of(approval))
        page.get_by_text("Reject …").click()
        page.get_by_label("In your words").fill("minutes of typing")
        page.context.clear_cookies()
        window.open(path_of(approval))
        page.get_by_label("User name").fill("bea")
        page.get_by_label("Password", exact=True).fill("correct horse")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Reject …").click()
        expect(page.get_by_label("In your words")).to_have_value("minutes of typing")

    def test_a_list_refreshes_itself_but_not_under_the_pointer(self, visit: Visits, ask: Asked) -> None:
        first = ask("high")
        page = visit("bea").open("/queue/")
        second = ask("high")
        page.locator(f'[data-item="{first.pk}"]').hover()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("[data-freshness]")).to_contain_text("Not refreshed")
        expect(page.locator(f'[data-item="{second.pk}"]')).to_have_count(0)
        page.mouse.move(900, 300)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(f'[data-item="{second.pk}"]')).to_have_count(1)
        expect(page.locator("#queue-count")).to_contain_text("2")
        expect(page.locator("[data-freshness]")).to_contain_text("Refreshed at")


class TestLooks:
    @pytest.mark.parametrize("size", [NARROW, PHONE, DESKTOP], ids=["320", "390", "1280"])
    def test_nothing_is_wider_than_the_window(self, visit: Visits, ask: Asked, size: dict[str, Any]) -> None:
        approval = ask("critical", why=LONG, evidence=[{"source": LONG, "text": LONG}])
        stranger = visit("", size)
        stranger.open("/sign-in/")
        assert stranger.overflow() == 0
        window, run = visit("omar", size), f"/runs/{approval.run_id}/"
        tabs = [f"{run}?tab={tab}" for tab in ("journal", "calls", "history")]
        for path in ("/queue/", "/queue/?text=nothing", path_of(approval), "/runs/", run, *tabs):
            window.open(path)
            assert (path, window.overflow()) == (path, 0)

    def test_colours_follow_the_system_until_somebody_chooses(self, visit: Visits) -> None:
        def ground(window: Visit) -> str:
            window.page.wait_for_load_state()
            return str(window.page.evaluate("getComputedStyle(document.body).backgroundColor"))

        light, dark = visit("bea", color_scheme="light"), visit("bea", color_scheme="dark")
        assert ground(light) != ground(dark)
        light.page.get_by_role("button", name="Dark").click()
        expect(light.page.locator("html")).to_have_attribute("data-theme", "dark")
        assert ground(light) == ground(dark)

    def test_targets_on_a_phone_are_large_enough(self, visit: Visits, ask: Asked) -> None:
        page = visit("bea", PHONE).open(path_of(ask("high")))
        buttons = page.locator(".bar .primary, .bar summary, .nav a, .who button")
        assert min(box["height"] for box in (each.bounding_box() for each in buttons.all()) if box) >= 44

    def test_one_heading_one_language_and_a_way_past_the_navigation(self, visit: Visits, ask: Asked) -> None:
        window = visit("bea")
        for path in ("/queue/", path_of(ask()), "/runs/"):
            page = window.open(path)
            assert page.locator("h1").count() == 1
            assert page.locator("html").get_attribute("lang") == "en"
            page.keyboard.press("Tab")
            expect(page.locator(".skip")).to_be_focused()
