"""Samples as DICOM: marked as synthetic in every part, the same bytes each time, and read back without loss."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.dicom.frames import read_dicom, read_dicom_hu
from vesalius.data.images.image import Picture
from vesalius.data.modality import MODALITIES
from vesalius.data.record import Finding, load_records
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import Sample
from vesalius.inference.writing.secondary_capture import MAX_PROMPT, NOTE, dicom_bytes, read_recipe

PROMPTS = ("Chest CT, lung window, a nodule.", "Brain MRI, no mass.", "H&E tile with two glands.")
CHINESE = "胸部CT：左肺结节。\nLine two \\ with a backslash"


def drawn(modality: str, text: str = CHINESE) -> tuple[Sample, Picture]:
    """A sample of odd size, so that its pixels need padding."""
    rng = np.random.default_rng(3)
    channels = MODALITIES[modality].channels
    image = rng.integers(0, 256, (33, 31, channels)).astype(np.uint8)
    hu = rng.uniform(-1100, 3200, (33, 31)).astype(np.float32) if modality == "CT" else None
    sample = Sample(
        file_name="images/00000-0000.dcm", text=text, modality=modality, seed=7, steps=2, guidance=3.0, base="nano",
        base_digest="ab" * 32, findings=(Finding(kind="nodule", side="left"),),
    )  # fmt: skip
    return sample, Picture(image=image, hu=hu)


modalities = pytest.mark.parametrize("modality", MODALITIES)


@modalities
def test_what_was_drawn_reads_back_without_loss(tmp_path: Path, modality: str) -> None:
    sample, picture = drawn(modality)
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom_bytes(sample, picture))
    if picture.hu is None:
        assert np.array_equal(read_dicom(path, MODALITIES[modality])[0], picture.image)
    else:
        assert np.array_equal(read_dicom_hu(path), np.clip(np.rint(picture.hu), -1024, 3071))
    assert read_recipe(path) == sample.recipe()
    assert read_recipe(path)["text"] == CHINESE


@modalities
def test_every_file_says_that_it_is_synthetic_and_names_nobody(tmp_path: Path, modality: str) -> None:
    sample, picture = drawn(modality)
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(sample, picture))
    image = pydicom.dcmread(tmp_path / "a.dcm")
    assert image.SyntheticData == "YES"
    assert image.ConversionType == "SYN"
    assert list(image.ImageType) == ["DERIVED", "SECONDARY"]
    assert image.BurnedInAnnotation == "NO"
    assert image.PatientID.startswith("SYNTH-")
    told = (image.SeriesDescription, image.StudyDescription, image.DerivationDescription, image.ImageComments)
    assert all(text.startswith(NOTE) for text in told)
    [equipment] = image.ContributingEquipmentSequence
    [purpose] = equipment.PurposeOfReferenceCodeSequence
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
    assert (tmp_path / "a.dcm").read_bytes()[:128] == bytes(128)
    assert not [e.keyword for e in image.iterall() if e.VR in ("DA", "TM", "DT") and e.value]


def test_the_same_sample_gives_the_same_bytes_and_another_other_uids() -> None:
    sample, picture = drawn("CT")
    content = dicom_bytes(sample, picture)
    assert content == dicom_bytes(sample, picture)
    other, _ = drawn("CT", "Chest CT")
    uids = [{v for k, v in _uids(c).items()} for c in (content, dicom_bytes(other, picture))]
    assert [len(each) for each in uids] == [3, 3]
    assert not uids[0] & uids[1]


def _uids(content: bytes) -> dict[str, str]:
    from io import BytesIO

    image = pydicom.dcmread(BytesIO(content))
    return {k: str(image[k].value) for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}


def test_a_prompt_that_no_attribute_holds_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    run = GenerateConfig(
        prompt=("Chest CT " * MAX_PROMPT,), out=tmp_path / "s", base="no such base", sink="dicom", dry_run=True
    )
    with pytest.raises(ValueError, match="shorten it, or give another --sink"):
        draw_samples(run)


@modalities
def test_dciodvfy_finds_no_error_but_that_its_dictionary_is_older_than_the_mark(tmp_path: Path, modality: str) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(*drawn(modality)))
    told = subprocess.run([program, str(tmp_path / "a.dcm")], capture_output=True, text=True)  # its exit code says less
    lines = (told.stdout + told.stderr).splitlines()
    assert "SCImage" in lines
    assert [line for line in lines if line.startswith("Error") and "(0x0008,0x001c)" not in line] == []


def test_a_run_writes_dicom_that_a_build_takes_for_synthetic(windowed_base: Path, tmp_path: Path) -> None:
    run = GenerateConfig(
        prompt=PROMPTS, out=tmp_path / "s", base=str(windowed_base), steps=2, seed=5, json=True, sink="dicom"
    )
    samples = draw_samples(run)
    assert [s.file_name for s in samples] == [f"images/0000{i}-0000.dcm" for i in range(3)]
    assert all(s.is_whole(tmp_path / "s") for s in samples)
    (tmp_path / "s" / samples[1].file_name).unlink()
    assert draw_samples(run) == samples

    # The folder with its rows, and the bare files that a colleague might send
    shutil.copytree(tmp_path / "s" / "images", tmp_path / "bare")
    for source in ("s", "bare"):
        build_dataset(BuildConfig(sources=(tmp_path / source,), out=tmp_path / f"from-{source}", workers=1, json=True))
        records = load_records(tmp_path / f"from-{source}")
        assert {r.modality: r.hounsfield for r in records} == {"CT": True, "MRI": False, "pathology": False}
        assert {(r.origin, r.depth) for r in records} == {("synthetic", 1)}
    assert {r.text for r in load_records(tmp_path / "from-s")} == set(PROMPTS)


def test_a_build_of_a_png_samples_folder_is_synthetic_too(windowed_base: Path, tmp_path: Path) -> None:
    draw_samples(GenerateConfig(prompt=PROMPTS, out=tmp_path / "s", base=str(windowed_base), steps=2, json=True))
    build_dataset(BuildConfig(sources=(tmp_path / "s",), out=tmp_path / "d", workers=1, json=True))
    assert {(r.origin, r.depth) for r in load_records(tmp_path / "d")} == {("synthetic", 1)}
