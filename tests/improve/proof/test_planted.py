from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.data.images.burned_in import can_search
from vesalius.data.images.image import Picture, Uint8
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.data.texts.prompt import swap_sides
from vesalius.eval.gates.written import Written
from vesalius.improve.candidates import candidates
from vesalius.improve.proof.planted import DOUBLE, HONEST, PlantedConfig, run_planted
from vesalius.improve.proof.plants import PLANTS, crop, mirror, on_greys, read_picture, told_of
from vesalius.inference.sample import load_samples

NUM = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planted") / "data"
    return write_phantoms(PhantomConfig(num=240, seed=31, out=out, val=0.5, test=0.1, hounsfield=True, json=True))


@pytest.fixture(scope="module")
def result(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("planted") / "report"
    with pytest.MonkeyPatch.context() as patch:  # as where tesseract is not installed, which is slow
        patch.setattr(candidates, "can_search", lambda: False)
        found = run_planted(PlantedConfig(data=(data,), out=out, num=NUM, json=True))
    assert {"planted.json", "planted.html", "planted.md", "metadata.jsonl"} <= {p.name for p in out.iterdir()}
    assert json.loads((out / "planted.json").read_text())["kinds"] == json.loads(json.dumps(found["kinds"]))
    assert len(load_samples(out)) == len(found["rows"])
    return found


def passes(result: dict[str, Any], kind: str) -> float:
    return float(next(r for r in result["kinds"] if (r["kind"], r["modality"]) == (kind, "all"))["passes"]["value"])


def test_most_honest_pictures_pass(result: dict[str, Any]) -> None:
    assert passes(result, HONEST) >= 0.6


@pytest.mark.parametrize(
    "kind", ["copy", "copy, mirrored", "other modality", "blank", "noise alone", "noisy", "cut file"]
)
def test_copies_of_patients_and_pictures_of_nothing_never_pass(result: dict[str, Any], kind: str) -> None:
    assert passes(result, kind) == 0


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("copy, cropped", 0.2), ("copy, noisy", 0.1), ("copy, brightness", 0.1), ("other side", 0.2),
        ("finding denied", 0.3), ("finding claimed", 0.4), ("saturated", 0.1), ("wrong values", 0.1), (DOUBLE, 0.1),
    ],
)  # fmt: skip
def test_few_contradictions_and_changed_copies_pass(result: dict[str, Any], kind: str, most: float) -> None:
    assert passes(result, kind) <= most


def test_a_name_in_a_picture_is_read_and_phantoms_have_none(data: Path) -> None:
    if not can_search():
        pytest.skip("needs tesseract")
    draw = PLANTS["burned-in text"].draw
    assert draw is not None
    rng = np.random.default_rng(0)
    plain = [read_picture((data, r)) for r in load_records(data)[:6]]
    stacks = [np.stack([to_square(p) for p in each]) for each in (plain, [draw(p, rng) for p in plain])]
    counts = [Written()(torch.from_numpy(stack))[:, 0] for stack in stacks]
    assert (counts[0] == 0).all()
    assert (counts[1] > 0).float().mean() > 0.6


def to_square(picture: Picture) -> Uint8:
    size = Written.image_size
    grey = Image.fromarray(picture.image.repeat(3 // picture.image.shape[2], axis=2))
    return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS)).transpose(2, 0, 1)


def test_each_kind_is_counted_with_its_interval_and_told_on_the_page(result: dict[str, Any]) -> None:
    told = {row["kind"] for row in result["kinds"]}
    assert told >= {HONEST, DOUBLE, *PLANTS} - {"other organ", "other diagnosis"}  # phantoms have one organ, no label
    for row in result["kinds"]:
        assert row["passes"]["low"] <= row["passes"]["value"] <= row["passes"]["high"]
        assert row["passes"]["num"] == row["num"]


def test_a_folder_with_other_things_in_it_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        run_planted(PlantedConfig(data=(data,), out=tmp_path, num=2, json=True))
    with pytest.raises(ValueError, match="--num"):
        PlantedConfig(data=(data,), out=tmp_path, num=0)


def test_plants_keep_the_shape_and_hounsfield_units_of_their_pictures(data: Path) -> None:
    record = next(r for r in load_records(data) if r.modality == "CT")
    picture = read_picture((data, record))
    assert picture.hu is not None
    for draw in (mirror, crop, on_greys(lambda image, _: image)):
        changed = draw(picture, np.random.default_rng(0))
        assert changed.image.shape == picture.image.shape
        assert changed.hu is not None
        assert changed.hu.shape == picture.hu.shape
        assert abs(float(changed.hu.mean() - picture.hu.mean())) < 60
    assert (mirror(picture, np.random.default_rng(0)).hu == picture.hu[:, ::-1]).all()


def test_texts_of_plants_are_false_in_the_one_thing(data: Path) -> None:
    rng = np.random.default_rng(0)
    records = load_records(data)
    for record in records[:40]:
        own = told_of(record)
        for kind in ("other side", "finding denied", "finding claimed", "other modality"):
            tell = PLANTS[kind].tell
            assert tell is not None
            told = tell(record, records, rng)
            if told is None:
                continue
            if kind == "other side":
                assert told.text == swap_sides(own.text)
            assert (told.modality != own.modality) == (kind == "other modality")
            assert told.findings != own.findings
