"""Parquet, Arrow and folders that Hugging Face datasets saved: images stay in the file until they are encoded."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vesalius.data.building.run import BuildConfig, build_dataset
from vesalius.data.images.encode import encode
from vesalius.data.images.image import read_image
from vesalius.data.modality import MODALITIES
from vesalius.data.record import load_records
from vesalius.data.sources.walk import Draft, Reading, Refused, drafts
from vesalius.data.tables.cells import Cell

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 255, (8, 8)).astype(np.uint8)


def png(seed: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, format="PNG")
    return buffer.getvalue()


def rows(num: int, **more: list[Any]) -> pa.Table:
    images = pa.array([{"bytes": png(i), "path": f"scan{i}.png"} for i in range(num)], type=IMAGE)
    columns = {
        "image": images, "text": [f"Nodule {i}." for i in range(num)], "modality": ["CT"] * num, **more,
    }  # fmt: skip
    return pa.table(columns)


def read(source: Path, modality: str | None = None) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(source, Reading(modality=MODALITIES[modality] if modality else None)))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def saved(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("group", [1, 7, 50])
def test_every_cell_of_parquet_is_its_own_row_in_any_order(tmp_path: Path, group: int) -> None:
    good, bad = read(saved(tmp_path / "x.parquet", rows(50), row_group_size=group))
    assert not bad
    assert [d.record.text for d in good] == [f"Nodule {i}." for i in range(50)]
    assert (good[3].where, good[3].record.file_name) == (f"{tmp_path}/x.parquet:4", "scan3.png")
    for i in (*range(50), 49, 0, 31, 30, 2, 3, 48):
        assert (read_image(good[i].path)[..., 0] == pixels(i)).all()


def test_parquet_is_built_as_any_other_source(tmp_path: Path) -> None:
    saved(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", rows(6))
    saved(tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet", rows(2))
    build_dataset(BuildConfig(sources=(tmp_path / "hub",), out=tmp_path / "out", json=True))
    records = load_records(tmp_path / "out")
    assert [r.split for r in records] == ["train"] * 6 + ["val"] * 2
    assert (read_image(tmp_path / "out" / records[4].file_name)[..., 0] == pixels(4)).all()
    again = build_dataset(BuildConfig(sources=(tmp_path / "hub",), out=tmp_path / "out", json=True))
    assert again.unchanged


def test_plain_bytes_are_images_and_paths_lie_beside_the_file(tmp_path: Path) -> None:
    table = rows(2).drop_columns(["image"]).append_column("image", pa.array([png(0), png(1)]))
    good, _ = read(saved(tmp_path / "bytes.parquet", table))
    assert (read_image(good[1].path)[..., 0] == pixels(1)).all()
    assert good[1].record.file_name == ""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.png").write_bytes(png(7))
    images = pa.array([{"bytes": None, "path": "a.png"}, {"bytes": png(1), "path": "no.png"}], type=IMAGE)
    table = rows(2).set_column(0, "image", images)
    for options in ({}, {"row_group_size": 1}, {"write_statistics": False}):
        good, bad = read(saved(tmp_path / "b" / "x.parquet", table, **options))
        assert not bad
        assert good[0].path == tmp_path / "b" / "a.png"
        assert isinstance(good[1].path, Cell)
    plain = pa.table({"path": ["b/a.png"], "report": ["Normal."], "modality": ["CT"]})
    assert read(saved(tmp_path / "paths.parquet", plain))[0][0].path == tmp_path / "b" / "a.png"


@pytest.mark.parametrize("as_dict", [False, True])
def test_folder_of_save_to_disk_is_read(tmp_path: Path, as_dict: bool) -> None:
    import datasets

    table = rows(5).select(["text", "modality"]).to_pydict()
    made = datasets.Dataset.from_dict({**table, "image": [{"bytes": png(i), "path": None} for i in range(5)]})
    made = made.cast_column("image", datasets.Image())
    whole = datasets.DatasetDict({"train": made, "test": made.select([1, 3])}) if as_dict else made
    whole.save_to_disk(str(tmp_path / "saved"))
    good, bad = read(tmp_path / "saved")
    assert not bad
    assert [d.split for d in good] == (["train"] * 5 + ["test"] * 2 if as_dict else [None] * 5)
    assert (read_image(good[-1].path)[..., 0] == pixels(3 if as_dict else 4)).all()
    assert good[-1].record.text == f"Nodule {3 if as_dict else 4}."


def test_numbered_classes_become_their_names_and_texts(tmp_path: Path) -> None:
    told = {"info": {"features": {"label": {"names": ["normal", "lung_nodule"], "_type": "ClassLabel"}}}}
    table = rows(3).drop_columns(["text"]).append_column("label", pa.array([0, 1, 5]))
    path = saved(tmp_path / "x.parquet", table.replace_schema_metadata({"huggingface": json.dumps(told)}))
    good, bad = read(path, "CT")
    assert [d.record.label for d in good] == ["normal", "lung_nodule"]
    assert re.search("normal|abnormal|unremarkable", good[0].record.text)
    assert "nodule" in good[1].record.text
    assert [r.reason.partition(".parquet")[2] for r in bad] == [
        ":3: column label is 5, but its classes are 0 to 1; mend the row"
    ]
    assert [d.record.label for d in read(path)[0]] == ["normal", "lung_nodule"]


def test_columns_of_every_kind_are_kept_as_json_holds_them(tmp_path: Path) -> None:
    import datetime

    more: dict[str, list[Any]] = {
        "age": [float("nan")],
        "when": [datetime.date(2020, 1, 2)],
        "tags": [["a", "b"]],
        "other": [b"\0\1"],
    }
    image = pa.array([{"bytes": png(0), "path": None}], type=IMAGE)
    (draft,), _ = read(saved(tmp_path / "x.parquet", rows(1, **more).set_column(0, "image", image)))
    assert draft.record.extra == {"when": "2020-01-02", "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty .0 bytes."), (b"PAR1" + b"\0" * 40 + b"PAR1", "no Parquet file"),
        (b"path,text\n", "no Parquet file"), (b"\x89PNG" * 9, "no Parquet file"),
    ],
)  # fmt: skip
def test_damaged_parquet_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.parquet: {message}.*; copy it again"):
        read(tmp_path / "x.parquet")


def test_truncated_and_altered_parquet_is_refused_or_read(tmp_path: Path) -> None:
    whole = saved(tmp_path / "x.parquet", rows(9)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            broken[place] ^= int(rng.integers(1, 255))
        (tmp_path / "y.parquet").write_bytes(broken[: len(whole) - int(rng.integers(0, 2)) * 7])
        try:
            good, _ = read(tmp_path / "y.parquet")
            for draft in good:
                encode(draft)
        except ValueError as error:
            assert "y.parquet" in str(error) or "row" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"image": [b"x"], "modality": ["CT"]}), "no column for text"),
        (pa.table({"capton": ["x"], "path": ["a.png"], "modality": ["CT"]}),
         "column 'capton': did you mean 'caption'?"),
        (pa.table({"a": [b"x"], "b": [b"y"], "text": ["t"]}), "2 columns of images (a, b); name the one meant `image`"),
        (pa.table({"image": [b"x"], "text": ["t"]}), "no column for modality"),
        (pa.table({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string()),
                   "modality": pa.array([], pa.string())}), "no rows"),
        (pa.Table.from_arrays([pa.array(["t"]), pa.array(["u"]), pa.array(["CT"])], ["path", "text", "text"]),
         "column 'text' is there twice"),
    ],
)  # fmt: skip
def test_parquet_as_a_whole_is_refused_with_its_remedy(tmp_path: Path, table: pa.Table, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(saved(tmp_path / "x.parquet", table), None)
    assert str(error.value).startswith(f"{tmp_path}/x.parquet: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        ({"bytes": None, "path": None}, "t", "column image is empty"), (None, "t", "column image is empty"),
        ({"bytes": None, "path": "/etc/hostname"}, "t", "absolute path"),
        ({"bytes": None, "path": "../x.png"}, "t", "leads out of"),
        ({"bytes": None, "path": "https://x.org/a.png"}, "t", "remote address"),
        ({"bytes": b"x", "path": None}, " ", "the text is empty"), ({"bytes": b"x", "path": None}, None, "text"),
        ({"bytes": b"x", "path": None}, "a" * 1_000_001, "1.0 MB, at most 1 MB"),
    ],
)  # fmt: skip
def test_bad_row_of_parquet_is_refused(tmp_path: Path, image: Any, text: str | None, message: str) -> None:
    table = pa.table(
        {"image": pa.array([image], type=IMAGE), "text": pa.array([text], pa.string()), "modality": ["CT"]}
    )
    good, (refused,) = read(saved(tmp_path / "in" / "x.parquet", table))
    assert not good
    assert refused.row == 1
    assert refused.reason.startswith(f"{tmp_path}/in/x.parquet:1: ")
    assert message in refused.reason


def test_cell_that_is_no_image_names_its_row(tmp_path: Path) -> None:
    image = pa.array([{"bytes": content, "path": "p.png"} for content in (b"", b"not an image")], type=IMAGE)
    (draft,), (refused,) = read(saved(tmp_path / "x.parquet", rows(2).set_column(0, "image", image)))
    assert f"{tmp_path}/x.parquet:1: image of row 1: holds no bytes" in refused.reason
    with pytest.raises(ValueError, match=r"x.parquet:2: image of row 2: not an image"):
        encode(draft)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", "damaged, holds no list `_data_files`"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "leads out of the folder"),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}', "names 'gone.arrow', which is not there"),
        ("dataset_dict.json", '{"splits": ["train"]}', "names the split 'train', which is not there"),
        ("dataset_dict.json", '{"splits": ["/etc"]}', "leads out of the folder"),
        ("state.json", '{"_data_files": [{"filename": "bad.arrow"}]}', "no Arrow file"),
    ],
)  # fmt: skip
def test_damaged_saved_dataset_says_what_is_wrong(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "bad.arrow").write_bytes(b"\xff" * 64)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert message in str(error.value)
