"""Parts of an evaluation that find what was planted, and those that say why they measured nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records, write_dataset
from vesalius.eval.config import EvalConfig
from vesalius.eval.run import evaluate
from vesalius.inference.sample import Sample, sample_lines


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """100 brain MRI phantoms, and samples: 16 others and 2 of the training images."""
    root = tmp_path_factory.mktemp("parts")
    kinds = ("MRI",)
    data = write_phantoms(
        PhantomConfig(num=100, seed=1, size=32, modalities=kinds, val=0, test=0.4, out=root / "data", json=True)
    )
    fresh = write_phantoms(
        PhantomConfig(num=16, seed=9, size=32, modalities=kinds, val=0, test=0, out=root / "fresh", json=True)
    )
    (root / "samples" / "images").mkdir(parents=True)
    samples = []
    for i, (folder, r) in enumerate(
        [(fresh, r) for r in load_records(fresh)] + [(data, r) for r in load_records(data, "train")[:2]]
    ):
        content = (folder / r.file_name).read_bytes()
        name = f"images/{i:05}.png"
        (root / "samples" / name).write_bytes(content)
        samples.append(
            Sample(
                file_name=name, text=r.caption or r.text, modality="MRI", seed=i, steps=1, guidance=1.0,
                findings=r.findings, sha256=hashlib.sha256(content).hexdigest(),
            )
        )  # fmt: skip
    (root / "samples" / "metadata.jsonl").write_bytes(sample_lines(samples))
    return data, root / "samples"


def config(folders: tuple[Path, Path], out: Path, **changes: object) -> EvalConfig:
    data, samples = folders
    plain = EvalConfig(samples=samples, real=data, out=out / "report", cache=data.parent / "cache", json=True)
    return dataclasses.replace(plain, **changes)


def test_an_evaluation_finds_planted_copies_and_shows_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    found = evaluate(config(folders, tmp_path, parts=("obedience", "privacy", "pixels")))
    assert {r["detector"] for r in found["privacy"]["copies"]} == {"pixels", "judge", "witness"}
    assert {p["names"][0] for p in found["privacy"]["pairs"] if p["distance"] == 0} == {"00016.png", "00017.png"}
    assert {r["network"] for r in found["obedience"]["rows"]} == {"judge", "witness", "reader"}
    assert {r["what"] for r in found["pixels"]["rows"]} == {"noise power", "grey levels"} or found["pixels"]["rows"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Nearest pairs" in page
    assert page.count('class="pair"') == 8
    assert 'alt="MRI, a training image"' in page
    assert "Obedience" in page


def test_what_gated_measures_no_obedience(folders: tuple[Path, Path], tmp_path: Path) -> None:
    found = evaluate(config(folders, tmp_path, parts=("obedience",), gated_by=("judge",)))
    assert {r["network"] for r in found["obedience"]["rows"]} == {"witness", "reader"}
    assert "gated by the judge" in (tmp_path / "report" / "report.md").read_text()


def test_membership_is_asked_of_the_base_that_drew_the_samples(
    folders: tuple[Path, Path], tiny_base: Path, tmp_path: Path
) -> None:
    def told(**changes: object) -> dict[str, Any]:
        return evaluate(config(folders, tmp_path, parts=("membership",), **changes))["membership"]  # type: ignore[no-any-return]

    assert "do not say which base drew them" in told()["note"]
    assert "no adapter" in told(base=str(tiny_base), adapter=(str(tmp_path / "nowhere"),))["note"]
    found = told(base=str(tiny_base))
    (row,) = found["loss"]
    assert (row["modality"], row["num_members"], row["num_others"]) == ("MRI", 68, 32)
    assert row["auc"]["low"] < 0.5 < row["auc"]["high"]  # it was never trained on either
    assert "Membership inference, MRI: AUC" in (tmp_path / "report" / "report.md").read_text()


def test_membership_is_not_asked_of_another_model(folders: tuple[Path, Path], tiny_base: Path, tmp_path: Path) -> None:
    data, samples = folders
    other = tmp_path / "samples"
    shutil.copytree(samples, other)
    rows = [json.loads(line) for line in (other / "metadata.jsonl").read_text().splitlines()]

    def note(**facts: object) -> str:
        (other / "metadata.jsonl").write_text("".join(json.dumps({**row, **facts}) + "\n" for row in rows))
        found = evaluate(config((data, other), tmp_path, parts=("membership",)))
        assert "Not measured" in (tmp_path / "report" / "report.md").read_text()
        return str(found["membership"]["note"])

    assert "is not what drew the samples" in note(base=str(tiny_base), base_digest="0" * 64)
    assert "name it with --adapter" in note(base=str(tiny_base), adapter_digest="0" * 64)
    (other / "config.json").write_text(json.dumps({"adapter": str(tmp_path / "gone")}))
    assert "gone" in note(base=str(tiny_base), adapter_digest="0" * 64)


def test_usefulness_says_why_it_was_not_measured(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, samples = folders
    unlabelled = tmp_path / "unlabelled"
    shutil.copytree(data, unlabelled)
    write_dataset(unlabelled, [dataclasses.replace(r, label=None, mask=None) for r in load_records(data)])
    found = evaluate(config((unlabelled, samples), tmp_path, parts=("usefulness",)))
    assert "label" in found["usefulness"]["note"]
    assert "Not measured: " in (tmp_path / "report" / "report.md").read_text()
