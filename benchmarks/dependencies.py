"""What each dependency is for, who uses it, and what it costs: the tables of docs/dependencies.md.

    python -m benchmarks.dependencies [--repeats 3] [--page docs/dependencies.md]

Names and floors are read from pyproject.toml, reasons from dependencies.toml beside this file, users from the imports
of the stages. Megabytes are those of the files that a distribution installs. Seconds are processor time of a fresh
interpreter that imports it, less those of one that imports nothing, the median of repeats. Both are of what is
installed here; what is not installed has none.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")
CLOCK = "import time\n{}\nprint(time.process_time())"


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Write the tables of the page anew."""

    repeats: int = 3
    """interpreters that import each; the median is written"""
    page: Path = ROOT / "docs" / "dependencies.md"
    """the page; all but its tables stays"""


class Dependency(NamedTuple):
    """A line of pyproject.toml with what is said of it and who imports it."""

    name: str
    extra: str
    floor: str
    told: dict[str, str]
    users: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.told.get("module", self.name)


def main(config: Dependencies) -> None:
    found = read()
    megabytes = {d.name: size(d.name) for d in found}
    nothing = seconds("", config.repeats)
    timed = {d.name: seconds(f"import {d.module}", config.repeats) - nothing for d in found if d.users and has(d)}
    text = config.page.read_text(encoding="utf-8")
    core, extras = [d for d in found if not d.extra], [d for d in found if d.extra]
    for name, rows in (
        ("core", reasons(core)),
        ("extras", reasons(extras)),
        ("floors", floors(found)),
        ("costs", costs(found, megabytes, timed)),
        ("total", total(core)),
    ):
        text = fill(text, name, rows)
    config.page.write_text(text, encoding="utf-8")
    print(f"{config.page}: {len(core)} dependencies, {len(extras)} in extras")


@cache
def read() -> tuple[Dependency, ...]:
    """All dependencies in the order of pyproject.toml, the core first, without tools of development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = tomllib.loads((ROOT / "benchmarks" / "dependencies.toml").read_text(encoding="utf-8"))
    users = imports()
    lines = [("", line) for line in project["dependencies"]]
    lines += [(extra, s) for extra, ss in project["optional-dependencies"].items() if extra != "dev" for s in ss]
    found = []
    for extra, line in lines:
        name, floor = line.split(";")[0].strip().split(">=")
        words = told[name]
        found.append(Dependency(name, extra, floor, words, users.get(words.get("module", name), ())))
    assert set(told) == {d.name for d in found}, set(told) ^ {d.name for d in found}
    return tuple(found)


@cache
def imports() -> dict[str, tuple[str, ...]]:
    """The files of the stages that import a module from outside, by its first name."""
    users: dict[str, list[str]] = {}
    for path in sorted(p for stage in STAGES for p in (ROOT / stage).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
        for name in names - set(sys.stdlib_module_names) - {"vesalius"}:
            users.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return {name: tuple(files) for name, files in users.items()}


def has(dependency: Dependency) -> bool:
    try:
        metadata.distribution(Requirement(dependency.name).name)
    except metadata.PackageNotFoundError:
        return False
    return True


def size(name: str) -> float | None:
    """Megabytes on disk of a distribution's own files, None where it is not installed."""
    try:
        files = metadata.files(Requirement(name).name) or []
    except metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def seconds(code: str, repeats: int) -> float:
    """Processor seconds of a fresh interpreter that runs some code; the first of the runs only warms the disk."""
    runs = []
    for _ in range(repeats + 1):
        words = [sys.executable, "-c", CLOCK.format(code)]
        runs.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1]))
    return statistics.median(runs[1:])


def closure(names: Iterable[str]) -> set[str]:
    """Everything that some distributions bring, themselves too, as far as it is installed."""
    todo, seen = {(canonicalize_name(Requirement(name).name), "") for name in names}, set[tuple[str, str]]()
    while todo:
        name, extra = todo.pop()
        seen.add((name, extra))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                todo |= {(needed, more) for more in requirement.extras or {""}} - seen
    return {name for name, _ in seen}


def reasons(rows: Sequence[Dependency]) -> list[str]:
    named = any(d.extra for d in rows)
    lines = ["| dependency | why | what would replace it |", "|---|---|---|"]
    for d in rows:
        name = f"`{d.name}`" + (f" (`vesalius[{d.extra}]`)" if named else "")
        lines.append(f"| {name} | {d.told['why']} | {d.told['instead']} |")
    return lines


def floors(rows: Sequence[Dependency]) -> list[str]:
    lines = ["| at least | above what |", "|---|---|"]
    return lines + [f"| `{d.name}` {d.floor} | {d.told['floor']} |" for d in rows if "floor" in d.told]


def costs(rows: Sequence[Dependency], megabytes: dict[str, float | None], timed: dict[str, float]) -> list[str]:
    """A row for each: its files, its megabytes, those that would leave with it, and its seconds."""
    core = {d.name for d in rows if not d.extra}
    lines = [
        "| dependency | used by | MB | MB that leave with it | s to import |",
        "|---|---|--:|--:|--:|",
    ]
    whole = closure(core)
    for d in rows:
        left = whole - closure(core - {d.name}) if d.name in core else closure({d.name}) - whole
        own = megabytes[d.name]
        leaves = None if own is None else sum(size(name) or 0.0 for name in left)
        lines.append(
            f"| `{d.name}` | {users_of(d)} | {number(own)} | {number(leaves)} | {number(timed.get(d.name), 2)} |"
        )
    return lines


def users_of(dependency: Dependency) -> str:
    """The file, or the stages with their counts of files, or the library that imports it."""
    if "through" in dependency.told:
        return f"through {dependency.told['through']}"
    if len(files := dependency.users or (dependency.told["by"],)) == 1:
        return f"`{files[0]}`"
    stages = [file.split("/")[0] for file in dependency.users]
    return f"{len(stages)} files: " + ", ".join(f"{s} {stages.count(s)}" for s in STAGES if s in stages)


def total(core: Sequence[Dependency]) -> list[str]:
    names = closure(d.name for d in core)
    whole = sum(size(name) or 0.0 for name in names)
    torch = size("torch") or 0.0
    version = metadata.version("torch")
    return [
        f"`pip install vesalius` brings {len(names)} distributions of {whole / 1000:.2f} GB; torch {version} is "
        f"{torch / 1000:.2f} GB of them."
    ]


def number(value: Any, digits: int = 1) -> str:
    return "" if value is None else f"{max(value, 0):.{digits}f}"


def fill(text: str, name: str, lines: list[str]) -> str:
    """The page with one of its tables new."""
    start, end = f"<!-- {name}: made by `make dependencies` -->", "<!-- end -->"
    pattern = re.compile(rf"({re.escape(start)}\n).*?({re.escape(end)})", re.DOTALL)
    assert len(pattern.findall(text)) == 1, f"{start} is not there once"
    return pattern.sub(lambda match: match[1] + "\n" + "\n".join(lines) + "\n\n" + match[2], text)


if __name__ == "__main__":
    main(tyro.cli(Dependencies))
