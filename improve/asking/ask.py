"""One prompt of a round, and its line in a file of prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.record import Finding, open_atomic, read_rows
from vesalius.data.texts.prompt import clean


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One prompt of a round: a line of its `prompts.jsonl`."""

    text: str
    """the prompt"""
    modality: str
    """that it asks for"""
    findings: tuple[Finding, ...] = ()
    """what it asks for and denies, where that is known"""
    stratum: str
    """the part of what is asked for that it belongs to, as `CT: nodule, left`"""
    source: str = ""
    """captions, phantoms, the name of a file, or `hard: ` and what is hard about it"""


def key_of(modality: str, text: str) -> str:
    """What two prompts share that ask the same in the same words."""
    return f"{modality}: {clean(text).casefold()}"


def write_asks(path: Path, asks: Iterable[Ask]) -> None:
    """A file of prompts that `vesalius generate --prompts` reads, one a line, whole or not at all."""
    with open_atomic(path) as file:
        for ask in asks:
            row = {**{name: getattr(ask, name) for name in Ask.__slots__}, "findings": [vars(f) for f in ask.findings]}
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def read_asks(path: Path) -> Iterator[Ask]:
    """The prompts of a file that `write_asks` wrote, one by one; equal findings, strata and sources are one object."""
    findings: dict[str, tuple[Finding, ...]] = {}
    words: dict[str, str] = {}
    for row in read_rows(path):
        told = json.dumps(row["findings"])
        if told not in findings:
            findings[told] = tuple(Finding(**f) for f in row["findings"])
        modality, stratum, source = (words.setdefault(w, w) for w in (row["modality"], row["stratum"], row["source"]))
        yield Ask(text=row["text"], modality=modality, findings=findings[told], stratum=stratum, source=source)
