"""The answers of readers: one JSON object a line, as the page of a study saves them, or the same columns as CSV.

    {"format": "vesalius-readers-1", "study": "9f0c...", "item": "007", "picture": "<sha256 of what was shown>",
     "reader": "A. Reader", "answer": "synthetic", "confidence": 4, "realism": 2, "agreement": 5, "artefact": "minor",
     "comment": "", "seconds": 12.4, "time": "2026-01-31T09:00:00.000Z", "check": "<checksum of the columns before>"}

They tell nothing of the truth, which is the key's. `rating_rows` puts both together: those lines carry the sha256 by
which a samples folder knows its picture.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from vesalius.data.record import numbered_rows
from vesalius.eval.readers.study import FORMAT, Shown

RATINGS = "vesalius-ratings-1"
ANSWERS, ARTEFACTS = ("real", "synthetic"), ("none", "minor", "major")
SCALES = ("confidence", "realism", "agreement")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a reader said of an item: a line of the file that the page of a study saves."""

    study: str
    """digest that names the study"""
    item: str
    """name of the place in the order"""
    picture: str
    """sha256 of the picture that was shown"""
    reader: str
    """who answered"""
    answer: str
    """real or synthetic"""
    confidence: int
    """1 to 5"""
    realism: int
    """1 to 5"""
    agreement: int
    """of picture and text, 1 to 5"""
    artefact: str
    """what gave it away, in one word"""
    comment: str = ""
    """in the reader's own words"""
    seconds: float = 0.0
    """until the answer was fixed"""
    time: str = ""
    """when, as ISO 8601"""
    format: str = FORMAT
    """name and version of this form"""


FIELDS = (
    "format", "study", "item", "picture", "reader", "answer", "confidence", "realism", "agreement", "artefact",
    "comment", "seconds", "time",
)  # fmt: skip
"""The columns, in the order of the checksum."""
_NEEDED = FIELDS[: FIELDS.index("comment")]


def checksum(row: Mapping[str, Any]) -> str:
    """FNV-1a of 32 bits (Fowler, Noll and Vo) over the columns: tells that a file was edited by accident, as programs
    for tables do. Who wants to cheat can compute it too."""
    value = 0x811C9DC5
    for byte in "\x1f".join(str(row.get(name, "")) for name in FIELDS).encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value:08x}"


def read_answers(path: Path) -> list[tuple[str, Answer]]:
    """The answers of a file, each with "file:line". ValueError names the line that is none, and why."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file of answers; give what the readers' pages saved")
    found = []
    for number, row in _csv_rows(path) if path.suffix.lower() == ".csv" else numbered_rows(path):
        where = f"{path}:{number}"
        found.append((where, _answer(row, where)))
    if not found:
        raise ValueError(f"{path}: holds no answer; let the reader save again at the end of the page")
    return found


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; save it as CSV in UTF-8, or take the .jsonl file") from None
    reader = csv.DictReader(StringIO(text, newline=""))
    try:
        for row in reader:
            yield reader.line_num, {k: v for k, v in row.items() if k is not None}
    except csv.Error as error:
        raise ValueError(
            f"{path}:{reader.line_num + 1}: not CSV ({error}); take the file as the page saved it"
        ) from None


def _answer(row: Mapping[str, Any], where: str) -> Answer:
    if row.get("format") != FORMAT:
        raise ValueError(f"{where}: is no answer of a reader study ({FORMAT}); give what the page saved")
    lacking = [name for name in _NEEDED if row.get(name) in (None, "")]
    if lacking:
        raise ValueError(f"{where}: lacks {', '.join(lacking)}; let the reader save again")
    for name in SCALES:
        if str(row[name]) not in ("1", "2", "3", "4", "5"):
            raise ValueError(f"{where}: {name} '{row[name]}' is not 1 to 5; let the reader save again")
    for name, known in (("answer", ANSWERS), ("artefact", ARTEFACTS)):
        if row[name] not in known:
            raise ValueError(f"{where}: {name} '{row[name]}' is not one of {', '.join(known)}")
    try:
        found = checksum(row)
    except UnicodeEncodeError:
        raise ValueError(f"{where}: holds characters that are not Unicode; let the reader save again") from None
    if str(row.get("check", "")) != found:
        raise ValueError(
            f"{where}: was changed after it was saved (its checksum differs); take the file as the page saved it, "
            "unopened by a program for tables"
        )
    try:
        seconds = float(row.get("seconds") or 0)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{where}: seconds '{row['seconds']}' is no number of seconds; let the reader save again")
    told: dict[str, Any] = {name: str(row.get(name) or "") for name in FIELDS}
    return Answer(**{**told, **{name: int(row[name]) for name in SCALES}, "seconds": seconds})


def gather(
    paths: Sequence[Path], study: str, shown: Mapping[str, Shown], *, partial: bool = False
) -> dict[str, dict[str, Answer]]:
    """Answers by reader and item, checked against the key. ValueError names the line, or the reader and what lacks.

    partial: take readers who have not answered all.
    """
    if not paths:
        raise ValueError("no answers given; name the files that the readers' pages saved")
    places: dict[tuple[str, str], str] = {}
    found: dict[str, dict[str, Answer]] = {}
    for path in paths:
        for where, each in read_answers(path):
            if each.study != study:
                raise ValueError(
                    f"{where}: is of study {each.study}, and the key is that of {study}; give the answers of this "
                    "study, or the other study's folder"
                )
            if each.item not in shown:
                raise ValueError(f"{where}: item '{each.item}' is not in study {study} ({len(shown)} items)")
            if each.picture != shown[each.item].picture:
                raise ValueError(
                    f"{where}: was given to another picture than item {each.item} of the key; page, key or answers "
                    "were changed, so leave this file out"
                )
            answers = found.setdefault(each.reader, {})
            if each.item in answers:
                told = f"{where}: reader '{each.reader}' has answered item {each.item} in "
                told += f"{places[each.reader, each.item]} already; "
                if answers[each.item] == each:
                    raise ValueError(f"{told}give each file once")
                raise ValueError(
                    f"{told}if these are two readers, one of them has to answer under a name of his own; until then "
                    "leave one file out, or score it apart with another --out"
                )
            answers[each.item], places[each.reader, each.item] = each, where
    for reader, answers in found.items():
        lacking = [item for item in shown if item not in answers]
        if lacking and not partial:
            some = ", ".join(lacking[:5]) + (" ..." if len(lacking) > 5 else "")
            raise ValueError(
                f"reader '{reader}' answered {len(answers)} of {len(shown)} items ({some} lack); let them finish and "
                "save again, or give --partial"
            )
    return found


def rating_rows(answers: Mapping[str, Mapping[str, Answer]], shown: Mapping[str, Shown]) -> Iterator[dict[str, Any]]:
    """Answers with the truth beside them, for whoever weighs samples by what readers said. sha256: of the sample or
    record, as its folder has it. repeat: whether the reader had seen the image before."""
    for each in answers.values():
        for item, answer in each.items():
            said = {k: v for k, v in dataclasses.asdict(answer).items() if k not in ("format", "picture")}
            truth = shown[item]
            facts = {name: getattr(truth, name) for name in ("sha256", "origin", "modality", "label", "text")}
            yield {"format": RATINGS, **facts, **said, "repeat": bool(truth.repeat_of)}
