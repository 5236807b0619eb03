"""What a check finds in a dataset folder that somebody broke."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.build import BuildConfig, build
from vesalius.data.check import CheckConfig, CheckSummary, check
from vesalius.data.record import load_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    source.mkdir()
    rows = []
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8)).astype(np.uint8)).save(source / f"{i}.png")
        split = ("train", "train", "val", "test")[i % 4]
        rows.append(
            {"file_name": f"{i}.png", "text": f"Case {i}.", "modality": "CT", "patient_id": f"p{i}", "split": split}
        )
    (source / "metadata.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    build(BuildConfig(sources=(source,), out=tmp_path / "out", json=True))
    return tmp_path / "out"


def run(folder: Path) -> CheckSummary:
    return check(CheckConfig(folder=folder, json=True))


def edit(folder: Path, split: str, number: int, **columns: str) -> None:
    path = folder / split / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number].update(columns)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_whole_dataset_has_no_problems(folder: Path) -> None:
    summary = run(folder)
    assert summary.ok
    assert (summary.num_records, summary.num_patients) == (12, 12)
    assert summary.splits == {"train": 6, "val": 3, "test": 3}
    assert summary.modalities == {"CT": 12}


def test_missing_manifest_is_a_problem(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "no manifest.json" in run(folder).problems[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": " "}, "its text is empty"),
        ({"modality": "CTT"}, "modality 'CTT' is not known"),
        ({"sha256": "0" * 64}, "sha256"),
    ],
)
def test_changed_row_is_found_twice(folder: Path, columns: dict[str, str], message: str) -> None:
    edit(folder, "val", 1, **columns)
    problems = run(folder).problems
    assert any("metadata.jsonl: changed since the manifest" in p for p in problems)
    assert any(message in p and ".png" in p for p in problems)


@pytest.mark.parametrize("damage", ["changed", "corrupt", "gone", "blank"])
def test_damaged_image_is_named(folder: Path, damage: str) -> None:
    path = folder / load_records(folder, "train")[0].file_name
    if damage == "changed":
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(path)
    elif damage == "corrupt":
        path.write_bytes(path.read_bytes()[:60])
    elif damage == "gone":
        path.unlink()
    else:
        Image.new("L", (8, 8)).save(path)
    problems = run(folder).problems
    assert problems
    assert all(p.startswith(str(path)) for p in problems)


def test_patient_in_two_splits_is_a_problem(folder: Path) -> None:
    edit(folder, "val", 0, patient_id="p0")
    assert any("patient or group 'p0' is in more than one split" in p for p in run(folder).problems)


def test_same_image_in_two_splits_is_a_problem_even_if_encoded_anew(folder: Path) -> None:
    source, target = (folder / load_records(folder, s)[0].file_name for s in ("train", "test"))
    Image.open(source).save(target, compress_level=0)
    assert any("the same image is in train" in p and "test (" in p for p in run(folder).problems)


def test_same_image_twice_in_one_split_is_a_warning(folder: Path) -> None:
    first, second = load_records(folder, "val")[:2]
    shutil.copy(folder / first.file_name, folder / second.file_name)
    edit(folder, "val", 1, sha256=str(first.sha256))
    summary = run(folder)
    assert any("1 images repeat" in w for w in summary.warnings)
    assert not any("same image" in p for p in summary.problems)


def test_missing_split_and_link_out_are_found(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "val")
    outside = tmp_path / "in" / "0.png"
    path = folder / load_records(folder, "train")[0].file_name
    path.unlink()
    path.symlink_to(outside)
    problems = run(folder).problems
    assert any("val/metadata.jsonl: missing" in p for p in problems)
    assert any("leads out of the dataset folder" in p for p in problems)


def test_no_dataset_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such dataset folder"):
        run(tmp_path / "nothing")
