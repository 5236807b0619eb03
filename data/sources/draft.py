"""What stands between a source and a record: drafts, encoded images and refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.data.record import Record
from vesalius.data.sources.archive import Place

Kind = Literal["image", "dicom", "nifti", "slide"]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One image of a source with what is known of it before its pixels are read.

    where: "cases.csv:17" or the file's name, for messages. path: the file, on disk or in an archive.
    record: its text and columns; file_name is still the source's. split: the source's own word for it, or None.
    part: which picture of the file: (frame,) of DICOM, (axis, slice) of NIfTI, (x, y, edge) of a slide's tile.
    stain: to what the stain is brought, "macenko", or None for as it is.
    search_text: whether text burned into the pixels must be looked for.
    """

    where: str
    path: Place
    record: Record
    split: str | None = None
    kind: Kind = "image"
    part: tuple[int, ...] = ()
    stain: str | None = None
    search_text: bool = False

    def state(self) -> tuple[int, int]:
        """Bytes and time of change of the file on disk. OSError where it is gone."""
        stat = self.path.stat()
        return stat.st_size, stat.st_mtime_ns

    def refused(self, reason: str) -> Refused:
        """The draft as one that cannot become a record."""
        row = re.fullmatch(r"(.*):(\d+)", self.where, re.DOTALL)
        if row and self.where != str(self.path):
            return Refused(file=row[1], row=int(row[2]), reason=reason)
        return Refused(file=self.where, row=None, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One row or file that cannot become a record. reason is a whole message that names the file, and the remedy."""

    file: str
    row: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An image made from a draft: a file under a temporary name, its digest, and the window it was seen through."""

    path: Path
    sha256: str
    window: str | None
