"""Which fine-tuning runs lie below a folder, and how far each is. Reads alone: no lock is taken, nothing is loaded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vesalius.data.command.fields import Settled

State = Literal["running", "finished", "stopped", "new", "damaged"]
LOCKS = Path("/proc/locks")
MARKS = ("checkpoints", "losses.jsonl", "adapter")
"""What only runs have beside their config.json; it tells a damaged run from some other program's config.json."""
FIELDS = {"base", "data", "steps", "rank", "validate_every", "save_every"}
"""Fields that the configuration of a run that makes an adapter has, and that of a loop or a samples folder has not."""
CLOSED = {"images", "raw16", "checkpoints", "cache", "adapter"}
"""Folders in which there are no runs, but may be many files."""


@dataclass(frozen=True, kw_only=True)
class RunsConfig(Settled):
    """The fine-tuning runs below some folders, newest first."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path(),)
    """where to look; the current folder by default"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder.

    state: running (a process of this machine holds the folder), finished (its adapter is there), stopped (the same line
    continues it), new (no checkpoint yet), damaged (`problem` says what). best and best_step: the lowest validation
    loss and its step. num_bytes: size on disk. age: seconds since it was last written to.
    """

    path: Path
    """the run folder"""
    state: State
    step: int = 0
    """updates so far"""
    steps: int = 0
    """updates in all"""
    best: float | None = None
    best_step: int | None = None
    base: str = ""
    """name of the base"""
    num_bytes: int = 0
    age: float = 0.0
    problem: str | None = None


def list_runs(config: RunsConfig) -> list[Run]:
    """All runs below the folders, those last written to first. ValueError for a folder that is not there."""
    for folder in config.folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; give one that holds runs, or none for the current one")
    found: dict[Path, Path] = {}
    for folder in config.folders:
        for path in find_runs(folder):
            found.setdefault(path.resolve(), path)
    now = time.time()
    return sorted((read_run(path, now) for path in found.values()), key=lambda run: (run.age, str(run.path)))


def find_runs(folder: Path) -> Iterator[Path]:
    """Run folders at or below a folder. Links are not followed, hidden folders and datasets are not entered."""
    for place, folders, files in os.walk(folder):
        path = Path(place)
        if "config.json" in files and (
            is_run(_object(path / "config.json")) or _looks_damaged(path, {*folders, *files})
        ):
            yield path
            folders.clear()
        elif "manifest.json" in files:
            folders.clear()
        else:
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in CLOSED)


def is_run(config: dict[str, Any] | None) -> bool:
    """Whether a config.json is that of a run that makes an adapter."""
    return config is not None and config.keys() >= FIELDS


def _looks_damaged(path: Path, names: set[str]) -> bool:
    return _object(path / "config.json") is None and bool(names & {*MARKS})


def read_run(path: Path, now: float) -> Run:
    """What a run folder says of itself. A damaged one is told as such; no error."""
    try:
        size, latest = _size(path)
        age = max(0.0, now - latest)
        config = _object(path / "config.json")
        if config is None:
            return Run(
                path=path, state="damaged", num_bytes=size, age=age,
                problem=f"{path / 'config.json'}: holds no JSON object; without it the run cannot be continued",
            )  # fmt: skip
        steps, base = config.get("steps"), config.get("base")
        if type(steps) is not int or not isinstance(base, str):
            return Run(
                path=path, state="damaged", num_bytes=size, age=age,
                problem=f"{path / 'config.json'}: steps is {steps!r} and base {base!r}; expected a number and a name",
            )  # fmt: skip
        saved, rows = _newest_state(path / "checkpoints")
        finished = (path / "adapter" / "adapter_config.json").is_file()
        if finished:
            saved, rows = steps, _validation(path / "validation.json") or rows
        running = is_held(path)
        best = min(rows, key=lambda row: row[1], default=None)
        return Run(
            path=path, state="running" if running else "finished" if finished else "stopped" if saved else "new",
            step=max(saved, _last_step(path / "losses.jsonl")) if running else saved, steps=steps,
            best=best[1] if best else None, best_step=best[0] if best else None, base=base, num_bytes=size, age=age,
        )  # fmt: skip
    except OSError as error:
        return Run(path=path, state="damaged", problem=f"{error.filename or path}: {error.strerror or error}")


def is_held(folder: Path) -> bool:
    """Whether a process of this machine holds a folder with `vesalius.data.record.hold`.

    The kernel's list of locks is read: to try the lock, however briefly, could turn away a run that starts just then.
    False where the system keeps no such list, or shows none of other users' and containers' processes.
    """
    try:
        place, lines = folder.stat(), LOCKS.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        words = line.split()  # 1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF
        if len(words) < 6 or words[1:4] != ["FLOCK", "ADVISORY", "WRITE"]:
            continue
        major, minor, inode = words[5].split(":")
        if int(inode) == place.st_ino and (
            os.makedev(int(major, 16), int(minor, 16)) == place.st_dev or _has_open(words[4], place)
        ):
            return True
    return False


def _has_open(process: str, place: os.stat_result) -> bool:
    """Whether a process has a folder open: btrfs lists its locks under another device than it tells of a file."""
    with suppress(OSError):
        for handle in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(handle.stat(), place):
                    return True
    return False


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file, or None."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _newest_state(folder: Path) -> tuple[int, list[tuple[int, float]]]:
    """Step and validation losses of the newest checkpoint that can be read; (0, []) where there is none."""
    for checkpoint in sorted(folder.glob("step-*"), reverse=True):
        state = _object(checkpoint / "state.json")
        if state is not None and type(state.get("step")) is int:
            return state["step"], _pairs(state.get("validation"))
    return 0, []


def _validation(path: Path) -> list[tuple[int, float]]:
    """The validation losses that a finished run wrote."""
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return _pairs([(row.get("step"), row.get("loss")) for row in _list(rows) if isinstance(row, dict)])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _pairs(rows: Any) -> list[tuple[int, float]]:
    """Those of some rows that are a step and a loss."""
    return [
        (row[0], float(row[1]))
        for row in _list(rows)
        if isinstance(row, list | tuple) and len(row) == 2 and type(row[0]) is int and type(row[1]) in (int, float)
    ]


def _last_step(path: Path) -> int:
    """The step of the last whole line of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    for line in reversed(lines):
        with suppress(ValueError, TypeError, KeyError):
            return int(json.loads(line)["step"])
    return 0


def _size(path: Path) -> tuple[int, float]:
    """Bytes of a folder's files, and when one of them was last written; files that vanish meanwhile are passed over."""
    total, latest = 0, path.stat().st_mtime
    for place, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                facts = os.lstat(os.path.join(place, name))
                total, latest = total + facts.st_size, max(latest, facts.st_mtime)
    return total, latest
