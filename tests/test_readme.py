"""The README is run: its Python, its file tree compared. Of every page of the documentation the command
lines are parsed and the links followed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from vesalius.cli.main import VERBS, find_verb, parse

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARDS = sorted((ROOT / "models").glob("*/README.md"))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *CARDS)
RECIPES = ROOT / "docs" / "how-to" / "fine-tune.md"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, those inside lists too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def lines(command: str, pages: Sequence[Path] = PAGES) -> list[list[str]]:
    """The words of every line of some pages, or of the whole documentation, that calls a command."""
    texts = [block for page in pages for block in blocks(page.read_text("utf-8"), "bash")]
    found = [line for text in texts for line in re.sub(r" \\\n +", " ", text).splitlines()]
    # What a launcher starts as a module, or a pipe feeds, is the same line.
    plain = (
        re.sub(r"^(accelerate launch .* -m vesalius\.cli\.main|.*\| vesalius)", "vesalius", s.strip()) for s in found
    )
    return [words for words in (shlex.split(line, comments=True) for line in plain) if words[:1] == [command]]


SMALLER = {
    "num=120": "num=24", "steps=20": "steps=1, num_validation=2, num_pictures=0",
    "num=4, seed=1": "num=4, seed=1, steps=2",
}  # fmt: skip
"""What of the README's Python takes long -> the same with less work."""


@pytest.mark.parametrize(
    "smaller", [pytest.param(SMALLER, id="smaller"), pytest.param({}, marks=pytest.mark.slow, id="as written")]
)
def test_the_python_of_the_readme_runs(tmp_path: Path, smaller: dict[str, str]) -> None:
    if not (ROOT / "models" / "nano" / "model_index.json").is_file():
        pytest.skip("needs the embedded base, models/nano")
    (code,) = blocks(README, "python")
    for told, less in smaller.items():
        assert code.count(told) == 1
        code = code.replace(told, less)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path / "home")}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert {p.name for p in tmp_path.glob("*.png")} == {f"nodule-{i}.png" for i in range(4)}
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} - {"home"} == {"phantoms", "run"}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_the_readme_shows_every_verb(verb: object) -> None:
    assert verb in [find_verb(words[1:])[0] for words in lines("vesalius", [ROOT / "README.md"])]


def test_every_command_line_of_the_documentation_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe,) = blocks(RECIPES.read_text("utf-8"), "toml")
    (tmp_path / "recipe.toml").write_text(recipe)
    (tmp_path / "runs").symlink_to(ROOT / "runs")
    monkeypatch.chdir(tmp_path)
    for words in lines("vesalius"):
        verb, rest = find_verb(words[1:])
        assert verb is not None, words
        assert parse(verb, rest) is not None, words


def test_every_verb_that_a_sentence_names_is_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`vesalius ([a-z][^`\n]*)`", page.read_text("utf-8"))}
    assert {"data build", "cloud render"} <= named
    groups = {verb.words.split()[0] for verb in VERBS}
    assert [name for name in sorted(named - groups) if find_verb(name.split())[0] is None] == []


def test_every_module_and_script_of_the_documentation_is_there() -> None:
    told = "\n".join(page.read_text("utf-8") for page in PAGES)
    ours = re.findall(r"\bpython -m ((?:vesalius|benchmarks)\.[\w.]*\w)", told)
    modules = {name.removeprefix("vesalius.") for name in ours}
    scripts = set(re.findall(r"\b(?:python|bash) (\w[\w/-]*\.(?:py|sh))\b", told))
    assert {"benchmarks.cost", "finetune.base.denoiser"} <= modules
    assert {"runs/train-nano.sh", "runs/contact_sheet.py"} <= scripts
    files = {f"{name.replace('.', '/')}.py" for name in modules} | scripts
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def test_every_name_of_the_code_that_the_documentation_says_is_there() -> None:
    told = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = re.compile(rf"\bvesalius\.((?:{'|'.join(STAGES)})\.[\w.]*\w)")
    wrong = []
    for name in sorted(set(named.findall(told))):
        parts, place = name.split("."), ROOT
        while parts and (place / parts[0]).is_dir():
            place /= parts.pop(0)
        module = place / f"{parts[0]}.py" if parts else place / "__init__.py"
        source = module if module.is_file() else place / "__init__.py"
        rest = parts[1:] if parts and module.is_file() else parts
        if not all(re.search(rf"\b{part}\b", source.read_text("utf-8")) for part in rest[:1]):
            wrong.append(name)
    assert wrong == []


def test_every_make_target_of_the_documentation_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for words in lines("make") for word in words[1:]}
    assert {"quickstart", "test"} <= asked <= targets


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tree_of_files_is_the_one_on_disk() -> None:
    (tree,) = blocks(README, "text")
    told: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        place = "".join(folders[:depth]) + name
        told.add(place)
        folders[depth:] = [name]
    modules = {p.relative_to(ROOT).as_posix() for s in STAGES for p in (ROOT / s).rglob("*.py")}
    assert {name for name in modules - told if not name.endswith("__init__.py")} == set(), "add each to the tree"
    assert {name for name in told if not (ROOT / name).exists()} == set()


def test_version_and_licence_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
