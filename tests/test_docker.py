"""The Dockerfile, read: what it copies is there, and it fits the package's settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = [
    line.split() for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines() if line.strip() and not line.startswith("#")
]


def copied() -> list[str]:
    """What is copied out of the source tree."""
    copies = [words[1:-1] for words in LINES if words[0] == "COPY" and not words[1].startswith("--from=")]
    return [name for names in copies for name in names]


def test_everything_that_is_copied_is_there_and_let_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for name in copied():
        assert (ROOT / name).exists(), name
        assert name.endswith("/") == (ROOT / name).is_dir(), name
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_every_package_and_all_that_building_it_reads_is_copied() -> None:
    packages = {name.split(".")[1] + "/" for name in PROJECT["tool"]["setuptools"]["packages"]}
    files = {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "constraints.txt"}
    assert packages | files == set(copied())


def test_its_python_is_one_that_the_package_supports() -> None:
    (image,) = re.findall(r"^ARG BASE=python:(\d+)\.(\d+)", DOCKERFILE, re.MULTILINE)
    (least,) = re.findall(r"^>=(\d+)\.(\d+)$", PROJECT["project"]["requires-python"])
    assert tuple(map(int, image)) >= tuple(map(int, least))
    assert f"Programming Language :: Python :: {'.'.join(image)}" in PROJECT["project"]["classifiers"]


def test_torch_is_pinned_where_the_image_looks_for_it() -> None:
    assert "grep '^torch==' constraints.txt" in DOCKERFILE
    assert len(re.findall(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)) == 1


def test_the_command_is_run_by_no_root() -> None:
    last = LINES[max(i for i, words in enumerate(LINES) if words[0] == "FROM") :]
    (user,) = (words[1] for words in last if words[0] == "USER")
    assert user.isdecimal()
    assert int(user) > 0
    (entry,) = (words[1] for words in last if words[0] == "ENTRYPOINT")
    assert entry == '["vesalius"]'
    assert "vesalius" in PROJECT["project"]["scripts"]
