"""A whole evaluation of phantoms against other phantoms, and its controls: equal, corrupted, copied."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.cli.main import PARTIAL, USAGE, main
from vesalius.data.images.image import Uint8, png_bytes, read_image
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.config import EvalConfig
from vesalius.eval.fidelity.part import QUESTIONS, UNTOLD, conclude, neglected, why_no_strata
from vesalius.eval.run import evaluate
from vesalius.inference.sample import Sample, load_samples, sample_lines

Change = Callable[[Uint8, int], Uint8]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 phantoms, half of them for training."""
    out = tmp_path_factory.mktemp("eval") / "real"
    return write_phantoms(
        PhantomConfig(num=240, seed=1, size=32, modalities=("MRI", "pathology"), val=0, test=0.6, out=out, json=True)
    )


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 phantoms of other patients, of which samples are made."""
    out = tmp_path_factory.mktemp("eval") / "others"
    return write_phantoms(
        PhantomConfig(num=100, seed=50, size=32, modalities=("MRI", "pathology"), val=0, test=0, out=out, json=True)
    )


def write_samples(folder: Path, others: Path, change: Change = lambda image, i: image, *, num: int = 100) -> Path:
    """A samples folder whose pictures are phantoms, changed."""
    (folder / "images").mkdir(parents=True)
    samples = []
    for i, record in enumerate(load_records(others)[:num]):
        content = png_bytes(change(read_image(others / record.file_name), i))
        name = f"images/{i:05}.png"
        (folder / name).write_bytes(content)
        samples.append(
            Sample(
                file_name=name, text=record.caption or record.text, modality=record.modality, seed=i, steps=1,
                guidance=1.0, findings=record.findings, sha256=hashlib.sha256(content).hexdigest(),
            )
        )  # fmt: skip
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    return folder


def config(samples: Path, data: Path, **changes: Any) -> EvalConfig:
    root = samples.parent
    plain = EvalConfig(samples=samples, real=data, out=root / "report", cache=data.parent / "features", json=True)
    return dataclasses.replace(plain, **changes)


def noise(image: Uint8, i: int) -> Uint8:
    drawn = np.random.default_rng(i).integers(-90, 90, image.shape)
    return (image.astype(np.int64) + drawn).clip(0, 255).astype(np.uint8)


def blur(image: Uint8, i: int) -> Uint8:
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    smooth = torch.nn.functional.avg_pool2d(pixels, 7, 1, 3, count_include_pad=False)[0].permute(1, 2, 0)
    return smooth.numpy().astype(np.uint8)


def conclusions(result: dict[str, Any], question: str) -> dict[str, str]:
    return {
        c["modality"]: c["conclusion"] for c in result["fidelity"]["conclusions"] if c["question"] == question
    }  # fmt: skip


def test_an_evaluation_writes_a_page_a_json_and_a_summary(data: Path, others: Path, tmp_path: Path) -> None:
    result = evaluate(config(write_samples(tmp_path / "samples", others), data))
    report = tmp_path / "report"
    assert {p.name for p in report.iterdir()} == {"report.html", "report.json", "report.md"}
    assert json.loads((report / "report.json").read_text()) == result
    assert {"fidelity", "obedience", "privacy", "gates"} <= set(result)
    assert not {"pixels", "membership", "usefulness"} & set(result)
    assert [row["file_name"] for row in result["gates"]["scores"]] == list(result["gates"]["reasons"])
    page, summary = (report / "report.html").read_text(), (report / "report.md").read_text()
    assert "not for diagnosis" in page
    for word in (
        "KID",
        "real against real",
        "training images",
        "precision",
        "Lanczos to 128",
        result["obedience"]["networks"]["judge"][:12],
        "In short",
    ):
        assert word in page
        assert word in summary
    assert page.count("<img") >= 60
    assert result["unreadable"] == []
    rows = result["fidelity"]["rows"]
    assert [(r["modality"], r["detector"]) for r in rows] == [
        (m, d) for m in ("all", "MRI", "pathology") for d in ("judge", "witness")
    ]
    # Samples that are as real as the real ones: no detector may say otherwise.
    assert set(conclusions(result, "distance").values()) == {UNTOLD}
    assert set(conclusions(result, "diversity").values()) == {UNTOLD}
    assert all("kid" in r for r in rows)
    shown = {g["group"] for g in result["fidelity"]["groups"]}
    assert any(g.startswith("shows ") for g in shown)


@pytest.mark.parametrize("change", [noise, blur])
def test_corrupted_samples_are_farther_than_the_floor(change: Change, data: Path, others: Path, tmp_path: Path) -> None:
    result = evaluate(config(write_samples(tmp_path / "samples", others, change), data, parts=("fidelity",)))
    told = conclusions(result, "distance")
    assert all(c.startswith("farther from real images") for c in told.values()), told


def test_copies_of_few_samples_reach_less_and_resemble_one_another(data: Path, others: Path, tmp_path: Path) -> None:
    kept: dict[tuple[int, int], Uint8] = {}

    def copy(image: Uint8, i: int) -> Uint8:
        return kept.setdefault((image.shape[2], i // 2 % 3), image)

    samples = write_samples(tmp_path / "samples", others, copy)
    lines = [json.loads(line) for line in (samples / "metadata.jsonl").read_text().splitlines()]
    for line in lines:  # one prompt of each modality
        line["text"] = f"One {line['modality']}"
    (samples / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = evaluate(config(samples, data, parts=("fidelity",)))
    for row in result["fidelity"]["rows"]:
        for name in ("recall", "coverage", "vendi"):
            assert row[name]["high"] < row[name]["floor"]["low"], (row["modality"], row["detector"], name)
    for row in result["fidelity"]["within_prompt"]:
        assert row["samples"]["value"] > row["real"]["value"]
    assert set(conclusions(result, "diversity").values()) == {QUESTIONS["diversity"]}


def test_detectors_that_disagree_carry_no_conclusion() -> None:
    floor = {"value": 0.0, "low": -0.1, "high": 0.1}
    near, far = {"value": 0.0, "low": -0.1, "high": 0.1}, {"value": 0.5, "low": 0.4, "high": 0.6}

    def rows(**kids: dict[str, float]) -> list[dict[str, Any]]:
        return [{"modality": "CT", "detector": d, "kid": kid, "floor": floor} for d, kid in kids.items()]

    assert conclude(rows(judge=far, witness=near))[0]["conclusion"].startswith("no conclusion: judge finds it farther")
    assert conclude(rows(judge=far, witness=far))[0]["conclusion"].startswith("farther")
    assert conclude(rows(judge=near, witness=near))[0]["conclusion"] == UNTOLD
    assert conclude(rows(judge=far))[0]["conclusion"].startswith("no conclusion: judge alone measured")
    assert conclude([{"modality": "CT", "detector": "judge"}]) == []


def test_a_function_is_a_detector_and_is_named_in_the_report(data: Path, others: Path, tmp_path: Path) -> None:
    def mean_colour(images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))

    samples = write_samples(tmp_path / "samples", others)
    result = evaluate(config(samples, data, parts=("fidelity",)), ["texture", mean_colour])
    assert [d["name"] for d in result["fidelity"]["detectors"]] == ["texture", "mean_colour"]
    by_name = {d["name"]: d for d in result["fidelity"]["detectors"]}
    assert by_name["mean_colour"]["num_features"] == 3
    assert "unknown" in (tmp_path / "report" / "report.md").read_text()
    # Three features are few enough for an extrapolation from 60 samples.
    row = next(r for r in result["fidelity"]["rows"] if (r["modality"], r["detector"]) == ("MRI", "mean_colour"))
    assert row["frechet"]["endless"]["low"] <= row["frechet_floor"]["endless"]["high"]


def test_a_set_that_has_no_parts_says_why() -> None:
    assert why_no_strata([("shows mass",)] * 30 + [()] * 30) is None
    assert "no label" in str(why_no_strata([()] * 60))
    assert "one class only (shows mass)" in str(why_no_strata([("shows mass",)] * 60))
    assert "none of 2 findings and groups has 20" in str(why_no_strata([("a",)] * 19 + [("b",)] * 9))


def test_a_modality_without_real_images_is_told_and_the_others_measured(
    data: Path, others: Path, tmp_path: Path
) -> None:
    def as_if(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "modality": "ultrasound"} if row["file_name"] < "images/00030" else row

    samples = write_samples(tmp_path / "samples", others)
    rows = [as_if(json.loads(line)) for line in (samples / "metadata.jsonl").read_text().splitlines()]
    (samples / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = evaluate(config(samples, data))
    kid = {(r["modality"], r["detector"]): r.get("kid") for r in result["fidelity"]["rows"]}
    assert kid["ultrasound", "judge"] is None
    assert kid["MRI", "judge"]
    assert next(r for r in result["fidelity"]["rows"] if r["modality"] == "all")["num_samples"] == 70
    assert "ultrasound is not looked at in parts: it has no real images." in result["fidelity"]["group_notes"]
    copies = [r for r in result["privacy"]["copies"] if r["modality"] == "ultrasound"]
    assert copies
    assert all("copies" not in r and r["note"] for r in copies)
    assert result["privacy"]["verdicts"]["ultrasound"] == "no conclusion"
    assert result["gates"]["reasons"]["images/00000.png"].startswith("modality: no held-out real ultrasound")


def test_ct_with_hounsfield_units_is_compared_with_its_like_alone(tmp_path: Path) -> None:
    plain = PhantomConfig(num=60, seed=1, size=32, modalities=("CT",), val=0, test=0.7, out=tmp_path / "a", json=True)
    real = write_phantoms(plain)
    other = write_phantoms(dataclasses.replace(plain, num=20, seed=9, test=0, out=tmp_path / "b"))
    samples = write_samples(tmp_path / "samples", other)
    result = evaluate(config(samples, real, parts=("fidelity",)), ["texture"])
    (row,) = result["fidelity"]["rows"]
    assert (row["modality"], row["num_samples"], row["num_real"]) == ("CT, greyscale", 20, 0)
    assert result["fidelity"]["lonely"][0].startswith("CT, greyscale has nothing to be compared with")
    assert "no conclusion: too few images" in (tmp_path / "report" / "report.md").read_text()


def test_groups_that_all_detectors_find_neglected_are_named() -> None:
    low, high = {"low": 0.1, "high": 0.2}, {"low": 0.8, "high": 0.9}

    def row(group: str, *, covered: dict[str, float]) -> dict[str, Any]:
        return {"modality": "CT", "group": group, "coverage": covered, "coverage_floor": high}

    groups = [row("a", covered=low), row("a", covered=low), row("b", covered=low), row("b", covered=high)]
    assert neglected([*groups, row("c", covered=low), {"modality": "CT", "group": "d"}]) == ["CT, a"]


def test_too_few_samples_say_how_many_are_needed(data: Path, others: Path, tmp_path: Path) -> None:
    result = evaluate(config(write_samples(tmp_path / "samples", others, num=12), data, parts=("fidelity",)))
    for row in result["fidelity"]["rows"]:
        if row["modality"] != "all":
            assert row["needs"]["KID"] == {"samples": 10, "real": 10}
            assert "kid" not in row
    assert "needs 10 samples and 10 real images" in (tmp_path / "report" / "report.md").read_text()


def test_samples_that_are_missing_are_named_and_left_out(
    data: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = write_samples(tmp_path / "samples", others)
    (samples / "images" / "00003.png").unlink()
    words = ["eval", samples, "--real", data, "--out", tmp_path / "report", "--parts", "fidelity", "gates"]
    assert main([str(w) for w in [*words, "--cache", data.parent / "features"]]) == PARTIAL
    assert "00003.png: no such image file" in capsys.readouterr().out
    result = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (result["num_samples"], result["gates"]["num"], len(result["unreadable"])) == (99, 99, 1)
    assert "images/00003.png" not in result["gates"]["reasons"]
    assert "Left out: 1 images" in (tmp_path / "report" / "report.html").read_text()


def test_what_cannot_be_asked_is_refused(
    data: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = write_samples(tmp_path / "samples", others, num=4)

    def told(*more: object) -> str:
        words = ["eval", samples, "--real", data, "--out", tmp_path / "report", *more]
        assert main([str(w) for w in words]) == USAGE
        return capsys.readouterr().err

    assert "did you mean 'fidelity'" in told("--parts", "fidelty")
    assert "gated by juge: no such network" in told("--gated-by", "juge")
    assert "did you mean 'witness'" in told("--detector", "witnes")
    assert "no records in split 'val'" in told("--split", "val")
    assert not (tmp_path / "report").exists()


def test_a_patient_on_both_sides_is_refused(data: Path, others: Path, tmp_path: Path) -> None:
    from vesalius.data.record import write_dataset

    records = load_records(data)
    shared = tmp_path / "shared"
    for record in records:
        (shared / record.file_name).parent.mkdir(parents=True, exist_ok=True)
        (shared / record.file_name).symlink_to(data / record.file_name)
    write_dataset(shared, [dataclasses.replace(r, patient_id="p7", mask=None) for r in records])
    with pytest.raises(ValueError, match=r"1 patients of split 'test' are in the training images too.*p7"):
        evaluate(config(write_samples(tmp_path / "samples", others, num=4), shared))


def test_patients_on_both_sides_may_be_left_out_and_are_counted(data: Path, others: Path, tmp_path: Path) -> None:
    from vesalius.data.record import write_dataset

    records = [r for r in load_records(data) if r.split == "test"][:80] + [
        r for r in load_records(data) if r.split == "train"
    ]
    shared = tmp_path / "shared"
    for record in records:
        (shared / record.file_name).parent.mkdir(parents=True, exist_ok=True)
        (shared / record.file_name).symlink_to(data / record.file_name)
    last = records[-1].patient_id
    named = [
        dataclasses.replace(r, mask=None, patient_id=last if i < 3 else r.patient_id) for i, r in enumerate(records)
    ]
    write_dataset(shared, named)
    samples = write_samples(tmp_path / "samples", others)
    result = evaluate(config(samples, shared, shared_patients="leave-out", parts=("gates",)))
    assert (result["left_out"], result["num_real"]) == (3, 77)
    assert "Left out: 3 real images of patients" in (tmp_path / "report" / "report.md").read_text()


def test_samples_of_which_none_opens_are_no_evaluation(data: Path, others: Path, tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", others, num=2)
    samples = []
    for sample in load_samples(folder):
        content = (folder / sample.file_name).read_bytes()[:40]
        (folder / sample.file_name).write_bytes(content)
        samples.append(dataclasses.replace(sample, sha256=hashlib.sha256(content).hexdigest()))
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    with pytest.raises(ValueError, match=r"samples: none of 2 samples opens: .*00000\.png.*; draw them again"):
        evaluate(config(folder, data))
