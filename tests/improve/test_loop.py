from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vesalius.data.check import CheckConfig, check
from vesalius.data.image import Picture, read_hu
from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.gates import Verdict
from vesalius.improve.config import ImproveConfig
from vesalius.improve.ledger import Ledger
from vesalius.improve.loop import decide, facts_of, improve, pick, read_status, write_accepted
from vesalius.inference.sample import Sample
from vesalius.inference.sinks import write_sample


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        PhantomConfig(num=150, seed=11, out=tmp_path_factory.mktemp("loop") / "data", val=0.25, test=0.4, json=True)
    )


def config(data: Path, out: Path, **changes: object) -> ImproveConfig:
    small = ImproveConfig(
        data=(data,), out=out, num=6, num_eval=6, steps=2, batch_size=2, sampling_steps=8, seed=2, json=True
    )
    return dataclasses.replace(small, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"rounds": 4}, "1 to 3"), ({"real_share": 0.3}, "0.5"), ({"quota": 0.0}, "quota"), ({"num": 0}, "--num")],
)
def test_arithmetic_that_would_harm_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        improve(config(data, tmp_path / "loop", **change))
    assert not (tmp_path / "loop").exists()


def test_a_dry_run_counts_records_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    told = improve(config(data, tmp_path / "loop", dry_run=True))
    assert set(told["records"]) == {"train", "val", "test"}
    assert not (tmp_path / "loop").exists()


def test_another_folder_or_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        improve(config(data, tmp_path / "mine"))
    with pytest.raises(ValueError, match="no loop there"):
        read_status(tmp_path)


def test_prompts_take_the_modalities_in_turn(data: Path) -> None:
    members = [(data, r) for r in load_records(data, "train")]
    picked = pick(members, 9, seed=0)
    assert [r.modality for r in picked] == ["CT", "MRI", "pathology"] * 3
    assert len({r.file_name for r in picked}) == 9


def round_folder(root: Path, index: int, validation: float, kid: float, right: float = 0.8) -> Path:
    folder = root / f"round-{index:02d}"
    (folder / "run").mkdir(parents=True)
    (folder / "eval").mkdir()
    (folder / "run" / "validation.json").write_text(json.dumps([{"step": 1, "loss": validation}]))
    estimate = {"value": kid, "low": kid - 0.01, "high": kid + 0.01}
    rows = [
        {"detector": "witness", "modality": "CT", "kid": estimate},
        {"detector": "judge", "modality": "CT", "kid": {"low": 9.0}},
    ]
    obeyed = {"value": right, "low": right - 0.1, "high": right + 0.1, "num": 60}
    asked = [{"attribute": "side", "network": "reader", "of": "CT", "samples": obeyed}]
    report = {"fidelity": rows, "obedience": {"rows": asked, "gated_by": ["judge"]}}
    (folder / "eval" / "report.json").write_text(json.dumps(report))
    return folder


@pytest.mark.parametrize(
    ("validation", "kid", "right", "promoted"),
    [
        (0.49, 0.05, 0.8, True), (0.5, 0.065, 0.65, True), (0.52, 0.05, 0.8, False), (0.49, 0.08, 0.8, False),
        (0.49, 0.05, 0.55, False),
    ],
)  # fmt: skip
def test_a_round_is_promoted_only_where_nothing_is_worse(
    tmp_path: Path, validation: float, kid: float, right: float, promoted: bool
) -> None:
    first = round_folder(tmp_path, 0, 0.5, 0.05)
    decision = decide(first, first, round_folder(tmp_path, 1, validation, kid, right), 1)
    assert decision["promoted"] is promoted
    assert decision["champion"] == (1 if promoted else 0)
    assert decision["reasons"]


def test_what_the_gates_network_says_of_obedience_promotes_nothing(tmp_path: Path) -> None:
    first = round_folder(tmp_path, 0, 0.5, 0.05, right=0.99)
    report = json.loads((first / "eval" / "report.json").read_text())
    report["obedience"]["gated_by"] = []  # as if the judge had measured too
    (first / "eval" / "report.json").write_text(json.dumps(report))
    assert facts_of(first)["obedience"] == {}
    decision = decide(first, first, round_folder(tmp_path, 1, 0.49, 0.05, right=0.1), 1)
    assert decision["promoted"]
    assert decision["obedience"] == {"side by reader": 0.1}


def test_accepted_ct_is_added_back_in_hounsfield_units(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    drawn = Sample(file_name="images/0.png", text="Chest CT", modality="CT", seed=0, steps=1, guidance=1.0)
    (tmp_path / "samples" / "images").mkdir(parents=True)
    samples = [
        write_sample(tmp_path / "samples", dataclasses.replace(drawn, file_name=f"images/{i}.png", text=text), picture)
        for i, (text, picture) in enumerate(
            [("Chest CT", Picture(image=ramp, hu=ramp[..., 0].astype(np.float32))), ("CT", Picture(image=ramp))]
        )
    ]
    refused = Verdict(sample=samples[0], scores={}, reason="copy: too near")
    verdicts = [*(Verdict(sample=s, scores={}, reason=None) for s in samples), refused]
    write_accepted(tmp_path / "accepted", tmp_path / "samples", verdicts)
    known, unknown = load_records(tmp_path / "accepted")
    assert (known.hounsfield, unknown.hounsfield) == (True, False)
    assert read_hu(tmp_path / "accepted" / known.file_name).max() == 63
    assert known.sha256 == samples[0].raw16_sha256
    assert unknown.sha256 == samples[1].sha256
    assert check(CheckConfig(folder=tmp_path / "accepted")).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4.0, 12.0, 20.0])
def test_kill_9_at_any_moment_and_the_same_line_continues(data: Path, tmp_path: Path, seconds: float) -> None:
    line = [
        sys.executable, "-m", "vesalius.cli.main", "improve", "run", "--data", str(data),
        "--out", str(tmp_path / "loop"), "--num", "6", "--num-eval", "6", "--steps", "2", "--batch-size", "2",
        "--sampling-steps", "8", "--seed", "2", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status = read_status(tmp_path / "loop")
    assert len(status["rounds"]) == 2
    assert status["rounds"][1]["samples"] == 6
    verdicts = [e for e in Ledger(tmp_path / "loop" / "ledger.jsonl").entries if e["event"] == "verdict"]
    assert len({e["name"] for e in verdicts}) == 6
