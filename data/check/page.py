"""The page of a check: one HTML file with counts, charts and small pictures of what is suspicious."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from vesalius.data.command.page import write_html
from vesalius.data.datasets.shards import fetch

MOST_BARS = 16
MOST_PICTURES = 12
"""Pictures of one kind of suspicion."""
EDGE = 160


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One or two records to look at: their names in the dataset, and why."""

    file_names: tuple[str, ...]
    note: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    title: str
    text: str
    suspects: list[Suspect] = field(default_factory=list)

    def add(self, suspect: Suspect) -> None:
        if len(self.suspects) < MOST_PICTURES:
            self.suspects.append(suspect)


@dataclass(frozen=True, kw_only=True)
class Bar:
    name: str
    count: str
    percent: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    title: str
    bars: Sequence[Bar]


def chart(title: str, counts: Mapping[str, int]) -> Chart:
    """Counts as bars; those beyond MOST_BARS become one."""
    shown = list(counts.items())[:MOST_BARS]
    rest = list(counts.items())[MOST_BARS:]
    if rest:
        shown.append((f"{len(rest)} more", sum(n for _, n in rest)))
    most = max((n for _, n in shown), default=1) or 1
    return Chart(title=title, bars=[Bar(name=k, count=f"{n:,}", percent=round(100 * n / most, 1)) for k, n in shown])


def write_check_page(
    path: Path, root: Path, subtitle: str, problems: Sequence[str], warnings: Sequence[str],
    charts: Iterable[Chart], sheets: Sequence[Sheet],
) -> None:  # fmt: skip
    """Render the page; all text is escaped. Pictures that do not open are left out."""
    wanted = {name for sheet in sheets for suspect in sheet.suspects for name in suspect.file_names}
    files = fetch(root, wanted) if wanted else {}
    pictures = {name: data for name, content in files.items() if (data := _picture(Path(name), content))}
    shown = [
        {
            "title": sheet.title,
            "text": sheet.text,
            "figures": [
                {
                    "images": [pictures[name] for name in suspect.file_names if name in pictures],
                    "alt": suspect.file_names[0],
                    "caption": f"{', '.join(suspect.file_names)} {suspect.text[:300]}".strip(),
                    "note": suspect.note,
                }
                for suspect in sheet.suspects
            ],
        }
        for sheet in sheets
        if sheet.suspects
    ]
    write_html(
        path, "vesalius.data.check", "check.html", title=f"Check of {root.resolve().name}", subtitle=subtitle,
        problems=problems, warnings=warnings, charts=list(charts), sheets=shown,
    )  # fmt: skip


def _picture(name: Path, content: bytes) -> str | None:
    """A small JPEG as a data address."""
    from PIL import Image

    from vesalius.data.images.image import read_image

    try:
        image = read_image(name, content)
    except ValueError:
        return None
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.thumbnail((EDGE, EDGE))
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
