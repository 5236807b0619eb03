"""Coming in and going out in a real browser, by keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from vesalius.demo.store.accounts import Account, add_account

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_teacher_logs_in_sees_the_page_and_logs_out(
    undrawn: Any, browser: Browser, shots: Path, width: int, height: int
) -> None:
    house = undrawn(host="0.0.0.0")
    add_account(house.desk.store, Account(name="ann"), "correct horse battery")
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.goto(house.url)
        assert page.url.endswith("/login")
        page.keyboard.type("ann")
        page.keyboard.press("Tab")
        page.keyboard.type("not the password")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        serious = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious
        page.screenshot(path=shots / f"login-{width}.png")
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("correct horse battery")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Log out").wait_for()
        page.screenshot(path=shots / f"logged-in-{width}.png")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        page.goto(house.url)
        assert page.url.endswith("/login")


@pytest.mark.parametrize(("width", "language"), [(1280, "en-GB"), (390, "zh-CN")])
def test_who_only_rates_begins_there_and_sees_no_other_tab_than_about(
    undrawn: Any, browser: Browser, shots: Path, width: int, language: str
) -> None:
    house = undrawn(host="0.0.0.0")
    add_account(house.desk.store, Account(name="bob", role="rater"), "correct horse battery")
    with browser.new_context(viewport={"width": width, "height": 844}, locale=language) as context:
        page = context.new_page()
        page.goto(house.url)
        page.get_by_label("Name").fill("bob")
        page.get_by_label("Password").fill("correct horse battery")
        page.keyboard.press("Enter")
        page.get_by_role("button", name=re.compile("^(Start rating|开始评分)$")).wait_for()
        page.screenshot(path=shots / f"rater-{width}.png")
        assert not page.locator("#create-draw").is_visible()
        tabs = [tab.inner_text().strip() for tab in page.get_by_role("tab").all() if tab.is_visible()]
        assert tabs == (["Rate", "About"] if language == "en-GB" else ["评分", "关于"])
        page.get_by_role("tab").last.click()
        page.get_by_role("heading", name=re.compile("How to cite|引用方式")).wait_for()
        assert not page.locator(".toast-body").count()
