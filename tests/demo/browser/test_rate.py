"""Rating and the loop in a real browser: by keyboard alone, by touch on a phone, and back again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from vesalius.cli.main import DONE, RESUMABLE, main
from vesalius.data.images.image import Picture
from vesalius.data.phantoms.phantom import PhantomConfig, draw_phantom, write_phantoms
from vesalius.demo import DemoConfig
from vesalius.improve.people.ratings import Rating
from vesalius.improve.people.review import review_vetoes, waiting_round
from vesalius.improve.telling.status import read_status
from vesalius.inference.sample import Sample, sample_lines
from vesalius.inference.writing.sinks import write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
FITS = """() => [...document.querySelectorAll('.rate-stage button, .rate-stage img, .rate-stage input, .rate-text')]
    .every(e => { const r = e.getBoundingClientRect();
        return r.top >= 0 && r.left >= 0 && r.bottom <= innerHeight && r.right <= innerWidth && r.height > 0 })"""


@pytest.fixture(scope="module")
def shots() -> Path:
    folder = Path(os.environ.get("VESALIUS_SCREENSHOTS", "build/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 phantoms as if they had been generated, four of each prompt."""
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    (folder / "images").mkdir(parents=True)
    samples = []
    for i in range(24):
        modality = ("CT", "MRI", "pathology")[i % 3]
        phantom = draw_phantom(i, modality, size=128)
        told = Sample(
            file_name=f"images/{i:05d}.png", text=f"A phantom of {modality}, number {i % 6}.", modality=modality,
            seed=i, steps=1, guidance=1.0, height=128, width=128,
        )  # fmt: skip
        samples.append(write_sample(folder, told, Picture(image=phantom.image)))
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "phantoms"
    return write_phantoms(PhantomConfig(num=40, seed=9, size=160, out=out, val=0.4, test=0.4, json=True))


@pytest.fixture(scope="module")
def demo(
    serve: Any, tiny_base: Path, drawn: Path, real: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = tmp_path_factory.mktemp("rated") / "store"
    config = DemoConfig(base=str(tiny_base), store=store, port=port, device="cpu", rate=(drawn,), real=(real,))
    with serve(config) as served:
        yield served


@pytest.fixture
def ratings(demo: Any) -> Callable[[], list[Rating]]:
    """The ratings that were given since."""
    before = {r.key for r in demo.desk.store.ratings.read()}

    def since() -> list[Rating]:
        found: list[Rating] = demo.desk.store.ratings.read()
        return sorted((r for r in found if r.key not in before), key=lambda r: r.time)

    return since


@contextmanager
def opened(browser: Browser, url: str, tab: str, size: dict[str, int], **context: Any) -> Iterator[Page]:
    """A page at a tab, which must not break."""
    errors: list[str] = []
    with browser.new_context(viewport=size, **context) as made:  # type: ignore[arg-type]
        page = made.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#title")
        one = page.get_by_role("tab", name=tab, exact=True)
        if size["width"] < 600:
            page.locator(".overflow-menu > button").click()
            one = page.locator(".overflow-dropdown button", has_text=tab)
        one.click()
        yield page
    assert not errors


def begin(page: Page, name: str, mode: str = "One at a time") -> None:
    page.get_by_label("Name or pseudonym to rate by").fill(name)
    page.get_by_label(mode).check()
    page.get_by_role("button", name="Start rating").click()
    wait_for_picture(page)


def wait_for_picture(page: Page, other_than: str | None = None) -> str:
    """The address of the picture that is shown, once it is there."""
    page.wait_for_function(
        "other => { const i = document.querySelector('.rate-stage[open] img');"
        " return i && i.complete && i.naturalWidth && i.getAttribute('src') !== other }",
        arg=other_than,
    )
    return page.locator(".rate-stage img").first.get_attribute("src") or ""


def serious(page: Page) -> list[str]:
    """Violations that axe calls serious or worse; gradio's footer is not of this page's making."""
    found = Axe().run(page, context={"exclude": [[".gradio-container footer"]]}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in ("serious", "critical")]


def test_ten_pictures_are_rated_by_keyboard_alone(
    demo: Any, browser: Browser, ratings: Callable[[], list[Rating]], shots: Path
) -> None:
    with opened(browser, demo.url, "Rate", WIDE) as page:
        page.get_by_label("Name or pseudonym to rate by").fill("Keys")
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.className") == "rate-start":
                break
        page.keyboard.press("Enter")
        shown = wait_for_picture(page)
        assert page.evaluate(FITS)
        page.screenshot(path=shots / "rate-wide.png")
        page.keyboard.press("Enter")
        assert page.get_by_text("Say first: Realism").is_visible()
        for i in range(10):
            for key in (str(1 + i % 5), "4", "1", "2"):
                page.keyboard.press(key)
            if i == 0:
                page.keyboard.press("c")
                page.keyboard.type("1 too smooth")
                page.keyboard.press("Enter")
            page.keyboard.press("Enter")
            shown = wait_for_picture(page, shown)
        told = ratings()
        assert [r.realism for r in told] == [1 + i % 5 for i in range(10)]
        assert {(r.agreement, r.artefact, r.teach, r.rater) for r in told} == {(4, "none", False, "Keys")}
        assert [r.comment for r in told] == ["1 too smooth", *[""] * 9]
        page.keyboard.press("Backspace")  # nothing is said of this one, so the one before is asked again
        wait_for_picture(page, shown)
        assert page.locator("[aria-pressed=true]").count() == 4
        assert len(ratings()) == 9
        page.keyboard.press("ArrowUp")
        page.get_by_role("button", name="Realism 3").click()
        page.keyboard.press("Enter")
        assert wait_for_picture(page, page.locator(".rate-stage img").get_attribute("src")) == shown
        assert [r.realism for r in ratings()][-1] == 3
        page.keyboard.press("5")
        page.keyboard.press("Backspace")  # takes back what was said of this picture first
        assert page.locator("[aria-pressed=true]").count() == 0
        page.reload()
        page.get_by_role("tab", name="Rate", exact=True).click()
        page.get_by_role("button", name="Start rating").click()
        assert wait_for_picture(page) == shown
        page.keyboard.press("Escape")
        page.wait_for_function("!document.querySelector('.rate-stage').open")
        assert "10 rated, 10 of them today" in (page.locator(".rate-remark[role=status]").text_content() or "")


def test_a_phone_rates_by_four_taps_and_goes_on_by_itself(
    demo: Any, browser: Browser, ratings: Callable[[], list[Rating]], shots: Path
) -> None:
    with opened(browser, demo.url, "Rate", PHONE, has_touch=True, is_mobile=True) as page:
        page.screenshot(path=shots / "rate-start-phone.png")
        begin(page, "Thumb")
        assert page.evaluate(FITS)
        page.screenshot(path=shots / "rate-phone.png")
        assert not serious(page)
        for _ in range(3):
            shown = page.locator(".rate-stage img").get_attribute("src")
            for name in ("Realism 5", "Fits the text 4"):
                page.get_by_role("button", name=name).tap()
            page.get_by_role("button", name="minor").tap()
            page.get_by_role("button", name="yes").tap()
            wait_for_picture(page, shown)
        assert {(r.realism, r.agreement, r.artefact, r.teach) for r in ratings()} == {(5, 4, "minor", True)}
        assert len(ratings()) == 3
        page.get_by_role("button", name="Back").tap()
        wait_for_picture(page, page.locator(".rate-stage img").get_attribute("src"))
        assert len(ratings()) == 2
        page.get_by_role("button", name="Enough for today").tap()
        assert not page.locator(".rate-stage").is_visible()


def test_pairs_are_compared_with_ties_on_both_sizes(
    demo: Any, browser: Browser, ratings: Callable[[], list[Rating]], shots: Path
) -> None:
    for name, size, context in (("wide", WIDE, {}), ("phone", PHONE, {"has_touch": True, "is_mobile": True})):
        with opened(browser, demo.url, "Rate", size, **context) as page:
            begin(page, "Pairs", "Pairs of one prompt")
            assert page.locator(".rate-stage img").count() == 2
            assert page.evaluate(FITS)
            page.screenshot(path=shots / f"rate-pair-{name}.png")
            for key in ("1", "2", "3"):
                shown = page.locator(".rate-stage img").first.get_attribute("src")
                page.keyboard.press(key)
                page.keyboard.press("Enter")
                wait_for_picture(page, shown)
    assert [r.preference for r in ratings()] == ["first", "tie", "second"] * 2


def test_two_tabs_of_one_rater_are_one(demo: Any, browser: Browser, ratings: Callable[[], list[Rating]]) -> None:
    with opened(browser, demo.url, "Rate", WIDE) as one, opened(browser, demo.url, "Rate", WIDE) as other:
        for page in (one, other):
            begin(page, "Twice")
        shown = [page.locator(".rate-stage img").get_attribute("src") for page in (one, other)]
        assert shown[0] == shown[1]
        for page in (one, other):
            for key in "4411":
                page.keyboard.press(key)
            page.keyboard.press("Enter")
        assert wait_for_picture(one, shown[0]) == wait_for_picture(other, shown[0])
        assert len(ratings()) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everyone_can_use_the_page(demo: Any, browser: Browser, shots: Path, theme: str) -> None:
    url = f"{demo.url}?__theme={theme}"
    with opened(browser, url, "Rate", WIDE) as page:
        page.get_by_role("button", name="Start rating").wait_for()
        for summary in page.locator(".rate-panel summary").all():
            summary.click()
        page.get_by_role("button", name="Work it out").click()
        page.locator(".rate-panel li, .rate-panel [role=status]:not(:empty)").first.wait_for()
        page.screenshot(path=shots / f"rate-start-{theme}.png")
        assert not serious(page)
        begin(page, "Axe")
        page.keyboard.press("4")
        assert not serious(page)
    with opened(browser, url, "Loop", WIDE) as page:
        page.get_by_text("No loop is watched here.").wait_for()
        assert not serious(page)


def test_the_page_speaks_chinese(demo: Any, browser: Browser, shots: Path) -> None:
    with opened(browser, demo.url, "评分", PHONE, locale="zh-CN", has_touch=True, is_mobile=True) as page:
        page.get_by_role("button", name="开始评分").click()
        wait_for_picture(page)
        assert page.evaluate(FITS)
        page.screenshot(path=shots / "rate-chinese.png")


def test_a_round_is_approved_in_the_browser_and_the_loop_goes_on(
    serve: Any, tiny_base: Path, browser: Browser, tmp_path: Path, port: int, shots: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = write_phantoms(
        PhantomConfig(num=150, seed=11, size=32, out=tmp_path / "data", val=0.4, test=0.3, json=True)
    )  # fmt: skip
    out = tmp_path / "loop"
    line = [
        "improve", "run", "--data", str(data), "--out", str(out), "--base", str(tiny_base), "--num", "6", "--num-eval",
        "6", "--num-validation", "4", "--steps", "2", "--batch-size", "2", "--sampling-steps", "2", "--seed", "2",
        "--quota", "1", "--json", "--without", "gates", "--review",
    ]  # fmt: skip
    assert main(line) == RESUMABLE
    config = DemoConfig(base=str(tiny_base), store=tmp_path / "store", port=port, device="cpu", loop=(out,))
    with serve(config) as demo:
        with opened(browser, demo.url, "Loop", WIDE) as page:
            page.get_by_role("heading", name="Round 1 waits for review").wait_for()
            page.screenshot(path=shots / "loop-wide.png")
            assert not serious(page)
            page.get_by_label("Keep out").first.check()
            page.get_by_text("1 kept out").wait_for()
            page.get_by_label("Why these are kept out").fill("blurred")
            asked: list[str] = []
            page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
            page.get_by_role("button", name="Approve the round").click()
            page.get_by_text("Round 1 is approved").wait_for()
            assert "keep 1 out" in asked[0]
        assert waiting_round(out) is None
        (veto,) = review_vetoes(out / "round-01").values()
        assert veto.startswith("review: vetoed (blurred")
        assert main(["improve", "resume", str(out), "--json"]) == DONE
        assert read_status(out)["rounds"][1]["decision"]
        for name, size, context in (
            ("dark", WIDE, {"color_scheme": "dark"}), ("phone", PHONE, {"has_touch": True, "is_mobile": True}),
        ):  # fmt: skip
            with opened(browser, demo.url, "Loop", size, **context) as page:
                for words in ("Over the rounds", "Round 1:"):
                    page.locator("summary", has_text=words).first.click()
                curve = page.locator(".loop-curve").first
                curve.wait_for()
                assert "round 0" in (curve.get_attribute("alt") or "")
                page.screenshot(path=shots / f"loop-{name}.png", full_page=True)
                assert not serious(page)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    capsys.readouterr()
