from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from vesalius.improve.ledger import Ledger


def filled(path: Path) -> Ledger:
    ledger = Ledger(path)
    for i in range(5):
        ledger.add("verdict", 1, f"images/{i}.png", accepted=bool(i % 2))
    return ledger


def test_entries_are_chained_and_read_back(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.jsonl")
    entries = Ledger(tmp_path / "ledger.jsonl").entries
    assert len(entries) == 5
    assert all(b["previous"] == a["hash"] for a, b in itertools.pairwise(entries))


def test_an_entry_is_written_once(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.jsonl")
    before = (tmp_path / "ledger.jsonl").read_bytes()
    filled(tmp_path / "ledger.jsonl")
    assert (tmp_path / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", ["edit", "drop", "swap"])
def test_a_changed_history_is_refused_with_its_line(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    if change == "edit":
        lines[2] = json.dumps({**json.loads(lines[2]), "accepted": True})
    elif change == "drop":
        del lines[2]
    else:
        lines[2], lines[3] = lines[3], lines[2]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"ledger\.jsonl:3"):
        Ledger(path)


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "verd')
    assert len(Ledger(path).entries) == 5
    assert path.read_bytes() == whole
