"""Datasets made from others: merge and sample; whole folders with the same pixels, patients never divided."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.datasets.filter import FilterConfig, filter_dataset
from vesalius.data.datasets.merge import MergeConfig, merge_datasets
from vesalius.data.datasets.sample import SampleConfig, equal_shares, sample_dataset
from vesalius.data.record import Record, load_records, write_dataset


def dataset(folder: Path, patients: dict[str, str], *, seed: int = 0, per_patient: int = 2) -> Path:
    """A dataset of the patients in their splits; images named 0.png, 1.png ... whatever is in them."""
    records = []
    for number in range(len(patients) * per_patient):
        patient, split = list(patients.items())[number // per_patient]
        name = f"{split}/images/{number}.png"
        (folder / split / "images").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([seed, number]).integers(0, 255, (12, 12)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        label = "rare" if number % 7 == 0 else "common"
        text = f"{label} {seed} {number}"
        records.append(Record(file_name=name, text=text, modality="CT", patient_id=patient, split=split, label=label))
    write_dataset(folder, records)
    return folder


def merge(*folders: Path, out: Path, follow_first: bool = False) -> tuple[int, int, int]:
    summary = merge_datasets(MergeConfig(folders=folders, out=out, follow_first=follow_first, json=True))
    return sum(summary.splits.values()), summary.num_repeated, summary.num_moved


def ok(folder: Path) -> bool:
    return check_dataset(CheckConfig(folder=folder, json=True)).ok


def test_equal_names_with_other_images_are_both_kept(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {"a": "train", "b": "test"}, seed=1)
    two = dataset(tmp_path / "two", {"c": "train", "d": "test"}, seed=2)
    assert merge(one, two, out=tmp_path / "out") == (8, 0, 0)
    merged = load_records(tmp_path / "out")
    assert {r.text for r in merged} == {r.text for f in (one, two) for r in load_records(f)}
    assert len({(tmp_path / "out" / r.file_name).read_bytes() for r in merged}) == 8
    assert ok(tmp_path / "out")


def test_a_record_in_several_datasets_is_taken_once(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {"a": "train", "b": "test", "c": "val"})
    filter_dataset(FilterConfig(folder=one, out=tmp_path / "part", label=("common",), json=True))
    total, repeated, _ = merge(one, tmp_path / "part", out=tmp_path / "out")
    assert (total, repeated) == (6, len(load_records(tmp_path / "part")))


def test_patient_in_two_splits_is_refused_or_follows_the_first(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {"a": "train", "b": "test"}, seed=1)
    two = dataset(tmp_path / "two", {"b": "train", "d": "val"}, seed=2)
    with pytest.raises(ValueError, match=r"two: patient or group 'b' is in train there and in test"):
        merge(one, two, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert merge(one, two, out=tmp_path / "out", follow_first=True) == (8, 0, 2)
    splits = {(r.patient_id, r.split) for r in load_records(tmp_path / "out")}
    assert splits == {("a", "train"), ("b", "test"), ("d", "val")}
    assert all((tmp_path / "out" / r.file_name).is_file() for r in load_records(tmp_path / "out"))


def test_masks_and_hounsfield_units_survive_a_merge(phantoms: Path, tmp_path: Path) -> None:
    other = dataset(tmp_path / "other", {"a": "train"})
    merge(phantoms, other, out=tmp_path / "out")
    before = {r.file_name: r for r in load_records(phantoms)}
    after = {r.file_name: r for r in load_records(tmp_path / "out") if r.origin == "phantom"}
    assert after == before
    assert all((tmp_path / "out" / r.mask).is_file() for r in after.values() if r.mask)


@given(there=st.dictionaries(st.text(max_size=3), st.integers(1, 30), min_size=1, max_size=8), data=st.data())
def test_shares_are_equal_where_they_can_be(there: dict[str, int], data: st.DataObject) -> None:
    num = data.draw(st.integers(1, sum(there.values())))
    shares, more = equal_shares(there, num), equal_shares(there, min(num + 1, sum(there.values())))
    assert sum(shares.values()) == num
    assert all(0 <= shares[v] <= there[v] for v in there)
    most = max(shares.values())
    assert all(shares[v] >= most - 1 or shares[v] == there[v] for v in there)
    assert all(shares[v] <= more[v] for v in there), "a larger sample holds the smaller one"


def test_a_sample_is_balanced_and_the_larger_holds_the_smaller(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {f"p{i}": ("train", "val", "test")[i % 3] for i in range(21)})
    names = []
    for num in (6, 11):
        out = tmp_path / str(num)
        summary = sample_dataset(SampleConfig(folder=one, out=out, num=num, balance=("label",), json=True))
        drawn = load_records(out)
        assert Counter(r.label for r in drawn) == summary.values
        assert len(drawn) == num
        assert abs(summary.values["rare"] - summary.values["common"]) <= 1
        assert ok(out) or "split" in str(check_dataset(CheckConfig(folder=out, json=True)).warnings)
        names.append({r.file_name for r in drawn})
    assert names[0] < names[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"num": 0}, "num 0"), ({"num": 99}, "99 are asked"), ({"num": 1, "balance": ("colour",)}, "field 'colour'")],
)
def test_samples_that_cannot_be_are_refused(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    one = dataset(tmp_path / "one", {"a": "train"})
    config = dataclasses.replace(SampleConfig(folder=one, out=tmp_path / "out", num=1, json=True), **fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        sample_dataset(config)
    assert not (tmp_path / "out").exists()


MERGE = """
import sys
from pathlib import Path
from vesalius.data.datasets.merge import MergeConfig, merge_datasets
one, two, out = map(Path, sys.argv[1:])
merge_datasets(MergeConfig(folders=(one, two), out=out, json=True))
"""


def test_killed_merge_leaves_no_manifest_and_the_same_line_ends_it(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {f"a{i}": "train" for i in range(150)}, seed=1)
    two = dataset(tmp_path / "two", {f"b{i}": "test" for i in range(150)}, seed=2)
    job = subprocess.Popen([sys.executable, "-c", MERGE, str(one), str(two), str(tmp_path / "out")])
    until = time.monotonic() + 60
    while job.poll() is None and time.monotonic() < until:
        if len(list((tmp_path / "out").glob("*/images/*"))) > 20:
            job.send_signal(signal.SIGKILL)
            break
        time.sleep(0.0005)
    assert job.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(ValueError, match="unfinished"):
        load_records(tmp_path / "out")
    with pytest.raises(ValueError, match="made from other records"):
        merge(two, one, out=tmp_path / "out")
    assert merge(one, two, out=tmp_path / "out")[0] == 600
    assert ok(tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*tmp")), "what is put aside has no name"
    state = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    merge(one, two, out=tmp_path / "out")
    assert state == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}


def test_an_image_outside_of_the_folder_is_not_taken(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", {"a": "train"})
    secret = tmp_path / "secret.png"
    Image.new("L", (4, 4)).save(secret)
    rows = [json.loads(line) for line in (one / "train" / "metadata.jsonl").read_text().splitlines()]
    rows[0]["file_name"] = "../../secret.png"
    (one / "train" / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(ValueError, match="leads out of the dataset folder"):
        filter_dataset(FilterConfig(folder=one, out=tmp_path / "out", json=True))
