"""The tab 'Cases' in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from vesalius.demo import DemoConfig
from vesalius.demo.page import LABEL
from vesalius.demo.store.cases import find_cases, newest_draft

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SHOTS = Path("build/screenshots")


@pytest.fixture(scope="module")
def demo(serve: Any, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A demo with a store of its own."""
    from socket import socket

    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("cases") / "store"
    with serve(DemoConfig(base=str(tiny_base), store=folder, port=port, device="cpu")) as served:
        yield served


def enter(browser: Browser, demo: Any, size: dict[str, int]) -> Page:
    page = browser.new_page(viewport=size, locale="en-GB")  # type: ignore[arg-type]
    page.goto(demo.url)
    tab(page)
    return page


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#cases-{name}").locator("textarea, input").first


def tab(page: Page) -> None:
    page.get_by_role("tab", name="Create").first.wait_for()
    page.wait_for_timeout(500)  # gradio puts the tabs that a phone has no room for into a menu
    shown = page.get_by_role("tab", name="Cases")
    if not (shown.count() and shown.first.is_visible()):
        page.locator(".overflow-menu button").first.click()
        shown = page.locator(".overflow-dropdown button", has_text="Cases")
    shown.first.click()
    page.locator("#cases-new").wait_for()


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"cases-{name}.png", full_page=True)


def serious(page: Page) -> list[str]:
    """What axe-core holds for serious on what is shown."""
    found = Axe().run(page, context="#tab-cases, [id^=cases-]").response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_case_is_made_of_a_picture_edited_saved_found_and_shown_without_its_answer(
    browser: Browser, demo: Any, keep_picture: Any, size: dict[str, int], request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.id
    store, name = demo.desk.store, f"Shadow {kind}"
    text = "Chest CT, lung window. Findings: a 12 mm nodule in the left lung."
    pictures = [keep_picture(store, seed=n, number=n, job=kind, text=text) for n in (0, 1)]
    page = enter(browser, demo, size)

    page.evaluate("ids => vesalius.send('to_case', ids)", ",".join(p.id for p in pictures))
    page.locator("#cases-pictures li").nth(1).wait_for()
    title = field(page, "title")
    assert title.input_value() == "CT: nodule"
    assert "nodule" in field(page, "findings").input_value().lower()
    assert field(page, "history").input_value() == field(page, "diagnosis").input_value() == ""

    title.fill(name)
    field(page, "history").fill("A sailor with a cough 😀")
    field(page, "diagnosis").fill("Hamartoma")
    page.get_by_label("Caption").nth(1).fill("See the rim")
    page.get_by_label("Belongs to the answer").nth(1).check()
    # By keyboard alone: the first picture is moved below the second.
    page.get_by_role("button", name="Move down").first.focus()
    page.keyboard.press("Enter")
    shoot(page, f"editor-{kind}")
    assert serious(page) == []
    page.locator("#cases-save").click()
    page.get_by_text("Saved at").wait_for()
    case = find_cases(store, "local", text=name)[0]
    assert [i.picture for i in case.images] == [pictures[1].id, pictures[0].id]
    assert case.images[0].in_answer
    assert case.images[0].caption == "See the rim"

    page.reload()
    tab(page)
    field(page, "search").fill(f"hamart {kind}")
    page.locator("#cases-listed li", has_text=name).wait_for()
    page.locator("#cases-listed [data-open]").first.click()
    page.locator("#cases-pictures li").first.wait_for()
    assert field(page, "title").input_value() == name
    with page.expect_download() as download:
        page.get_by_role("link", name="Slides (PPTX)").click()
    assert download.value.suggested_filename == f"Shadow-{kind}.pptx"
    page.locator("#cases-show").click()
    page.locator("#cases-preview summary").click()
    page.locator("#cases-preview").get_by_text("Hamartoma").wait_for()
    shoot(page, f"preview-{kind}")
    assert serious(page) == []

    page.locator("#cases-unknown input").check()
    page.locator("#cases-writing").wait_for(state="hidden")
    page.locator("#cases-preview").get_by_text("What do you see").wait_for()
    shown = page.locator("#tab-cases, [role=tabpanel]:visible").last.inner_html()
    for word in ("Hamartoma", "Shadow", "See the rim", "nodule"):
        assert word not in shown
    assert page.locator("#cases-preview img").count() == 1
    assert (page.locator("#cases-preview img").get_attribute("alt") or "").startswith(LABEL)
    assert "Hamartoma" not in page.title()
    with page.expect_download() as download:
        page.get_by_role("link", name="Page (HTML)").click()
    assert download.value.suggested_filename == "unknown-case.html"
    shoot(page, f"unknown-{kind}")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#cases-close").click()
    page.locator("#cases-listed").get_by_text("Case 1").wait_for()
    for word in ("Hamartoma", name, "nodule"):
        assert word not in page.locator("#cases-listed").inner_html()
    shoot(page, f"list-unknown-{kind}")
    page.locator("#cases-unknown input").uncheck()
    page.locator("#cases-listed").get_by_text(name).wait_for()
    shoot(page, f"list-{kind}")
    assert serious(page) == []
    page.close()


def test_a_draft_outlives_the_browser_and_two_windows_lose_nothing(browser: Browser, demo: Any) -> None:
    store = demo.desk.store
    page = enter(browser, demo, WIDE)
    page.locator("#cases-new").click()
    field(page, "title").fill("Begun and left")
    page.get_by_text("Draft kept at").wait_for()
    page.close()
    assert newest_draft(store, "local").case.title == "Begun and left"  # type: ignore[union-attr]

    page = enter(browser, demo, WIDE)
    page.get_by_text("Begun and left").wait_for()
    shoot(page, "draft")
    page.locator("#cases-go-on").click()
    page.locator("#cases-save").click()
    page.get_by_text("Saved at").wait_for()
    assert newest_draft(store, "local") is None

    other = enter(browser, demo, WIDE)
    other.locator("#cases-listed [data-open]", has_text="Begun and left").click()
    other.locator("#cases-save").wait_for()
    field(other, "title").fill("Theirs")
    other.locator("#cases-save").click()
    other.get_by_text("Saved at").wait_for()
    field(page, "title").fill("Mine")
    page.locator("#cases-save").click()
    page.get_by_text("changed meanwhile").wait_for()
    assert field(page, "title").input_value() == "Mine"
    page.locator("#cases-copy").click()
    page.get_by_text("Saved at").wait_for()
    titles = [c.title for c in find_cases(store, "local")]
    assert {"Theirs", "Mine"} <= set(titles)
    page.close()
    other.close()


def test_the_exported_page_is_read_on_a_phone_and_prints_its_answer_only_when_open(
    browser: Browser, kept_case: Any, tmp_path: Path
) -> None:
    from vesalius.demo.export.page import page_html
    from vesalius.demo.export.sheet import sheet_of

    file = tmp_path / "case.html"
    file.write_text(page_html(sheet_of(kept_case.store, "local", kept_case.case, unknown=False)))
    for size, name in ((WIDE, "wide"), (PHONE, "phone"), ({"width": 1920, "height": 1080}, "projector")):
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))  # type: ignore[misc]
        page.goto(file.as_uri())
        assert not page.get_by_text("quuxitis").is_visible()
        page.locator("summary").focus()
        page.keyboard.press("Enter")
        assert page.get_by_text("quuxitis").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shoot(page, f"page-{name}")
        assert serious_of_page(page) == []
        assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
        page.close()


def serious_of_page(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]
