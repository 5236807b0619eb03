"""What arrives damaged or hostile is refused with its reason, in bounded time and memory, and names nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.building.run import build_dataset
from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.command.progress import Progress
from vesalius.data.datasets.filter import FilterConfig, filter_dataset
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.dicom.frames import read_dicom, read_header
from vesalius.data.modality import MODALITIES
from vesalius.data.record import load_records

NAMES = Pseudonyms("a secret")


def picture(path: Path, seed: int = 0) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24)).astype(np.uint8)).save(path)


def dataset(tmp_path: Path, **columns: Any) -> Path:
    """A built dataset of three images."""
    source = tmp_path / "source"
    source.mkdir()
    rows = [{"file_name": f"Jane_Doe_{i}.png", "text": f"Case {i}.", "modality": "CT", **columns} for i in range(3)]
    for i in range(3):
        picture(source / f"Jane_Doe_{i}.png", i)
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source


def built(tmp_path: Path, **fields: Any) -> Path:
    out = tmp_path / "out"
    build_dataset(BuildConfig(sources=(tmp_path / "source",), out=out, json=True, val=0, test=0, **fields))
    return out


def dicom(path: Path, **fields: Any) -> Path:
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    for name, value in fields.items():
        setattr(one, name, value)
    one.save_as(path)
    return path


def test_dicom_is_not_read_past_its_pixels(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm")
    with path.open("r+b") as file:
        file.truncate(1_000_000_000)  # zeros, each eight of which look like an element
    assert read_dicom(path, MODALITIES["CT"])[0].shape == (128, 128, 1)


def test_dicom_of_more_frames_than_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="says that it holds 100000 frames, which its"):
        read_header(dicom(tmp_path / "a.dcm", NumberOfFrames=100_000), names=NAMES)


def test_frames_without_a_place_of_their_own_keep_their_order(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", NumberOfFrames=4, ImagePositionPatient=[0, 0, 500])
    assert read_header(path, names=NAMES).frames == (0, 1, 2, 3)


def test_slices_without_a_normal_are_placed_by_their_number(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", ImageOrientationPatient=[0] * 6, InstanceNumber=7)
    assert read_header(path, names=NAMES).position == 7


def test_window_of_hounsfield_units_needs_a_whole_rescale(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RescaleSlope=None)
    assert read_dicom(path, MODALITIES["CT"])[1] == "0.5 to 99.5 percentile"


def test_retired_colours_are_refused(tmp_path: Path) -> None:
    pixels = np.zeros((128, 128, 3), np.uint8).tobytes()
    path = dicom(
        tmp_path / "a.dcm", PhotometricInterpretation="HSV", SamplesPerPixel=3, PlanarConfiguration=0, BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelRepresentation=0, PixelData=pixels,
    )  # fmt: skip
    with pytest.raises(ValueError, match="coded as HSV, which is retired"):
        read_dicom(path, MODALITIES["CT"])


def test_voxels_of_impossible_size_are_refused(tmp_path: Path) -> None:
    import nibabel

    from vesalius.data.sources.nifti import load

    volume = np.random.default_rng(0).integers(0, 99, (8, 8, 4)).astype(np.int16)
    image = nibabel.Nifti1Image(volume, np.diag([1e20, 1e20, 1e20, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(ValueError, match="mm long; correct its qform or sform"):
        load(tmp_path / "a.nii")


def test_slabs_of_a_volume_are_the_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nibabel

    from vesalius.data.sources import nifti

    volume = np.random.default_rng(0).integers(0, 99, (6, 5, 4, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    monkeypatch.setattr(nifti, "SLAB", 31)
    assert (nifti.load(tmp_path / "a.nii.gz").values[::-1] == volume[..., 0]).all() or (
        nifti.load(tmp_path / "a.nii.gz").values == volume[..., 0]
    ).all()


def test_no_name_of_a_file_or_person_leaves_a_table(tmp_path: Path) -> None:
    dataset(
        tmp_path, patient_id="MRN7654321", patient_name="DOE, JANE", dob="1963-05-04", mrn="7654321", 姓名="王小明",
        sections={"impression": "Seen by Dr. John Smith on 1963-05-04.", "name": "Jane"},
    )  # fmt: skip
    out = built(tmp_path, salt="a secret")
    files = [p for p in out.rglob("*") if p.is_file()]
    found = b"".join(str(p.relative_to(out)).encode() + p.read_bytes() for p in files).lower()
    for word in ("jane", "7654321", "1963-05-04", "王小明", "smith"):
        assert word.encode() not in found
    assert {r.patient_id for r in load_records(out)} == {NAMES.hashed("patient", "MRN7654321")}


def test_file_that_changes_between_the_passes_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vesalius.data.building import run as module

    source = dataset(tmp_path)
    fill = module._fill

    def changed(*args: Any) -> Any:
        picture(source / "Jane_Doe_1.png", 99)
        os.utime(source / "Jane_Doe_1.png", (1, 1))
        (source / "Jane_Doe_2.png").unlink()
        return fill(*args)

    monkeypatch.setattr(module, "_fill", changed)
    summary = build_dataset(BuildConfig(sources=(source,), out=tmp_path / "out", json=True, keep_going=True))
    assert summary.num_records == 1
    assert "changed while the build ran" in summary.quarantined[0].reason


@pytest.mark.parametrize("name", ["../../../secret.png", "images/link.png", "a\0b.png", "images", "x" * 5000])
def test_export_and_filter_take_no_file_from_elsewhere(tmp_path: Path, name: str) -> None:
    dataset(tmp_path)
    out = built(tmp_path)
    picture(tmp_path / "secret.png")
    (out / "train" / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    rows = out / "train" / "metadata.jsonl"
    row = json.loads(rows.read_text().splitlines()[0]) | {"file_name": name}
    rows.write_text(rows.read_text() + json.dumps(row) + "\n")
    told = "leads out of the dataset folder|missing, no such file|cannot be read"
    with pytest.raises(ValueError, match=told):
        export_shards(ExportConfig(folder=out, out=tmp_path / "shards", json=True))
    with pytest.raises(ValueError, match=told):
        filter_dataset(FilterConfig(folder=out, out=tmp_path / "part", json=True))
    assert len(check_dataset(CheckConfig(folder=out, json=True, base=None)).problems) == 2


def test_check_waits_for_no_pipe_and_reads_no_huge_file(tmp_path: Path) -> None:
    dataset(tmp_path)
    out = built(tmp_path)
    pipe, huge = sorted((out / "train" / "images").iterdir())[:2]
    pipe.unlink()
    os.mkfifo(pipe)
    with huge.open("r+b") as file:
        file.truncate(10_000_000_000)
    problems = " ".join(check_dataset(CheckConfig(folder=out, json=True, base=None)).problems)
    assert "no such file" in problems
    assert "holds 10000000000 bytes" in problems


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[" * 100_000, "not JSON that can be read"),
        ('{"n": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ('{"findings": "[[1]]"}', "column 'findings' is missing or of the wrong type"),
        ('{"extra": "[1]"}', "column 'extra' is missing or of the wrong type"),
        ('{"text": "\\ud800"}', "column 'text' is missing or of the wrong type"),
    ],
)
def test_damaged_row_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    dataset(tmp_path)
    out = built(tmp_path)
    rows = out / "train" / "metadata.jsonl"
    first = rows.read_text().splitlines()[0]
    row = json.dumps(json.loads(first) | json.loads(line)) if told.startswith("column") else line
    rows.write_text(f"{first}\n{row}\n")
    with pytest.raises(ValueError, match=f"metadata.jsonl:2: {told}"):
        load_records(out)


@pytest.mark.parametrize("splits", [{"train": {}}, {"train": 3}, []])
def test_check_of_a_damaged_manifest_says_so(tmp_path: Path, splits: Any) -> None:
    dataset(tmp_path)
    out = built(tmp_path)
    (out / "manifest.json").write_text(json.dumps({"splits": splits, "build": None}))
    assert "it names no splits" in check_dataset(CheckConfig(folder=out, json=True, base=None)).problems[0]


def test_progress_of_unknown_length_tells_no_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("data check", 0) as bar:
        for _ in range(50):
            bar.step()
    with Progress("data build", 1) as bar:
        bar.step()
        for _ in range(50):
            bar.step(0)
    assert capsys.readouterr().err.count("\n") == 1


def test_sub_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vesalius.data.sources.walk import _walk

    def closed(folder: Path, onerror: Any) -> Any:
        onerror(PermissionError(13, "Permission denied", f"{folder}/closed"))
        yield str(folder), [], []

    monkeypatch.setattr("os.walk", closed)
    assert [r.reason for r in _walk(tmp_path) if not isinstance(r, Path)] == [
        f"{tmp_path}/closed: a folder that may not be read; change its permissions, or take it out"
    ]
