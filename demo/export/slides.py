"""A case as slides: the question first, its answer on slides of its own, and recipes in the speaker's notes."""

from __future__ import annotations

import copy
import json
import textwrap
import unicodedata
from io import BytesIO
from typing import Any

from vesalius.demo.export.sheet import Figure, Sheet, labelled_png
from vesalius.demo.page import LABEL

WIDE, HIGH = 13.333, 7.5
"""Inches of a slide of 16:9."""
EDGE = 0.6
LINES, COLUMNS = 14, 84
"""Lines of text on a slide, and the narrow letters in one; a Chinese one takes two."""
SHORT = 80
"""Narrow letters of a diagnosis that is a slide's title."""
_INK, _PAPER, _GREY, _ACCENT = "1C1C28", "FFFFFF", "2B2B30", "7A1F1F"


def slides_bytes(sheet: Sheet) -> bytes:
    """The whole PPTX file."""
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(WIDE), Inches(HIGH)
    deck.core_properties.title = sheet.opening
    deck.core_properties.author = "Vesalius"
    deck.core_properties.subject = deck.core_properties.comments = deck.core_properties.keywords = LABEL
    case = sheet.case

    _cover(deck, sheet.opening, [sheet.level, sheet.label, *sheet.notes])
    _text(deck, sheet, "history", case.history)
    for figure in sheet.of(answer=False):
        _picture(deck, sheet, figure)
    _cover(deck, sheet.say("ask"), [sheet.label])
    if not sheet.unknown:
        _answer(deck, sheet)
    file = BytesIO()
    deck.save(file)
    return file.getvalue()


def _answer(deck: Any, sheet: Sheet) -> None:
    """The slides that learners see last."""
    case = sheet.case
    if sheet.is_title_late:
        _cover(deck, sheet.title, [sheet.label])
    diagnosis = case.diagnosis.replace("\n", "; ")
    if diagnosis and _breadth(diagnosis) <= SHORT:
        findings = f"{sheet.say('findings')}:\n{case.findings}" if case.findings else " "
        _text(deck, sheet, "diagnosis", findings, title=f"{sheet.say('diagnosis')}: {diagnosis}")
    else:
        _text(deck, sheet, "diagnosis", case.diagnosis)
        _text(deck, sheet, "findings", case.findings)
    for figure in sheet.of(answer=True):
        _picture(deck, sheet, figure)
    numbered = "\n".join(f"{number}. {line}" for number, line in enumerate(case.differential, 1))
    _text(deck, sheet, "differential", numbered)
    _text(deck, sheet, "discussion", case.discussion)
    _text(deck, sheet, "references", "\n".join(f"{n}. {line}" for n, line in enumerate(case.references, 1)))


def _cover(deck: Any, title: str, lines: list[str]) -> None:
    """A slide with large words in its middle."""
    slide = _slide(deck, title, ink=_PAPER, ground=_GREY, top=2.2, size=40, height=1.8, middle=True)
    box = _box(slide, EDGE, 4.2, WIDE - 2 * EDGE, 2.2)
    _write(box, [line for line in lines if line], size=20, ink="E6E6EA", middle=True)
    _number(slide, _PAPER)


def _text(deck: Any, sheet: Sheet, key: str, text: str, *, title: str = "") -> None:
    """A text under its heading, on as many slides as it takes; a short one in larger letters."""
    pages = pages_of(text)
    size = 28 if _breadth(text) <= COLUMNS * LINES // 4 and text.count("\n") < LINES // 2 else 22
    for number, lines in enumerate(pages, 1):
        more = f" ({number}/{len(pages)})" if len(pages) > 1 else ""
        slide = _slide(deck, (title or sheet.say(key)) + more, ink=_INK, ground=_PAPER)
        _write(_box(slide, EDGE, 1.35, WIDE - 2 * EDGE, HIGH - 2.1), lines, size=size, ink=_INK)
        _foot(slide, sheet.label, _ACCENT)


def _picture(deck: Any, sheet: Sheet, figure: Figure) -> None:
    """A picture as large as the slide has room for, its caption and the label beside it."""
    from pptx.util import Inches

    place = sheet.say("figure", number=figure.number, count=len(sheet.figures))
    slide = _slide(deck, place, ink=_PAPER, ground=_GREY, left=8.3, width=WIDE - 8.3 - 0.4, size=24)
    content = labelled_png(figure)
    room = (7.3, HIGH - 0.8)
    shown = slide.shapes.add_picture(BytesIO(content), 0, 0)
    scale = min(Inches(room[0]) / shown.width, Inches(room[1]) / shown.height)
    shown.width, shown.height = int(shown.width * scale), int(shown.height * scale)
    shown.left = Inches(0.5) + (Inches(room[0]) - shown.width) // 2
    shown.top = Inches(0.4) + (Inches(room[1]) - shown.height) // 2
    properties = shown._element.nvPicPr.cNvPr
    properties.set("descr", figure.alt)
    properties.set("name", f"Figure {figure.number}")
    _write(_box(slide, 8.3, 1.35, WIDE - 8.3 - 0.4, 4.4), _clean(figure.caption).split("\n"), size=20, ink=_PAPER)
    _write(_box(slide, 8.3, 5.8, WIDE - 8.3 - 0.4, 0.9), [sheet.label], size=16, ink="FFD9D9")
    _number(slide, _PAPER)
    recipe = json.dumps(figure.recipe, ensure_ascii=False, indent=1)
    told = sheet.say("stripped") if sheet.unknown else f"{sheet.say('recipe')}\n{recipe}"
    slide.notes_slide.notes_text_frame.text = _clean(f"{LABEL}.\n{told}")


def _slide(
    deck: Any, title: str, *, ink: str, ground: str, left: float = EDGE, top: float = 0.45, size: int = 30,
    width: float = WIDE - 2 * EDGE, height: float = 0.8, middle: bool = False,
) -> Any:  # fmt: skip
    """A slide with a real title, which readers of screens and outlines find."""
    from pptx.enum.text import MSO_ANCHOR
    from pptx.util import Inches

    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.background.fill.solid()
    slide.background.fill.fore_color.rgb = _colour(ground)
    shape = slide.shapes.title
    shape.left, shape.top, shape.width, shape.height = (Inches(v) for v in (left, top, width, height))
    shape.text_frame.vertical_anchor = MSO_ANCHOR.MIDDLE
    _write(shape.text_frame, [_clean(title)], size=_fitting(title, size, width), ink=ink, bold=True, middle=middle)
    return slide


def _fitting(title: str, size: int, width: float) -> int:
    """The size of letters at which a title takes two lines at most."""
    room = 2 * width * 72 / (0.55 * max(_breadth(title), 1))
    return max(14, min(size, int(room)))


def _box(slide: Any, left: float, top: float, width: float, height: float) -> Any:
    from pptx.util import Inches

    frame = slide.shapes.add_textbox(*(Inches(v) for v in (left, top, width, height))).text_frame
    frame.word_wrap = True
    return frame


def _write(frame: Any, lines: list[str], *, size: int, ink: str, bold: bool = False, middle: bool = False) -> None:
    """Lines as paragraphs; those of Arabic, Hebrew and their like run from the right."""
    from pptx.enum.text import PP_ALIGN
    from pptx.util import Pt

    for number, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text = _clean(line)
        run.font.size, run.font.bold, run.font.color.rgb = Pt(size), bold, _colour(ink)
        leftward = _runs_left(line)
        paragraph.alignment = PP_ALIGN.CENTER if middle else PP_ALIGN.RIGHT if leftward else PP_ALIGN.LEFT
        if leftward:
            paragraph._p.get_or_add_pPr().set("rtl", "1")


def _foot(slide: Any, label: str, ink: str) -> None:
    _write(_box(slide, EDGE, HIGH - 0.6, 9, 0.4), [label], size=14, ink=ink, bold=True)
    _number(slide, _INK)


def _number(slide: Any, ink: str) -> None:
    """The slide's number, as a field that follows when slides are moved."""
    from lxml import etree  # type: ignore[import-untyped]
    from pptx.oxml.ns import qn

    frame = _box(slide, WIDE - 1.2, HIGH - 0.6, 0.8, 0.4)
    _write(frame, ["0"], size=14, ink=ink)
    run = frame.paragraphs[0].runs[0]._r
    field = etree.SubElement(run.getparent(), qn("a:fld"), id="{B6F15528-21DE-4FAA-801E-634DDDAF4B2B}", type="slidenum")
    field.append(copy.deepcopy(run.find(qn("a:rPr"))))
    etree.SubElement(field, qn("a:t")).text = "‹#›"
    run.getparent().replace(run, field)


def _colour(digits: str) -> Any:
    from pptx.dml.color import RGBColor

    return RGBColor(*bytes.fromhex(digits))  # type: ignore[no-untyped-call]


def pages_of(text: str) -> list[list[str]]:
    """A text as the paragraphs of slides; a paragraph that a slide has no room for goes on with the next one."""
    pages: list[list[str]] = [[]]
    left = LINES
    for paragraph in text.split("\n") if text else []:
        wide = _breadth(paragraph) > 1.4 * len(paragraph)
        lines = textwrap.wrap(paragraph, COLUMNS // 2 if wide else COLUMNS) or [""]
        while lines:
            if not left or (len(lines) > left and left < 3):
                pages.append([])
                left = LINES
            pages[-1].append(("" if wide else " ").join(lines[:left]))
            left, lines = left - min(left, len(lines)), lines[left:]
    return pages if pages[0] else []


def _breadth(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _runs_left(text: str) -> bool:
    """Whether the first letter with a direction is of a script that runs from right to left."""
    kinds = (unicodedata.bidirectional(letter) for letter in text)
    return next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L"


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000))
