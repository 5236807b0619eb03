"""The tab 'Create' in a browser: by keyboard alone, by drop, on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vesalius.demo.config import DemoConfig
from vesalius.demo.create.settings import SHORT_SEED, first_seed
from vesalius.demo.orders import Order, asks_of
from vesalius.demo.page import LABEL
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.jobs import add_job
from vesalius.demo.store.pictures import file_of, find_picture, pictures_of
from vesalius.models.base import base_folder
from vesalius.models.support import FILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
DESK, PHONE = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def told(serve: Any, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A demo over a base that says that it was trained on what the embedded one was."""
    import socket

    folder = tmp_path_factory.mktemp("told")
    shutil.copytree(tiny_base, folder / "base")
    shutil.copy(base_folder("nano") / FILE, folder / "base" / FILE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serve(DemoConfig(base=str(folder / "base"), store=folder / "store", port=port, device="cpu")) as demo:
        yield demo


@pytest.fixture
def shots() -> Path:
    """Where pictures of the page are left, for people to look at."""
    folder = Path(os.environ.get("VESALIUS_SCREENSHOTS", "build/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(browser: Browser, url: str, size: tuple[int, int] = DESK, *, dark: bool = False, **more: Any) -> Page:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light",
        **{"locale": "en-US", **more},
    )  # fmt: skip
    page = context.new_page()
    page.goto(url)
    page.locator("#create-draw").wait_for(timeout=60_000)
    page.locator(".create-builder").wait_for()
    page.wait_for_timeout(500)
    return page


def settle_prompt(page: Page, words: str) -> None:
    """Wait until the prompt has these words."""
    page.wait_for_function(
        "words => document.querySelector('#create-prompt textarea').value.includes(words)", arg=words, timeout=20_000
    )


def press(page: Page, field: str, value: str) -> None:
    """Reach a choice of the builder by keyboard and press it."""
    page.locator(f'[data-field="{field}"] [tabindex="0"]').focus()
    for _ in range(20):
        if page.evaluate("document.activeElement.dataset.value") == value:
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")


def draw(page: Page, num: int) -> None:
    page.locator("#create-num input").fill(str(num))
    page.locator("#create-draw").click()
    page.wait_for_function(
        "num => document.querySelectorAll('.board-figure .board-checks').length == num", arg=num, timeout=60_000
    )


def test_keyboard_alone_chooses_draws_and_reads_the_badges(told: Any, browser: Browser, shots: Path) -> None:
    page = opened(browser, told.url)
    press(page, "modality", "MRI")
    settle_prompt(page, "MRI")
    page.wait_for_function("document.activeElement.dataset.value == 'MRI'", timeout=10_000)
    page.locator("#create-num input").focus()
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "create-draw":
            break
    assert page.evaluate("document.activeElement.id") == "create-draw"
    page.keyboard.press("Enter")
    page.locator(".board-check").first.wait_for(timeout=60_000)
    badge = page.locator(".board-check", has_text="infarct:").first
    badge.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "wrong in 1 % of such images" in badge.locator("p").inner_text()
    assert page.locator(".board-figure img").get_attribute("alt", timeout=1000).startswith(LABEL)  # type: ignore[union-attr]
    assert page.locator(".board-label").first.inner_text() == LABEL
    page.screenshot(path=shots / "create-desk.png", full_page=True)
    page.context.close()


def test_a_greyed_combination_explains_itself_by_keyboard_and_changes_nothing(told: Any, browser: Browser) -> None:
    page = opened(browser, told.url)
    before = page.locator("#create-prompt textarea").input_value()
    press(page, "finding", "COVID-19")
    page.wait_for_function(
        "document.querySelector('.create-why').textContent == 'COVID-19: no training image of CT shows it.'"
    )
    chosen = page.locator('[data-value="COVID-19"]')
    assert chosen.get_attribute("aria-disabled") == "true"
    assert "no training image of CT" in (chosen.text_content() or ""), "heard by a screen reader where it stands"
    assert page.locator("#create-prompt textarea").input_value() == before
    page.context.close()


def test_a_picture_that_is_dropped_gives_back_its_settings(told: Any, browser: Browser) -> None:
    page = opened(browser, told.url)
    draw(page, 2)
    stored = find_picture(
        told.desk.store, LOCAL, page.locator(".board-figure").nth(1).get_attribute("data-picture") or ""
    )
    page.locator("#create-seed input").fill("1")
    page.locator("#create-prompt textarea").fill("Brain MRI")
    content = base64.b64encode(file_of(told.desk.store, stored).read_bytes()).decode()
    page.evaluate(
        """content => {
          const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([bytes], "a.png", { type: "image/png" }));
          for (const kind of ["dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
          }
        }""",
        content,
    )
    settle_prompt(page, stored.sample.text)
    assert page.locator("#create-seed input").input_value() == str(stored.sample.seed)
    assert "the same" in page.locator("#create-warning").inner_text()
    page.context.close()


def test_one_click_recalls_a_picture(told: Any, browser: Browser) -> None:
    page = opened(browser, told.url)
    draw(page, 1)
    seed = page.locator("#create-seed input").input_value()
    page.locator("#create-new-seed").click()
    page.wait_for_function("s => document.querySelector('#create-seed input').value != s", arg=seed)
    page.get_by_role("button", name="Use its settings").click()
    page.wait_for_function("s => document.querySelector('#create-seed input').value == s", arg=seed, timeout=20_000)
    page.context.close()


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_a_jobs_address_fills_the_form_with_its_settings(told: Any, browser: Browser, language: str) -> None:
    order = Order(asks=asks_of("Brain MRI with a mass.", num=2, seed=77, modality="MRI"), steps=3, guidance=2.0)
    job = add_job(told.desk.store, "local", order, max_jobs=9, max_queue=9)
    with browser.new_context(locale=language) as context:
        page = context.new_page()
        page.goto(f"{told.url}?job={job.id}")
        page.wait_for_function("document.querySelector('#create-seed input')?.value == '77'", timeout=30_000)
        page.wait_for_function("document.querySelectorAll('.board-figure').length == 2", timeout=60_000)
        page.wait_for_timeout(1000)  # what else the page asks for at first is answered by now
        assert page.locator("#create-prompt textarea").input_value() == "Brain MRI with a mass."
        assert page.locator("#create-num input").input_value() == "2"
        page.locator("#create-prompt textarea").fill("")
        page.locator("#create-draw").click()
        page.locator(".toast-body").wait_for()
        said = "The prompt is empty" if language == "en-GB" else "描述为空"
        assert said in page.locator(".toast-body").inner_text()
        assert not page.locator("#create-warning .error").is_visible(), "gradio's bare word"


def test_a_job_has_an_address_that_shows_it_again_and_stops_and_goes_on(told: Any, browser: Browser) -> None:
    page = opened(browser, told.url)
    page.locator("#create-more").click()
    page.get_by_label("Steps").fill("100")
    page.locator("#create-num input").fill("8")
    page.locator("#create-draw").click()
    page.wait_for_function("location.search.startsWith('?job=')", timeout=20_000)
    page.locator(".create-bar progress").wait_for()
    page.locator("#create-stop").click()
    page.get_by_role("button", name="Go on").wait_for(timeout=20_000)
    page.reload()
    page.get_by_role("button", name="Go on").wait_for(timeout=60_000)
    assert "Stopped at" in page.locator("#create-status").inner_text()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function("document.querySelectorAll('.board-figure').length == 8", timeout=120_000)
    page.get_by_text("Done: 8 drawn.").wait_for(timeout=30_000)
    page.context.close()


def test_a_prompt_with_markup_is_shown_as_words(told: Any, browser: Browser) -> None:
    page = opened(browser, told.url)
    page.locator("#create-prompt textarea").fill("CT <img src=x onerror='window.broken = 1'> with a nodule")
    draw(page, 1)
    assert page.evaluate("window.broken") is None
    assert "<img src=x" in (page.locator(".board-figure img").get_attribute("alt") or "")
    page.locator("#create-prompt textarea").fill("😀")
    page.locator("#create-draw").click()
    page.get_by_text("names no modality").first.wait_for(timeout=20_000)
    page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_stands_in_the_way_of_people_who_see_or_move_otherwise(
    told: Any, browser: Browser, shots: Path, size: tuple[int, int], dark: bool
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, told.url, size, dark=dark)
    draw(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), "nothing is cut off at the side"
    found = Axe().run(
        page, context="#tab-create, #create-results, .create-builder", options={"resultTypes": ["violations"]}
    )
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in serious]
    page.screenshot(path=shots / f"create-{size[0]}-{'dark' if dark else 'light'}.png", full_page=True)
    page.get_by_role("tab", name="About").last.click() if size == DESK else None
    if size == DESK:
        page.locator("#about-shell").wait_for()
        page.wait_for_timeout(1500)
        assert (
            str(pictures_of(told.desk.store, LOCAL, most=1)[0].sample.seed) in page.locator("#about-shell").inner_text()
        )
        found = Axe().run(page, context=".about-facts", options={"resultTypes": ["violations"]})
        serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in serious]
        page.screenshot(path=shots / f"about-{'dark' if dark else 'light'}.png", full_page=True)
    page.context.close()


def test_it_speaks_the_readers_language(told: Any, browser: Browser, shots: Path) -> None:
    page = opened(browser, told.url, PHONE, locale="zh-CN")
    assert "结节" in page.locator("#create-prompt textarea").input_value()
    draw(page, 1)
    assert "合成图像：不可用于诊断" in page.locator(".board-label").first.inner_text()
    assert page.locator("#create-draw").inner_text().strip() == "生成图像"
    page.screenshot(path=shots / "create-zh.png", full_page=True)
    page.context.close()


def test_a_page_begins_with_a_seed_of_its_own_unless_somebody_was_faster(browser: Browser) -> None:
    page = browser.new_page()
    drawn = [page.evaluate(f"({first_seed(7)})(7)") for _ in range(8)]
    assert len(set(drawn)) > 1
    assert all(0 <= seed < SHORT_SEED for seed in drawn)
    assert page.evaluate(f"({first_seed(7)})(8)") == 8
    page.close()


def test_in_chinese_an_error_is_headed_in_chinese_and_a_warning_of_other_words_goes(
    told: Any, browser: Browser
) -> None:
    page = opened(browser, told.url, locale="zh-CN")
    prompt, warning = page.locator("#create-prompt textarea"), page.locator("#create-warning")
    prompt.fill("胸部CT，左肺结节，zyxoma。")
    page.locator("#create-draw").click()
    warning.get_by_text("zyxoma").wait_for()
    prompt.fill("沙发上的一只猫")
    prompt.press("x")  # gradio hears keys
    warning.get_by_text("zyxoma").wait_for(state="detached")
    page.locator("#create-draw").click()
    page.locator(".toast-body", has_text="描述中没有说明成像方式").get_by_text("未能完成").wait_for()
    page.context.close()
