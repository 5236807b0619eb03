"""Files inside ZIP archives, read where they lie: nothing is unpacked, so no name can lead out of a folder."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath

from vesalius.data.datasets.streamed import Packed
from vesalius.data.sources.inner import MAX_FILE, Inner
from vesalius.data.tables.cells import Cell

MAX_RATIO = 1100
"""Most bytes that an archive may unpack to for each of its own. Deflate reaches 1032: more means overlapping files."""
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, OSError,
)  # fmt: skip
"""What the standard library raises over damaged archives."""
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True)
class Member(Inner):
    """One file of a ZIP archive."""

    archive: Path
    inner: str

    @property
    def outer(self) -> Path:
        return self.archive

    def open(self, mode: str = "rb") -> BytesIO:
        assert mode == "rb"
        return BytesIO(_content(self, self.archive.stat().st_mtime_ns))


Place = Path | Member | Cell | Packed
"""Where a file's bytes are: on disk, in an archive, in a row of a table or in a shard."""


def members(archive: Path) -> Iterator[Member | str]:
    """The files of a ZIP in the order of their names; in place of one that is refused, the reason with its name.

    ValueError where the archive as a whole is damaged or unpacks to far more than it could honestly hold.
    """
    try:
        infos = _opened(archive, archive.stat().st_mtime_ns).infolist()
    except DAMAGE as error:
        raise ValueError(f"{archive}: not a ZIP archive, or damaged ({error}); make it again") from None
    total = sum(info.file_size for info in infos)
    if total > MAX_RATIO * archive.stat().st_size:
        raise ValueError(f"{archive}: says that it unpacks to {total} bytes, which none of its size can; leave it out")
    seen: set[str] = set()
    for info in sorted(infos, key=lambda i: i.filename):
        if info.is_dir() or info.filename in seen or info.filename.startswith("__MACOSX/"):
            continue
        seen.add(info.filename)
        reason = _unsafe(info)
        yield f"{archive}/{info.filename}: {reason}" if reason else Member(archive, info.filename)


def _unsafe(info: zipfile.ZipInfo) -> str | None:
    name = info.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "its name leads out of the archive; make the archive again with plain names"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a symbolic link; put the file itself into the archive"
    if info.flag_bits & 1:
        return "encrypted; unpack the archive with its password and name the folder"
    if name.lower().endswith(ARCHIVES) and not name.lower().endswith(".nii.gz"):
        return "an archive inside an archive; unpack the outer one"
    if info.file_size > MAX_FILE:
        return f"says that it unpacks to {info.file_size} bytes; unpack the archive and name the folder"
    return None


@lru_cache(maxsize=1)
def _content(member: Member, mtime_ns: int) -> bytes:
    """The last one is kept, since its first bytes, its header and its pixels are asked for one after another."""
    try:
        with _opened(member.archive, mtime_ns).open(member.inner) as file:
            content = file.read(MAX_FILE + 1)
    except (*DAMAGE, KeyError) as error:
        raise ValueError(f"{member}: damaged in its archive ({error}); make the archive again") from None
    if len(content) > MAX_FILE:
        raise ValueError(f"{member}: unpacks to more than {MAX_FILE} bytes; unpack the archive and name the folder")
    return content


@lru_cache(maxsize=2)
def _opened(archive: Path, mtime_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)
