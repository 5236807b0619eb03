"""Ratings: what people said of samples, in one form, from tables, reader studies and the store of the demo.

    {"format": "vesalius-ratings-1", "sha256": "9f0c...", "rater": "A. Reader", "level": "resident", "realism": 4,
     "agreement": 5, "artefact": "none", "teach": true, "time": "2026-01-31T09:00:00Z"}
    {"format": "vesalius-ratings-1", "sha256": "9f0c...", "rater": "A. Reader", "other": "77ab...",
     "preference": "first"}

`sha256` is the digest by which a samples folder knows its picture. Every judgement may lack, but not all of them. Of a
pair the first picture is that of `sha256`.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

from vesalius.data.record import digest_file, parse_row
from vesalius.data.sources.inside import inside

FORMAT = "vesalius-ratings-1"
Level = Literal["", "student", "resident", "fellow", "attending", "other"]
Artefact = Literal["none", "minor", "major"]
Preference = Literal["first", "second", "tie"]
SCALES = ("realism", "agreement")
LOW = 2
"""A step of a scale up to which a rating is low: it keeps its sample out."""
JUDGEMENTS = (*SCALES, "artefact", "teach", "preference")
LEVELS = {"junior": "resident", "registrar": "resident", "senior": "attending", "consultant": "attending"}
"""Other words for levels. A level is kept and told; it weighs nothing."""
NAMES = {
    "sha256": ("digest", "sample", "sample_sha256"),
    "file": ("file_name", "path", "image"),
    "rater": ("reader", "user", "rater_id", "reader_id"),
    "level": ("experience", "seniority", "training"),
    "realism": ("quality", "realistic"),
    "agreement": ("match", "text_agreement", "agreement_with_text"),
    "artefact": ("artifact", "artefacts", "artifacts"),
    "teach": ("would_teach", "would_teach_with_it", "teaching"),
    "other": ("against", "other_sha256"),
    "preference": ("preferred", "better", "winner"),
    "repeat": ("is_repeat",),
    "time": ("timestamp", "date"),
    "comment": ("comments", "note", "notes"),
    "origin": (),
    "withdraws": (),
}
"""The columns of a table, and what else they may be called; capitals, spaces and hyphens do not matter."""
_BOOLEAN = {"yes": True, "true": True, "1": True, "y": True, "no": False, "false": False, "0": False, "n": False}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What one person said of one picture, or of two: a line of a file of ratings."""

    sha256: str
    """digest of the picture that was rated"""
    rater: str
    """who rated it"""
    level: Level = ""
    """student, resident, fellow, attending, other, or empty"""
    realism: int | None = None
    """1 to 5, 5 the best"""
    agreement: int | None = None
    """with the text, 1 to 5, 5 the best"""
    artefact: Artefact | None = None
    """how much is wrong with the picture: none, minor or major"""
    teach: bool | None = None
    """whether they would teach with it"""
    other: str | None = None
    """digest of the second picture, of a pair"""
    preference: Preference | None = None
    """of a pair, which is better: first, second or tie"""
    repeat: bool = False
    """whether it was shown to them before, to see how well they agree with themselves"""
    time: str = ""
    """when, as ISO 8601"""
    comment: str = ""
    """in their own words"""
    origin: str = ""
    """real, phantom or synthetic, where it is known"""

    def to_json(self) -> dict[str, Any]:
        """The line on disk; what was not said is left out."""
        row = {k: v for k, v in dataclasses.asdict(self).items() if v not in (None, "") and v is not False}
        return {"format": FORMAT, **row, **({"teach": self.teach} if self.teach is not None else {})}

    @property
    def low(self) -> tuple[int, str] | None:
        """The worst that it says and of which judgement, where that is low: a step of up to `LOW`, or a major artefact,
        which is a 0."""
        said = [(v, scale) for scale in SCALES if (v := getattr(self, scale)) is not None and v <= LOW]
        return min([*said, *([(0, "artefact")] if self.artefact == "major" else [])], default=None)

    @property
    def key(self) -> str:
        """sha256 of the line, by which a rating can be withdrawn."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """A rater's word that a rating of theirs was a mistake. withdraws: the rating's `key`."""

    withdraws: str
    rater: str
    time: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **{k: v for k, v in dataclasses.asdict(self).items() if v}}


def read_ratings(paths: Sequence[Path]) -> list[Rating]:
    """All ratings of some files, each once, in an order that does not depend on that of files or lines.

    A file that ends in .csv is a table, whose rows may be blank still; others are JSON lines, of which a last one
    without its end is left out, for it is being written. ValueError names file and line: a word or number that is none,
    no digest, no rater, no judgement.
    """
    found: dict[str, Rating] = {}
    withdrawn = set[tuple[str, str]]()
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file of ratings; where the first are still to come, make it empty")
        for where, row in _table_rows(path) if path.suffix.lower() == ".csv" else _lines(path):
            each = parse_rating(row, where)
            if isinstance(each, Withdrawal):
                withdrawn.add((each.withdraws, each.rater))
            else:
                found[each.key] = each
    return [r for key, r in sorted(found.items()) if (key, r.rater) not in withdrawn]


def parse_rating(row: Mapping[str, Any], where: str) -> Rating | Withdrawal:
    """The rating that a row holds. ValueError begins with `where`."""
    rater = str(row.get("rater") or row.get("reader") or "").strip()
    if row.get("withdraws"):
        if not rater:
            raise ValueError(f"{where}: has no rater; a rating is withdrawn by who gave it")
        return Withdrawal(withdraws=str(row["withdraws"]), rater=rater, time=str(row.get("time") or ""))
    told = {name: row.get(name) for name in JUDGEMENTS if row.get(name) not in (None, "")}
    if not told:
        raise ValueError(f"{where}: says nothing; expected at least one of {', '.join(JUDGEMENTS)}")
    if not rater:
        raise ValueError(f"{where}: has no rater; write who rated, or a pseudonym that is the same for each of theirs")
    digest = _digest(row, "sha256", where)
    preference = _word(told, "preference", get_args(Preference), where)
    other = _digest(row, "other", where) if preference else None
    if other == digest:
        raise ValueError(f"{where}: compares {digest[:12]} with itself; delete the row")
    return Rating(
        sha256=digest, rater=rater, level=_level(row, where), realism=_step(told, "realism", where),
        agreement=_step(told, "agreement", where), artefact=_word(told, "artefact", get_args(Artefact), where),
        teach=_truth(told, "teach", where), other=other, preference=preference,
        repeat=bool(_truth(row, "repeat", where)), time=str(row.get("time") or ""),
        comment=str(row.get("comment") or ""), origin=str(row.get("origin") or ""),
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip() and (line.endswith(b"\n") or is_whole(line)):
                yield f"{path}:{number}", parse_row(line, f"{path}:{number}")


def is_whole(line: bytes) -> bool:
    """Whether a last line without its end is a whole one; of a JSON object no part is."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from None
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)  # programs for tables write semicolons where a comma is in numbers
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=separator, restval="")
    names = {name: _column(name, f"{path}:1") for name in reader.fieldnames or ()}
    known = [name for name in names.values() if name]
    if len(set(known)) < len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise ValueError(f"{path}:1: has two columns for {twice}; leave one")
    if not {"sha256", "file"} & set(known) or "rater" not in known:
        raise ValueError(f"{path}:1: needs columns sha256 (or file) and rater, and has {', '.join(names) or 'none'}")
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row:
                raise ValueError(f"{where}: has more cells than the head; put quotes around commas in texts")
            told = {names[k]: v.strip() for k, v in row.items() if names[k]}
            if not any(told.get(name) for name in JUDGEMENTS):
                continue  # a row that nobody has filled in yet
            if not told.get("sha256") and told.get("file"):
                told["sha256"] = digest_file(inside(path.parent.resolve(), told["file"], where))
            yield where, told
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num + 1}: not CSV ({error}); save it anew") from None


def _column(name: str, where: str) -> str:
    """What a column is called here, "" of one that is none of ours. ValueError of one that is misspelt: what it says
    would be lost."""
    plain = re.sub(r"[\s-]+", "_", (name or "").strip().lower())
    for own, others in NAMES.items():
        if plain == own or plain in others:
            return own
    near = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.8)
    if near:
        raise ValueError(f"{where}: column '{name}' is not known; did you mean '{near[0]}'? If not, rename it")
    return ""


def _digest(row: Mapping[str, Any], name: str, where: str) -> str:
    value = str(row.get(name) or "").strip().lower()
    if not _DIGEST.fullmatch(value):
        raise ValueError(
            f"{where}: {name} '{value[:70]}' is no digest of a sample (64 hexadecimal digits; metadata.jsonl has it)"
        )
    return value


def _step(row: Mapping[str, Any], name: str, where: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    text = str(value).strip().removesuffix("/5").removesuffix(".0")
    if isinstance(value, bool) or text not in ("1", "2", "3", "4", "5"):
        raise ValueError(f"{where}: {name} '{value}' is not 1 to 5, where 5 is the best; mend that row")
    return int(text)


def _truth(row: Mapping[str, Any], name: str, where: str) -> bool | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    found = _BOOLEAN.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"{where}: {name} '{value}' is neither yes nor no; mend that row")
    return found


def _word(row: Mapping[str, Any], name: str, known: Sequence[str], where: str) -> Any:
    value = row.get(name)
    if value is None:
        return None
    word = str(value).strip().lower()
    if word not in known:
        near = difflib.get_close_matches(word, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"{where}: {name} '{value}' is not known{hint} ({', '.join(known)})")
    return word


def _level(row: Mapping[str, Any], where: str) -> Level:
    word = str(row.get("level") or "").strip().lower()
    word = LEVELS.get(word, word)
    return _word({"level": word}, "level", get_args(Level), where) or ""
