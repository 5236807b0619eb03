"""Whole loops with people in them: rounds wait, are rated and approved, and gone back on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from vesalius.cli.main import DONE, RESUMABLE, main
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.finetune.config import WEIGHT
from vesalius.finetune.feeding.pairs import load_pairs
from vesalius.improve.candidates.pool import DIGEST
from vesalius.improve.config import ImproveConfig
from vesalius.improve.ledger import read_ledger
from vesalius.improve.loop import improve
from vesalius.improve.people.rating_store import RatingStore
from vesalius.improve.people.ratings import Rating
from vesalius.improve.telling.status import read_status
from vesalius.inference.sample import load_samples

SMALL = (
    "--num", "6", "--num-eval", "6", "--num-validation", "4", "--steps", "2", "--batch-size", "2", "--sampling-steps",
    "2", "--seed", "2", "--quota", "1", "--json", "--without", "gates",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        PhantomConfig(
            num=150, seed=11, size=32, out=tmp_path_factory.mktemp("people") / "data", val=0.4, test=0.3, json=True
        )
    )


@pytest.mark.slow
def test_a_round_waits_is_approved_and_learns_from_what_people_prefer(
    tiny_base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(data)
    store = RatingStore(Path("ratings.jsonl"))
    line = [
        "improve", "run", "--data", "data", "--out", "loop", "--base", str(tiny_base), *SMALL, "--best-of", "2",
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


@pytest.mark.slow
def test_later_rounds_heed_later_ratings_and_draw_with_the_round_that_someone_went_back_to(
    tiny_base: Path, data: Path, tmp_path: Path
) -> None:
    out, store = tmp_path / "loop", RatingStore(tmp_path / "ratings.jsonl")
    config = ImproveConfig(
        data=(data,), out=out, base=str(tiny_base), num=6, num_eval=6, num_validation=4, steps=2, batch_size=2,
        sampling_steps=2, seed=2, quota=1.0, json=True, without=("gates", "guard"), learn="weighted",
        ratings=(store.path,),
    )  # fmt: skip
    improve(config)
    accepted = [r.extra[DIGEST] for r in load_records(out / "round-01" / "accepted")]
    store.add(Rating(sha256=accepted[0], rater="A", level="student", agreement=2))
    store.add(Rating(sha256=accepted[1], rater="A", level="student", teach=False))
    assert main(["improve", "rollback", str(out), "--to", "0", "--by", "A"]) == DONE
    assert improve(dataclasses.replace(config, rounds=2))["rounds"][2]["decision"]

    told = json.loads((out / "round-02" / "run" / "config.json").read_text())["data"]
    assert told[1:] == [str(out / "round-02" / name) for name in ("pool-01", "accepted")]
    pool = load_records(out / "round-02" / "pool-01")
    assert {r.extra[DIGEST]: r.extra[WEIGHT] for r in pool} == {d: 0.5 if d == accepted[1] else 1 for d in accepted[1:]}
    vetoes = [e for e in read_ledger(out / "ledger.jsonl") if e["event"] == "veto"]
    assert [(e["round"], e["name"]) for e in vetoes] == [(2, accepted[0])]
    drawn = {i: load_samples(out / f"round-{i:02d}" / "samples")[0].adapter_digest for i in (1, 2)}
    assert drawn[1] == drawn[2]
