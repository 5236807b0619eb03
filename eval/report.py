"""One HTML page that holds everything in itself: no script, no address outside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.command.page import write_html
from vesalius.data.command.recipe import check_place


@dataclass(frozen=True, kw_only=True)
class Table:
    """folded: what stands in its place on the page until it is opened; "" where it is open."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture of a contact sheet. note: a verdict below its caption, red where bad. real: not a synthetic one."""

    image: str
    caption: str
    alt: str
    note: str = ""
    bad: bool = False
    real: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading of a page.

    more: how it was measured, folded. shown: figures before those that are folded. paired: two and two side by side.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    more: Sequence[str] = ()
    shown: int = 10_000
    paired: bool = False


def check_out(out: Path, what: str, marks: Collection[str]) -> None:
    """ValueError where a folder may not be written to, or holds something else than what is told by one of the names in
    it that `marks` has: said before hours of work, rather than after."""
    check_place(out)
    there = {p.name for p in out.glob("*") if not p.name.startswith(".")}
    if there and not there & set(marks):
        raise ValueError(f"{out}: is not empty and holds no {what}; choose another --out")


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Render the page; all text is escaped, only our own SVG is not."""
    write_html(path, "vesalius.eval", "report.html", title=title, subtitle=subtitle, sections=sections)


def to_markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The texts and tables of a page as Markdown; sections of pictures alone are left out."""
    lines = [f"# {title}", "", subtitle, ""]
    for section in sections:
        if not (section.text or section.tables or section.more):
            continue
        lines += [f"## {section.title}", ""]
        for text in (*section.text, *section.more):
            lines += [_plain(text), ""]
        for table in section.tables:
            lines += [
                f"| {' | '.join(table.head)} |",
                f"|{'---|' * len(table.head)}",
                *(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in table.rows),
                "",
            ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A text without what would end a cell or be read as HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
