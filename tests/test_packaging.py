"""What is released: archives with the stages and nothing else, the same bytes from the same sources, one version."""

from __future__ import annotations

import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WEIGHTS = ("nano", "nano-fast", "judge", "witness", "reader")
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".dcm", ".nii", ".gz", ".svs"}
COMMIT = ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "sources")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built with the setuptools that is installed: no build environment is fetched."""
    copy = tmp_path_factory.mktemp("wheel")
    for stage in STAGES:
        shutil.copytree(ROOT / stage, copy / stage, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
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


def test_the_wheel_holds_every_other_tracked_file_of_the_stages_and_no_picture(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(["git", "ls-files", *STAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    beside = {f"vesalius/{name}" for name in listed.stdout.split() if not name.endswith(".py")}
    held = {n for n in wheel.namelist() if n.startswith("vesalius/") and not n.endswith((".py", "/"))}
    assert held == beside
    assert {f"vesalius/{stage}/py.typed" for stage in STAGES} <= held
    assert {Path(n).parts[2] for n in held if n.endswith(".safetensors")} == set(WEIGHTS)
    assert not {n for n in held if Path(n).suffix in PICTURES}


def test_the_wheel_tells_its_licence_its_command_and_what_it_needs(wheel: zipfile.ZipFile) -> None:
    root = f"vesalius-{PROJECT['version']}.dist-info"
    assert wheel.read(f"{root}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "vesalius = vesalius.cli.main:entry" in wheel.read(f"{root}/entry_points.txt").decode()
    told = email.message_from_bytes(wheel.read(f"{root}/METADATA"))
    assert (told["Name"], told["Version"]) == ("vesalius", PROJECT["version"])
    assert (told["License-Expression"], told["Requires-Python"]) == ("Apache-2.0", PROJECT["requires-python"])
    assert told.get_all("Classifier") == PROJECT["classifiers"]
    needed = {str(r) for r in map(Requirement, told.get_all("Requires-Dist") or ()) if "extra" not in str(r.marker)}
    assert needed == {str(Requirement(line)) for line in PROJECT["dependencies"]}


def test_one_version_is_told_everywhere_with_its_day() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\S+)\] - (.+)$", changes, re.MULTILINE)
    assert versions[0] == (PROJECT["version"], str(told["date-released"]))
    assert told["version"] == PROJECT["version"]
    assert date.fromisoformat(versions[0][1]) <= date.today()
    assert (
        f"Programming Language :: Python :: {PROJECT['requires-python'].removeprefix('>=')}" in PROJECT["classifiers"]
    )


def test_everything_that_is_installed_for_development_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pins = {canonicalize_name(line.split("==")[0]) for line in lines}
    assert lines == sorted(lines, key=str.lower)
    assert len(pins) == len(lines)
    todo, seen = {("vesalius", "dev")}, set[tuple[str, str]]()
    while todo:
        name, extra = todo.pop()
        seen.add((name, extra))
        own = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]] if name == "vesalius" else []
        for requirement in map(Requirement, own or metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                todo |= {(needed, more) for more in requirement.extras or {""}} - seen
    assert {name for name, _ in seen} - pins == {"vesalius"}


def sources(folder: Path) -> Path:
    """The tree as it stands, committed in a repository of its own at a day long ago."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    days = {"GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z", "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z"}
    for words in (["init", "--quiet"], ["add", "--all"], COMMIT):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **days}, check=True)
    return folder


def release(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", ".ci/release", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=2400
    )


def test_a_release_of_what_is_not_committed_or_not_in_the_changelog_is_refused(tmp_path: Path) -> None:
    for name in (".ci/release", "pyproject.toml", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    process = release(tmp_path)
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert "the tree holds changes; commit them" in process.stderr
    changes = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(re.sub(r"(?m)^(## \[\S+\] - ).+$", r"\1unreleased", changes))
    for words in (["add", "--all"], COMMIT):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    process = release(tmp_path)
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert f"no entry '## [{PROJECT['version']}] - YEAR-MONTH-DAY'" in process.stderr
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
def test_a_release_is_the_same_anywhere_installs_alone_and_draws(tmp_path: Path) -> None:
    """The wheel is built of the sdist, so that installing it tries both. The script itself installs it into an empty
    environment, asks for help and the machine's state, and draws a picture."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp_path / "asked", "segno"],
        capture_output=True,
    )
    if found.returncode:
        pytest.skip("needs a package index")
    first, second = (sources(tmp_path / name) for name in ("here", "elsewhere/and deeper"))
    process = release(first)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "1 image: samples" in process.stderr + process.stdout
    dist, name = first / "dist", f"vesalius-{PROJECT['version']}"
    archives = (f"{name}-py3-none-any.whl", f"{name}.tar.gz")
    assert {p.name for p in dist.iterdir()} == {*archives, f"{name}.cdx.json", "SHA256SUMS"}
    for line in (dist / "SHA256SUMS").read_text().splitlines():
        digest, file = line.split()
        assert hashlib.sha256((dist / file).read_bytes()).hexdigest() == digest

    for path in second.rglob("*.py"):  # another umask, another hour
        path.chmod(0o600)
        os.utime(path, (1e9, 1e9))
    again = release(second, "archives")
    assert again.returncode == 0, again.stdout + again.stderr
    for file in archives:
        assert (dist / file).read_bytes() == (second / "dist" / file).read_bytes(), file

    with tarfile.open(dist / f"{name}.tar.gz") as sdist:
        held = {Path(m.name).relative_to(name) for m in sdist if m.isfile()}
    made = {Path("PKG-INFO"), Path("setup.cfg")}
    beside = {*map(Path, ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"))}
    beside |= {*map(Path, ("CHANGELOG.md", "CITATION.cff", "constraints.txt"))}
    assert {p for p in held if p.parts[0] not in (*STAGES, "vesalius.egg-info")} == beside | made
    assert not {p for p in held if p.suffix in PICTURES}
    check_bill(json.loads((dist / f"{name}.cdx.json").read_text(encoding="utf-8")))


def check_bill(bill: dict[str, Any]) -> None:
    """A CycloneDX document of the wheel and of what it brings, without tools of development or paths of a machine."""
    told = bill["metadata"]["component"]
    assert (bill["bomFormat"], told["name"], told["version"]) == ("CycloneDX", "vesalius", PROJECT["version"])
    names = {canonicalize_name(component["name"]) for component in bill["components"]}
    assert {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} <= names
    assert not names & {"pip", "pytest", "mypy", "ruff", "ray", "vesalius"}
    assert "file:" not in json.dumps(bill)
