"""Every file of a suite of DICOM files builds as its manifest says, or is refused with its reason."""

from __future__ import annotations

import json
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.hounsfield import from_stored
from vesalius.data.images.burned_in import can_search
from vesalius.data.images.encode import encode
from vesalius.data.modality import MODALITIES
from vesalius.data.record import load_records
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts

ROOT = Path(os.environ.get("VESALIUS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")).parent / "dicom_suite"
REASONS = {
    "DICOMDIR-bigEnd": "which is not there; copy the whole medium",
    "DICOMDIR-empty.dcm": "a DICOM directory that lists no file",
    "JPEG-lossy.dcm": "its pixels cannot be decoded",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its compressed frame says",
    "MR_truncated.dcm": "truncated: 8130 of 8192 bytes",
    "empty_charset_LEI.dcm": "holds no image",
    "meta_missing_tsyntax.dcm": "holds no image",
    "nested_priv_SQ.dcm": "holds no image",
    "nib_decimal_rescale.dcm": "blank, every pixel is 0",
    "no_meta.dcm": "named as DICOM, but its content is not",
    "no_meta_group_length.dcm": "holds no image",
}
"""What cannot become an image, and why; all other files must."""
WITHOUT_CLAIM = ("nib_0.dcm", "nib_slicethickness_empty_string.dcm", "OT-PAL-8-face.dcm")
"""Files that build although the manifest does not say that they can be decoded."""


def manifest() -> list[dict[str, Any]]:
    path = ROOT / "MANIFEST.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [row for row in rows if row["file"].startswith("dicom/")]


rows = pytest.mark.parametrize("row", manifest() or [None], ids=lambda row: Path(row["file"]).name if row else "none")


def outcome(path: Path, *, allow_burned_in: bool = True) -> list[tuple[Draft, bytes] | str]:
    """For each picture of a file its PNG, or the reason why there is none. Without a search for words in the pixels,
    unless it is asked for: not every machine can."""
    found: list[tuple[Draft, bytes] | str] = []
    try:
        for each in drafts(path, Reading(modality=MODALITIES["X-ray"], allow_burned_in=allow_burned_in)):
            found.append(each.reason if isinstance(each, Refused) else (each, encode(each)[0]))
    except ValueError as error:
        found.append(str(error))
    return found


@rows
def test_file_is_what_its_manifest_says_or_is_refused_with_its_reason(row: dict[str, Any] | None) -> None:
    if row is None:
        pytest.skip("the DICOM suite is not on this machine; set VESALIUS_REAL_DATA")
    path = ROOT / row["file"]
    found = outcome(path)
    if path.name in REASONS:
        assert not str(row.get("dec")).startswith("(")
        assert found
        for reason in found:
            assert isinstance(reason, str), "it was built"
            assert reason.startswith(f"{path}: ")
            assert REASONS[path.name] in reason
        return
    assert str(row.get("dec")).startswith("(") or path.name in WITHOUT_CLAIM
    assert len(found) == int(row.get("NumberOfFrames") or 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in file.file_meta:
            file.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        stored = file.pixel_array
    stored = stored[None] if len(found) == 1 else stored
    for each in found:
        assert not isinstance(each, str), each
        draft, content = each
        image = np.asarray(Image.open(BytesIO(content)))
        assert image.shape == (file.Rows, file.Columns)  # grey: no file of the suite is of a colour modality
        compare(image, stored[draft.part[0]].astype(np.float64), file, draft)


def compare(image: np.ndarray, stored: np.ndarray, file: pydicom.Dataset, draft: Draft) -> None:
    """The picture against a computation of its own from the stored values."""
    if draft.record.hounsfield:
        assert file.Modality == "CT"
        expected = np.clip(stored * float(file.RescaleSlope) + float(file.RescaleIntercept), -1024, 3071)
        expected[stored == file.get("PixelPaddingValue")] = -1024
        assert np.abs(from_stored(image.astype(np.float32)) - expected).max() <= 0.5
        return
    if file.PhotometricInterpretation == "PALETTE COLOR":
        assert len(np.unique(image)) > 20
        return
    if stored.ndim == 3:
        grey = (stored * 255 / (2 ** int(file.BitsStored) - 1)).mean(axis=2)
        assert np.abs(image - grey).max() <= 1.5
        return
    # A window, a rescale and an inversion keep the order of values; tables may not.
    if "VOILUTSequence" in file or "ModalityLUTSequence" in file:
        assert len(np.unique(image)) > 2
        return
    order = np.argsort(stored, axis=None, kind="stable")
    steps = np.diff(image.ravel()[order].astype(int))
    assert (steps <= 0).all() if file.PhotometricInterpretation == "MONOCHROME1" else (steps >= 0).all()
    center, width = file.get("WindowCenter"), file.get("WindowWidth")
    if center is None or "SharedFunctionalGroupsSequence" in file:
        return
    center, width = (float(v[0] if isinstance(v, pydicom.multival.MultiValue) else v) for v in (center, width))
    values = stored * float(file.get("RescaleSlope") or 1) + float(file.get("RescaleIntercept") or 0)
    line = np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
    line = 255 - line if file.PhotometricInterpretation == "MONOCHROME1" else line
    assert np.abs(image - line).max() <= 1.5


def test_words_in_the_pixels_of_the_suite_are_found() -> None:
    if not manifest():
        pytest.skip("the DICOM suite is not on this machine; set VESALIUS_REAL_DATA")
    if not can_search():
        pytest.skip("needs tesseract")
    (found,) = outcome(ROOT / "dicom" / "GDCMJ2K_TextGBR.dcm", allow_burned_in=False)
    assert isinstance(found, str)
    assert "words seem to be burned into its pixels" in found


def test_whole_suite_builds_in_one_go_with_each_file_in_the_set_or_in_quarantine(tmp_path: Path) -> None:
    if not manifest():
        pytest.skip("the DICOM suite is not on this machine; set VESALIUS_REAL_DATA")
    config = BuildConfig(
        sources=(ROOT / "dicom",),
        out=tmp_path / "out",
        keep_going=True,
        modality="X-ray",
        json=True,
        size=64,
        allow_burned_in=True,
    )
    summary = build_dataset(config)
    quarantined = {Path(refused.file).name for refused in summary.quarantined}
    assert quarantined == set(REASONS)
    frames = {Path(r["file"]).name: int(r.get("NumberOfFrames") or 1) for r in manifest()}
    assert summary.num_records == sum(n for name, n in frames.items() if name not in REASONS)
    names = ("CompressedSamples", "^", "FELIX", "1CT1", "4MR1")
    text = "".join(json.dumps(record.to_json()) for record in load_records(tmp_path / "out"))
    assert not any(name in text for name in names)
