"""The site of the documentation: built strictly, in need of no other server; what it repeats is as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CARDS = sorted((ROOT / "models").glob("*/README.md"))
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attributes whose address a browser fetches by itself."""


class Loaded(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADING.get(tag, ""))
        if address and dict(attrs).get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(address)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip('needs mkdocs-material: pip install -e ".[dev]"')
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    process = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    pages = {page.relative_to(tmp_path / "site").as_posix() for page in (tmp_path / "site").rglob("*.html")}
    assert {
        "index.html",
        "results.html",
        "tutorials/index.html",
        "reference/index.html",
        "how-to/evaluate.html",
    } <= pages
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text("utf-8"))
        assert [a for a in loaded.addresses if re.match(r"(https?:)?//", a)] == [], page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_every_picture_of_the_documentation_is_said_to_be_synthetic() -> None:
    for page in (ROOT / "README.md", *DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        if re.search(r"!\[[^\]]*\]\(", text):
            assert "Synthetic: not for diagnosis" in text, page
        for alt in re.findall(r"!\[([^\]]*)\]\(", text):
            assert alt.strip(), f"{page}: a picture that screen readers cannot tell"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_the_page_on_models_repeats_each_card_word_for_word(card: Path) -> None:
    def plain(text: str) -> list[str]:
        unlinked = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("`", "")
        return [line.lstrip("#").strip() for line in unlinked.splitlines() if line.strip()]

    there = set(plain((DOCS / "models.md").read_text("utf-8")))
    said = card.read_text("utf-8").split("---\n", 2)[2]
    assert [line for line in plain(said) if line not in there] == []


def test_a_contact_sheet_shows_every_sample_below_its_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    (folder / "images").mkdir(parents=True)
    colours = {"a-0": (250, 0, 0), "a-1": (0, 250, 0), "b-0": (0, 0, 250)}
    for name, colour in colours.items():
        Image.new("RGB", (8, 8), colour).save(folder / "images" / f"{name}.png")
    row = '{{"file_name": "images/{}.png", "text": "{}", "modality": "CT", "seed": 1, "steps": 1, "guidance": 1.0}}\n'
    (folder / "metadata.jsonl").write_text("".join(row.format(name, f"prompt {name[0]}") for name in colours))
    made = [sys.executable, str(ROOT / "runs" / "contact_sheet.py"), str(folder), str(tmp_path / "sheet.png")]
    subprocess.run(made, check=True)
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    counts = {colour: number for number, colour in sheet.getcolors(1 << 24) or []}
    assert [counts.get(colour) for colour in colours.values()] == [192 * 192] * 3
