"""The tab Compare in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(served: Any, browser: Any) -> Iterator[Any]:
    """The tab, whose errors fail the tests."""
    errors: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.url)
    page.get_by_role("tab", name="Compare").click()
    yield page
    page.close()
    assert errors == []


def fill(page: Any, prompt: str, reason: str) -> None:
    """Type a prompt, and wait until the reason is shown why something is not to be had of it."""
    page.locator("#compare-prompt textarea").fill(prompt)
    page.locator("#compare-off", has_text=reason).wait_for()


def choose(page: Any, words: str) -> None:
    page.locator("#compare-change label", has_text=words).click()


def draw(page: Any, until: str) -> None:
    page.locator("#compare-draw").click()
    page.locator("#compare-status", has_text=until).wait_for(timeout=60_000)


def labels(page: Any) -> list[str]:
    return [each["label"] for each in json.loads(page.locator(".compare-row").get_attribute("data-row"))]


def test_the_seed_is_another_each_time_the_page_is_opened_and_the_page_is_as_wide_on_every_tab(
    served: Any, browser: Any
) -> None:
    seeds, widths = set(), set()
    for _ in range(2):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(served.url)
        page.locator("#create-draw").wait_for()
        for tab in ("Create", "Jobs", "Loop", "Compare"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(300)
            widths.add(round(page.locator("#title").bounding_box()["width"]))
        seeds.add(page.locator("#compare-seed input").input_value())
        page.close()
    assert len(seeds) == 2
    assert len(widths) == 1


def test_changes_that_make_no_sense_are_greyed_out_with_their_reason(page: Any) -> None:
    fill(page, "Chest CT with a left pneumothorax.", "Of pneumothorax the base learnt no sizes.")
    assert "The prompt says so already." in page.locator("#compare-off").text_content()
    offered = page.locator("#compare-change label").all_text_contents()
    assert "On the right" in " ".join(offered)
    assert "Larger step by step" not in " ".join(offered)
    fill(page, "a nodule", "names no modality")


def test_a_row_is_drawn_looked_at_and_downloaded_as_one_picture(page: Any, tmp_path: Path, shots: Path) -> None:
    fill(page, "Chest CT with a 20 mm nodule in the left lung.", "at least two of them")
    choose(page, "Larger step by step")
    page.locator("#compare-low input").fill("12")
    page.locator("#compare-high input").fill("36")
    page.locator("#compare-seed input").fill("3")
    draw(page, "4 pictures of seed 3")
    assert labels(page) == ["12 mm", "20 mm", "28 mm", "36 mm"]
    assert page.locator(".compare-row img").first.get_attribute("alt").startswith("Synthetic: not for diagnosis.")
    page.screenshot(path=shots / "compare-row.png", full_page=True)

    page.locator("[data-compare='difference']").click()
    page.locator(".viewer-remark", has_text="largest difference").or_(
        page.locator(".viewer-remark", has_text="no difference")
    ).first.wait_for()
    assert page.locator(".viewer-pane").count() == 4
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.dataset.compare") == "difference"

    with page.expect_download() as waiting:
        page.locator("[data-compare='sheet']").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == "synthetic-comparison.png"
    with Image.open(path) as sheet:
        sheet.load()
        assert sheet.text["Comment"] == "Synthetic: not for diagnosis"
        assert [p["label"] for p in json.loads(sheet.text["Description"])["pictures"]] == labels(page)
        assert sheet.width >= 4 * 256


def test_a_row_is_stopped_and_goes_on(page: Any) -> None:
    fill(page, "Chest CT with a 20 mm nodule in the left lung.", "at least two of them")
    choose(page, "Other seeds, same prompt")
    page.locator("#tab-compare").get_by_role("button", name="More").click()
    page.get_by_label("Denoising steps").and_(page.locator("input[type=number]")).locator("visible=true").fill("100")
    page.locator("#compare-draw").click()
    page.locator("#compare-stop:enabled").click()
    page.locator("#compare-status", has_text="Paused").wait_for()
    stop = page.locator("#compare-stop")
    assert stop.inner_text() == "Go on"
    stop.click()
    page.locator("#compare-status", has_text="4 pictures of seed").wait_for(timeout=90_000)
    assert stop.is_disabled()


def test_a_picture_is_where_a_row_starts(page: Any, served: Any, keep_picture: Any) -> None:
    kept = keep_picture(served.desk.store, "MRI", seed=5)
    page.evaluate("id => vesalius.send('to_compare', id)", kept.id)
    page.wait_for_function(
        "text => document.querySelector('#compare-prompt textarea').value === text", arg=kept.sample.text
    )
    assert page.locator("#compare-seed input").input_value() == "5"


def test_a_row_goes_into_a_case(page: Any) -> None:
    fill(page, "Chest CT with a left pneumothorax.", "Of pneumothorax")
    choose(page, "On the right")
    draw(page, "2 pictures of seed")
    ids = [each["id"] for each in json.loads(page.locator(".compare-row").get_attribute("data-row"))]
    page.evaluate(
        "() => { window.sent = []; const own = vesalius.send; vesalius.send = (...wish) => sent.push(wish); }"
    )
    page.locator("[data-compare='case']").click()
    assert page.evaluate("window.sent") == [["to_case", ",".join(ids)]]


def test_a_phone_shows_the_tab_and_axe_finds_nothing_serious(page: Any, shots: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for size in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        found = Axe().run(page, context="#tab-compare").response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in serious] == []
        page.screenshot(path=shots / f"compare-{size[0]}.png", full_page=True)
