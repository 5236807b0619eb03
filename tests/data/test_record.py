"""Records on disk: what is written is what is read."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from vesalius.data.record import (
    Finding,
    Record,
    digest_file,
    load_records,
    read_rows,
    write_atomic,
    write_dataset,
)  # fmt: skip


def record(split: str, number: int, **columns: object) -> Record:
    return Record(
        file_name=f"{split}/images/{number}.png", text=f"Case {number}.", modality="CT", split=split, **columns
    )  # type: ignore[arg-type]


FINDINGS = (Finding(kind="nodule", side="left", size_mm=8.5), Finding(kind="effusion", present=False))


def test_row_puts_file_name_and_text_first_and_leaves_empty_fields_out() -> None:
    row = record("train", 1, extra={"plane": "axial"}).to_json()
    assert list(row)[:2] == ["file_name", "text"]
    assert row["plane"] == "axial"
    assert "label" not in row
    assert row["depth"] == 0


def test_json_round_trip_is_exact() -> None:
    one = record("val", 1, findings=FINDINGS, label="x", extra={"age": 50, "tags": ["a"], "deep": {"b": 1}})
    assert Record.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("name", ["file_name", "text", "modality"])
def test_missing_column_is_a_key_error(name: str) -> None:
    row = record("train", 1).to_json()
    del row[name]
    with pytest.raises(KeyError, match=name):
        Record.from_json(row)


def test_dataset_round_trip_is_exact_whatever_columns_are_missing(tmp_path: Path) -> None:
    records = [
        record(
            "train",
            1,
            findings=FINDINGS,
            label="x",
            mask="train/masks/1.png",
            extra={"age": 50, "note": 1, "full": 1.5},
        ),
        record("train", 2, extra={"note": "text", "full": 2.5, "tags": ["a"]}),
        record("test", 3, extra={"full": 0.5, "image": "an awkward name", "scan_file_name": "x"}),
    ]
    write_dataset(tmp_path, records, card="# Card\n", manifest={"made": "here"})
    assert load_records(tmp_path) == records
    assert load_records(tmp_path, "test") == records[2:]
    rows = [row for split in ("train", "test") for row in read_rows(tmp_path / split / "metadata.jsonl")]
    assert len({tuple((k, type(v)) for k, v in row.items()) for row in rows}) == 1
    assert "image" not in rows[0]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["made"] == "here"
    assert manifest["splits"]["train"] == {
        "num_records": 2,
        "sha256": digest_file(tmp_path / "train" / "metadata.jsonl"),
    }


def test_dataset_of_findings_opens_with_datasets(tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    datasets.disable_progress_bars()
    records = [
        record("train", 1, findings=FINDINGS),
        record("train", 2),
        record("val", 3),
        record("test", 4, label="x"),
    ]
    for one in records:
        (tmp_path / "d" / one.file_name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "d" / one.file_name)
    write_dataset(tmp_path / "d", records)
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))
    assert {k: v.num_rows for k, v in opened.items()} == {"train": 2, "validation": 1, "test": 1}


def test_manifest_is_gone_while_a_dataset_is_rewritten(tmp_path: Path) -> None:
    write_dataset(tmp_path, [record("train", 1)])

    def stopped() -> object:
        yield record("train", 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, stopped())  # type: ignore[arg-type]
    assert not (tmp_path / "manifest.json").exists()


def test_flat_folder_is_read_by_its_split_column(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{i}.png", "text": "x", "modality": "CT", "split": s} for i, s in enumerate(("train", "val"))
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    assert [r.file_name for r in load_records(tmp_path, "val")] == ["1.png"]
    with pytest.raises(ValueError, match=r"no records in split 'test' \(has: \['train', 'val'\]\)"):
        load_records(tmp_path, "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"metadata.jsonl:3: not JSON"),
        ("[1]", r"metadata.jsonl:3: expected one JSON object per line, got list"),
        ('{"file_name": "a.png", "text": "x"}', r"metadata.jsonl:3: column 'modality' is missing"),
        ('{"file_name": "a.png", "text": "x", "modality": "CT", "extra": "{broken"}', r"metadata.jsonl:3: column"),
    ],
)
def test_bad_line_is_named_counting_blank_lines(tmp_path: Path, line: str, message: str) -> None:
    good = '{"file_name": "a.png", "text": "x", "modality": "CT"}'
    (tmp_path / "metadata.jsonl").write_text(f"{good}\n\n{line}\n")
    with pytest.raises(ValueError, match=message):
        load_records(tmp_path)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_bytes('{"text": "Lésion"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"metadata.jsonl:1: not UTF-8"):
        list(read_rows(tmp_path / "metadata.jsonl"))


def test_folder_without_dataset_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no metadata.jsonl there or in train/.*vesalius data build"):
        load_records(tmp_path)


def test_a_folder_of_images_is_told_from_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.PNG").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"is a folder of images, not a dataset.*data build {tmp_path} --out DIR"):
        load_records(tmp_path)


def test_atomic_write_replaces_whole_files_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]
    with pytest.raises(OSError, match="nowhere") as error:
        write_atomic(tmp_path / "nowhere" / "a.json", b"x")
    assert error.value.errno == errno.ENOENT
