"""Reports that lie apart from their images, found by accession number, study UID or the image file's name.

They are plain texts named for one of these (`A123.txt`), DICOM Structured Reports, and tables (CSV, TSV, JSON lines)
with a column for one of these and a column for the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.dicom.frames import is_dicom, is_report, read_report
from vesalius.data.sources.encodings import text_lines
from vesalius.data.tables.names import FINDINGS, IMPRESSIONS, is_told, key_of, with_other_section
from vesalius.data.tables.text_rows import Numbered, delimited, json_rows

FILES = ("file_name", "filename", "file", "image", "文件名", "影像路径", "图像路径")
"""Of `KEYS` those that name a file, whose folders may be told too."""
KEYS = (
    "accession_number", "accession", "accessionnumber", "acc", "study_uid", "study_instance_uid", "studyinstanceuid",
    "study_id", "study", "检查号", "检查编号", "检查流水号", "影像号", *FILES,
)  # fmt: skip
"""What a table's column may be called that names the images; compared as `names.key_of` makes them."""
TEXTS = (
    "text", "report", "report_text", "caption", "description", "报告", "报告内容", "文本", "描述", *FINDINGS,
    *IMPRESSIONS,
)  # fmt: skip
MAX_BYTES = 1_000_000
"""Most bytes of one report."""
DELIMITED = (".csv", ".tsv")
TABLES = (*DELIMITED, ".jsonl", ".ndjson")


class Reports:
    """Texts by their keys, and how many were asked for and found."""

    def __init__(self, source: Path) -> None:
        """Read a file, or all reports of a folder. ValueError names what cannot be read or is said twice."""
        self.source = source
        self._texts: dict[str, str] = {}
        self._files: set[Path] = set()
        self._used: set[str] = set()
        self._images, self._without = 0, 0
        self._read()

    def __len__(self) -> int:
        return len(set(self._texts.values()))

    def find(self, keys: tuple[str, ...]) -> str | None:
        """The text of the first key that has one; each call counts as one image."""
        key = next((k for k in keys if k in self._texts), None)
        self._images += key is not None
        self._without += key is None
        if key is None:
            return None
        self._used.add(self._texts[key])
        return self._texts[key]

    def holds(self, path: Path) -> bool:
        """Whether a file was read as a report, so that it is no image that failed."""
        return path.resolve() in self._files

    def note(self) -> str:
        """How many were paired, for people."""
        unused = len(self) - len(self._used)
        return (
            f"{len(self._used)} of {counted(len(self), 'report')} paired with {counted(self._images, 'image')}; "
            f"{counted(unused, 'report names', 'reports name')} none of these images, "
            f"{counted(self._without, 'image has', 'images have')} no report"
        )

    def _read(self) -> None:
        if self.source.is_dir():
            files = sorted(p for p in self.source.rglob("*") if p.is_file() and not p.name.startswith("."))
        elif self.source.is_file():
            files = [self.source]
        else:
            raise ValueError(f"{self.source}: no such file or folder of reports; check the path")
        for path in files:
            for keys, text, where in _texts(path, alone=path == self.source):
                self._files.add(path.resolve())
                self._add(keys, text, where)
        if not self._texts:
            raise ValueError(
                f"{self.source}: holds no report; give texts named for an accession number or study UID, Structured "
                f"Reports, or a table with a column such as accession_number and one of {', '.join(TEXTS)}"
            )

    def _add(self, keys: tuple[str, ...], text: str, where: str) -> None:
        if not text.strip():
            raise ValueError(f"{where}: the report is empty; fill it or delete it")
        if not keys:
            raise ValueError(f"{where}: names no accession number, study UID or file; fill it or delete it")
        if len(text) > MAX_BYTES or "\0" in text:
            raise ValueError(f"{where}: no plain text of at most {MAX_BYTES} characters; shorten or delete it")
        for key in keys:
            if self._texts.setdefault(key, text) != text:
                raise ValueError(f"{where}: a second, other report for the same images; keep one, or join them")


def _texts(path: Path, *, alone: bool) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(keys, text, where) of each report in a file; files of other kinds are passed over unless named alone."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        yield from _rows(path, alone=alone)
    elif suffix == ".txt":
        yield (path.stem,), _plain(path), str(path)
    elif is_dicom(path) and (alone or is_report(path)):
        text, keys = read_report(path)
        yield keys, text, str(path)
    elif alone:
        raise ValueError(f"{path}: no report; give a .txt, a Structured Report, or a table ({', '.join(TABLES)})")


def _plain(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: a report of more than {MAX_BYTES} bytes; shorten it or take it out")
    return "".join(text_lines(path)).strip()


def _rows(path: Path, *, alone: bool) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The reports of a table, in any encoding that tables of images may have. ValueError names the line."""
    for number, row in _named_rows(path):
        if isinstance(row, ValueError):
            raise row
        columns = {key_of(name): value for name, value in row.items() if name}
        columns |= {key.replace("_", ""): value for key, value in columns.items()}  # StudyInstanceUID
        if not (columns.keys() & set(KEYS) and columns.keys() & set(TEXTS)):
            if not alone:
                return  # a table of something else, which happens to lie there
            raise ValueError(
                f"{path}:{number}: expected a column such as accession_number, study_uid or file_name, and one of "
                f"{', '.join(TEXTS)}; found {', '.join(row)}"
            )
        keys = tuple(dict.fromkeys(k for name in KEYS if (k := _cell(columns, name))))
        if keys and all(key in {_cell(columns, name) for name in FILES} for key in keys):
            keys = tuple(PurePosixPath(key.replace("\\", "/")).name or key for key in keys)
        name = next((n for n in TEXTS if is_told(columns.get(n))), "")
        yield keys, with_other_section(name, _cell(columns, name), columns)[0], f"{path}:{number}"


def _named_rows(path: Path) -> Iterator[Numbered]:
    if path.suffix.lower() not in DELIMITED:
        yield from json_rows(path)
        return
    header, rows = delimited(path)
    for number, cells in rows:
        if isinstance(cells, ValueError) and not set(map(key_of, header)) & set(TEXTS):
            continue  # of a table of something else
        yield number, cells if isinstance(cells, ValueError) else dict(zip(header, cells, strict=True))


def _cell(columns: dict[str, Any], name: str) -> str:
    value = columns.get(name)
    return "" if value is None else str(value).strip()
