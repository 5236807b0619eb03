"""Readers on damaged bytes: a picture or a ValueError that names the file, nothing else, in bounded memory."""

from __future__ import annotations

import itertools
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from vesalius.data.images.burned_in import can_search
from vesalius.data.images.encode import encode
from vesalius.data.modality import MODALITIES
from vesalius.data.sources.draft import Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts

SEEDS = ("CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_small_odd.dcm", "JPEG2000.dcm", "reportsi.dcm", "liver_1frame.dcm")
bounded = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Headers are where damage steers a reader, so most changes fall there.
places = st.one_of(st.integers(0, 1500), st.integers(0, 50_000))
changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=20)


@pytest.fixture(autouse=True)
def few_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in their pixels is looked for in ten pictures of a test alone: tesseract takes longer than all else."""
    asked = itertools.count()
    monkeypatch.setattr("vesalius.data.images.encode.can_search", lambda: can_search() and next(asked) < 10)


def seeds() -> dict[str, bytes]:
    found = {}
    for name in SEEDS:
        path = get_testdata_file(name, download=False)
        if path:
            found[name] = Path(str(path)).read_bytes()[:200_000]
    return found


def damaged(content: bytes, changes: list[tuple[int, int]], cut: float) -> bytes:
    mutable = bytearray(content)
    for place, value in changes:
        mutable[place % len(mutable)] = value
    return bytes(mutable[: max(1, int(len(mutable) * cut))])


def read_all(path: Path) -> None:
    """Each picture of a file, or a ValueError that names it; anything else fails the test."""
    for slices in ("all", "middle"):
        try:
            found = list(drafts(path, Reading(modality=MODALITIES["MRI"], slices=slices)))
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            continue
        for each in found[:3]:
            if isinstance(each, Refused):
                assert each.reason.startswith(str(path))
                continue
            try:
                content, _ = encode(each)
            except ValueError as error:
                assert str(error).startswith(str(path))  # noqa: PT017
            else:
                assert content.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(seeds()))
@bounded
@given(changes=changes, cut=st.one_of(st.just(1.0), st.floats(0.01, 1)))
def test_damaged_dicom_is_a_picture_or_a_value_error(
    tmp_path: Path, name: str, changes: list[tuple[int, int]], cut: float
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(damaged(seeds()[name], changes, cut))
    read_all(path)


@bounded
@given(changes=changes, cut=st.one_of(st.just(1.0), st.floats(0.01, 1)))
def test_damaged_archive_is_a_picture_or_a_value_error(
    tmp_path: Path, changes: list[tuple[int, int]], cut: float
) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/b.dcm", seeds()["SC_rgb_small_odd.dcm"])
        file.writestr("c.dcm", bytes(1000))
    path = tmp_path / "a.zip"
    path.write_bytes(damaged(buffer.getvalue(), changes, cut))
    read_all(path)


@bounded
@given(content=st.binary(min_size=1, max_size=600), suffix=st.sampled_from((".dcm", ".nii", ".nii.gz", ".zip", ".svs")))
def test_random_bytes_under_any_name_are_a_value_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    read_all(path)
