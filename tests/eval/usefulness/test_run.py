"""Controls whose answers are known: what helps must be said to help, and nothing else may be."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.cli.main import DONE, USAGE, main
from vesalius.cli.usefulness import usefulness
from vesalius.data.images.image import Uint8, png_bytes
from vesalius.data.phantoms.phantom import PhantomConfig, draw_phantom, write_phantoms
from vesalius.data.record import Finding, Record, load_records, write_dataset
from vesalius.eval.usefulness.classifiers import open_classifier
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.run import JOURNAL, measure, measure_usefulness

Change = Callable[[Uint8, np.random.Generator], Uint8]
KINDS = ("mass", "normal")


def write(
    folder: Path, seed: int, counts: dict[str, int], *, origin: str = "real", change: Change | None = None,
    shuffled: bool = False,
) -> Path:  # fmt: skip
    """Brain MRI, half of them with a mass, each of its own patient."""
    rng, records = np.random.default_rng(seed), []
    for split, num in counts.items():
        for index in range(num):
            kind, drawn = KINDS[index % 2], seed + len(records)
            image = draw_phantom(drawn, "MRI", size=32, findings=(Finding(kind=kind),) if kind == "mass" else ()).image
            name = f"{split}/images/{drawn}.png"
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_bytes(image if change is None else change(image, rng)))
            records.append(
                Record(
                    file_name=name, text=f"Brain MRI, {kind}.", modality="MRI", organ="brain",
                    label=KINDS[rng.integers(2)] if shuffled else kind, split=split, patient_id=f"p{drawn}",
                    origin=origin, extra={"sex": "FM"[index % 4 // 2]},
                )
            )  # fmt: skip
    write_dataset(folder, records)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("use") / "real", 10_000, {"train": 40, "val": 4, "test": 100})


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As good as synthetic images can be: more of the same generator."""
    return write(tmp_path_factory.mktemp("use") / "fresh", 50_000, {"train": 80}, origin="synthetic")


def config_of(samples: Path, real: Path, out: Path, **changes: Any) -> UsefulnessConfig:
    """All samples, also beside a twentieth of the real patients, by a head on the witness's features: in a moment."""
    settled: dict[str, Any] = {
        "classifier": "witness", "ratios": (2.0,), "shares": (0.05,), "share_ratios": (20.0,), "size": 32, "json": True,
    }  # fmt: skip
    return UsefulnessConfig(samples=samples, real=real, out=out, **settled | changes)


def quick(samples: Path, real: Path, out: Path, **changes: Any) -> UsefulnessConfig:
    """The small network, by far too few updates to learn anything."""
    settled = {"classifier": "convnet", "shares": (), "seeds": 2, "updates": 4, "batch_size": 8, "size": 16}
    return config_of(samples, real, out, **settled | changes)


def arm(regime: dict[str, Any], kind: str) -> Any:
    return next(row for row in regime["arms"] if row["kind"] == kind)


@pytest.fixture(scope="module")
def helped(real: Path, fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measure(config_of(fresh, real, tmp_path_factory.mktemp("use") / "out", subgroup="sex", seeds=8))


def test_fresh_images_of_the_same_generator_are_a_gain_where_real_ones_are_few(helped: dict[str, Any]) -> None:
    few = helped["regimes"][1]
    both = arm(few, "both")
    assert (few["share"], few["verdict"], few["best_ratio"]) == (0.05, "gain: real + synthetic x 20", 20)
    assert both["against_real"]["low"] > 0 < both["against_repeated"]["low"]
    assert both["metrics"]["auroc"]["value"] > arm(few, "real")["metrics"]["auroc"]["value"] + 0.03


def test_the_duplicate_control_is_as_good_as_real_alone(helped: dict[str, Any]) -> None:
    for regime in helped["regimes"]:
        repeated = arm(regime, "repeated")
        assert repeated["against_real"]["low"] <= 0.005
        assert repeated["against_real"]["high"] >= -0.005
        assert (repeated["num_synthetic"], repeated["verdict"]) == (0, None)


def test_phantoms_are_called_so_and_a_class_without_samples_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn_by_rule = write(tmp_path / "real", 1, {"train": 8, "val": 2, "test": 8}, origin="phantom")
    few = write(tmp_path / "few", 90, {"train": 8}, origin="synthetic")
    write_dataset(few, [r for r in load_records(few) if r.label == "mass"])
    config = quick(few, drawn_by_rule, tmp_path / "out", ratios=(0.5,), json=False)
    result = measure_usefulness(config)
    assert result["origin"] == "phantom"
    (warning,) = result["warnings"]
    assert warning.startswith("No sample shows: normal. So a classifier can tell classes by whether an image was drawn")
    page = (tmp_path / "out" / "report.md").read_text()
    assert f"Warning: {warning}" in page
    assert "tested on 8 phantom images of 8 patients" in page
    assert not re.search(r"real (training |test )?(images|patients)", page)
    assert usefulness(config) == DONE
    told = capsys.readouterr().out
    assert f"warning: {warning}" in told
    assert "100 % of the phantom patients: " in told


def test_every_score_has_its_interval_and_the_worst_subgroup_its_name(helped: dict[str, Any]) -> None:
    for regime in helped["regimes"]:
        for row in regime["arms"]:
            assert set(row["metrics"]) == {"auroc", "accuracy", "ece", "brier"}
            for measured in (*row["metrics"].values(), row["worst_subgroup"]["accuracy"]):
                assert measured["low"] <= measured["value"] <= measured["high"]
                assert measured["num"] == 8
            assert row["worst_subgroup"]["name"] in ("F", "M")
            assert row["worst_subgroup"]["accuracy"]["value"] <= row["metrics"]["accuracy"]["value"] + 1e-9


def test_noise_under_the_right_labels_is_no_gain(real: Path, tmp_path: Path) -> None:
    def noise(image: Uint8, rng: np.random.Generator) -> Uint8:
        return rng.integers(0, 256, image.shape, dtype=np.uint8)

    samples = write(tmp_path / "noise", 70_000, {"train": 80}, origin="synthetic", change=noise)
    regimes = measure(config_of(samples, real, tmp_path / "out"))["regimes"]
    assert [(r["verdict"], r["best"], r["best_ratio"]) for r in regimes] == [("no gain", None, None)] * 2


def test_shuffled_labels_are_no_gain_and_harm(real: Path, tmp_path: Path) -> None:
    samples = write(tmp_path / "shuffled", 50_000, {"train": 80}, origin="synthetic", shuffled=True)
    regimes = measure(config_of(samples, real, tmp_path / "out"))["regimes"]
    assert [r["verdict"] for r in regimes] == ["no gain", "no gain"]
    assert regimes[0]["harm"] == ["real + synthetic x 2"]
    assert arm(regimes[0], "both")["against_real"]["high"] < 0


@pytest.mark.slow
def test_a_network_gains_by_fresh_images_too(real: Path, fresh: Path, tmp_path: Path) -> None:
    config = config_of(
        fresh, real, tmp_path / "out", classifier="convnet", self_supervised=True, updates=120, batch_size=16, seeds=3
    )
    few = measure(config)["regimes"][1]
    assert arm(few, "both")["against_real"]["value"] > 0.05
    assert {row["kind"] for row in few["arms"]} == {"real", "both", "repeated", "then", "unlabelled"}
    assert arm(few, "repeated")["against_real"]["low"] < 0 < arm(few, "repeated")["against_real"]["high"]


def test_all_arms_are_trained_and_shown_on_one_page(real: Path, fresh: Path, tmp_path: Path) -> None:
    result = measure_usefulness(quick(fresh, real, tmp_path / "out", ratios=(0.5, 1.0, 9.0), self_supervised=True))
    names = [row["arm"] for row in result["regimes"][0]["arms"]]
    assert names == [
        "real alone", "synthetic alone", "real + synthetic x 0.5", "real + synthetic x 1", "real + synthetic x 2",
        "real, repeated x 0.5", "real, repeated x 1", "real, repeated x 2", "synthetic, then real",
        "synthetic without labels, then real",
    ]  # fmt: skip
    assert any("ratio 9 needs more samples than there are" in note for note in result["notes"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "no gain" in page
    assert "Bonferroni" in page
    table = [line for line in (tmp_path / "out" / "report.md").read_text().splitlines() if line.startswith("| real")]
    assert len({line.count("|") for line in table[1:]}) <= 2
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(result))


def test_a_run_that_was_killed_goes_on_to_the_same_result(real: Path, fresh: Path, tmp_path: Path) -> None:
    words = (
        "usefulness", fresh, "--real", real, "--size", 32, "--updates", 12, "--seeds", 2, "--ratios", 1, 2,
        "--shares", 0.5, "--share-ratios", 1, "--batch-size", 8, "--out",
    )  # fmt: skip
    killed = tmp_path / "killed"
    line = [sys.executable, "-m", "vesalius.cli.main", *map(str, words), str(killed)]
    process = subprocess.Popen(line, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if (killed / JOURNAL).is_file() and (killed / JOURNAL).read_bytes().count(b"\n") > 3:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = [json.loads(row)["key"] for row in (killed / JOURNAL).read_bytes().split(b"\n")[:-1] if row.strip()]
    assert not (killed / "report.json").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as the other process had, so that sums are in the same order
    try:
        for out in (killed, tmp_path / "whole"):
            assert main([*map(str, words), str(out), "--json"]) == DONE
    finally:
        torch.set_num_threads(threads)
    assert (killed / "report.json").read_text() == (tmp_path / "whole" / "report.json").read_text()
    rows = [json.loads(row)["key"] for row in (killed / JOURNAL).read_bytes().split(b"\n") if row.startswith(b"{")]
    assert rows[: len(before)] == before
    assert len(rows) == len(set(rows))


def test_more_seeds_train_what_is_new_alone_and_a_dry_run_counts_it(
    real: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = quick(fresh, real, tmp_path / "out")
    planned = measure(dataclasses.replace(config, dry_run=True))
    assert (planned["trainings"], planned["done"], (tmp_path / "out").exists()) == (10, 0, False)
    assert planned["seconds"] > 0
    measure(config)
    more = measure(dataclasses.replace(config, seeds=3, dry_run=True))
    assert (more["trainings"], more["done"]) == (15, 10)
    line = ["usefulness", fresh, "--real", real, "--out", tmp_path / "new", "--size", 16, "--updates", 4, "--dry-run"]
    assert main(list(map(str, line))) == DONE
    told = capsys.readouterr().out
    assert "would train 115 classifiers (0 are finished): about" in told


OWN = """
import torch
def nearest(images, labels, val_images, val_labels, seed, num_classes{first}):
    assert images.dtype == torch.uint8 and len(val_images) == 4
    centres = torch.stack([images[labels == k].float().mean(0).flatten() for k in range(num_classes)])
    return lambda new: torch.softmax(-torch.cdist(new.float().flatten(1), centres) / 100, 1){spoilt}
"""


def test_a_function_in_a_file_is_a_classifier(real: Path, fresh: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN.format(first="", spoilt=""))
    result = measure(quick(fresh, real, tmp_path / "one", classifier=f"{path}:nearest"))
    assert arm(result["regimes"][0], "real")["metrics"]["auroc"]["value"] > 0.5
    assert "then" not in {row["kind"] for row in result["regimes"][0]["arms"]}
    path.write_text(OWN.format(first=", first=None", spoilt=""))
    result = measure(quick(fresh, real, tmp_path / "two", classifier=f"{path}:nearest"))
    assert arm(result["regimes"][0], "then")["num_synthetic"] == 80
    path.write_text(OWN.format(first="", spoilt=" * 2"))
    with pytest.raises(ValueError, match="predicted no probabilities"):
        measure(quick(fresh, real, tmp_path / "three", classifier=f"{path}:nearest"))
    with pytest.raises(ValueError, match="has no function 'farthest'"):
        measure(quick(fresh, real, tmp_path / "four", classifier=f"{path}:farthest"))


def test_a_file_that_is_no_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def train(:\n")
    config = UsefulnessConfig(samples=tmp_path, real=tmp_path, out=tmp_path, classifier=f"{tmp_path / 'mine.py'}:train")
    with pytest.raises(ValueError, match=r"mine\.py:train': invalid syntax.*mine\.py, line 1.*give MODULE:FUNCTION"):
        open_classifier(config)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"mine\.py:train': ZeroDivisionError in .*mine\.py, line 1: division by zero; mend it"),
        ("def train(i, l, v, w, seed):\n    raise KeyError(7)", r"KeyError in .*mine\.py, line 2: 7; mend it"),
        ("train = lambda *told: 7", r"mine\.py:train.*: returned int; expected a function images -> predictions"),
        ("train = lambda i, l, v, w, seed: lambda x: x.no", r"AttributeError in .*mine\.py, line 1: .*no"),
    ],
)
def test_an_error_in_a_users_function_is_told_with_its_place(
    real: Path, fresh: Path, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(code)
    config = dataclasses.replace(quick(fresh, real, tmp_path / "out"), classifier=f"{tmp_path / 'mine.py'}:train")
    with pytest.raises(ValueError, match=message):
        measure(config)


def test_a_callable_from_python_is_a_classifier(real: Path, fresh: Path, tmp_path: Path) -> None:
    def guess(images: torch.Tensor, labels: torch.Tensor, *rest: Any) -> Any:
        share = labels.float().mean()
        return lambda new: torch.stack([1 - share, share]).expand(len(new), 2)

    result = measure(quick(fresh, real, tmp_path / "out"), guess)
    assert {row["metrics"]["auroc"]["value"] for row in result["regimes"][0]["arms"]} == {0.5}
    assert result["regimes"][0]["verdict"] == "no gain"


def test_masks_are_outlined(phantoms: Path, tmp_path: Path) -> None:
    others = write_phantoms(PhantomConfig(num=60, seed=900, size=32, out=tmp_path / "others", json=True))
    config = quick(others, phantoms, tmp_path / "out", task="segmentation", ratios=(0.5,), modality=("CT",))
    result = measure_usefulness(config)
    assert result["metric"] == "dice"
    for row in result["regimes"][0]["arms"]:
        assert 0 <= row["metrics"]["dice"]["value"] <= 1
    assert "Dice" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(ValueError, match="one value means different things; choose one with --modality"):
        measure(dataclasses.replace(config, modality=()))


def respelt(real: Path, folder: Path, **changes: Callable[[Record], Any]) -> Path:
    """The real dataset with other columns, and its images."""
    records = [dataclasses.replace(r, **{k: f(r) for k, f in changes.items()}) for r in load_records(real)]
    shutil.copytree(real, folder)
    write_dataset(folder, records)
    return folder


def test_a_test_patient_who_is_trained_on_is_refused_by_name(real: Path, fresh: Path, tmp_path: Path) -> None:
    shared = next(r.patient_id for r in load_records(real, "train"))
    first = load_records(real, "test")[0].file_name
    leaky = respelt(real, tmp_path / "leaky", patient_id=lambda r: shared if r.file_name == first else r.patient_id)
    with pytest.raises(ValueError, match=f"patient '{shared}' lies in test and in train"):
        measure(quick(fresh, leaky, tmp_path / "out"))


def test_a_model_that_was_trained_on_test_patients_is_refused(real: Path, fresh: Path, tmp_path: Path) -> None:
    trained = write(tmp_path / "trained", 10_044, {"train": 2})
    with pytest.raises(ValueError, match="patient 'p10044' was trained on by the model and lies in the test split"):
        measure(quick(fresh, real, tmp_path / "out", train=trained))


@pytest.mark.parametrize(
    ("label", "samples", "message"),
    [
        ("label", "label", "'label' has one class with 2 training and 2 test images"),
        ("grade", None, "no sample has the column 'grade'"),
        ("finding:mass", None, "no sample has the finding 'mass'"),
    ],
)
def test_one_class_and_no_labels_are_refused(
    real: Path, fresh: Path, tmp_path: Path, label: str, samples: str | None, message: str
) -> None:
    folder = respelt(real, tmp_path / "one", label=lambda r: "mass") if samples else real
    with pytest.raises(ValueError, match=message):
        measure(quick(fresh, folder, tmp_path / "out", label=label))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "an interval needs at least 2"),
        ({"ratios": (0.0,)}, "expected numbers above 0"),
        ({"shares": (1.5,), "share_ratios": (1.0,)}, "expected numbers above 0 and below 1"),
        ({"size": 30}, "multiple of 8"),
        ({"ratios": (0.001,)}, "--ratios 0.001 of 40 real images makes no image; give a larger one"),
        ({"classifier": "os:getpid"}, r"os:getpid: too many positional arguments; expected a function of \(images"),
        ({"subgroup": "ward"}, "no test record has the column 'ward'"),
        ({"organ": ("heart",)}, "no sample is of heart"),
        ({"classifier": "resnet"}, "is not known"),
        ({"classifier": "witness", "self_supervised": True}, "convnet alone"),
        ({"classifier": "witness", "task": "segmentation"}, "outlines nothing"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    real: Path, fresh: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure(dataclasses.replace(quick(fresh, real, tmp_path / "out"), **change))


def test_a_folder_that_holds_something_else_is_left_alone(
    real: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["usefulness", str(fresh), "--real", str(real), "--out", str(tmp_path)]) == USAGE
    told = capsys.readouterr().err
    assert "is not empty" in told
    assert "reading images" not in told


def test_an_augmented_dataset_is_measured_by_its_synthetic_records(
    phantoms: Path, tiny_base: Path, tmp_path: Path
) -> None:
    from vesalius.inference.augmentation.run import augment

    made = augment(
        phantoms, ratio=0.5, by="modality", out=tmp_path / "augmented", base=str(tiny_base), steps=1, json=True
    )
    result = measure(quick(made.path, phantoms, tmp_path / "out", label="modality", ratios=(0.25, 0.5)))
    assert result["num_synthetic"] == sum(made.drawn.values())
    assert result["num_train"] == len(load_records(phantoms, "train"))
    assert result["seen"]["kind"] == "assumed"
    assert "drawn by base tiny" in result["provenance"][0]
    real_alone, both = (arm(result["regimes"][0], kind) for kind in ("real", "both"))
    assert real_alone["num_behind"] == both["num_behind"] == result["num_train"]


def test_test_images_among_the_samples_are_told(real: Path, tmp_path: Path) -> None:
    leaked = write(tmp_path / "leaked", 10_044, {"train": 6}, origin="synthetic")
    notes = measure(quick(leaked, real, tmp_path / "out", ratios=(0.1,)))["notes"]
    assert any(note.startswith("6 samples are test images, pixel by pixel") for note in notes)
