"""Where prompts come from: text, JSON lines, a table with columns, or the captions of a dataset.

    stream_prompts(path)    text (one a line), .jsonl, .csv, .tsv, .parquet, a dataset folder, or a folder of shards

They come one by one, so that millions need no more memory than a few. A table's columns may have any of the names that
`vesalius.data.tables.names` knows; `image`, `mask` and `strength` give a row a picture of its own to start from
(`vesalius.inference.prompts.pictures`); columns beside them are left alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.datasets.streamed import Packed, shards_of, stream_packed
from vesalius.data.modality import find_modality
from vesalius.data.record import SPLITS, Finding, Record, check_types, stream_records
from vesalius.data.sources.archive import Place
from vesalius.data.sources.encodings import MAX_LINE
from vesalius.data.sources.inside import own_file
from vesalius.data.tables.cells import is_parquet
from vesalius.data.tables.names import ALIASES, check_unique, is_told, key_of, near
from vesalius.data.tables.text_rows import Numbered, delimited, json_rows
from vesalius.data.texts.prompt import prompts_of
from vesalius.inference.prompts.pictures import LeftOut, Start, StartsFrom, parquet_rows, start_of_record, start_of_row

JSON_SUFFIXES, TABLE_SUFFIXES = (".jsonl", ".ndjson"), (".csv", ".tsv")
TEXTS = ("caption", "prompt", *(name for name in ALIASES["text"] if name not in ("caption", "prompt")))
"""Columns of prompts, in order of preference: of a record the caption rather than the report."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt. findings: what it asks for, where that is known.

    group: prompts of one group differ in one thing and are drawn from the same seeds; "" for a prompt of its own.
    value: what that one thing is in this prompt. start: the picture that its row brings, and how it is used.
    """

    text: str
    modality: str | None = None
    findings: tuple[Finding, ...] = ()
    group: str = ""
    value: str = ""
    start: Start | None = None


def stream_prompts(path: Path, split: str = "train", starts: StartsFrom = "noise") -> Iterator[Prompt]:
    """The prompts of a file, or the captions of one split of a dataset folder or a folder of shards, one by one.

    A dataset's metadata.jsonl is such a file: each record's caption is a prompt, or its text where it has none.
    starts: what each prompt of a dataset starts from: noise, its record's image, or that with what its mask leaves.
    ValueError, on the way, names file and line, or what the dataset lacks.
    """
    prompts = _captions(path, split, starts) if path.is_dir() else _of_file(path, starts)
    empty = True
    for prompt in prompts:
        empty = False
        yield prompt
    if empty:
        raise ValueError(f"{path}: holds no prompt; write one a line")


def _of_file(path: Path, starts: StartsFrom) -> Iterator[Prompt]:
    if not path.is_file():  # of a pipe nothing could be read a second time, as going on needs
        raise ValueError(
            f"{path}: no such prompts file (text, one prompt a line; .jsonl, .csv, .tsv or .parquet with `text` and "
            "`modality`; or a dataset folder)"
        )
    kind = path.suffix.lower()
    if kind == ".json":
        raise ValueError(f"{path}: expected JSON lines; write one object a line and name the file .jsonl")
    if kind in (*JSON_SUFFIXES, *TABLE_SUFFIXES):
        yield from _from_rows(path, json_rows(path) if kind in JSON_SUFFIXES else _table_rows(path), starts)
    elif is_parquet(path):
        yield from _from_rows(path, parquet_rows(path, lambda names: _check_header(path, names)), starts)
    elif starts != "noise":
        raise ValueError(f"{path}: --start {starts} needs a dataset; a text has no pictures")
    else:
        yield from (Prompt(text=text) for line in _lines(path) if (text := line.strip()))


def _lines(path: Path) -> Iterator[str]:
    number = 0
    with path.open(encoding="utf-8-sig", newline="\n") as file:  # U+2028 and its like may stand within a text
        try:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise ValueError(f"{path}:{number}: a line of over {MAX_LINE} characters; write one prompt a line")
                yield line
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text from line {number + 1} on; save the prompts as UTF-8") from None


def _captions(root: Path, split: str, starts: StartsFrom) -> Iterator[Prompt]:
    """What training shows of each record first: its caption, or its text where it has none."""
    if split not in SPLITS:
        raise ValueError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    seen: set[str] = set()
    empty, lacks = True, "captions"
    # Where the images of shards lie, which `dataset_records` remembers, is of no use here and would fill the memory
    wanted = {"noise": (), "image": ("file_name",), "mask": ("file_name", "mask")}[starts]
    for record, image, mask in _packed(root) if shards_of(root) else _loose(root, split, wanted):
        seen.add(record.split)
        if record.split == split and (told := prompts_of(record)):
            try:
                start = start_of_record(image, mask, starts, f"{root}: {record.file_name}")
            except LeftOut:
                lacks = "captions with a mask that shows something"
                continue
            empty, kind = False, _modality(record.modality, root)
            yield Prompt(text=told[0], modality=kind, findings=record.findings, start=start)
    if empty:
        has = ", ".join(sorted(seen)) or "none"
        raise ValueError(f"{root}: no {lacks} in split '{split}' (has: {has}); give --split, or another dataset")


def _loose(root: Path, split: str, wanted: Sequence[str]) -> Iterator[tuple[Record, Place | None, Place | None]]:
    """The records of a dataset folder, with the wanted files of one split. ValueError where one leads out of it."""
    for record in stream_records(root):
        names = {name: getattr(record, name) for name in wanted if record.split == split}
        image, mask = (own_file(root, names[name]) if names.get(name) else None for name in ("file_name", "mask"))
        yield record, image, mask


def _packed(root: Path) -> Iterator[tuple[Record, Place, Place | None]]:
    for record, image, mask in stream_packed(root):
        there = Packed(root, record.mask, mask) if record.mask and mask else None
        yield record, Packed(root, record.file_name, image), there


def _table_rows(path: Path) -> Iterator[Numbered]:
    """(first line, row) of a CSV or TSV. ValueError at once where no column holds prompts."""
    header, rows = delimited(path)
    keys = _check_header(path, header)
    for number, cells in rows:
        yield number, cells if isinstance(cells, ValueError) else dict(zip(keys, map(str.strip, cells), strict=True))


def _check_header(path: Path, header: Sequence[str]) -> list[str]:
    """The keys of a table's columns. ValueError where none holds prompts."""
    keys = [key_of(name) for name in header]
    check_unique(f"{path}:1", keys)
    if not {*keys} & {*TEXTS, "findings"}:
        hint = near("text", header)
        raise ValueError(
            f"{path}:1: no column of prompts; {hint or 'the header has: ' + (', '.join(header[:20]) or 'nothing')}. "
            "Name it text, prompt or caption in the first line"
        )
    return keys


def _from_rows(path: Path, rows: Iterable[Numbered], starts: StartsFrom) -> Iterator[Prompt]:
    for number, row in rows:
        if isinstance(row, ValueError):
            raise row
        told, where = {key_of(name): value for name, value in row.items()}, f"{path}:{number}"
        with suppress(LeftOut):
            start = start_of_row(told, path.parent, starts, where)
            yield dataclasses.replace(_prompt(told, where), start=start)


def _prompt(row: Mapping[str, Any], where: str) -> Prompt:
    """One row as a prompt. ValueError begins with `where`."""
    told = is_told(row.get("findings"))  # a section of a report, not findings as a dataset's rows have them
    names = (*TEXTS, "findings") if told else TEXTS
    text = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    modality = next((row[name] for name in ALIASES["modality"] if row.get(name) not in (None, "", "-")), None)
    if isinstance(text, str) and text.encode("utf-8", "ignore").decode() != text:
        raise ValueError(f"{where}: the text holds characters that are not Unicode; write it as UTF-8")
    wanted = {"file_name": "-", "text": text, "modality": modality or "-"}
    try:
        record = check_types(Record.from_json({**wanted, **({} if told else {"findings": row.get("findings")})}))
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{where}: expected a text in `text`, `prompt` or `caption`, and `modality` and `findings` as a dataset "
            "has them; mend or delete that line"
        ) from None
    findings = record.findings
    return Prompt(text=record.text, modality=_modality(modality, where) if modality else None, findings=findings)


def _modality(word: str, where: Path | str) -> str:
    try:
        return find_modality(word).name
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
