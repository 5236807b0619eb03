"""The tutorial for teachers is walked: a browser does what the page tells, in its words, and takes its pictures.

The page is the plan: each heading is a step of the walk, in the page's order, and every **bold** word of it is a
control that the walk presses or fills in that step, by the label that a reader sees. So no step, label or picture can
be in the page that the walk does not have, and the reverse.

`VESALIUS_WRITE_TUTORIAL=1` writes the pictures anew into docs/tutorials/images: look at them before they are committed.
"""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from pptx import Presentation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "teaching-case.md"
IMAGES = PAGE.parent / "images"
DESK = {"width": 1100, "height": 700}
LABEL = "Synthetic: not for diagnosis"
LARGEST = 60_000
"""Bytes of a picture of the page."""


class Walk:
    """A reader at the page: what was pressed and pictured, step by step."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.steps: dict[str, list[str]] = {}
        self.shown: dict[str, list[str]] = {}

    def step(self, title: str) -> None:
        self.steps[title], self.shown[title] = [], []

    def _named(self, label: str) -> None:
        named = list(self.steps.values())[-1]
        if label not in named:
            named.append(label)

    def press(self, label: str, within: str = "body", role: Any = "button") -> None:
        """Press the control with this label."""
        self._named(label)
        self.page.locator(within).get_by_role(role, name=label, exact=True).locator("visible=true").first.click()

    def choose_of(self, label: str, words: str) -> None:
        """Choose these words in the list with this label."""
        self._named(label)
        self.field(label).select_option(words)

    def fill(self, label: str, words: str, within: str = "body") -> None:
        """Write into the field with this label."""
        self._named(label)
        self.field(label, within).fill(words)

    def field(self, label: str, within: str = "body") -> Locator:
        return self.page.locator(within).get_by_label(label).locator("visible=true").first

    def look(self, name: str, top: str | None = None, height: int = 700) -> None:
        """Take the picture of this name: what a reader sees now, from this place of the page down."""
        list(self.shown.values())[-1].append(name)
        page = self.page
        page.evaluate("scrollTo(0, 0)")  # the red line follows what is scrolled
        page.wait_for_timeout(600)
        y = 0.0
        if top is not None:
            box = page.locator(top).locator("visible=true").first.bounding_box()
            assert box is not None, top
            y = max(0.0, box["y"] + page.evaluate("scrollY") - 12)
        whole = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
        shown = whole.crop((0, int(y), whole.width, min(whole.height, int(y) + height)))
        file = io.BytesIO()
        shown.save(file, "WEBP", quality=72, method=6)
        assert len(file.getvalue()) < LARGEST, name
        if os.environ.get("VESALIUS_WRITE_TUTORIAL"):
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / name).write_bytes(file.getvalue())


def told() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of the page: the bold words, and the pictures, of each heading that is a step."""
    parts = re.split(r"^## \d+\. (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    texts = {title: text.split("\n## ")[0] for title, text in zip(parts[::2], parts[1::2], strict=True)}
    bold = {
        title: list(dict.fromkeys(re.findall(r"\*\*(.+?)\*\*", " ".join(text.split()))))
        for title, text in texts.items()
    }
    return bold, {title: re.findall(r"!\[.+?\]\(images/(.+?)\)", text) for title, text in texts.items()}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `vesalius demo` prints, with a store of its own."""
    folder = tmp_path_factory.mktemp("teacher")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    line = [sys.executable, "-m", "vesalius.cli.main", "demo", "--store", str(folder / "store"), "--port", port]
    environment = {**os.environ, "VESALIUS_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert LABEL in said
        yield said.split()[0]
        process.send_signal(signal.SIGINT)


def draw(walk: Walk, seed: int) -> list[str]:
    """Draw the picture of a seed; the badges under it."""
    walk.fill("Seed", str(seed), "#create-seed")
    walk.press("Draw")
    walk.page.locator(".board-figure figcaption", has_text=re.compile(f"seed {seed}$")).wait_for(timeout=120_000)
    walk.page.locator(".board-figure .board-checks").wait_for(timeout=60_000)
    return [b.split("\n")[0] for b in walk.page.locator(".board-figure .board-check summary").all_inner_texts()]


def test_a_teacher_goes_the_way_that_the_page_tells(url: str, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(viewport=DESK, locale="en-US", color_scheme="light")  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    walk = Walk(context.new_page())
    page = walk.page

    walk.step("Open it")
    page.goto(url)
    page.locator(".create-builder").wait_for()
    assert page.get_by_text(LABEL).first.is_visible()
    walk.look("open.webp", height=620)

    walk.step("Draw a picture")
    assert "nodule (22 mm) on the left" in page.locator("#create-prompt textarea").input_value()
    badges = draw(walk, 8)
    walk.look("drawn.webp", top="#create-status", height=690)

    walk.step("See whether it shows what was asked")
    assert "✓ nodule, left: yes" in badges
    assert [b.split(": ")[0] for b in badges if b.startswith("✗")] == ["✗ nodule, 22 mm", "✗ nodule, count 1"]
    page.locator(".board-check summary", has_text="22 mm").click()
    page.get_by_text("Looked at by phantom reader, which is wrong in 2 %").locator("visible=true").first.wait_for()
    badges = draw(walk, 9)
    assert all(b.startswith("✓") for b in badges), badges
    walk.look("as-asked.webp", top="#create-status", height=690)

    walk.step("Left or right?")
    walk.press("Compare", ".board-figure")
    page.locator("#compare-draw").wait_for()
    walk.press("On the right", "#compare-change", role="radio")
    walk.press("Draw the row")
    page.locator("#compare-status", has_text="2 pictures of seed 9: On the right.").wait_for(timeout=120_000)
    captions = page.locator(".compare-row figcaption").all_inner_texts()
    assert captions == ["left · seed 9", "right · seed 9"]
    assert page.locator(".compare-row").get_by_text("nodule, right: yes").count() == 1
    walk.look("left-right.webp", top="#compare-status", height=770)

    walk.step("Make a teaching case")
    walk.press("Create", role="tab")
    walk.press("Add to case", "#create-board .board-figure")
    page.locator("#cases-pictures li").first.wait_for()
    assert page.locator("#cases-findings textarea").input_value() == "Nodule, on the left, about 22 mm."
    walk.fill("Title", "A round shadow", "#cases-title")
    walk.fill("History", "A 58-year-old smoker with a cough (made up).", "#cases-history")
    walk.fill("Diagnosis", "Pulmonary nodule", "#cases-diagnosis")
    walk.fill("Differential diagnosis, one a line", "Hamartoma\nMetastasis", "#cases-differential")
    walk.press("Save", "#cases-writing")
    page.get_by_text("Saved at").wait_for()
    walk.look("case.webp", top="#cases-title", height=760)

    walk.step("Take it to the lecture as slides")
    with page.expect_download() as download:
        walk.press("Slides (PPTX)", role="link")
    slides = tmp_path / download.value.suggested_filename
    download.value.save_as(slides)
    assert slides.name == "A-round-shadow.pptx"
    words = [
        " ".join(s.text_frame.text for s in each.shapes if s.has_text_frame) for each in Presentation(slides).slides
    ]
    assert all(LABEL in each for each in words)
    shown = next(i for i, each in enumerate(words) if "smoker" in each)
    assert not any("Pulmonary nodule" in each for each in words[: shown + 1]), "the answer comes after the question"
    assert any("Pulmonary nodule" in each for each in words[shown + 1 :])

    walk.step("Ask the class")
    walk.press("Quiz", role="tab")
    walk.press("New quiz")
    walk.fill("Title", "Chest CT, first look", ".quiz-desk")
    walk.choose_of("Or take a case", "A round shadow")
    page.get_by_role("heading", name="Question 1").wait_for()
    walk.look("quiz.webp", top=".quiz-desk", height=900)
    walk.press("Save", ".quiz-desk")
    walk.press("Show link", ".quiz-desk")
    link = page.locator(".quiz-address").inner_text()
    page.wait_for_function("document.querySelector('.quiz-screen img').naturalWidth > 0")
    walk.look("link.webp")
    learner = browser.new_context(viewport={"width": 390, "height": 700}, locale="en-US")
    phone = learner.new_page()
    phone.goto(link)
    phone.get_by_role("button", name="Start").click()
    phone.get_by_text("Question 1 of").wait_for()
    assert LABEL in phone.content()
    assert "A round shadow" not in phone.content()
    learner.close()
    context.close()

    assert (walk.steps, walk.shown) == told()
