"""The whole loop on the shipped weights: records -> adapter -> samples -> verdicts -> records -> second adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.improve.candidates.candidates import read_verdicts
from vesalius.improve.config import ImproveConfig
from vesalius.improve.ledger import read_ledger
from vesalius.improve.loop import improve
from vesalius.improve.telling.status import champion_run, read_status
from vesalius.inference import Generator
from vesalius.models.adapters.adapter import read_card

pytestmark = pytest.mark.slow  # they look at one loop, which takes a minute


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        PhantomConfig(num=150, seed=9, out=tmp_path_factory.mktemp("loop") / "data", val=0.4, test=0.3, json=True)
    )


@pytest.fixture(scope="module")
def config(data: Path) -> ImproveConfig:
    return ImproveConfig(
        data=(data,),
        out=data.parent / "loop",
        num=12,
        num_eval=12,
        num_validation=12,
        steps=4,
        batch_size=4,
        beside=("nano-fast",),
        seed=2,
        json=True,
    )


def test_the_loop_closes(config: ImproveConfig, data: Path) -> None:
    status = improve(config)
    first, second = config.out / "round-00", config.out / "round-01"

    # records -> adapter
    card = read_card(first / "run")
    assert card is not None
    assert card.depth == 0

    # adapter -> samples -> verdicts, each with scores and, where refused, a reason
    verdicts = read_verdicts(second)
    assert len(verdicts) == 12
    assert all(v["reason"] is None or ": " in v["reason"] for v in verdicts)
    accepted = [v for v in verdicts if v["reason"] is None]
    assert accepted, [v["reason"] for v in verdicts]

    # verdicts -> records, one generation deeper, in a dataset of their own
    records = load_records(second / "accepted")
    assert len(records) == len(accepted)
    assert {r.origin for r in records} == {"synthetic"}
    assert {r.depth for r in records} == {2}  # nano-fast learnt from what nano drew
    assert check_dataset(CheckConfig(folder=second / "accepted", json=True)).ok

    # records -> second adapter, fresh from the base, with half the weight on what is no sample
    again = read_card(second / "run")
    assert again is not None
    assert again.depth == 2
    trainset = choose_trainset(config.finetune(second / "run", (second / "accepted",)))
    synthetic = np.array([r.origin == "synthetic" for _, r in trainset.train])
    share = synthetic.mean() if trainset.weights is None else trainset.weights[synthetic].sum()
    assert 0 < share <= 0.5

    # a decision, a page, an adapter that draws
    assert status["rounds"][1]["decision"]["promoted"] in (True, False)
    page = (config.out / "report.html").read_text()
    assert "not for diagnosis" in page
    assert page.count("<img") >= 24
    assert Generator("nano", champion_run(config.out)).draw("Chest CT with a nodule in the left lung", steps=2)[
        0
    ].shape == (128, 128, 1)


def test_every_sample_is_in_the_ledger_with_its_reason(config: ImproveConfig) -> None:
    entries = list(read_ledger(config.out / "ledger.jsonl"))
    verdicts = [e for e in entries if e["event"] == "verdict"]
    assert len(verdicts) == 12
    for entry in verdicts:
        assert {
            "sha256",
            "prompt",
            "seed",
            "base",
            "adapter",
            "judge",
            "scores",
            "thresholds",
            "accepted",
            "reason",
        } <= set(entry)
    assert [e["event"] for e in entries if e["event"] != "verdict"] == [
        "begin",
        "adapter",
        "pool",
        "adapter",
        "decision",
    ]


def test_the_same_line_changes_nothing_once_the_loop_is_done(config: ImproveConfig) -> None:
    before = {p: p.stat().st_mtime_ns for p in config.out.rglob("*") if p.is_file() and p.name != "report.html"}
    improve(config)
    after = {p: p.stat().st_mtime_ns for p in config.out.rglob("*") if p.is_file() and p.name != "report.html"}
    changed = [str(p) for p in before if after[p] != before[p]]
    assert [c for c in changed if "ledger" in c or "samples" in c or "accepted" in c or "verdicts" in c] == []
    assert set(after) == set(before)


def test_a_ledger_that_was_changed_stops_the_loop(config: ImproveConfig) -> None:
    path = config.out / "ledger.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"accepted": false', '"accepted": true', 1))
    try:
        with pytest.raises(ValueError, match="was changed here"):
            read_status(config.out)
    finally:
        path.write_text(whole)
