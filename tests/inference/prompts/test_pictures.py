"""Pictures that rows of prompts bring to start from: in tables, in Parquet files, and as records of a dataset."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.images.image import png_bytes, read_image, write_png
from vesalius.data.record import digest_file, load_records
from vesalius.inference import GenerateConfig, Sample, generate
from vesalius.inference.prompts.read import stream_prompts
from vesalius.inference.request import Request
from vesalius.inference.running.run import stream_requests
from vesalius.inference.sample import load_samples

TEXT = "Brain MRI with a mass."


def grey(seed: int, edge: int = 32) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (edge, edge, 1), dtype=np.uint8)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six rows: a picture; with a strength; with a mask; with both; none; and again the first."""
    folder = tmp_path / "cases"
    (folder / "pictures").mkdir(parents=True)
    for i in range(4):
        write_png(folder / f"pictures/{i}.png", grey(i))
    hole = np.zeros((32, 32, 1), np.uint8)
    hole[8:20, 10:22] = 255
    write_png(folder / "hole.png", hole)
    rows = ("0.png,,", "1.png,,0.5", "2.png,hole.png,", "3.png,hole.png,0.8", ",,", "0.png,,0.3")
    lines = [f"{TEXT},{f'pictures/{row}' if row[0] != ',' else row}" for row in rows]
    path = folder / "prompts.csv"
    path.write_text("\n".join(["text,image,mask,strength", *lines, ""]))
    return path


def config(base: Path, prompts: Path, out: Path, **changes: Any) -> GenerateConfig:
    usual = GenerateConfig(prompts=prompts, out=out, base=str(base), num=2, steps=4, json=True, precision="fp32")
    return dataclasses.replace(usual, **changes)


def drawn(run: GenerateConfig) -> list[Sample]:
    assert generate(run).finished
    return load_samples(run.out)


def requests(prompts: Path, **changes: Any) -> list[Request]:
    return list(stream_requests(GenerateConfig(prompts=prompts, out=prompts.parent / "s", **changes)))


def test_each_row_starts_from_its_own_picture(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    run = config(tiny_base, table, tmp_path / "s")
    samples = drawn(run)[::2]
    folder, names = table.parent, ("0.png", "1.png", "2.png", "3.png", "", "0.png")
    assert [s.source for s in samples] == list(names)
    assert [s.strength for s in samples] == [0.6, 0.5, 1.0, 0.8, 0.0, 0.3]
    digests = [digest_file(folder / "pictures" / name) if name else "" for name in names]
    assert [s.source_sha256 for s in samples] == digests
    assert [bool(s.mask_sha256) for s in samples] == [False, False, True, True, False, False]
    outside = read_image(folder / "hole.png") == 0
    for sample in samples[2:4]:
        there, image = read_image(folder / "pictures" / sample.source), read_image(run.out / sample.file_name)
        assert np.array_equal(image[outside], there[outside])
        assert not np.array_equal(image, there)


def test_what_a_row_leaves_empty_is_the_runs(table: Path) -> None:
    picture = table.parent / "pictures" / "3.png"
    plain = requests(table, image=picture, strength=0.4)
    told = [(r.source.image.name, r.source.strength, r.source.where) for r in plain if r.source]
    assert told[0] == ("0.png", 0.4, f"{table}:2")
    assert told[1][:2] == ("1.png", 0.5)
    assert told[4] == ("3.png", 0.4, "")
    assert [r.source.strength if r.source else None for r in requests(table)] == [0.6, 0.5, 1.0, 0.8, None, 0.3]


def test_one_picture_may_have_many_masks(table: Path) -> None:
    path = table.with_name("masks.jsonl")
    path.write_text(json.dumps({"text": TEXT, "mask": "hole.png"}) + "\n")
    (only,) = requests(path, image=table.parent / "pictures" / "0.png")
    assert only.source is not None
    assert (only.source.mask, only.source.strength) == (table.parent / "hole.png", 1.0)
    with pytest.raises(ValueError, match=r"masks\.jsonl:1: mask needs a picture .*`image`, or give --image"):
        requests(path)


@pytest.mark.slow
def test_the_bytes_are_the_same_in_processes_in_other_shards_and_after_a_stop(
    tiny_base: Path, table: Path, tmp_path: Path
) -> None:
    whole = drawn(config(tiny_base, table, tmp_path / "whole", batch_size=2, shard_size=4))
    digests = [s.sha256 for s in whole]
    several = config(tiny_base, table, tmp_path / "several", batch_size=2, shard_size=4, workers=2, device="cpu")
    assert [s.sha256 for s in drawn(several)] == digests
    for sample in whole[3:8]:
        (several.out / sample.file_name).unlink()
    assert generate(several).num_drawn == 5
    assert [s.sha256 for s in load_samples(several.out)] == digests


def test_a_row_alone_is_the_same_picture(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    run = config(tiny_base, table, tmp_path / "all", batch_size=8)
    together = read_image(run.out / drawn(run)[0].file_name).astype(int)
    table.write_text("\n".join(lines[:2]))
    alone = config(tiny_base, table, tmp_path / "alone", batch_size=1)
    assert np.abs(read_image(alone.out / drawn(alone)[0].file_name) - together).max() <= 1


def test_a_picture_that_changed_is_told_with_its_row(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    run = config(tiny_base, table, tmp_path / "s")
    drawn(run)
    write_png(table.parent / "pictures" / "1.png", grey(9))
    with pytest.raises(ValueError, match=r"prompts\.csv:3: .*00001-0000\.png was drawn from another picture"):
        generate(run)
    write_png(table.parent / "pictures" / "1.png", grey(1))
    assert generate(run).num_drawn == 0
    table.write_text(table.read_text().replace("0.5", "0.7"))
    with pytest.raises(ValueError, match="another picture, mask or strength"):
        generate(run)
    table.write_text(table.read_text().replace("pictures/1.png,,0.7", ",,"))
    with pytest.raises(ValueError, match="another picture, mask or strength"):
        generate(run)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("pictures/0.png,small.png,", r"prompts\.csv:8: .*small\.png: is 16 x 16 pixels .* 32 x 32"),
        ("pictures/0.png,black.png,", r"prompts\.csv:8: .*black\.png: is black all over"),
        ("pictures/9.png,,", r"prompts\.csv:8: .*9\.png: no such image file"),
        ("prompts.csv,,", r"prompts\.csv:8: .*not an image"),
        ("pictures/0.png,,2", r"prompts\.csv:8: strength 2: expected a number above 0, up to 1"),
        ("pictures/0.png,,0", r"prompts\.csv:8: strength 0: expected a number above 0"),
        ("pictures/0.png,,much", r"prompts\.csv:8: strength much: expected a number"),
        ("pictures/0.png,,0.2", r"prompts\.csv:8: strength 0\.2 of 4 steps leaves none"),
        ("~nobody-here/a.png,,", r"prompts\.csv:8: .*a\.png: no such image file"),
        ("pictures,,", r"prompts\.csv:8: .*pictures: is a folder"),
        (f"{'a' * 300}.png,,", r"prompts\.csv:8: .*a\.png: "),
        (",hole.png,", r"prompts\.csv:8: mask needs a picture to start from"),
        (",,0.5", r"prompts\.csv:8: strength needs a picture to start from"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_bad_row_is_named_before_anything_is_drawn(
    tiny_base: Path, table: Path, tmp_path: Path, row: str, message: str, dry_run: bool
) -> None:
    write_png(table.with_name("small.png"), np.full((16, 16, 1), 255, np.uint8))
    write_png(table.with_name("black.png"), np.zeros((32, 32, 1), np.uint8))
    with table.open("a") as file:
        file.write(f"{TEXT},{row}\n")
    run = config(tiny_base, table, tmp_path / "s", dry_run=dry_run)
    with pytest.raises(ValueError, match=message):
        generate(run)
    assert not run.out.exists()


def test_a_mask_outside_of_what_is_drawn_is_named_early(tiny_base: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "wide.png", np.zeros((32, 64, 3), np.uint8))
    ends = np.zeros((32, 64, 1), np.uint8)
    ends[:, :10] = 255
    write_png(tmp_path / "ends.png", ends)
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"text": "H&E tile with glands.", "image": "wide.png", "mask": "ends.png"}))
    with pytest.raises(ValueError, match=r"p\.jsonl:1: .*ends\.png: what is white lies outside of what is drawn"):
        generate(config(tiny_base, path, tmp_path / "s", dry_run=True))


@pytest.mark.parametrize("kind", ["paths", "bytes", "files"])
def test_a_parquet_file_names_its_pictures_or_holds_them(tiny_base: Path, table: Path, kind: str) -> None:
    folder = table.parent
    names = [f"pictures/{i}.png" for i in range(3)]
    contents = [(folder / name).read_bytes() for name in names]
    column = {
        "paths": names, "bytes": contents, "files": [{"bytes": c, "path": None} for c in contents],
    }[kind]  # fmt: skip
    masks: dict[str, list[Any]] = {"mask": ["hole.png", None, ""]} if kind == "paths" else {}
    path = folder / "p.parquet"
    pq.write_table(pa.table({"text": [TEXT] * 3, "image": column, "strength": [0.5, None, 1.0], **masks}), path)
    samples = drawn(config(tiny_base, path, folder / "s", num=1))
    assert [s.source_sha256 for s in samples] == [digest_file(folder / name) for name in names]
    assert [s.strength for s in samples] == [0.5, 0.6, 1.0]
    assert [bool(s.mask_sha256) for s in samples] == [kind == "paths", False, False]


def test_a_parquet_file_that_cannot_be_used_is_told(tiny_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    run = config(tiny_base, path, tmp_path / "s")
    pq.write_table(pa.table({"txt": [TEXT]}), path)
    with pytest.raises(ValueError, match=r"p\.parquet:1: no column of prompts"):
        generate(run)
    pq.write_table(pa.table({"text": [TEXT] * 2, "image": [png_bytes(grey(0)), None]}), path)
    with pytest.raises(ValueError, match=r"p\.parquet:2: image of row 2: holds no bytes"):
        generate(run)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"p\.parquet: no Parquet file that can be read"):
        generate(run)


def test_records_start_from_their_own_images_where_asked(tiny_base: Path, phantoms: Path, tmp_path: Path) -> None:
    """Of a folder, of its metadata.jsonl, and of shards."""
    records = load_records(phantoms, "val")
    export_shards(ExportConfig(folder=phantoms, out=tmp_path / "shards", json=True))
    assert all(p.start is None for p in stream_prompts(phantoms, "val"))
    assert all(p.start is None for p in stream_prompts(phantoms / "val" / "metadata.jsonl"))
    wanted = [digest_file(phantoms / r.file_name) for r in records]
    for i, place in enumerate((phantoms, tmp_path / "shards", phantoms / "val" / "metadata.jsonl")):
        run = config(tiny_base, place, tmp_path / str(i), num=1, split="val", start="image", steps=2)
        assert [s.source_sha256 for s in drawn(run)] == wanted


def test_records_are_drawn_anew_where_their_masks_show_something(
    tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    """Their masks number what they show; of normal records they are empty, and those are left out."""
    export_shards(ExportConfig(folder=phantoms, out=tmp_path / "shards", json=True))
    records = [r for r in load_records(phantoms, "val") if any(f.present for f in r.findings)]
    assert 0 < len(records) < len(load_records(phantoms, "val"))
    for i, place in enumerate((phantoms, tmp_path / "shards", phantoms / "val" / "metadata.jsonl")):
        run = config(tiny_base, place, tmp_path / str(i), num=1, split="val", start="mask", steps=2)
        for sample, record in zip(drawn(run), records, strict=True):
            assert record.mask
            assert sample.mask_sha256 == digest_file(phantoms / record.mask)
            if not record.hounsfield:
                outside = read_image(phantoms / record.mask).max(axis=2) == 0
                there, image = read_image(phantoms / record.file_name), read_image(run.out / sample.file_name)
                assert np.array_equal(image[outside], there[outside])


def test_a_record_whose_image_leads_out_of_its_dataset_is_refused(phantoms: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "secret.png", grey(0))
    data = tmp_path / "data"
    data.mkdir()
    (data / "metadata.jsonl").write_text(json.dumps({"file_name": "../secret.png", "text": TEXT, "modality": "MRI"}))
    assert len(list(stream_prompts(data, "train"))) == 1
    with pytest.raises(ValueError, match="leads out of the dataset folder"):
        list(stream_prompts(data, "train", "image"))


def test_a_dataset_without_masks_is_told(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    record = load_records(phantoms, "val")[0]
    (tmp_path / "images" / "a.png").write_bytes((phantoms / record.file_name).read_bytes())
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "images/a.png", "text": TEXT, "modality": "MRI"}))
    with pytest.raises(ValueError, match="no captions with a mask that shows something in split 'train'"):
        list(stream_prompts(tmp_path, "train", "mask"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "image", "prompts": None, "prompt": (TEXT,)}, "--start image needs --prompts DATASET"),
        ({"strength": 0.5}, "--strength needs pictures to start from: --image, or a column `image`"),
        ({"start": "image"}, r"p\.txt: --start image needs a dataset; a text has no pictures"),
    ],
)
def test_what_has_no_picture_to_go_with_is_refused(
    tiny_base: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.txt"
    path.write_text(f"{TEXT}\n")
    with pytest.raises(ValueError, match=message):
        generate(dataclasses.replace(config(tiny_base, path, tmp_path / "s"), **changes))


def test_samples_are_prompts_again_without_their_pictures(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    """Their rows have a strength, which is of how they were drawn."""
    run = config(tiny_base, table, tmp_path / "s")
    drawn(run)
    assert all(p.start is None for p in stream_prompts(run.out / "metadata.jsonl"))


def test_a_dry_run_counts_what_starts_from_pictures(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    assert generate(config(tiny_base, table, tmp_path / "s", dry_run=True)).num_started == 10


def test_a_path_as_windows_writes_it_is_found(table: Path) -> None:
    table.write_bytes(table.read_text().replace("pictures/", "pictures\\").replace("\n", "\r\n").encode("utf-8-sig"))
    first = requests(table)[0]
    assert first.source is not None
    assert first.source.image == table.parent / "pictures/0.png"


def test_a_column_that_is_there_twice_is_refused(table: Path) -> None:
    table.write_text("text,image,Image\nBrain MRI,pictures/0.png,pictures/1.png\n")
    with pytest.raises(ValueError, match=r"prompts.csv:1: column 'image' is there 2 times; rename or delete one"):
        requests(table)
