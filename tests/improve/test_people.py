"""A whole loop with people in it: its round waits, is rated and approved, and learns from what they prefer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vesalius.cli.main import DONE, RESUMABLE, main
from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.finetune.pairs import load_pairs
from vesalius.improve.ledger import read_ledger
from vesalius.improve.rating_store import RatingStore
from vesalius.improve.ratings import Rating
from vesalius.improve.status import read_status
from vesalius.inference.sample import load_samples


@pytest.mark.slow
def test_a_round_waits_is_approved_and_learns_from_what_people_prefer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_phantoms(PhantomConfig(num=150, seed=11, out=Path("data"), val=0.4, test=0.3, json=True))
    store = RatingStore(Path("ratings.jsonl"))
    line = [
        "improve", "run", "--data", "data", "--out", "loop", "--num", "6", "--best-of", "2", "--num-eval", "6",
        "--steps", "2", "--batch-size", "2", "--sampling-steps", "8", "--seed", "2", "--json", "--without", "gates",
        "--learn", "preferences", "--ratings", "ratings.jsonl", "--review",
    ]  # fmt: skip
    assert main(line) == RESUMABLE
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["waiting"] == 1
    waits = (Path("loop") / "ledger.jsonl").read_bytes()
    assert main(line) == RESUMABLE
    assert (Path("loop") / "ledger.jsonl").read_bytes() == waits

    samples = load_samples(Path("loop/round-01/samples"))
    one, other = samples[:2]
    assert one.text == other.text
    store.add(Rating(sha256=one.sha256, other=other.sha256, rater="A", level="student", preference="second"))
    assert main(["improve", "approve", "loop", "--veto", samples[2].file_name, "--by", "A"]) == DONE
    monkeypatch.chdir(tmp_path / "loop")
    assert main(["improve", "resume", ".", "--json"]) == DONE
    monkeypatch.chdir(tmp_path)

    settled = json.loads(Path("loop/round-01/run/config.json").read_text())
    assert (settled["base"], settled["pairs"]) == ("loop/preferred-base", ["loop/pairs-01.jsonl"])
    better, worse = load_pairs([Path("loop/pairs-01.jsonl")])
    assert [Path(r.file_name).name for _, r in (*better, *worse)] == [Path(s.file_name).name for s in (other, one)]
    assert {s.depth for s in load_samples(Path("loop/round-01/eval-samples"))} == {2}
    events = [e["event"] for e in read_ledger(Path("loop/ledger.jsonl"))]
    assert events.count("review") == events.count("veto") == 1
    assert read_status(Path("loop"))["waiting"] is None
    capsys.readouterr()
    assert main(["improve", "show", "loop", "1"]) == DONE
    assert "learnt from pairs: 1 of ratings" in capsys.readouterr().out
