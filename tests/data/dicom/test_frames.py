"""DICOM in: values against a computation of our own, and every file of a suite."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import _read_file_meta_info
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.dicom import pixels as dicom_pixels
from vesalius.data.dicom.frames import is_dicom, read_dicom, read_dicom_hu, read_header
from vesalius.data.modality import MODALITIES

CT, MRI, XRAY = MODALITIES["CT"], MODALITIES["MRI"], MODALITIES["X-ray"]


def bundled(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), name
    return Path(path)


def make(path: Path, pixels: np.ndarray, **attributes: object) -> Path:
    """A small DICOM file of given stored values."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = CTImageStorage, generate_uid(), "CT"
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = pixels.dtype.itemsize * 8
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1 with an output range of 0 to 255, written anew for this test."""
    line = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.clip(np.rint(line), 0, 255).astype(np.uint8)


def test_ct_without_window_is_shown_in_hounsfield_units_at_40_400() -> None:
    path = bundled("CT_small.dcm")
    stored = pydicom.dcmread(path).pixel_array.astype(np.float64)
    image, seen = read_dicom(path, CT)
    assert image.shape == (128, 128, 1)
    assert image.dtype == np.uint8
    expected = window(stored - 1024, 40, 400)
    expected[stored == -2000] = 0
    assert np.abs(image[..., 0].astype(int) - expected).max() <= 1
    assert seen == "W400 L40"


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm"]
)
def test_mr_is_shown_in_its_own_window_whatever_the_syntax(name: str) -> None:
    stored = pydicom.dcmread(bundled("MR_small.dcm")).pixel_array.astype(np.float64)
    image, seen = read_dicom(bundled(name), MRI)
    assert np.abs(image[..., 0].astype(int) - window(stored, 600, 1600)).max() <= 1
    assert seen == "W1600 L600"


def test_rescale_comes_before_window(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.int16).reshape(16, 16) * 10
    path = make(
        tmp_path / "a.dcm", ramp, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[50, 900], WindowWidth=[350, 9]
    )
    image, seen = read_dicom(path, CT)
    assert np.abs(image[..., 0].astype(int) - window(ramp * 2.0 - 1000, 50, 350)).max() <= 1
    assert seen == "W350 L50"


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -1000), (-1, 100), (0.5, -1024), (1.25, -0.5)])
def test_hounsfield_units_are_those_of_pydicom(tmp_path: Path, kind: type, slope: float, intercept: float) -> None:
    pixels = np.random.default_rng(0).integers(0, min(np.iinfo(kind).max, 2500), (16, 16)).astype(kind)
    path = make(tmp_path / "a.dcm", pixels, RescaleSlope=slope, RescaleIntercept=intercept)
    file = pydicom.dcmread(path)
    expected = pydicom.pixels.apply_modality_lut(file.pixel_array, file).astype(np.float32)
    assert np.array_equal(read_dicom_hu(path), expected)


def test_outliers_do_not_make_a_ct_unreadable_and_a_median_of_no_tissue_does(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 40, np.int16)
    pixels[0, :3] = 30_000
    path = make(tmp_path / "a.dcm", pixels, RescaleSlope=1, RescaleIntercept=0)
    assert read_dicom_hu(path).max() == 30_000
    path = make(tmp_path / "b.dcm", np.full((8, 8), 9000, np.int16), RescaleSlope=1, RescaleIntercept=0)
    with pytest.raises(ValueError, match=r"b\.dcm: its values are no Hounsfield units"):
        read_dicom_hu(path)


def test_monochrome1_is_inverted_and_padding_stays_black(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    plain = make(tmp_path / "2.dcm", ramp, WindowCenter=128, WindowWidth=256)
    inverted = make(
        tmp_path / "1.dcm", ramp, WindowCenter=128, WindowWidth=256, PhotometricInterpretation="MONOCHROME1",
        PixelPaddingValue=3, PixelPaddingRangeLimit=0,
    )  # fmt: skip
    straight, turned = read_dicom(plain, XRAY)[0], read_dicom(inverted, XRAY)[0]
    assert (turned.ravel()[4:] == 255 - straight.ravel()[4:]).all()
    assert (turned.ravel()[:4] == 0).all()


def test_padding_takes_no_part_in_the_percentiles(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1000, 2000, (32, 32)).astype(np.int16)
    values[:16] = -2000
    path = make(tmp_path / "a.dcm", values, PixelPaddingValue=-2000, Modality="MR")
    image = read_dicom(path, MRI)[0][..., 0]
    assert (image[:16] == 0).all()
    low, high = np.percentile(values[16:], (0.5, 99.5))
    assert np.abs(image[16:].astype(float) - np.clip((values[16:] - low) * 255 / (high - low), 0, 255)).max() <= 1


def test_voi_table_is_applied_after_the_modality_table(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], np.minimum(np.arange(256) * 300, 65535).astype("<u2").tobytes()
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image, seen = read_dicom(make(tmp_path / "a.dcm", ramp, VOILUTSequence=[table]), XRAY)
    assert np.abs(image.ravel() - np.minimum(np.arange(256) * 300, 65535) * 255 / 65535).max() <= 0.51
    assert seen == "VOI LUT"


def test_functional_groups_govern_their_frame(tmp_path: Path) -> None:
    groups = []
    for center in (10, 100, 200):
        view, group = Dataset(), Dataset()
        view.WindowCenter, view.WindowWidth = center, 20
        group.FrameVOILUTSequence = [view]
        groups.append(group)
    frames = np.stack([np.arange(256, dtype=np.uint16).reshape(16, 16)] * 3)
    path = make(tmp_path / "a.dcm", frames, NumberOfFrames=3, PerFrameFunctionalGroupsSequence=groups)
    image, seen = read_dicom(path, MRI)
    assert seen == "W20 L100"
    assert np.abs(image.ravel().astype(int) - window(np.arange(256.0), 100, 20)).max() <= 1


def test_middle_frame_is_taken() -> None:
    path = bundled("SC_rgb_rle_2frame.dcm")
    frames = pydicom.dcmread(path).pixel_array
    assert (read_dicom(path, MODALITIES["pathology"])[0] == frames[1]).all()


@pytest.mark.parametrize(
    "name",
    ["SC_ybr_full_422_uncompressed.dcm", "examples_palette.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle_16bit.dcm"],
)
def test_colour_comes_out_as_rgb(name: str) -> None:
    image, _ = read_dicom(bundled(name), MODALITIES["pathology"])
    assert image.shape[2] == 3
    assert image.dtype == np.uint8
    if name.startswith("SC"):  # all of them show the same bars: red on top
        assert image[2, 50, 0] > 240
        assert image[2, 50, 1:].max() < 20


@pytest.mark.parametrize("name", ["reportsi.dcm", "rtplan.dcm", "test-SR.dcm", "DICOMDIR-empty.dcm"])
def test_objects_without_image_are_refused_by_name(name: str) -> None:
    path = bundled(name)
    with pytest.raises(ValueError, match=rf"{name}: holds no image .*leave it out"):
        read_header(path, names=Pseudonyms("x"))


def test_truncated_file_is_refused_with_remedy() -> None:
    with pytest.raises(ValueError, match=r"MR_truncated.dcm: truncated: 8130 of 8192 bytes.*copy or export it again"):
        read_dicom(bundled("MR_truncated.dcm"), MRI)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_file_cut_anywhere_is_a_value_error(tmp_path: Path, share: float) -> None:
    whole = bundled("MR_small.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"cut\.dcm"):
        read_dicom(path, MRI)


def test_announced_size_is_capped_before_decoding(tmp_path: Path) -> None:
    path = make(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8), Rows=60000, Columns=60000)
    with pytest.raises(ValueError, match="60000 x 60000 pixels x 1 frames is over the limit"):
        read_dicom(path, CT)
    path = make(tmp_path / "b.dcm", np.zeros((4, 4), np.uint8), Rows=5000, Columns=5000, NumberOfFrames=10000)
    with pytest.raises(ValueError, match="over the limit"):
        read_dicom(path, CT)


def test_meta_information_is_read_as_pydicom_reads_it() -> None:
    told = 0
    # Not by get_testdata_files, which would try to fetch those that are not in the package.
    for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"):
        with path.open("rb") as file:
            head = file.read(4096)
            if head[128:132] != b"DICM" or (found := dicom_pixels.meta_of(head)) is None:
                continue
            file.seek(132)
            meta = _read_file_meta_info(file)
            assert found == (str(meta.TransferSyntaxUID), file.tell()), path
            told += 1
    assert told > 40


def test_inflated_size_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.dcm"
    file = pydicom.dcmread(make(tmp_path / "a.dcm", np.zeros((512, 512), np.uint8)))
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file.save_as(path)
    assert path.stat().st_size < 5000
    assert read_dicom(path, CT)[0].shape == (512, 512, 1)
    monkeypatch.setattr(dicom_pixels, "MAX_VOXELS", 100_000)
    with pytest.raises(ValueError, match="inflates to more than 100000 bytes"):
        read_header(path, names=Pseudonyms("x"))


def _with_stream(path: Path, stream: bytes) -> Path:
    """A file of 16 x 16 pixels whose only frame is `stream`, called JPEG 2000."""
    file = pydicom.dcmread(make(path, np.zeros((16, 16), np.uint8)))
    file.file_meta.TransferSyntaxUID = JPEG2000Lossless
    file.PixelData = encapsulate([stream])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    file.save_as(path)
    return path


SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
"""The first box of a JP2 file."""


@pytest.mark.parametrize("wrapping", [b"", SIGNATURE + b"\x00\x00\x00\x0cfree\x00\x00\x00\x00\x00\x00\x00\x00jp2c"])
def test_compressed_frame_larger_than_its_header_is_refused(tmp_path: Path, wrapping: bytes) -> None:
    stream = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + (50000).to_bytes(4, "big") * 2 + bytes(40)
    with pytest.raises(ValueError, match="its compressed frame says 50000 x 50000 pixels, its header 16 x 16"):
        read_dicom(_with_stream(tmp_path / "a.dcm", wrapping + stream), CT)


def test_boxes_without_a_length_are_refused_not_read_for_ever(tmp_path: Path) -> None:
    """Found by fuzzing: pydicom walks the boxes of a JP2 stream by their lengths, and never ends at one of 0."""
    with pytest.raises(ValueError, match="the boxes of its JPEG 2000 frame are damaged"):
        read_dicom(_with_stream(tmp_path / "a.dcm", SIGNATURE + bytes(40)), CT)


def test_only_the_white_list_leaves_the_header(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.dcm", np.arange(256, dtype=np.uint8).reshape(16, 16), PatientID="MRN-123", PatientName="Doe^Jane",
        PatientAge="093Y", PatientSex="F", BodyPartExamined="Jane Doe", StudyDescription="for Dr. Who",
        PixelSpacing=[0.7, 0.7],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1], SliceThickness="2.5", ImageLaterality="L",
    )  # fmt: skip
    header = read_header(path, names=Pseudonyms("secret"))
    assert header.columns() == {
        "plane": "Coronal", "side": "left", "sex": "F", "age": 90, "spacing_mm": 0.7, "slice_thickness_mm": 2.5,
    }  # fmt: skip
    assert header.organ is None
    assert header.caption(CT) == "Coronal left CT slice."
    assert not any(word in repr(header) for word in ("MRN", "Doe", "Jane", "Who"))
    assert header.patient == read_header(path, names=Pseudonyms("secret")).patient
    assert header.patient != read_header(path, names=Pseudonyms("other")).patient


def test_caption_names_plane_body_part_and_modality(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.dcm",
        np.zeros((4, 4), np.uint8),
        BodyPartExamined="CHEST",
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )
    assert read_header(path, names=Pseudonyms("")).caption(CT) == "Axial chest CT slice."


def test_burned_in_text_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8), BurnedInAnnotation="YES")
    with pytest.raises(ValueError, match=r"burned into its pixels.*--allow-burned-in"):
        read_header(path, names=Pseudonyms(""))
    assert read_header(path, names=Pseudonyms(""), allow_burned_in=True).code == "CT"


def test_files_without_preamble_are_known_and_others_are_not(tmp_path: Path) -> None:
    assert is_dicom(bundled("ExplVR_LitEndNoMeta.dcm"))
    assert is_dicom(bundled("ExplVR_BigEndNoMeta.dcm"))
    (tmp_path / "a.txt").write_text("a long text about nothing " * 20)
    assert not is_dicom(tmp_path / "a.txt")


def suite() -> list[dict[str, str]]:
    root = (
        Path(os.environ.get("VESALIUS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")).parent / "dicom_suite"
    )
    manifest = root / "MANIFEST.jsonl"
    if not manifest.is_file():
        return []
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [{**row, "file": str(root / row["file"])} for row in rows if row["file"].startswith("dicom/")]


def test_every_file_of_the_suite_is_read_or_refused_with_its_name() -> None:
    rows = suite()
    if not rows:
        pytest.skip("the DICOM suite is not on this machine; set VESALIUS_REAL_DATA")
    failed = []
    for row in rows:
        path = Path(row["file"])
        try:
            image, _ = read_dicom(path, MODALITIES["X-ray"])
        except ValueError as error:
            failed.append((row, str(error)))
        else:
            assert image.dtype == np.uint8
            assert image.shape[2] in (1, 3)
    assert all(message.startswith(row["file"]) for row, message in failed)
    wrong = [row["file"] for row, _ in failed if str(row["dec"]).startswith("(")]
    assert not wrong, wrong
