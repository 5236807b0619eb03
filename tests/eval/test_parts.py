"""Copies, answers and pixels as parts of an evaluation."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.config import EvalConfig
from vesalius.eval.run import evaluate
from vesalius.inference.sample import Sample, sample_lines


def test_an_evaluation_finds_planted_copies_and_shows_them(tmp_path: Path) -> None:
    kinds = ("MRI",)
    data = write_phantoms(
        PhantomConfig(num=100, seed=1, size=32, modalities=kinds, val=0, test=0.4, out=tmp_path / "data", json=True)
    )
    fresh = write_phantoms(
        PhantomConfig(num=16, seed=9, size=32, modalities=kinds, val=0, test=0, out=tmp_path / "fresh", json=True)
    )
    (tmp_path / "samples" / "images").mkdir(parents=True)
    samples = []
    for i, (folder, r) in enumerate(
        [(fresh, r) for r in load_records(fresh)] + [(data, r) for r in load_records(data, "train")[:2]]
    ):
        content = (folder / r.file_name).read_bytes()
        name = f"images/{i:05}.png"
        (tmp_path / "samples" / name).write_bytes(content)
        samples.append(
            Sample(
                file_name=name, text=r.caption or r.text, modality="MRI", seed=i, steps=1, guidance=1.0,
                findings=r.findings, sha256=hashlib.sha256(content).hexdigest(),
            )
        )  # fmt: skip
    (tmp_path / "samples" / "metadata.jsonl").write_bytes(sample_lines(samples))
    found = evaluate(
        EvalConfig(
            samples=tmp_path / "samples", real=data, out=tmp_path / "report", cache=tmp_path / "cache", json=True,
            parts=("answers", "privacy", "pixels"),
        )
    )  # fmt: skip
    assert {r["detector"] for r in found["privacy"]["copies"]} == {"pixels", "judge", "witness"}
    assert {p["names"][0] for p in found["privacy"]["pairs"] if p["distance"] == 0} == {"00016.png", "00017.png"}
    assert {r["network"] for r in found["answers"]["rows"]} == {"judge", "witness", "reader"}
    assert {r["what"] for r in found["pixels"]["rows"]} == {"noise power", "grey levels"} or found["pixels"]["rows"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Nearest pairs" in page
    assert "Obedience" in page
