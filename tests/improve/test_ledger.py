from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.improve.ledger import Ledger, read_ledger


def filled(path: Path) -> Ledger:
    ledger = Ledger(path)
    for i in range(5):
        ledger.add("verdict", 1, f"images/{i}.png", accepted=bool(i % 2))
    return ledger


def test_entries_are_chained_and_read_back(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.jsonl")
    entries = list(read_ledger(tmp_path / "ledger.jsonl"))
    assert len(entries) == 5
    assert all(b["previous"] == a["hash"] for a, b in itertools.pairwise(entries))


def test_an_entry_is_written_once_whether_alone_or_with_others(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.jsonl")
    before = (tmp_path / "ledger.jsonl").read_bytes()
    again = filled(tmp_path / "ledger.jsonl")
    again.add_all("verdict", 1, ((f"images/{i}.png", {"accepted": True}) for i in range(5)))
    assert (tmp_path / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", ["edit", "drop", "swap", "no object"])
def test_a_changed_history_is_refused_with_its_line(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    if change == "edit":
        lines[2] = json.dumps({**json.loads(lines[2]), "accepted": True})
    elif change == "drop":
        del lines[2]
    elif change == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    else:
        lines[2] = "[1, 2]"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"ledger\.jsonl:3"):
        Ledger(path)


@pytest.mark.parametrize("left", [0, 2, 4])
def test_lines_that_are_missing_at_the_end_are_told(tmp_path: Path, left: int) -> None:
    path = tmp_path / "ledger.jsonl"
    filled(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:left]))
    with pytest.raises(ValueError, match=rf"ledger\.jsonl:{left + 1}: lines are missing"):
        Ledger(path)


@given(cut=st.integers(1, 10_000))
def test_a_line_that_a_kill_cut_short_is_dropped_when_writing_and_passed_over_when_reading(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "ledger.jsonl"
    filled(path)
    whole = path.read_bytes()
    torn = json.dumps({"event": "verdict", "round": 1, "name": "x" * 200_000}).encode()[:cut]
    path.write_bytes(whole + torn)
    assert len(list(read_ledger(path))) == 5
    assert path.read_bytes() == whole + torn  # another process may be writing it
    assert Ledger(path).num == 5
    assert path.read_bytes() == whole
