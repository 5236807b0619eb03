"""The path in a row -> a file inside the folder of a table or dataset, or the reason why not."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vesalius.data.sources.inner import MAX_FILE

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|//|data:")
_FOREIGN = re.compile(r"[A-Za-z]:[\\/]|\\\\|~[\\/]")
"""Absolute paths of Windows, and of a shell."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_remote(name: str) -> bool:
    """Whether a path is an address of another machine."""
    return _REMOTE.match(name) is not None


def inside(root: Path, name: str, where: str) -> Path:
    """The image that a row names, relative to the table's folder. Backslashes of Windows are read as slashes.

    root: the table's folder, resolved. ValueError begins with `where`: a remote address, a path that leads out of the
    folder (by its words or by a link), control characters, or no such file.
    """
    if _CONTROL.search(name):
        raise ValueError(f"{where}: the path {name[:80]!r} holds control characters; correct it or delete the row")
    if is_remote(name):
        raise ValueError(f"{where}: '{name[:200]}' is a remote address; download the image and write its path")
    path, foreign = root / name, bool(_FOREIGN.match(name))
    try:
        if "\\" in name and not foreign and not path.is_file():
            path = root / name.replace("\\", "/")
        if foreign or not path.resolve().is_relative_to(root):
            kind = "absolute path" if foreign or Path(name).is_absolute() else "path"
            raise ValueError(
                f"{where}: the {kind} '{name}' leads out of {root}; copy the image into it, or put the table in the "
                "folder that holds the images, and write the path relative to the table"
            )
        found = path.is_file()
    except (OSError, RuntimeError):  # a name longer than the disk allows, or links in a circle
        found = False
    if not found:
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        raise ValueError(f"{where}: no image at '{root / shown}'; correct the path or delete the row")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{where}: '{path}' may not be read; change its permissions, or delete the row")
    return path


def own_file(root: Path, name: str) -> Path:
    """A file that a dataset's row names. ValueError where it leads out of the dataset, is missing or too large."""
    path = root / name
    shown = f"{root}/{name}"[:300].replace("\0", "?")
    try:
        if "\0" not in name and not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{shown}: leads out of the dataset folder; copy the file into it")
        if "\0" in name or not path.is_file():
            raise ValueError(f"{shown}: missing, no such file; `vesalius data check {root}` tells what else is")
        size = path.stat().st_size
    except (OSError, RuntimeError) as error:  # too long a name, links in a circle, no permission
        raise ValueError(f"{shown}: cannot be read ({error}); build again, or remove the row") from None
    if size > MAX_FILE:
        raise ValueError(f"{shown}: holds {size} bytes, at most {MAX_FILE}; build again, or remove the row")
    return path
