"""NIfTI in: orientation against volumes whose corners are known, and every file of the suite."""

from __future__ import annotations

import gzip
import itertools
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.hounsfield import from_stored
from vesalius.data.images.encode import encode
from vesalius.data.modality import MODALITIES
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.nifti import AXES, cut, load, read_slice, read_slice_hu
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts

CT, MRI = MODALITIES["CT"], MODALITIES["MRI"]
ROOT = Path(os.environ.get("VESALIUS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")).parent
SUITE = ROOT / "dicom_suite" / "nifti"


def write(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def body(shape: tuple[int, int, int] = (12, 14, 10)) -> np.ndarray:
    """A volume in R, A, S order: 100 everywhere but 1000 towards left, 500 towards anterior, 250 towards superior."""
    values = np.full(shape, 100.0)
    values[: shape[0] // 2] += 1000
    values[:, shape[1] // 2 :] += 500
    values[:, :, shape[2] // 2 :] += 250
    return values


def read(path: Path, **fields: Any) -> list[Draft | Refused]:
    return list(drafts(path, Reading(**{"modality": MRI, **fields})))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_display_is_radiological_however_the_file_stores_it(
    tmp_path: Path, order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    turn = np.array([[axis, flips[i]] for i, axis in enumerate(order)], float)
    inverse = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), turn)
    stored = nibabel.orientations.apply_orientation(body(), inverse)
    affine = nibabel.orientations.inv_ornt_aff(inverse, body().shape)
    assert nibabel.aff2axcodes(affine) == tuple(
        "RAS"[axis] if flips[i] > 0 else "LPI"[axis] for i, axis in enumerate(order)
    )
    path = write(tmp_path / "a.nii.gz", stored, affine)
    axial, coronal, sagittal = (read_slice_hu(path, axis, 0) for axis in (2, 1, 0))
    assert axial.shape == (14, 12)
    assert axial[0, -1] == 1600  # anterior on top, the patient's left on the right
    assert axial[-1, 0] == 100
    assert coronal.shape == (10, 12)
    assert coronal[0, -1] == 1350  # superior on top
    assert coronal[-1, 0] == 100
    assert sagittal.shape == (10, 14)
    assert sagittal[0, 0] == 1850  # anterior on the left
    assert sagittal[-1, -1] == 1100


def test_hounsfield_units_survive_to_the_png(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-1024, 2500, (20, 24, 3)).astype(np.int16)
    (draft, *_), path = read(write(tmp_path / "a.nii.gz", values), modality=CT), tmp_path / "a.png"
    assert isinstance(draft, Draft)
    assert draft.record.hounsfield
    path.write_bytes(encode(draft)[0])
    from PIL import Image

    hu = from_stored(np.asarray(Image.open(path), np.float32))
    axis, index = draft.part
    assert (hu == np.take(values, index, axis)[::-1, ::-1].T).all()


def test_values_that_are_no_hounsfield_units_stay_grey(tmp_path: Path) -> None:
    for name, values in (("unit", np.random.default_rng(0).random((9, 9, 9))), ("offset", body())):
        (draft, *_) = read(write(tmp_path / f"{name}.nii", values), modality=CT)
        assert isinstance(draft, Draft)
        assert not draft.record.hounsfield
        assert "percentile" in (encode(draft)[1] or "")


def test_thick_slices_choose_the_plane_and_pixels_become_square(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", body(), np.diag([1.0, 4.0, 2.0, 1.0]))
    chosen = cut(path, None, "all", hounsfield=False)
    assert AXES[chosen.axis] == "coronal"
    assert (chosen.spacing_mm, chosen.thickness_mm) == (1.0, 4.0)
    assert read_slice(path, 1, 0)[0].shape == (20, 12, 1)
    assert AXES[cut(path, "axial", "all", hounsfield=False).axis] == "axial"
    assert AXES[cut(write(tmp_path / "b.nii", body()), None, "all", hounsfield=False).axis] == "axial"


def test_blank_slices_do_not_count_and_the_middle_is_the_bodys(tmp_path: Path) -> None:
    values = np.zeros((10, 10, 40))
    values[2:8, 3:9, 5:12] = body((6, 6, 7))
    path = write(tmp_path / "a.nii.gz", values)
    assert cut(path, "axial", "all", hounsfield=False).slices == tuple(range(5, 12))
    assert cut(path, "axial", "middle", hounsfield=False).slices == (8,)
    assert cut(path, "axial", "every:3", hounsfield=False).slices == (5, 8, 11)


def test_first_volume_of_a_series_is_read(tmp_path: Path) -> None:
    values = np.stack([body(), body() * 0, body() * 7], axis=3)
    assert (load(write(tmp_path / "a.nii.gz", values)).values == load(write(tmp_path / "b.nii", body())).values).all()


def test_slices_of_a_file_share_their_group_and_a_bids_name_its_patient(tmp_path: Path) -> None:
    write(tmp_path / "SMITH_JOHN.nii.gz", body())
    write(tmp_path / "sub-07_ses-1_T1w.nii.gz", body())
    write(tmp_path / "sub-07_ses-2_T1w.nii.gz", body())
    found = [d for d in read(tmp_path) if isinstance(d, Draft)]
    assert len(found) == 30
    assert len({d.record.extra.get("group") for d in found}) == 2
    assert len({d.record.patient_id for d in found}) == 2
    assert "SMITH" not in str([d.record.to_json() for d in found])


def test_spacing_is_that_of_the_stored_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", body((40, 20, 4)), np.diag([0.5, 0.5, 3.0, 1.0]))
    for size, spacing in ((0, 0.5), (10, 2.0)):
        (draft, *_) = read(path, size=size)
        assert isinstance(draft, Draft)
        assert draft.record.extra["spacing_mm"] == spacing


def test_modality_must_be_said(tmp_path: Path) -> None:
    (refused,) = read(write(tmp_path / "a.nii", body()), modality=None)
    assert isinstance(refused, Refused)
    assert "NIfTI does not say its modality; pass --modality CT or" in refused.reason


def broken(kind: str, path: Path) -> Path:
    values, image = body(), None
    if kind == "nan":
        values[3, 3, 3] = np.nan
    if kind == "blank":
        values[:] = 3
    if kind == "colour":
        image = nibabel.Nifti1Image(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4))
    if kind == "complex":
        image = nibabel.Nifti1Image(values.astype(np.complex64), np.eye(4))
    if kind == "vector":
        image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4))
    image = image or nibabel.Nifti1Image(values, np.eye(4))
    if kind == "no orientation":
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    if kind == "flat":
        image.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), 1)
        image.set_qform(None, 0)
    content = bytearray(image.to_bytes())
    if kind == "huge":
        content[42:48] = b"\xff\x7f" * 3
    if kind == "cut":
        content = content[: len(content) // 2]
    if kind == "empty":
        content = bytearray()
    if kind == "text":
        content = bytearray(b"not a volume " * 100)
    if kind == "far":
        content[108:112] = np.float32(2e9).tobytes()
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", "holds NaN or infinite voxels"),
        ("blank", "blank, no slice shows anything"),
        ("colour", "colour or complex"),
        ("complex", "colour or complex"),
        ("vector", r"its dimensions are \(4, 4, 4, 1, 3\); expected a volume"),
        ("no orientation", "states no orientation"),
        ("flat", "its affine is not finite or flat"),
        ("huge", "over the limit of 300000000 voxels"),
        ("cut", "damaged"),
        ("empty", "is empty"),
        ("text", "not NIfTI, or its header is damaged"),
        ("far", "its voxels begin beyond any header"),
    ],
)
def test_bad_volume_is_refused_with_its_reason(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.nii: .*{reason}"):
        cut(broken(kind, tmp_path / "a.nii"), None, "all", hounsfield=False)


def test_pair_of_files_and_cut_compression_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(nibabel.Nifti1Image(np.random.default_rng(0).random((20, 20, 20)), np.eye(4)).to_bytes())
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.nii\.gz: not NIfTI, or damaged"):
        load(tmp_path / "a.nii.gz")
    (tmp_path / "a.hdr").write_bytes(bytes(348))
    with pytest.raises(ValueError, match=r"a\.hdr: a pair of header and image"):
        load(tmp_path / "a.hdr")


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=12))
def test_changed_bytes_give_slices_or_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(nibabel.Nifti1Image(body((5, 6, 7)).astype(np.int16), np.eye(4)).to_bytes())
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.nii"
    path.write_bytes(bytes(content))
    for found in read(path, slices="middle"):
        if isinstance(found, Draft):
            try:
                encode(found)
            except ValueError as error:
                assert str(error).startswith(str(path))  # noqa: PT017


def suite() -> list[Path]:
    return sorted(SUITE.iterdir()) if SUITE.is_dir() else []


@pytest.mark.parametrize("path", suite() or [None], ids=lambda p: p.name if p else "none")
def test_every_file_of_the_suite_gives_slices_or_its_reason(path: Path | None) -> None:
    if path is None:
        pytest.skip("the NIfTI suite is not on this machine; set VESALIUS_REAL_DATA")
    found = read(path, slices="every:5", modality=CT if "ct" in path.name else MRI)
    if path.name == "nib_analyze.hdr":
        assert [isinstance(f, Refused) and "a pair of header and image" in f.reason for f in found] == [True]
        return
    volume = nibabel.as_closest_canonical(nibabel.load(path))
    values = np.asarray(volume.dataobj).reshape(*volume.shape[:3], -1)[..., 0]
    assert found
    for draft in found:
        assert isinstance(draft, Draft), draft
        axis, index = draft.part
        expected = np.take(values, index, axis)[::-1, ::-1].T
        low, high = load(path).low, load(path).high
        image = read_slice(path, axis, index)[0][..., 0]
        if image.shape == expected.shape:
            assert np.abs(image - np.clip((expected - low) * 255 / (high - low), 0, 255)).max() <= 1
        assert encode(draft)[0][:4] == b"\x89PNG"
        assert draft.record.hounsfield == (path.name == "example_ct.nii.gz")
