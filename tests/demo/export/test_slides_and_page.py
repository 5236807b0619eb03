"""A case as slides and as a page: whatever people write, and the label beside every picture."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pptx import Presentation

from vesalius.demo.cases.case import Case, CaseImage, case_of
from vesalius.demo.export.page import page_html
from vesalius.demo.export.sheet import disposition, sheet_of
from vesalius.demo.export.slides import pages_of, slides_bytes
from vesalius.demo.page import LABEL

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&amp;{}]]>"
LETTERS = "😀 مرحبا بالعالم שלום 胸腔积液 e\u0301"


def written_with(kept: Any, text: str) -> Case:
    """The case with a text in every field."""
    images = [vars(replace(i, caption=text)) for i in kept.case.images]
    return replace(
        case_of({
            "title": text, "history": text, "findings": text, "diagnosis": text, "discussion": text, "images": images,
            "differential": [text], "keywords": [text[:60]], "references": [text],
        }),
        id=kept.case.id,
    )  # fmt: skip


def slides(kept: Any, case: Case, *, unknown: bool = False) -> Any:
    return Presentation(BytesIO(slides_bytes(sheet_of(kept.store, "local", case, unknown=unknown))))


def words_of(slide: Any) -> str:
    return "\n".join(shape.text_frame.text for shape in slide.shapes if shape.has_text_frame)


def page(kept: Any, case: Case, *, unknown: bool = False) -> str:
    return page_html(sheet_of(kept.store, "local", case, unknown=unknown))


class Tags(HTMLParser):
    """The tags of a page and their attributes, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_title_that_says_the_diagnosis_comes_with_the_answer(kept_case: Any) -> None:
    assert "Zyxoma" in kept_case.case.title
    for unknown in (False, True):
        deck = slides(kept_case, kept_case.case, unknown=unknown)
        texts = [words_of(slide) for slide in deck.slides]
        asked = next(n for n, text in enumerate(texts) if "What do you see" in text)
        assert texts[0].startswith("Unknown case")
        assert not any("zyxoma" in text.lower() for text in [*texts[: asked + 1], deck.core_properties.title])
        assert any(kept_case.case.title in text for text in texts[asked + 1 :]) is not unknown
        told = page(kept_case, kept_case.case, unknown=unknown)
        assert "zyxoma" not in told.partition("<details")[0].lower()
        assert (kept_case.case.title in told) is not unknown
    harmless = replace(kept_case.case, title="A sailor's thumb")
    assert words_of(slides(kept_case, harmless).slides[0]).startswith("A sailor's thumb")
    assert '<h1 dir="auto">A sailor&#x27;s thumb</h1>' in page(kept_case, harmless)


@pytest.mark.parametrize("text", [EVIL, LETTERS], ids=["evil", "letters"])
def test_what_people_write_stays_text(kept_case: Any, text: str) -> None:
    case = written_with(kept_case, text)
    found = Tags(html := page(kept_case, case)).found
    assert {tag for tag, _ in found}.isdisjoint({"script", "iframe", "link", "object"})
    assert not [a for _, attributes in found for a in attributes if a.startswith("on")]
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in found if tag == "img" and a["src"])
    assert not re.search(r"https?://", html.replace("http-equiv", ""))
    deck = slides(kept_case, case)
    assert deck.core_properties.title == "Unknown case", "a title that tells the diagnosis comes with the answer"
    assert any(text in words_of(slide) for slide in deck.slides)


def test_every_picture_has_the_label_in_its_alt_text_beside_it_and_in_its_own_file(kept_case: Any) -> None:
    deck = slides(kept_case, kept_case.case)
    shown = [(slide, shape) for slide in deck.slides for shape in slide.shapes if shape.shape_type == 13]
    assert len(shown) == 3
    for slide, shape in shown:
        assert shape._element.nvPicPr.cNvPr.get("descr").startswith(LABEL)
        assert LABEL in words_of(slide)
        with Image.open(BytesIO(shape.image.blob)) as image:
            assert image.text == {"Comment": LABEL}  # type: ignore[attr-defined]
            assert image.height > image.width * 2 / 3  # the strip with the label is below the picture
    images = [a for tag, a in Tags(page(kept_case, kept_case.case)).found if tag == "img"]
    assert len(images) == 3
    assert all((a["alt"] or "").startswith(LABEL) for a in images)


def test_the_answer_comes_after_the_question_and_recipes_are_in_the_notes(kept_case: Any) -> None:
    deck = slides(kept_case, kept_case.case)
    titles = [slide.shapes.title.text_frame.text for slide in deck.slides]
    assert titles == [
        "Unknown case", "History", "Figure 1 of 3", "Figure 2 of 3",
        "What do you see, and what is your diagnosis?", "Zyxoma of the thumb", "Diagnosis: Zyxoma", "Figure 3 of 3",
        "Differential diagnosis", "Discussion", "References",
    ]  # fmt: skip
    notes = [s.notes_slide.notes_text_frame.text for s in deck.slides if s.has_notes_slide]
    recipes = [json.loads(note[note.index("{") :]) for note in notes]
    assert [r["seed"] for r in recipes] == [0, 1, 2]
    assert (deck.slide_width / deck.slide_height) == pytest.approx(16 / 9, rel=1e-3)
    html = page(kept_case, kept_case.case)
    assert html.index("Axial slice") < html.index("<details>") < html.index("quuxitis")


def test_a_case_in_chinese_has_chinese_headings_and_both_labels(kept_case: Any) -> None:
    case = replace(kept_case.case, language="zh", title="右侧胸腔积液")
    assert '<html lang="zh-CN">' in page(kept_case, case)
    assert "鉴别诊断" in page(kept_case, case)
    first = words_of(slides(kept_case, case).slides[0])
    assert f"{LABEL} · 合成图像" in first


def test_a_picture_that_was_deleted_is_left_out_and_told(kept_case: Any) -> None:
    case = replace(kept_case.case, images=(*kept_case.case.images, CaseImage(picture="gone")))
    assert "1 of this case&#x27;s pictures were deleted" in page(kept_case, case)
    assert "1 of this case's pictures were deleted" in words_of(slides(kept_case, case).slides[0])


def test_a_long_text_takes_as_many_slides_as_it_needs_and_loses_no_word() -> None:
    text = "\n\n".join(" ".join(f"word{n}" for n in range(k, k + 300)) for k in range(0, 1200, 300))
    pages = pages_of(text)
    assert len(pages) > 3
    assert " ".join(line for page in pages for line in page).split() == text.split()
    chinese = "胸腔积液" * 500
    assert "".join(line for page in pages_of(chinese) for line in page) == chinese
    assert pages_of("") == []


def test_a_files_name_is_told_in_any_letters() -> None:
    assert disposition("a.pptx") == "attachment; filename=\"a.pptx\"; filename*=UTF-8''a.pptx"
    told = disposition("右侧.dcm.zip")
    assert told.isascii()
    assert 'filename="case.dcm.zip"' in told


@pytest.mark.slow
def test_slides_open_in_libreoffice(kept_case: Any, tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("needs libreoffice: apt-get install libreoffice-impress")
    file = tmp_path / "case.pptx"
    file.write_bytes(slides_bytes(sheet_of(kept_case.store, "local", written_with(kept_case, LETTERS), unknown=False)))
    home = f"-env:UserInstallation=file://{tmp_path}/office"
    subprocess.run(
        [office, home, "--headless", "--convert-to", "pdf", "--outdir", tmp_path, file], check=True, timeout=120,
        capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "case.pdf").read_bytes().startswith(b"%PDF")
