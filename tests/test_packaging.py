"""The wheel: built from a copy of the sources, it holds the stages with their data and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built with the setuptools that is installed: no build environment is fetched."""
    copy = tmp_path_factory.mktemp("wheel")
    for stage in STAGES:
        shutil.copytree(ROOT / stage, copy / stage, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", "out"]
    process = subprocess.run(build, cwd=copy, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (path,) = (copy / "out").glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_and_no_test(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {f"vesalius/{p.relative_to(ROOT).as_posix()}" for s in STAGES for p in (ROOT / s).rglob("*.py")}
    assert {n for n in names if n.endswith(".py")} == modules
    assert {n.split("/")[1] for n in names if n.startswith("vesalius/")} == set(STAGES)


def test_the_wheel_holds_types_pages_and_weights(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"vesalius/{stage}/py.typed" for stage in STAGES} <= names
    pages = {p.relative_to(ROOT).as_posix() for s in STAGES for p in (ROOT / s).rglob("*.html")}
    assert {"data/command/page.html", "eval/report.html"} <= pages
    assert {f"vesalius/{page}" for page in pages} <= names
    for folder in ("nano", "nano-fast", "judge", "witness", "reader"):
        weights = {p.relative_to(ROOT).as_posix() for p in (ROOT / "models" / folder).rglob("*") if p.is_file()}
        assert {f"vesalius/{name}" for name in weights} <= names


def test_the_wheel_has_the_command(wheel: zipfile.ZipFile) -> None:
    (entry,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "vesalius = vesalius.cli.main:entry" in wheel.read(entry).decode()
