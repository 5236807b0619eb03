"""A stored picture as DICOM and as bare values, fetched as a browser does."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from vesalius.data.images.image import read_hu, read_image
from vesalius.demo import DemoConfig
from vesalius.demo.compare.values import difference_of
from vesalius.demo.export.dicom import dicom_of
from vesalius.demo.page import Desk, Model
from vesalius.demo.routes import add_routes
from vesalius.demo.store.accounts import Account, add_account, enter
from vesalius.demo.store.pictures import file_of
from vesalius.demo.store.schema import Store


def test_units_are_served_as_the_file_has_them(served: Any, keep_picture: Any) -> None:
    store = served.desk.store
    kept = keep_picture(store, size=64)
    answer = httpx.get(f"{served.url}pictures/{kept.id}.hu")
    values = np.frombuffer(answer.content, "<i2").reshape(
        int(answer.headers["x-rows"]), int(answer.headers["x-columns"])
    )
    assert np.array_equal(values, read_hu(file_of(store, kept, units=True)))
    assert answer.headers["x-label"] == "Synthetic: not for diagnosis"
    shown = httpx.get(f"{served.url}pictures/{kept.id}.png")
    assert (shown.headers["x-units"], shown.headers["x-spacing"]) == ("HU", "2.5")


def test_a_picture_without_units_or_spacing_says_so(served: Any, keep_picture: Any) -> None:
    kept = keep_picture(served.desk.store, "MRI", size=64, spacing=None)
    shown = httpx.get(f"{served.url}pictures/{kept.id}.png")
    assert not {"x-units", "x-spacing"} & set(shown.headers)
    answer = httpx.get(f"{served.url}pictures/{kept.id}.hu")
    assert (answer.status_code, answer.json()["detail"]) == (404, "This picture has no Hounsfield units")


@pytest.mark.parametrize("modality", ["CT", "MRI", "pathology"])
def test_a_dicom_file_has_the_picture_s_values_spacing_and_label(
    served: Any, keep_picture: Any, tmp_path: Path, modality: str
) -> None:
    store = served.desk.store
    kept = keep_picture(store, modality, size=64)
    answer = httpx.get(f"{served.url}pictures/{kept.id}.dcm")
    assert answer.headers["content-disposition"] == f'attachment; filename="synthetic-{kept.id}.dcm"'
    image = pydicom.dcmread(BytesIO(answer.content))
    assert (image.SyntheticData, image.BurnedInAnnotation) == ("YES", "NO")
    assert [float(n) for n in image.PixelSpacing] == [2.5, 2.5]
    pixels = image.pixel_array
    if modality == "CT":
        hu = pixels * float(image.RescaleSlope) + float(image.RescaleIntercept)
        assert np.array_equal(hu, read_hu(file_of(store, kept, units=True)))
    else:
        assert np.array_equal(np.atleast_3d(pixels), read_image(file_of(store, kept)))
    assert answer.content == dicom_of(store, kept)
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")
    (tmp_path / "a.dcm").write_bytes(answer.content)
    told = subprocess.run([program, str(tmp_path / "a.dcm")], capture_output=True, text=True)
    lines = (told.stdout + told.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error") and "(0x0008,0x001c)" not in line] == []


def test_the_spacing_changes_the_uids_and_its_absence_leaves_them(tmp_path: Path, keep_picture: Any) -> None:
    store = Store(tmp_path / "store")
    with_it, without = (
        pydicom.dcmread(BytesIO(dicom_of(store, keep_picture(store, size=32, spacing=s)))) for s in (2.5, None)
    )
    assert with_it.SOPInstanceUID != without.SOPInstanceUID
    assert "PixelSpacing" not in without


def test_what_differs_is_told_in_units_where_both_have_them_and_else_in_grey_levels(
    tmp_path: Path, keep_picture: Any
) -> None:
    store = Store(tmp_path / "store")
    first, second = (keep_picture(store, seed=s, size=32) for s in (3, 4))
    found = difference_of(store, first, second)
    a, b = (read_hu(file_of(store, each, units=True)) for each in (first, second))
    assert (found.unit, found.largest) == ("HU", float(np.abs(b - a).max()))
    assert found.mean_absolute == pytest.approx(float(np.abs(b - a).mean()), rel=1e-5)
    itself = difference_of(store, first, first)
    assert (itself.mean_absolute, itself.largest, itself.changed) == (0, 0, 0)
    grey = keep_picture(store, size=32, units=False)
    assert difference_of(store, first, grey).unit == "grey levels"
    assert difference_of(store, first, grey).largest == 0  # the same phantom, as shown
    with pytest.raises(ValueError, match="only pictures of one size"):
        difference_of(store, first, keep_picture(store, size=64))


def test_values_and_files_of_others_are_not_to_be_had(tmp_path: Path, keep_picture: Any) -> None:
    config = DemoConfig(store=tmp_path / "store", host="0.0.0.0")
    store = Store(config.store)
    model = Model(base="a", base_digest="", adapter_digest=None, image_size=32, steps=1, guidance=1.0)
    app = FastAPI()
    add_routes(app, Desk(config=config, store=store, model=model, support=None))
    for name in ("anna", "bert"):
        add_account(store, Account(name=name), "a long password")
    kept = keep_picture(store, size=32, account="anna")
    heads = {name: {"authorization": f"Bearer {enter(store, name, 'a long password')}"} for name in ("anna", "bert")}
    with TestClient(app) as client:
        for ending in ("hu", "dcm", "png"):
            address = f"/pictures/{kept.id}.{ending}"
            assert client.get(address, headers=heads["anna"]).status_code == 200
            assert client.get(address, headers=heads["bert"]).status_code == 404
            assert client.get(address).status_code == 401


def test_a_picture_whose_file_is_gone_is_no_dicom_and_says_what_to_do(served: Any, keep_picture: Any) -> None:
    kept = keep_picture(served.desk.store, seed=9042, size=64)
    file = file_of(served.desk.store, kept, units=True)
    file.rename(file.with_suffix(".away"))
    answer = httpx.get(f"{served.url}pictures/{kept.id}.dcm")
    file.with_suffix(".away").rename(file)
    told = "The file of this picture is gone from the store's folder; draw the picture again"
    assert (answer.status_code, answer.json()["detail"]) == (422, told)
