"""Text burned into pixels, where tesseract is there to find it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.data import get_testdata_file

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.images.burned_in import can_search, words_in, words_in_each
from vesalius.data.images.encode import encode
from vesalius.data.images.image import Uint8
from vesalius.data.sources.draft import Draft
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts


def scan(path: Path, words: str, modality: str, **attributes: str) -> Path:
    picture = Image.fromarray(np.random.default_rng(0).integers(20, 60, (256, 512)).astype(np.uint8))
    ImageDraw.Draw(picture).text((20, 20), words, fill=255, font_size=28)
    file = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    file.Modality, file.Rows, file.Columns = modality, 256, 512
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    del file.WindowCenter, file.WindowWidth, file.SmallestImagePixelValue, file.LargestImagePixelValue
    file.PixelData = picture.tobytes()
    for name, value in attributes.items():
        setattr(file, name, value)
    file.save_as(path)
    return path


def written(words: str) -> Uint8:
    picture = Image.new("RGB", (512, 300))
    ImageDraw.Draw(picture).text((20, 20), words, fill=(255, 255, 255), font_size=28)
    return np.asarray(picture)


def draft_of(path: Path, **fields: bool) -> Draft:
    (draft,) = drafts(path, Reading(**fields))  # type: ignore[arg-type]
    assert isinstance(draft, Draft)
    return draft


def test_kinds_that_people_write_on_are_searched_unless_their_header_denies_it(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    assert draft_of(scan(path, "", "US")).search_text
    assert draft_of(scan(path, "", "CR")).search_text
    assert not draft_of(scan(path, "", "MR")).search_text
    assert not draft_of(scan(path, "", "US", BurnedInAnnotation="NO")).search_text
    assert not draft_of(scan(path, "", "US"), allow_burned_in=True).search_text


def test_images_that_were_not_searched_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    can_search.cache_clear()
    request.addfinalizer(can_search.cache_clear)
    scan(tmp_path / "a.dcm", "", "US")
    summary = build_dataset(BuildConfig(sources=(tmp_path / "a.dcm",), out=tmp_path / "out", json=True))
    assert "1 image of kinds that often have text burned in was not searched" in summary.notes[0]


def test_written_name_is_found_and_a_side_marker_is_not(tmp_path: Path) -> None:
    if not can_search():
        pytest.skip("needs tesseract")
    with pytest.raises(ValueError, match=r"a\.dcm: \d words seem to be burned into its pixels.*--allow-burned-in"):
        encode(draft_of(scan(tmp_path / "a.dcm", "DOE JANE 1961-04-05", "US")))
    encode(draft_of(scan(tmp_path / "b.dcm", "R", "CR")))
    encode(draft_of(scan(tmp_path / "c.dcm", "", "US")))
    assert words_in(np.zeros((64, 64, 1), np.uint8)) == []


def test_several_pictures_are_read_as_each_alone_and_one_that_fails_takes_no_other_along() -> None:
    if not can_search():
        pytest.skip("needs tesseract")
    assert words_in_each([]) == []
    pictures = [written(words) for words in ("DOE JANE 1961-04-05", "R", "MILLER 12/03/2019", "", "PATIENT 4711822")]
    found = words_in_each(pictures)
    assert found == [words_in(picture) for picture in pictures]
    assert [bool(words) for words in found if words is not None] == [True, False, True, False, True]
    too_wide = np.zeros((2, 40_000, 1), np.uint8)
    with pytest.raises(ValueError, match="burned-in text could not be searched for"):
        words_in(too_wide)
    assert words_in_each([*pictures[:3], too_wide]) == [*found[:3], None]


@pytest.mark.parametrize("grey", [255, 0])
@pytest.mark.parametrize("seed", range(3))
def test_white_and_black_writing_is_found_over_bright_and_dark_anatomy(seed: int, grey: int) -> None:
    if not can_search():
        pytest.skip("needs tesseract")
    blobs = np.random.default_rng(seed).integers(10, 240, (24, 40)).astype(np.uint8)
    picture = Image.fromarray(blobs).resize((512, 300), Image.Resampling.BILINEAR)
    ImageDraw.Draw(picture).text((60, 120), "MILLER 12/03/2019", fill=grey, font_size=24)
    assert "MILLER" in words_in(np.asarray(picture)[..., None])
