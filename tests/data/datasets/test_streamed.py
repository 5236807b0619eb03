"""Records and images out of shards where they lie: the same as of the folder, one at a time, and damage is named."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.datasets.streamed import Packed, dataset_records, place_of, shards_of
from vesalius.data.images.image import load_square, write_png
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file, load_records, write_dataset

Kind = Literal["parquet", "webdataset"]
kinds = pytest.mark.parametrize("kind", ["parquet", "webdataset"])


def export(folder: Path, out: Path, kind: Kind, **fields: int) -> Path:
    return export_shards(ExportConfig(folder=folder, out=out, shards=kind, json=True, **fields)).path


def first_shard(folder: Path) -> Path:
    return folder / next(name for name in shards_of(folder) if name.startswith("train/"))


@kinds
def test_records_images_and_masks_are_those_of_the_folder(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    out = export(phantoms, tmp_path / "out", kind)
    before, after = ({r.file_name: r for r in dataset_records(f)} for f in (phantoms, out))
    assert before == after
    assert [r for r in dataset_records(phantoms) if r.split == "train"] == [
        r for r in dataset_records(out) if r.split == "train"
    ]
    for record in after.values():
        for name in filter(None, (record.file_name, record.mask)):
            place = place_of(out, name)
            assert isinstance(place, Packed)
            assert place.open().read() == (phantoms / name).read_bytes()
    record = next(r for r in after.values() if r.hounsfield)
    modality = find_modality(record.modality)
    seen, packed = (load_square(place_of(f, record.file_name), modality, 32) for f in (phantoms, out))
    assert np.array_equal(seen, packed)


@kinds
def test_images_are_found_in_any_order(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    out = export(phantoms, tmp_path / "out", kind)
    records = list(dataset_records(out))
    for index in np.random.default_rng(0).permutation(len(records)):
        record = records[index]
        assert digest_file(place_of(out, record.file_name)) == record.sha256
    assert place_of(out, "train/images/none.png") == out / "train/images/none.png"


@kinds
def test_a_flat_folder_keeps_its_names(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(phantoms, flat, ignore=shutil.ignore_patterns("*.jsonl", "*.json"))
    with (flat / "metadata.jsonl").open("w") as file:
        for record in load_records(phantoms):
            file.write(json.dumps(record.to_json()) + "\n")
    (flat / "images").mkdir()
    first = load_records(flat)[0]
    out = export(flat, tmp_path / "out", kind)
    assert {r.file_name: r for r in dataset_records(out)} == {r.file_name: r for r in load_records(flat)}
    assert digest_file(place_of(out, first.file_name)) == first.sha256


@kinds
@pytest.mark.parametrize("keep", [0.9, 0.3, 0.0])
def test_a_shard_that_is_cut_short_is_named(phantoms: Path, tmp_path: Path, kind: Kind, keep: float) -> None:
    out = export(phantoms, tmp_path / "out", kind)
    path = first_shard(out)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ValueError, match=f"{path}: damaged or missing .*copy it again, or export"):
        list(dataset_records(out))
    path.unlink()
    with pytest.raises(ValueError, match=f"{path}: damaged or missing"):
        list(dataset_records(out))


def test_a_tar_that_ends_early_at_a_member_is_named(phantoms: Path, tmp_path: Path) -> None:
    import tarfile

    out = export(phantoms, tmp_path / "out", "webdataset")
    path = first_shard(out)
    with tarfile.open(path) as tar:
        middle = tar.getmembers()[9].offset
    path.write_bytes(path.read_bytes()[:middle] + bytes(10240))
    with pytest.raises(ValueError, match=rf"{path}: damaged or missing \(3 records where the manifest names \d+\)"):
        list(dataset_records(out))


@kinds
def test_flipped_bytes_never_give_another_image_and_name_the_shard(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    out = export(phantoms, tmp_path / "out", kind)
    path, rng = first_shard(out), np.random.default_rng(0)
    whole, told, messages = path.read_bytes(), 0, list[str]()
    records = [r for r in load_records(phantoms) if r.split == "train"]
    for _ in range(30):
        content = bytearray(whole)
        start = int(rng.integers(len(content) - 64))
        content[start : start + 64] = rng.bytes(64)
        path.unlink()
        path.write_bytes(content)
        (out / "manifest.json").touch()
        try:
            list(dataset_records(out))
            told += any(digest_file(place_of(out, r.file_name)) != r.sha256 for r in records)
        except ValueError as error:
            messages.append(str(error))
    assert all(line.startswith(f"{path}: damaged") for line in messages), messages
    assert told + len(messages) > 15


@kinds
def test_unfinished_shards_and_damaged_manifests_are_refused(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    out = export(phantoms, tmp_path / "out", kind)
    (out / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: damaged, it names no shards; export the dataset again"):
        list(dataset_records(out))
    (out / "manifest.json").unlink()
    with pytest.raises(ValueError, match="is unfinished; run the line that was making it again"):
        list(dataset_records(out))
    (out / "derived.json").unlink()
    with pytest.raises(ValueError, match=r"holds shards but no manifest\.json.*copy the folder whole, or run"):
        list(dataset_records(out))


def test_a_manifest_that_leads_out_of_its_folder_is_refused(phantoms: Path, tmp_path: Path) -> None:
    out = export(phantoms, tmp_path / "out", "parquet")
    manifest = json.loads((out / "manifest.json").read_text())
    for name in ("../00000.parquet", "/etc/00000.parquet", "a/b/c.parquet"):
        shards = {name: {"num_records": 1, "sha256": ""}}
        (out / "manifest.json").write_text(json.dumps({**manifest, "shards": shards}))
        with pytest.raises(ValueError, match="damaged, it names no shards"):
            shards_of(out)


@kinds
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, kind: Kind) -> None:
    if sys.platform != "linux":
        pytest.skip("reads its own memory as Linux tells it")
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    (folder / "train" / "images").mkdir(parents=True)
    rows = []
    for number in range(2000):
        name = f"train/images/{number:04d}.png"
        write_png(folder / name, rng.integers(0, 255, (200, 200, 1), np.uint8))
        rows.append(Record(file_name=name, text=f"Case {number}.", modality="CT"))
    write_dataset(folder, rows)
    out = export(folder, tmp_path / "out", kind, shard_mb=30)
    assert len(shards_of(out)) > 2
    total, after = 0, list[int]()
    for number, record in enumerate(list(dataset_records(out))):
        total += len(place_of(out, record.file_name).open().read())
        if number % 100 == 99:
            after.append(resident())
    assert total > 70_000_000
    assert max(after) - after[1] < total / 3, [f"{x / 1e6:.0f} MB" for x in after]


def resident() -> int:
    """Bytes of memory that this process holds."""
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
