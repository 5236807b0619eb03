"""A case as a ZIP file and back."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import png_bytes, read_hu
from vesalius.demo.export.archive import MOST_SIDE, archive_bytes, take_in, zipped
from vesalius.demo.export.sheet import sheet_of
from vesalius.demo.store.cases import find_cases
from vesalius.demo.store.pictures import file_of, find_picture, pictures_of
from vesalius.demo.store.schema import Store


def whole(kept: Any, *, unknown: bool = False) -> bytes:
    return archive_bytes(kept.store, sheet_of(kept.store, "local", kept.case, unknown=unknown))


def changed(content: bytes, **files: bytes | None) -> bytes:
    """The archive with some files replaced, or left out."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        there = {name: archive.read(name) for name in archive.namelist()}
    return zipped({name: each for name, each in {**there, **files}.items() if each is not None})


def put(folder: Path, content: bytes) -> Path:
    path = folder / "case.zip"
    path.write_bytes(content)
    return path


def test_a_case_comes_back_whole_into_another_store(kept_case: Any, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    case = take_in(other, "anna", put(tmp_path, whole(kept_case)))
    old = kept_case.case
    for name in ("title", "history", "findings", "diagnosis", "differential", "discussion", "level", "keywords"):
        assert getattr(case, name) == getattr(old, name)
    assert [(i.caption, i.in_answer) for i in case.images] == [(i.caption, i.in_answer) for i in old.images]
    for image, picture in zip(case.images, kept_case.pictures, strict=True):
        again = find_picture(other, "anna", image.picture)
        assert again.sample.recipe() == picture.sample.recipe()
        assert again.sample.sha256 == picture.sample.sha256
        assert file_of(other, again).read_bytes() == file_of(kept_case.store, picture).read_bytes()
        assert again.spacing == picture.spacing
    last = find_picture(other, "anna", case.images[-1].picture)
    here = read_hu(file_of(kept_case.store, kept_case.pictures[-1], units=True))
    assert np.array_equal(read_hu(file_of(other, last, units=True)), here)


def test_a_case_that_is_taken_in_twice_doubles_no_picture(kept_case: Any, tmp_path: Path) -> None:
    for _ in range(2):
        take_in(kept_case.store, "local", put(tmp_path, whole(kept_case)))
    assert len(pictures_of(kept_case.store, "local")) == 3
    assert len(find_cases(kept_case.store, "local")) == 3


def test_a_case_gives_the_same_bytes_again(kept_case: Any) -> None:
    assert whole(kept_case) == whole(kept_case)


def test_what_is_no_case_is_told_in_a_sentence_and_nothing_is_kept(kept_case: Any, tmp_path: Path) -> None:
    good = whole(kept_case)
    plain = BytesIO()
    Image.new("L", (8, 8)).save(plain, "PNG")
    told = json.loads(zipfile.ZipFile(BytesIO(good)).read("case.json"))
    outside = {"file": "../../etc"}
    bad = {
        "This is no ZIP file": b"nonsense",
        "holds no case": zipped({"x": b""}),
        "exported for learners": whole(kept_case, unknown=True),
        "no PNG with a Vesalius recipe": changed(good, **{"images/01.png": plain.getvalue()}),
        "lacks images/01.png": changed(good, **{"images/01.png": None}),
        "The discussion has": changed(good, **{"case.json": json.dumps({**told, "discussion": "x" * 30_000}).encode()}),
        "holds no Hounsfield units": changed(good, **{"images/03-hounsfield.png": plain.getvalue()}),
        "too large for a case": zipped({str(n): b"" for n in range(300)}),
        r"lacks \.\./\.\./etc": changed(good, **{"case.json": json.dumps({**told, "images": [outside]}).encode()}),
    }  # fmt: skip
    for said, content in bad.items():
        with pytest.raises(ValueError, match=said):
            take_in(kept_case.store, "eve", put(tmp_path, content))
    assert pictures_of(kept_case.store, "eve") == []
    assert find_cases(kept_case.store, "eve") == []


def test_what_is_wrong_with_a_picture_is_told_with_its_name_and_what_to_do(kept_case: Any, tmp_path: Path) -> None:
    good, recipe = whole(kept_case), kept_case.pictures[0].sample.recipe()
    nameless = {**json.loads(zipfile.ZipFile(BytesIO(good)).read("case.json")), "images": [{"caption": "Axial"}]}
    small, wide = np.zeros((8, 8, 1), np.uint8), np.zeros((1, MOST_SIDE + 1, 1), np.uint8)
    files = {
        "case.json names an image without its file; export": {"case.json": json.dumps(nameless).encode()},
        "images/01.png: does not say that it is synthetic; take it out": {
            "images/01.png": png_bytes(small, {**recipe, "synthetic": False})
        },
        "images/03-hounsfield.png: is of another size than images/03.png; export": {
            "images/03-hounsfield.png": hu_png(np.zeros((8, 8), np.float32))
        },
        f"images/01.png: has more than {MOST_SIDE} pixels a side, .* take it out": {
            "images/01.png": png_bytes(wide, recipe)
        },
    }
    for said, bad in files.items():
        with pytest.raises(ValueError, match=said):
            take_in(kept_case.store, "eve", put(tmp_path, changed(good, **bad)))
    assert pictures_of(kept_case.store, "eve") == []


def test_a_bomb_is_not_unpacked(kept_case: Any, tmp_path: Path) -> None:
    bomb = changed(whole(kept_case), **{"images/01.png": bytes(17 << 20)})
    with pytest.raises(ValueError, match="larger than 16 MB"):
        take_in(kept_case.store, "local", put(tmp_path, bomb))
