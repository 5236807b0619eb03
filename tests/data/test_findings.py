"""What a report says is read as a radiologist would: present, denied, open; left, right; how large and how many."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.findings import LANGUAGES, Mention, as_findings, findings_in
from vesalius.data.findings_words import ENGLISH, UNSIDED
from vesalius.data.findings_zh import CHINESE
from vesalius.data.phantom import KINDS
from vesalius.data.prompt import is_chinese, swap_sides
from vesalius.data.record import Finding

STATUS = {"+": "present", "-": "absent", "?": "uncertain"}
SIGN = {status: sign for sign, status in STATUS.items()}
_EXPECTED = re.compile(
    r"([-+?])(.+?)(?: (left|right|bilateral))?(?: ([\d.]+)mm)?(?: x(\d+|\*))?"
)  # status, kind, side, size, count


def table(name: str = "findings_sentences.tsv") -> list[tuple[str, list[str]]]:
    """Sentences, and what a reader finds in them: "+nodule right 12mm x2; -pleural effusion"."""
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(text.replace("\\n", "\n"), [e for e in expected.split("; ") if e]) for text, expected in rows]


def told(mention: Mention, *, measures: bool) -> str:
    side = f" {mention.side}" if mention.side else ""
    size = f" {mention.size_mm:g}mm" if mention.size_mm and measures else ""
    count = "" if mention.count == 1 or not measures else f" x{mention.count or '*'}"
    return f"{SIGN[mention.status]}{mention.kind}{side}{size}{count}"


def without_measures(expected: str) -> str:
    match = _EXPECTED.fullmatch(expected)
    assert match, expected
    return f"{match[1]}{match[2]}{f' {match[3]}' if match[3] else ''}"


def score(rows: list[tuple[str, list[str]]], *, measures: bool) -> tuple[float, list[str]]:
    """The share of mentions that are right, of those expected and those read too much; and what is wrong."""
    right, total, wrong = 0, 0, []
    for text, expected in rows:
        want = Counter(expected if measures else map(without_measures, expected))
        got = Counter(told(m, measures=measures) for m in findings_in(text))
        right += (want & got).total()
        total += (want | got).total()
        if want != got:
            wrong.append(f"{text!r}: expected {sorted(want.elements())}, got {sorted(got.elements())}")
    return right / total, wrong


@pytest.mark.parametrize(("chinese", "least"), [(False, 120), (True, 80)], ids=["English", "Chinese"])
@pytest.mark.parametrize("measures", [False, True], ids=["status and side", "size and count too"])
def test_of_all_mentions_95_percent_are_read_right(chinese: bool, least: int, measures: bool) -> None:
    rows = [row for row in table() if is_chinese(row[0]) == chinese]
    assert len(rows) >= least
    share, wrong = score(rows, measures=measures)
    print(f"{share:.1%} of the mentions in {len(rows)} sentences", *wrong, sep="\n")
    assert share >= 0.95, "\n".join(wrong)
