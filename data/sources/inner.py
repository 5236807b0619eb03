"""Files inside other files: of an archive, of a table's row, of a shard."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path, PurePosixPath

MAX_FILE = 512_000_000
"""Most bytes of one file; it is held in memory while it is read."""


class Inner(ABC):
    """A file inside another, with as much of `pathlib.Path` as readers of files use. inner: its name there."""

    inner: str

    @property
    @abstractmethod
    def outer(self) -> Path:
        """The file that it lies in."""

    def __str__(self) -> str:
        return f"{self.outer}/{self.inner}"

    @property
    def name(self) -> str:
        return PurePosixPath(self.inner).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def stat(self) -> os.stat_result:
        return self.outer.stat()

    @abstractmethod
    def open(self, mode: str = "rb") -> BytesIO:
        """The content, in memory. ValueError names the file where there is none, or it is damaged or too large."""
