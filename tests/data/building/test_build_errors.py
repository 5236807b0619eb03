"""Errors of building and deriving datasets, of phantoms, reports and states: each says what to do."""

from __future__ import annotations

import dataclasses
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.journal import WORK
from vesalius.data.building.run import build_dataset
from vesalius.data.command.recipe import check_place
from vesalius.data.datasets import streamed
from vesalius.data.datasets.merge import MergeConfig, merge_datasets
from vesalius.data.datasets.sample import SampleConfig, sample_dataset
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.dicom.header import header
from vesalius.data.dicom.pixels import Refusal
from vesalius.data.dicom.report import MAX_DEPTH
from vesalius.data.dicom.report import report as read_report
from vesalius.data.images.encode import encode
from vesalius.data.images.image import read_alike
from vesalius.data.images.stain import macenko
from vesalius.data.phantoms import brain, chest, tissue
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.data.record import Finding, Record, check_types, read_state, write_json
from vesalius.data.sources import slides
from vesalius.data.sources.draft import Draft
from vesalius.data.tables import parquet
from vesalius.data.tables.text_rows import MAX_FIELD, delimited

RECORD = Record(file_name="a.png", text="Nodule.", modality="CT")


def blank(path: Path, edge: int = 8) -> Path:
    Image.fromarray(np.arange(edge * edge, dtype=np.uint8).reshape(edge, edge)).save(path)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workers": -1}, "workers -1: expected a number of processes, or 0 for one on each core"),
        ({"size": -1}, "size -1: expected the longest side in pixels, or 0 to keep images as they are"),
        ({"tiles": -1}, "tiles -1 and mpp .*: expected a count from 0, and 0.01 to 1000 microns"),
    ],
)
def test_numbers_of_a_build_that_cannot_be_are_named(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        build_dataset(BuildConfig(sources=(tmp_path,), out=tmp_path / "out", **fields))


def test_a_build_does_not_go_on_with_another_unfinished_one(tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    (tmp_path / "cases.csv").write_text("path,text,modality\na.png,Nodule.,CT\n")
    (tmp_path / "out" / WORK).mkdir(parents=True)
    write_json(tmp_path / "out" / WORK / "settings.json", {"settings": "others"})
    with pytest.raises(ValueError, match="out: holds an unfinished build with other sources or settings; delete it"):
        build_dataset(BuildConfig(sources=(tmp_path / "cases.csv",), out=tmp_path / "out"))


def test_a_place_that_may_not_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match="may not be written to; change its permissions, or choose another --out"):
        check_place(tmp_path / "out")


def test_a_dataset_is_not_derived_into_itself(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lies inside .*, from which it takes; choose another --out"):
        sample_dataset(SampleConfig(folder=phantoms, out=phantoms / "few", num=1))
    with pytest.raises(ValueError, match=r"lies inside .*, from which it takes; choose another --out"):
        export_shards(ExportConfig(folder=phantoms, out=phantoms / "shards"))
    with pytest.raises(ValueError, match="shard_mb 0: expected a size in megabytes from 1"):
        export_shards(ExportConfig(folder=phantoms, out=tmp_path / "shards", shard_mb=0))
    blank(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is not empty; choose a new --out"):
        export_shards(ExportConfig(folder=phantoms, out=tmp_path))
    with pytest.raises(ValueError, match="name two or more dataset folders to merge, each once"):
        merge_datasets(MergeConfig(folders=(phantoms, phantoms), out=tmp_path / "both"))


def test_a_row_of_an_archive_without_its_image_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(tmp_path / "a.json", "a.json")
    with pytest.raises(tarfile.ReadError, match=r"a\.json has no image before it"):
        list(streamed._tar_rows(tmp_path / "a.tar", "a.tar"))


def test_dicom_of_too_many_frames_is_refused() -> None:
    nobody: Any = None
    dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.NumberOfFrames = 10_000_000
    with pytest.raises(Refusal, match="128 x 128 pixels x 10000000 frames is over the limit; export single frames"):
        header(dataset, nobody, False)


def test_a_structured_report_that_is_none_or_says_nothing_is_refused() -> None:
    with pytest.raises(Refusal, match="is no Structured Report; leave it out"):
        read_report(Dataset())
    empty = Dataset()
    empty.Modality = "SR"
    with pytest.raises(Refusal, match="is a Structured Report without a text; leave it out"):
        read_report(empty)
    deep = Dataset()
    for _ in range(MAX_DEPTH + 2):
        above = Dataset()
        above.ContentSequence = [deep]
        deep = above
    deep.Modality = "SR"
    with pytest.raises(Refusal, match=f"nests its content deeper than {MAX_DEPTH}; leave it out"):
        read_report(deep)


def test_images_without_any_difference_or_number_are_named(tmp_path: Path) -> None:
    hu = tmp_path / "hu.png"
    Image.fromarray(np.full((8, 8), 1024, np.uint16)).save(hu)
    record = dataclasses.replace(RECORD, hounsfield=True)
    with pytest.raises(ValueError, match=r"hu\.png: blank, every pixel is 0 HU; replace or remove it"):
        encode(Draft(where="hu.png", path=hu, record=record))
    for name in ("a.tif", "b.tif"):
        Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.tif: holds NaN or infinite pixels; replace or remove it"):
        read_alike(tmp_path / "a.tif", tmp_path / "b.tif")


def test_what_a_missing_library_is_needed_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchstain.numpy.normalizers.macenko", None)
    with pytest.raises(ValueError, match="--stain macenko needs the library torchstain; `pip install"):
        macenko(np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    slides._opened.cache_clear()
    with pytest.raises(ValueError, match=r"a\.svs: slides need the library tiffslide; `pip install"):
        slides._opened(tmp_path / "a.svs", 0, 0)


def test_findings_that_leave_each_other_no_room_are_refused() -> None:
    rng, full = np.random.default_rng(0), [(0.0, 0.0, 1e4)]
    head: Any = SimpleNamespace(rx=60.0, ry=80.0)
    with pytest.raises(ValueError, match=r"a lesion of 20 mm: no room is left for it .*; ask for smaller ones"):
        brain._place(head, rng, 1, 10.0, deep=False, taken=full)
    with pytest.raises(ValueError, match=r"a nodule: no room is left for it .*; ask for fewer or smaller ones"):
        chest._place(np.zeros((chest._COARSE, chest._COARSE), np.bool_), 10.0, rng, "a nodule")
    with pytest.raises(ValueError, match="a gland: no room is left for it beside the other findings; ask for fewer"):
        tissue._room(rng, 10.0, 10.0, full, "a gland")


def test_a_phantom_of_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="phantom seed -1 is negative; use 0 or more"):
        draw_phantom(-1, "CT", size=32)


def test_a_state_that_is_damaged_says_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json: damaged, holds no JSON object; start anew"):
        read_state(tmp_path / "config.json", "start anew")


def test_findings_of_a_record_are_of_their_kinds() -> None:
    finding: Any = dataclasses.replace(Finding(kind="nodule"), present="yes")
    with pytest.raises(TypeError, match="'findings'"):
        check_types(dataclasses.replace(RECORD, findings=(finding,)))


def test_tables_without_rows_or_a_head_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.arrow: no rows; leave it out"):
        parquet._schema([], tmp_path / "a.arrow")
    (tmp_path / "a.csv").write_text('path,text,"' + "x" * (MAX_FIELD + 1) + '"\n')
    with pytest.raises(ValueError, match=r"a\.csv:1: not CSV \(field larger than .*\); save the table as CSV, UTF-8"):
        delimited(tmp_path / "a.csv")
