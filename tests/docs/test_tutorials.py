"""The tutorials are run: the commands and programs of each page, in their order, and what they print is compared.

A page is its own test. Of its fenced blocks, in a folder that is new and empty:

- ```bash and ```python are run as they stand, in the order of the page. Each is a process of its own: what one leaves
  for the next are files. A block has to end with 0, or with N where a comment before it says `<!-- ends with N -->`.
- ```text is what the block before it prints: standard output, and of a block that ends otherwise standard error too.
  White space is one space, and `...` stands for any text, as in doctest.
- ```diff is applied to the folder, as a reader would edit the files that it names.
- ```sh is shown and not run, since it needs what only the reader has; its lines have to be understood all the same.

`<!-- begins in a checkout -->` before the first block gives the page a copy of the sources, which its commands use.
"""

from __future__ import annotations

import dataclasses
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from vesalius.cli.main import find_verb, parse

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "tutorials"
PAGES = sorted(p for p in FOLDER.glob("*.md"))
SHOWN = ("sh", "toml", "json")
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SOURCES = (
    "data", "models", "inference", "eval", "finetune", "improve", "demo", "cli", "typings", "tests", "pyproject.toml",
)  # fmt: skip
LONGEST = 240
"""Seconds of one block, beyond which it hangs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page. ends: the exit code that it has to end with; prints: what it has to print, where the
    page shows that."""

    language: str
    text: str
    place: str
    ends: int = 0
    prints: str | None = None


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page that are run or applied, each with what it prints. AssertionError where a block is of no
    language that says what becomes of it, or is output of nothing."""
    found: list[Block] = []
    ends = 0
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            said = re.fullmatch(r"<!-- ends with (\d+) -->", token.content.strip())
            ends = int(said[1]) if said else ends
        if token.type != "fence":
            continue
        assert token.map is not None
        place = f"{page.name}:{token.map[0] + 1}"
        if token.info == "text":
            assert found, f"{place}: output of nothing"
            assert found[-1].prints is None, f"{place}: output of nothing"
            assert found[-1].language in ("bash", "python"), f"{place}: output of what is not run"
            found[-1] = dataclasses.replace(found[-1], prints=token.content)
            continue
        assert token.info in ("bash", "python", "diff", *SHOWN), f"{place}: a block of '{token.info}'"
        if token.info not in SHOWN:
            found.append(Block(language=token.info, text=token.content, place=place, ends=ends))
        ends = 0
    return found


def run(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block, or apply it. AssertionError where it ends or prints otherwise than the page says."""
    command = {
        "bash": ["bash", "-euo", "pipefail", "-c", block.text],
        "python": [sys.executable, "-c", block.text],
        "diff": ["git", "apply", "-"],
    }[block.language]
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST,
        input=block.text if block.language == "diff" else "",
    )  # fmt: skip
    told = f"{block.place}:\n{block.text}\nprinted:\n{process.stdout}\nand as errors:\n{process.stderr}"
    assert process.returncode == block.ends, f"ends with {process.returncode}, not {block.ends}: {told}"
    printed = process.stdout + (process.stderr if block.ends else "")
    if block.prints is not None:
        same = doctest.OutputChecker().check_output(block.prints, printed, SAME)
        assert same, f"{told}\nwhere the page says:\n{block.prints}"


def begin(page: Path, folder: Path) -> dict[str, str]:
    """Make the folder in which a page begins; what its blocks see: no hub, a home of their own, no other checkout."""
    folder.mkdir(parents=True)
    seen = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "HF_HUB_OFFLINE": "1", "VESALIUS_HOME": str(folder.parent / "home"), "COLUMNS": "100",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),  # or `git apply` would take it for a part of another checkout
    }  # fmt: skip
    if "<!-- begins in a checkout -->" not in page.read_text(encoding="utf-8"):
        return seen
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return {**seen, "PYTHONPATH": str(folder / "typings")}


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if "```bash" in p.read_text("utf-8")], ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    environment = begin(page, folder)
    for block in blocks_of(page):
        run(block, folder, environment)


def test_every_tutorial_is_run_or_walked() -> None:
    """Of the two that have nothing to run, one is the list of them and the other is walked by test_teaching_case.py."""
    assert [page.name for page in PAGES if not blocks_of(page)] == ["index.md", "teaching-case.md"]


def test_what_is_printed_is_held_to_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\necho 3 files in 0.12 s\n```\n\n```text\n3 files in ... s\n```\n")
    (block,) = blocks_of(page)
    run(block, tmp_path, dict(os.environ))
    for drifted in (
        dataclasses.replace(block, prints="4 files in ... s"),
        dataclasses.replace(block, prints=""),
        dataclasses.replace(block, ends=2),
        dataclasses.replace(block, text="false"),
    ):
        with pytest.raises(AssertionError, match=r"page\.md:1"):
            run(drifted, tmp_path, dict(os.environ))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_tutorial_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial_is_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fences = (t for t in MarkdownIt().parse(page.read_text("utf-8")) if t.type == "fence" and t.info in ("bash", "sh"))
    for line in (line for fence in fences for line in fence.content.splitlines()):
        words = shlex.split(line, comments=True)
        if words[:1] == ["vesalius"]:
            verb, rest = find_verb(words[1:])
            assert verb is not None, line
            assert parse(verb, rest) is not None, line
