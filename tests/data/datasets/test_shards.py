"""Shards: every record and image comes back, `datasets` streams them, and damage is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.datasets.shards import ExportConfig, ExportSummary, export_shards, fetch, stream_members
from vesalius.data.datasets.streamed import shards_of
from vesalius.data.images.image import write_png
from vesalius.data.record import Record, load_records, write_dataset

Kind = Literal["parquet", "webdataset"]
kinds = pytest.mark.parametrize("kind", ["parquet", "webdataset"])


def export(folder: Path, out: Path, kind: Kind, **fields: int) -> ExportSummary:
    return export_shards(ExportConfig(folder=folder, out=out, shards=kind, json=True, **fields))


@kinds
def test_records_and_images_come_back(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    summary = export(phantoms, tmp_path / "out", kind)
    before = {r.file_name: r for r in load_records(phantoms)}
    after = list(stream_members(tmp_path / "out"))
    assert {r.file_name: r for r, _ in after} == before
    assert all(content == (phantoms / r.file_name).read_bytes() for r, content in after)
    assert summary.splits == {s: sum(r.split == s for r in before.values()) for s in summary.splits}
    found = check_dataset(CheckConfig(folder=tmp_path / "out", json=True))
    folder = check_dataset(CheckConfig(folder=phantoms, json=True, dry_run=True))
    assert dataclasses.replace(found, folder=phantoms) == folder
    assert found.ok
    name = next(iter(before))
    assert fetch(tmp_path / "out", {name}) == {name: (phantoms / name).read_bytes()}


@kinds
def test_datasets_streams_the_shards(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    import datasets

    export(phantoms, tmp_path / "out", kind)
    suffix = {"parquet": "parquet", "webdataset": "tar"}[kind]
    files = {"train": str(tmp_path / "out" / "train" / f"*.{suffix}")}
    opened = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
    rows = list(opened)
    assert len(rows) == len(load_records(phantoms, "train"))
    image, text = (
        (rows[0]["image"], rows[0]["text"]) if kind == "parquet" else (rows[0]["png"], rows[0]["json"]["text"])
    )
    assert image.size == (32, 32)
    assert text == load_records(phantoms, "train")[0].text


def test_a_parquet_folder_opens_with_its_splits(phantoms: Path, tmp_path: Path) -> None:
    import datasets

    summary = export(phantoms, tmp_path / "out", "parquet")
    opened = datasets.load_dataset(str(tmp_path / "out"), streaming=True)
    names = {"train": "train", "val": "validation", "test": "test"}
    assert set(opened) == {names[s] for s in summary.splits}


@kinds
def test_equal_records_make_equal_shards(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    one, two = export(phantoms, tmp_path / "one", kind), export(phantoms, tmp_path / "two", kind)
    assert one.num_shards == two.num_shards == len(shards_of(tmp_path / "one"))
    assert shards_of(tmp_path / "one") == shards_of(tmp_path / "two")
    assert sum(facts["num_records"] for facts in shards_of(tmp_path / "one").values()) == 60


@kinds
def test_damaged_and_missing_shards_are_named(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    export(phantoms, tmp_path / "out", kind)
    shard = next(iter(shards_of(tmp_path / "out")))
    path = tmp_path / "out" / shard
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{path}: damaged"):
        check_dataset(CheckConfig(folder=tmp_path / "out", json=True))
    path.unlink()
    with pytest.raises(ValueError, match=f"{path}: missing"):
        check_dataset(CheckConfig(folder=tmp_path / "out", json=True))


def test_verbs_that_want_a_folder_say_that_these_are_shards(phantoms: Path, tmp_path: Path) -> None:
    export(phantoms, tmp_path / "out", "parquet")
    with pytest.raises(ValueError, match="holds shards"):
        load_records(tmp_path / "out")


def test_a_new_shard_begins_at_the_size_asked_for(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        name = f"train/images/{number}.png"
        (tmp_path / "in" / "train" / "images").mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / "in" / name, np.random.default_rng(number).integers(0, 255, (700, 700, 1), np.uint8))
        rows.append(Record(file_name=name, text=f"Case {number}.", modality="CT"))
    write_dataset(tmp_path / "in", rows)
    both: tuple[Kind, Kind] = ("parquet", "webdataset")
    for kind in both:
        summary = export_shards(
            ExportConfig(folder=tmp_path / "in", out=tmp_path / kind, shards=kind, shard_mb=1, json=True)
        )
        assert summary.num_shards == 2, "of half a megabyte each, three to a shard"
        assert [r.text for r, _ in stream_members(tmp_path / kind)] == [r.text for r in rows]


def test_a_stopped_export_has_no_manifest_and_the_same_line_ends_it(phantoms: Path, tmp_path: Path) -> None:
    from vesalius.data.datasets.filter import FilterConfig, filter_dataset

    part = tmp_path / "part"
    filter_dataset(FilterConfig(folder=phantoms, out=part, modality=("MRI",), json=True))
    victim = part / load_records(part)[-1].file_name
    content = victim.read_bytes()
    victim.unlink()
    with pytest.raises(ValueError, match=f"{victim}: missing"):
        export(part, tmp_path / "out", "parquet")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "derived.json"]
    with pytest.raises(ValueError, match="holds an export of something else"):
        export(phantoms, tmp_path / "out", "parquet")
    victim.write_bytes(content)
    assert sum(export(part, tmp_path / "out", "parquet").splits.values()) == len(load_records(part))
