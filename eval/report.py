"""One HTML page that holds everything in itself: no script, no address outside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.page import write_html


@dataclass(frozen=True, kw_only=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture of a contact sheet. note: a verdict below its caption, red where bad."""

    image: str
    caption: str
    alt: str
    note: str = ""
    bad: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[str] = ()
    figures: Sequence[Figure] = ()


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Render the page; all text is escaped, only our own SVG is not."""
    write_html(path, "vesalius.eval", "report.html", title=title, subtitle=subtitle, sections=sections)
