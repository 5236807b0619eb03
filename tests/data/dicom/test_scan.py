"""The quick ways through a DICOM file lead where pydicom's own lead, or are not taken."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.dicom import frames as dicom
from vesalius.data.dicom import pixels as dicom_pixels
from vesalius.data.dicom.frames import read_dicom_hu, read_header
from vesalius.data.dicom.native import native_frame, whole_units
from vesalius.data.dicom.scan import scanned, value_of

FILES = sorted(Path(pydicom.data.__file__).parent.glob("test_files/*.dcm"))  # those that it brings along
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
RNG = np.random.default_rng(0)


def ct(pixels: np.ndarray[Any, Any], syntax: str = ExplicitVRLittleEndian, **changes: object) -> bytes:
    """A CT file of [frames,] rows, columns."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Modality, ds.PatientID, ds.BodyPartExamined = "CT", "A1", "CHEST"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.BitsAllocated = 1, "MONOCHROME2", 16
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(pixels.dtype.kind == "i")
    ds.RescaleIntercept, ds.RescaleSlope, ds.PixelSpacing = -1024, 1, [0.7, 0.7]
    for name, value in changes.items():
        setattr(ds, name, value)
    ds.PixelData = pixels.tobytes()
    content = BytesIO()
    ds.save_as(content, enforce_file_format=True)
    return content.getvalue()


def told(path: Path, *, header: bool, scan: bool) -> object:
    """All that is read of a file, or the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dicom._open(path, header=header, scan=scan)
            return dataset.file_meta.TransferSyntaxUID, [(e.tag, e.VR, str(e.value)) for e in dataset]
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("header", [True, False])
def test_every_file_tells_the_same_by_either_way(header: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = 0

    def spy(*args: Any, **options: Any) -> Any:
        nonlocal quick
        found = scanned(*args, **options)
        quick += found is not None
        return found

    monkeypatch.setattr(dicom, "scanned", spy)
    assert len(FILES) > 50
    for path in FILES:
        assert told(path, header=header, scan=True) == told(path, header=header, scan=False), path
    assert quick > len(FILES) / 3


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_damaged_header_tells_the_same_by_either_way(tmp_path: Path, syntax: str) -> None:
    whole = ct(np.zeros((8, 8), np.uint16), syntax, SpecificCharacterSet="ISO_IR 192", StudyDescription="胸")
    for case in range(150):
        content = bytearray(whole)
        for place in RNG.integers(132, len(whole) - 128, 1 + case % 3):
            content[place] = RNG.integers(256)
        path = tmp_path / f"{case}.dcm"
        path.write_bytes(content[: len(content) - (case % 5 == 0) * 70])
        for header in (True, False):
            assert told(path, header=header, scan=True) == told(path, header=header, scan=False), case


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "rtdose.dcm"])
def test_a_value_is_what_pydicom_has(name: str) -> None:
    path = Path(str(pydicom.data.get_testdata_file(name)))
    dataset, slow = (dicom._open(path, header=False, scan=scan) for scan in (True, False))
    for tag in [*dicom._HEADER_TAGS, "WindowCenter", "WindowWidth", "BitsStored", "PixelPaddingValue"]:
        value, expected = value_of(dataset, tag), slow.get(tag)
        assert value == expected or list(value) == list(expected), tag


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize("bits", [16, 12, 1])
def test_pixels_as_they_lie_are_those_of_pydicom(tmp_path: Path, syntax: str, kind: type[Any], bits: int) -> None:
    pixels = RNG.integers(0, 2**16, (3, 5, 7)).astype(np.uint16).view(kind)  # bits that are not in use hold something
    path = tmp_path / "a.dcm"
    path.write_bytes(ct(pixels, syntax, BitsStored=bits, HighBit=bits - 1))
    dataset = dicom._open(path, header=False)
    for frame in range(3):
        found = native_frame(dataset, frame)
        assert found is not None
        assert found.dtype == kind
        assert np.array_equal(found, pixel_array(dataset, index=frame))
    assert native_frame(dataset, 3) is None


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -2000), (-1, 100), (1, -32000), (1, 0.5), (0.5, 0)])
def test_whole_units_are_those_of_pydicom(kind: type[Any], slope: float, intercept: float) -> None:
    whole = float(slope).is_integer() and float(intercept).is_integer()
    view = Dataset()
    view.RescaleSlope, view.RescaleIntercept = slope, intercept
    for low, high in ((0, 4000), (30_000, 32_768), (40_000, 65_536)):
        if kind is np.int16 and high > 32_768:
            continue
        stored = RNG.integers(low, high, (9, 9)).astype(kind)
        found, expected = whole_units(stored, view), apply_modality_lut(stored, view)
        fits = whole and expected.min() >= -(2**15) and expected.max() < 2**15
        assert (found is not None) == fits
        if found is not None:
            assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "changes", [{}, {"PixelPaddingValue": 7}, {"RescaleSlope": 0.25}, {"PixelSpacing": [1.4, 0.7]}]
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_units_are_the_same_by_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], syntax: str
) -> None:
    pixels = RNG.integers(0, 4096, (12, 16)).astype(np.uint16)
    pixels[:3] = 7
    (tmp_path / "a.dcm").write_bytes(ct(pixels, syntax, **changes))
    quick = read_dicom_hu(tmp_path / "a.dcm")
    monkeypatch.setattr(dicom, "scanned", lambda *_, **__: None)
    monkeypatch.setattr(dicom_pixels, "native_frame", lambda *_: None)
    monkeypatch.setattr(dicom_pixels, "whole_units", lambda *_: None)
    dicom._whole.cache_clear()
    slow = read_dicom_hu(tmp_path / "a.dcm")
    assert np.array_equal(quick, slow)
    assert (quick.dtype == np.int16) == (not {"RescaleSlope", "PixelSpacing"} & set(changes))


def test_headers_longer_than_what_is_read_first_are_read(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.uint16)
    (tmp_path / "a.dcm").write_bytes(ct(pixels, ImageComments="x" * 100, PixelSpacing=[0.5, 0.5]))
    long = ct(pixels, PixelSpacing=[0.5, 0.5], EncapsulatedDocument=b"", ICCProfile=bytes(100_000))
    (tmp_path / "b.dcm").write_bytes(long)
    short, same = (read_header(tmp_path / f"{name}.dcm", names=Pseudonyms()) for name in "ab")
    assert short == same
