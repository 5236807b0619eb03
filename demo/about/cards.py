"""Model cards and licences of what draws here, as they lie in its folders: text of others, so bounded and cleaned."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from vesalius.demo.config import DemoConfig
from vesalius.models.adapters.adapter import EMBEDDED
from vesalius.models.adapters.mix import parse_adapters
from vesalius.models.base import base_folder

CARD = "README.md"
MOST = 60_000
"""Characters of a card that are shown."""
_FRONT = re.compile(r"\A---\n(?P<front>.*?)\n---\n", re.DOTALL)
_LICENCE = re.compile(r"^license:\s*(?P<name>[\w .+-]{1,60})$", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?!https?://)[^)]*\)")
_HEADING = re.compile(r"^(?P<marks>#{1,4}) ", re.MULTILINE)


def cards_of(config: DemoConfig) -> list[tuple[str, str]]:
    """Base and adapters by name, each with its card as Markdown; "" where it has none."""
    found = [(name_of(config.base), _card(_folder_of_base(config.base)))]
    return found + [(name_of(s.adapter), _card(_folder_of_adapter(s.adapter))) for s in parse_adapters(config.adapter)]


def name_of(place: str) -> str:
    """What people call a base or an adapter: a hub id as it is, of a folder its own name."""
    path = Path(place)
    return path.name if path.is_dir() or path.is_absolute() else place


def licence_of(card: str) -> str:
    """The licence that a card's front matter names; "" where it names none."""
    front = _FRONT.match(card)
    named = _LICENCE.search(front["front"]) if front else None
    return named["name"].strip() if named else ""


def shown(card: str) -> str:
    """A card as the page shows it: no front matter, no tags, no images from elsewhere, no links to other files, and its
    headings below the page's own."""
    text = _FRONT.sub("", card)[:MOST]
    text = _IMAGE.sub("", text).replace("<", "&lt;")
    text = _LINK.sub(lambda m: m["text"], text)
    return _HEADING.sub(lambda m: f"{m['marks']}## ", text)


def _folder_of_base(base: str) -> Path | None:
    try:
        return base_folder(base, weights=False)
    except ValueError:
        return None


def _folder_of_adapter(adapter: str) -> Path:
    if adapter in EMBEDDED:
        return Path(str(resources.files("vesalius.models"))) / adapter
    folder = Path(adapter).expanduser()
    return folder if (folder / CARD).is_file() else folder / "adapter"


def _card(folder: Path | None) -> str:
    path = None if folder is None else folder / CARD
    if path is None or not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(2 * MOST)
