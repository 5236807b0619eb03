"""The tab 'Jobs' in a browser: by mouse and keyboard, at desktop and phone width."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vesalius.demo.orders import Ask, Order
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.jobs import add_job, find_job, pause_job
from vesalius.demo.store.pictures import preview_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


def add(served: Any, prompt: str, *, num: int = 2, steps: int = 4) -> str:
    asks = tuple(Ask(prompt=prompt, seed=n) for n in range(num))
    order = Order(asks=asks, steps=steps, guidance=1.0)
    return add_job(served.desk.store, LOCAL, order, max_jobs=99, max_queue=99).id


def state(served: Any, job: str) -> str:
    return find_job(served.desk.store, LOCAL, job).state


def wait(served: Any, job: str, wanted: str) -> None:
    end = time.monotonic() + 60
    while state(served, job) != wanted:
        assert time.monotonic() < end, state(served, job)
        time.sleep(0.05)


@pytest.fixture
def page(served: Any, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US")
    page.goto(served.url)
    yield page
    page.close()


def open_jobs(page: Page) -> None:
    page.get_by_role("tab", name="Jobs").click()
    page.locator("#jobs-list article").first.wait_for()


def test_jobs_are_shown_and_turned_by_keyboard(served: Any, page: Page, shots: Path) -> None:
    done = add(served, "Axial chest CT with a 20 mm nodule in the left lung.", num=4)
    wait(served, done, "done")
    failed = add(served, "Brain MRI with a mass")
    wait(served, failed, "done")
    with served.desk.store.write() as db:
        db.execute(
            "UPDATE jobs SET state = 'failed', message = 'This base draws no MRI; choose CT' WHERE id = ?", [failed]
        )
    held = add(served, "Chest X-ray with a very long prompt " * 5, num=8, steps=100)
    pause_job(served.desk.store, LOCAL, held)
    open_jobs(page)
    card = page.locator(f'article[data-job="{held}"]')
    page.screenshot(path=shots / "jobs-desktop.png")
    card.get_by_role("button", name="Go on").focus()
    page.keyboard.press("Enter")
    page.get_by_text("It goes on at its place in the queue.").wait_for()
    card.get_by_role("button", name="Pause").wait_for()
    assert page.evaluate("document.activeElement.closest('article')?.dataset.job") == held  # focus stayed
    card.locator("progress").wait_for()
    card.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Space")
    wait(served, held, "paused")
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=shots / "jobs-phone.png")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    page.on("dialog", lambda dialog: dialog.accept())
    for job in (held, failed):
        page.locator(f'article[data-job="{job}"]').get_by_role("button", name="Delete").press("Enter")
        page.locator(f'article[data-job="{job}"]').wait_for(state="detached")
    assert page.locator(f'article[data-job="{done}"] img').count() == 4
    assert all(
        "not for diagnosis" in (each.get_attribute("alt") or "") for each in page.locator("#jobs-list img").all()
    )


def test_the_list_has_no_serious_violation_in_light_and_dark(served: Any, browser: Browser, shots: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    job = add(served, "Chest CT with a nodule")
    wait(served, job, "done")
    held = add(served, "Chest CT", steps=100)
    pause_job(served.desk.store, LOCAL, held)
    preview_of(served.desk.store, held).parent.mkdir(exist_ok=True)
    for theme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="zh-CN")
        page.goto(f"{served.url}?__theme={theme}")
        page.get_by_role("tab", name="任务").click()
        page.locator("#jobs-list article").first.wait_for()
        page.screenshot(path=shots / f"jobs-zh-{theme}.png")
        found = Axe().run(page, context="#jobs-list", options={"runOnly": ["wcag2a", "wcag2aa"]})
        bad = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
        assert bad == [], [(v["id"], v["nodes"][0]["html"]) for v in bad]
        page.close()


def test_trouble_is_told_on_top_of_every_tab(served: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.desk, "trouble", lambda: "The disk is <b>full</b>")
    page.get_by_text("The disk is <b>full</b>").wait_for()
    assert page.get_by_role("tab", name="Create", exact=True).get_attribute("aria-selected") == "true"
    monkeypatch.undo()
    page.get_by_text("The disk is <b>full</b>").wait_for(state="detached")


def test_the_address_names_the_job_that_is_followed(served: Any, page: Page) -> None:
    job = add(served, "Chest CT with a nodule")
    wait(served, job, "done")
    open_jobs(page)
    page.locator(f'article[data-job="{job}"]').get_by_role("button", name="Open").click()
    page.wait_for_url(f"**/?job={job}")
    page.get_by_role("tab", name="Create", exact=True, selected=True).wait_for()
    page.reload()
    box = "#link-follow textarea, #link-follow input"
    page.wait_for_function(f"document.querySelector('{box}')?.value.startsWith('{job}#')")
