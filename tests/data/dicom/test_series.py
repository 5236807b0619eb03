"""Series of DICOM files: slices by position, frames, Hounsfield units, identifiers, and folders with traps in them."""

from __future__ import annotations

import csv
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.building.run import build_dataset
from vesalius.data.command.workers import Crashed, Workers
from vesalius.data.dicom import series
from vesalius.data.dicom.frames import read_dicom_hu
from vesalius.data.hounsfield import decode_windows, encode_windows, from_stored
from vesalius.data.images.encode import encode
from vesalius.data.modality import MODALITIES
from vesalius.data.record import load_records
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts

AXIAL = [1, 0, 0, 0, 1, 0]


def slice_file(path: Path, place: float, *, series: str = "1.2.3", **attributes: Any) -> Path:
    """A CT slice whose every other value tells its place: place HU beside air."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = CTImageStorage, generate_uid(), "CT"
    file.PatientID, file.StudyInstanceUID, file.SeriesInstanceUID = "MRN-7", "9.8.7", series
    file.AccessionNumber, file.StudyDate = "ACC-1", "20210305"
    pixels = np.full((8, 8), 24, np.int16)
    pixels[:, ::2] = 1024 + round(place)
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 1
    file.RescaleIntercept, file.RescaleSlope = -1024, 1
    file.ImageOrientationPatient, file.ImagePositionPatient = AXIAL, [0, 0, place]
    file.PixelSpacing = [0.7, 0.7]
    file.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(file, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def read(source: Path, **fields: Any) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(source, Reading(**fields)))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def place_of(draft: Draft) -> float:
    return float(read_dicom_hu(draft.path, *draft.part)[0, 0])  # type: ignore[arg-type]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """11 slices whose names are in no order, and their numbers in the wrong one."""
    for i in range(11):
        slice_file(tmp_path / "in" / f"{(i * 7) % 11:02}.dcm", 10.0 * i, InstanceNumber=99 - i if i != 4 else 1)
    return tmp_path / "in"


def test_one_slice_of_a_series_is_its_middle_by_position(volume: Path) -> None:
    (draft,), bad = read(volume, slices="middle")
    assert not bad
    assert place_of(draft) == 50


def test_every_nth_slice_is_counted_by_position(volume: Path) -> None:
    good, _ = read(volume, slices="every:4")
    assert [place_of(d) for d in good] == [10, 50, 90]


def test_all_slices_are_taken_unless_told_otherwise(volume: Path) -> None:
    assert sorted(place_of(d) for d in read(volume)[0]) == [10.0 * i for i in range(11)]


def test_position_is_along_the_normal_whatever_the_orientation(tmp_path: Path) -> None:
    sagittal = [0, 1, 0, 0, 0, -1]
    for i in range(5):
        slice_file(
            tmp_path / f"{i}.dcm", [30, 10, 50, 20, 40][i], ImageOrientationPatient=sagittal,
            ImagePositionPatient=[[30, 10, 50, 20, 40][i], 0, 7 * i],
        )  # fmt: skip
    (draft,), _ = read(tmp_path, slices="middle")
    assert place_of(draft) == 30
    assert draft.record.extra["plane"] == "Sagittal"


def test_series_localizers_and_planes_are_kept_apart(volume: Path) -> None:
    for i in range(3):
        slice_file(volume / f"b{i}.dcm", 200.0 + i, series="1.2.4")
        slice_file(volume / f"c{i}.dcm", 300.0 + i, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    slice_file(volume / "scout.dcm", 400.0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    good, _ = read(volume, slices="middle")
    assert len(good) == 4
    (scout,) = (d for d in good if "localizer" in d.record.text)
    assert not scout.record.hounsfield
    assert len({d.record.extra["series"] for d in good}) == 2
    assert len({d.record.patient_id for d in good}) == 1


def frames_file(path: Path, *places: float) -> Path:
    """An enhanced CT whose frames lie where `places` says."""
    slice_file(path, 0)
    file = pydicom.dcmread(path)
    del file.ImagePositionPatient, file.ImageOrientationPatient
    groups, stored = [], []
    for place in places:
        group, position, plane = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, plane.ImageOrientationPatient = [0, 0, place], AXIAL
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [plane]
        groups.append(group)
        pixels = np.full((8, 8), 24, np.int16)
        pixels[:, ::2] = 1024 + round(place)
        stored.append(pixels)
    file.PerFrameFunctionalGroupsSequence, file.NumberOfFrames = groups, len(places)
    file.PixelData = np.stack(stored).tobytes()
    file.save_as(path)
    return path


def test_frames_of_a_file_are_chosen_by_position_too(tmp_path: Path) -> None:
    path = frames_file(tmp_path / "a.dcm", 30, 10, 50, 20, 40, 0)
    for slices, places in (("middle", [30]), ("every:3", [10, 40]), ("all", [0, 10, 20, 30, 40, 50])):
        good, _ = read(path, slices=slices)
        assert [place_of(d) for d in good] == places
        assert len({d.record.patient_id for d in good}) == 1
        assert all(d.record.extra["plane"] == "Axial" for d in good)


def test_ct_keeps_its_units_within_ten_hu_of_what_the_model_sees(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    file = pydicom.dcmread(path)
    truth = file.pixel_array.astype(np.float64) + file.RescaleIntercept
    padding = file.pixel_array == -2000
    (draft,), _ = read(path)
    assert draft.record.hounsfield
    content, window = encode(draft)
    assert window is None
    stored = from_stored(np.asarray(Image.open(BytesIO(content)), np.float32))
    assert np.abs(stored - np.where(padding, -1024, truth)).max() <= 0.5
    seen = np.rint(encode_windows(stored) * 255).astype(np.uint8)
    back = decode_windows(seen.astype(np.float32) / 255)
    inside = (truth > -1350) & (truth < 1300) & ~padding
    assert inside.mean() > 0.5
    assert np.abs(back - truth)[inside].max() <= 10


@pytest.mark.parametrize(
    "attributes",
    [
        {"RescaleIntercept": 0, "PixelRepresentation": 0},
        {"RescaleType": "US"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"Modality": "MR"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
    ],
)
def test_values_that_may_be_no_units_stay_grey(tmp_path: Path, attributes: dict[str, Any]) -> None:
    (draft,), _ = read(slice_file(tmp_path / "a.dcm", 40, **attributes))
    assert not draft.record.hounsfield
    assert Image.open(BytesIO(encode(draft)[0])).mode == "L"


def test_units_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "a.dcm", 40, RescaleSlope=500)
    (draft,), _ = read(path)
    with pytest.raises(ValueError, match=r"a\.dcm: its values are no Hounsfield units"):
        encode(draft)


def test_nan_pixels_are_refused(tmp_path: Path) -> None:
    values = np.ones((8, 8), np.float32)
    values[3, 3] = np.nan
    path = slice_file(tmp_path / "a.dcm", 40, Modality="MR", BitsAllocated=32)
    file = pydicom.dcmread(path)
    del file.PixelData, file.PixelRepresentation, file.HighBit, file.BitsStored
    file.FloatPixelData = values.tobytes()
    file.save_as(path)
    (draft,), _ = read(path)
    with pytest.raises(ValueError, match=r"a\.dcm: holds NaN or infinite pixels"):
        encode(draft)


def test_oblong_pixels_become_square_and_spacing_says_so(tmp_path: Path) -> None:
    for size, spacing in ((0, 0.5), (8, 1.0)):
        (draft,), _ = read(slice_file(tmp_path / "a.dcm", 40, PixelSpacing=[1.0, 0.5]), size=size)
        assert draft.record.extra["spacing_mm"] == spacing
        assert Image.open(BytesIO(encode(draft, size)[0])).size == ((8, 16) if not size else (4, 8))


def test_pixels_that_no_scanner_has_are_refused(tmp_path: Path) -> None:
    (draft,), _ = read(slice_file(tmp_path / "a.dcm", 40, PixelSpacing=[100, 0.5]))
    with pytest.raises(ValueError, match=r"a\.dcm: its pixels are 200 times as high as wide"):
        encode(draft)


def test_identifiers_become_hashes_and_dates_are_shifted(tmp_path: Path) -> None:
    slice_file(tmp_path / "a.dcm", 40)
    slice_file(tmp_path / "b.dcm", 50, StudyInstanceUID="9.8.8", StudyDate="20210405")
    good, _ = read(tmp_path, names=Pseudonyms("secret"))
    rows = [d.record.to_json() for d in good]
    assert not any(word in json.dumps(rows) for word in ("MRN-7", "9.8.7", "1.2.3", "ACC-1", "2021-03-05"))
    days = [np.datetime64(row["study_date"]) for row in rows]
    assert days[1] - days[0] == np.timedelta64(31, "D")
    assert "study_date" not in read(tmp_path)[0][0].record.to_json()


def test_mapping_is_written_where_asked_and_nowhere_else(tmp_path: Path) -> None:
    slice_file(tmp_path / "in" / "a.dcm", 40)
    sources, out = (tmp_path / "in",), tmp_path / "out"
    build_dataset(BuildConfig(sources=sources, out=out, salt="s", json=True, mapping=tmp_path / "map.csv"))
    (record,) = load_records(out)
    with (tmp_path / "map.csv").open(newline="") as file:
        rows = {(kind, original): value for kind, original, value in csv.reader(file)}
    assert rows["patient", "MRN-7"] == record.patient_id
    assert rows["study", "9.8.7"] == record.extra["study"]
    assert not any(b"MRN-7" in p.read_bytes() for p in out.rglob("*") if p.is_file())
    with pytest.raises(ValueError, match="lies inside --out, which is shared"):
        build_dataset(BuildConfig(sources=sources, out=tmp_path / "o2", mapping=tmp_path / "o2" / "map.csv"))


def dicomdir(folder: Path, *names: list[str]) -> Path:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.DirectoryRecordSequence = []
    for name in names:
        record = Dataset()
        record.ReferencedFileID = name
        file.DirectoryRecordSequence.append(record)
    folder.mkdir(parents=True, exist_ok=True)
    file.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def test_dicomdir_names_the_files_beside_it_and_none_elsewhere(tmp_path: Path) -> None:
    slice_file(tmp_path / "cd" / "IMAGES" / "IM1", 40)
    slice_file(tmp_path / "cd" / "IMAGES" / "IM2", 50)
    slice_file(tmp_path / "secret.dcm", 60)
    source = dicomdir(tmp_path / "cd", ["IMAGES", "IM1"], ["IMAGES", "GONE"], ["..", "secret.dcm"])
    good, bad = read(source)
    assert [place_of(d) for d in good] == [40]
    assert "'IMAGES/GONE', which is not there" in bad[0].reason
    assert "'../secret.dcm', which leads out of" in bad[1].reason
    with pytest.raises(ValueError, match="a DICOM directory that lists no file"):
        read(dicomdir(tmp_path / "empty"))


def test_links_are_followed_inside_the_folder_alone(tmp_path: Path) -> None:
    inside = slice_file(tmp_path / "in" / "a.dcm", 40)
    outside = slice_file(tmp_path / "out" / "b.dcm", 50)
    (tmp_path / "in" / "link.dcm").symlink_to(inside)
    (tmp_path / "in" / "leak.dcm").symlink_to(outside)
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    good, bad = read(tmp_path / "in")
    assert [place_of(d) for d in good] == [40, 40]
    assert len(bad) == 3
    assert all("which is not followed; name it as a source" in r.reason for r in bad)


def test_bad_files_among_good_ones_are_refused_each_with_its_reason(tmp_path: Path) -> None:
    slice_file(tmp_path / "a.dcm", 40)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_bytes(b"hello " * 100)
    (tmp_path / "photo.png").write_bytes(b"x")
    with (tmp_path / "big.dcm").open("wb") as file:
        file.write((tmp_path / "a.dcm").read_bytes())
        os.truncate(file.fileno(), 10_000_000_000)
    good, bad = read(tmp_path)
    assert len(good) == 1
    reasons = {Path(r.file).name: r.reason for r in bad}
    assert "is empty (0 bytes)" in reasons["empty.dcm"]
    assert "named as DICOM, but its content is not" in reasons["text.dcm"]
    assert "holds 10000000000 bytes, more than" in reasons["big.dcm"]
    assert "an image without a text among medical files" in reasons["photo.png"]


def test_frames_of_a_file_that_names_nobody_share_a_group(tmp_path: Path) -> None:
    path = frames_file(tmp_path / "SMITH.dcm", *range(6))
    file = pydicom.dcmread(path)
    del file.PatientID, file.StudyInstanceUID, file.SeriesInstanceUID
    file.save_as(path)
    good, _ = read(path)
    assert [d.record.patient_id for d in good] == [None] * 6
    assert len({d.record.extra["group"] for d in good}) == 1
    assert "SMITH" not in str(good[0].record.to_json())


def test_row_of_a_table_stands_for_every_chosen_slice_of_its_file(tmp_path: Path) -> None:
    frames_file(tmp_path / "a.dcm", *range(10))
    (tmp_path / "t.csv").write_text("path,text,modality\na.dcm,A report.,CT\n")
    assert {d.record.text for d in read(tmp_path)[0]} == {"A report."}
    assert [len(read(tmp_path, slices=s)[0]) for s in ("all", "middle")] == [10, 1]


def test_quarantine_names_the_row_of_a_table_and_the_file_of_a_folder(tmp_path: Path) -> None:
    slice_file(tmp_path / "a.dcm", 40, RescaleSlope=500)
    (draft,), _ = read(tmp_path / "a.dcm")
    assert draft.refused("x") == Refused(file=str(tmp_path / "a.dcm"), row=None, reason="x")
    (tmp_path / "t.csv").write_text("path,text,modality\na.dcm,A report.,CT\n")
    (draft,), _ = read(tmp_path / "t.csv")
    assert draft.refused("x") == Refused(file=str(tmp_path / "t.csv"), row=2, reason="x")
    assert draft.record.modality in MODALITIES


@pytest.mark.parametrize("slices", ["all", "middle"])
def test_headers_read_by_workers_make_the_same_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: str
) -> None:
    for i in range(30):
        slice_file(tmp_path / "in" / f"{i:02}.dcm", 5.0 * i, series=f"1.2.{i % 3}")
    (tmp_path / "in" / "05.dcm").write_bytes(b"")
    (tmp_path / "in" / "17.dcm").write_bytes(b"no DICOM at all, though its name says so" * 9)
    alone = list(drafts(tmp_path / "in", Reading(slices=slices)))
    monkeypatch.setattr(series, "SERIAL", 4)
    monkeypatch.setattr(series, "BATCH", 3)
    with Workers(2) as workers:
        assert list(drafts(tmp_path / "in", Reading(slices=slices, workers=workers))) == alone
        assert len(workers._all) == 2
    assert [r.reason.split(": ")[1][:8] for r in alone if isinstance(r, Refused)] == ["is empty", "named as"]


def test_a_header_that_kills_its_reader_costs_one_file(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "a.dcm", 5.0)
    (found,) = series._drafts((path, Crashed("exit code -11")), Reading())
    assert isinstance(found, Refused)
    assert "a.dcm: reading its header crashed (exit code -11); the file is damaged" in found.reason
