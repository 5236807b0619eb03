"""A case as one HTML file: images inside, no script, nothing fetched, the answer behind a button."""

from __future__ import annotations

import base64
import html
from importlib import resources

from vesalius.demo.export.sheet import Figure, Sheet, labelled_png
from vesalius.demo.page import LABEL

# Even if something slipped through, the page runs nothing and fetches nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_html(sheet: Sheet) -> str:
    """The whole file."""
    style = (resources.files("vesalius.demo") / "web" / "cases_sheet.css").read_text()
    language = "zh-CN" if sheet.case.language == "zh" else "en"
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="content-security-policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="description" content="{LABEL}">\n<meta name="generator" content="Vesalius">\n'
        f"<title>{_escaped(sheet.opening)} - {LABEL}</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body class="cases-page">\n<p class="cases-banner" role="note">{_escaped(sheet.label)}</p>\n'
        f"<main>\n{article(sheet)}\n</main>\n</body>\n</html>\n"
    )


def article(sheet: Sheet, *, heading: int = 1) -> str:
    """The sheet itself, as the tab shows it too. heading: the level of its title."""
    case, top = sheet.case, f"h{heading}"
    level = f'<p class="cases-level">{_escaped(sheet.level)}</p>' if sheet.level else ""
    question = [
        f'<{top} dir="auto">{_escaped(sheet.opening)}</{top}>', level,
        _part(sheet, "history", case.history, heading + 1), _figures(sheet, sheet.of(answer=False), "images", heading),
        f'<p class="cases-ask">{_escaped(sheet.say("ask"))}</p>',
    ]  # fmt: skip
    answer = [] if sheet.unknown else _answer(sheet, heading)
    foot = "".join(f"<p>{_escaped(note)}</p>" for note in sheet.notes)
    return (
        f'<article class="cases-sheet">{"".join(question)}{"".join(answer)}'
        f'<footer><p class="cases-label">{_escaped(sheet.label)}</p>{foot}</footer></article>'
    )


def _answer(sheet: Sheet, heading: int) -> list[str]:
    case, below = sheet.case, heading + 1
    parts = [
        _part(sheet, "diagnosis", case.diagnosis, below), _part(sheet, "findings", case.findings, below),
        _figures(sheet, sheet.of(answer=True), "answer_images", heading),
        _list(sheet, "differential", case.differential, below, "ol"),
        _part(sheet, "discussion", case.discussion, below), _list(sheet, "references", case.references, below, "ol"),
        _list(sheet, "keywords", case.keywords, below, "ul"),
    ]  # fmt: skip
    late = f'<h{below} dir="auto">{_escaped(sheet.title)}</h{below}>' if sheet.is_title_late else ""
    inside = late + "".join(parts)
    return [f"<details><summary>{_escaped(sheet.say('show_answer'))}</summary>{inside}</details>"] if inside else []


def _part(sheet: Sheet, key: str, text: str, level: int) -> str:
    if not text:
        return ""
    paragraphs = "".join(f'<p dir="auto">{_escaped(line)}</p>' for line in text.split("\n") if line.strip())
    return f'<section class="cases-{key}"><h{level}>{_escaped(sheet.say(key))}</h{level}>{paragraphs}</section>'


def _list(sheet: Sheet, key: str, lines: tuple[str, ...], level: int, kind: str) -> str:
    if not lines:
        return ""
    rows = "".join(f'<li dir="auto">{_escaped(line)}</li>' for line in lines)
    head = f"<h{level}>{_escaped(sheet.say(key))}</h{level}>"
    return f'<section class="cases-{key}">{head}<{kind}>{rows}</{kind}></section>'


def _figures(sheet: Sheet, figures: tuple[Figure, ...], key: str, heading: int) -> str:
    if not figures:
        return ""
    told = "".join(_figure(sheet, figure) for figure in figures)
    level = heading + 1
    return (
        f'<section class="cases-images"><h{level}>{_escaped(sheet.say(key))}</h{level}>'
        f'<div class="cases-figures">{told}</div></section>'
    )


def _figure(sheet: Sheet, figure: Figure) -> str:
    source = base64.b64encode(labelled_png(figure)).decode()
    place = sheet.say("figure", number=figure.number, count=len(sheet.figures))
    caption = f': <span dir="auto">{_escaped(figure.caption)}</span>' if figure.caption else ""
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{_escaped(figure.alt)}">'
        f"<figcaption><b>{_escaped(place)}</b>{caption}</figcaption></figure>"
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
