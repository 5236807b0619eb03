from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.images.image import write_png
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.eval.privacy.limits import PIXELS, PictureSet, find_copies, verdict
from vesalius.eval.privacy.page import copies_table, duplicates_table, sections
from vesalius.eval.report import write_page
from vesalius.models.detectors.detector import TextureDetector

NUM = {"samples": 170, "held_out": 150, "train": 300}


def images(seeds: range) -> torch.Tensor:
    drawn = [draw_phantom(s, "MRI", size=64).image for s in seeds]
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in drawn]))


@pytest.fixture(scope="module")
def pictures() -> dict[str, torch.Tensor]:
    starts = {"samples": 0, "held_out": 1000, "train": 2000}
    return {name: images(range(start, start + NUM[name])) for name, start in starts.items()}


def sets(pictures: dict[str, torch.Tensor]) -> dict[str, PictureSet]:
    texture, looks = TextureDetector(), {name: Original() if name == "train" else Suspect() for name in pictures}
    return {
        name: PictureSet(
            features={PIXELS: looks[name](each), "texture": texture(each)}, modalities=["MRI"] * len(each),
            names=[f"{name}-{i}" for i in range(len(each))],
        )
        for name, each in pictures.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def clean(pictures: dict[str, torch.Tensor]) -> dict[str, PictureSet]:
    return sets(pictures)


def canaries(train: torch.Tensor) -> torch.Tensor:
    """Copies of the first training images: exact, mirrored, noisy, brighter, cropped."""
    noise = torch.randint(-6, 7, train[2].shape, generator=torch.Generator().manual_seed(0))
    cropped = torch.nn.functional.interpolate(train[4:5, :, 4:60, 4:60].float(), size=(64, 64), mode="bilinear")
    return torch.stack(
        [
            train[0], train[1].flip(2), (train[2].int() + noise).clamp(0, 255).to(torch.uint8),
            (train[3].float() * 0.8 + 20).to(torch.uint8), cropped[0].round().to(torch.uint8),
        ]
    )  # fmt: skip


def test_fresh_pictures_copy_no_more_than_unseen_ones(clean: dict[str, PictureSet]) -> None:
    found = find_copies(**clean)
    for row in found["copies"]:
        assert row["copies"]["low"] <= 0.01
        assert row["close"]["value"] == 0
        assert row["num_same"] == 0
    assert found["verdicts"]["MRI"] != "more than unseen real images"
    json.dumps(found)


def test_every_planted_canary_is_found_and_named(pictures: dict[str, torch.Tensor]) -> None:
    planted = torch.cat([pictures["samples"], canaries(pictures["train"])])
    found = find_copies(**sets({**pictures, "samples": planted}))
    pairs = {p["names"][0]: p["names"][1] for p in found["pairs"] if p["distance"] < p["limit"]}
    first = NUM["samples"]
    assert {f"samples-{first + i}": f"train-{i}" for i in range(5)}.items() <= pairs.items()
    pixels = next(r for r in found["copies"] if r["detector"] == "pixels")
    # Enlarged by so little that 64 pixels allow, a crop is blurred, and so below the limit and not close
    assert pixels["close"]["value"] * pixels["close"]["num"] == pytest.approx(4)
    assert found["verdicts"]["MRI"] != "no more than unseen real images"


def test_a_set_of_copies_is_called_one(pictures: dict[str, torch.Tensor]) -> None:
    found = find_copies(**sets({**pictures, "samples": pictures["train"][:60]}))
    assert found["verdicts"]["MRI"] == "more than unseen real images"
    assert all(row["copies"]["value"] == 1 for row in found["copies"])


def test_repeated_samples_are_near_duplicates_and_real_ones_are_beside_them(
    pictures: dict[str, torch.Tensor], clean: dict[str, PictureSet]
) -> None:
    few = pictures["samples"][:75]
    repeated = find_copies(**sets({**pictures, "samples": torch.cat([few, few])}))["near_duplicates"]
    for row, once in zip(repeated, find_copies(**clean)["near_duplicates"], strict=True):
        assert row["samples"]["value"] == 1
        assert once["samples"]["value"] < 0.2
        assert row["real"]["value"] == once["real"]["value"] < 0.2
        assert row["num"] == 150


def test_a_leak_between_the_splits_does_not_hide_copies(pictures: dict[str, torch.Tensor]) -> None:
    leaked = torch.cat([pictures["held_out"][:100], pictures["train"][:30]])
    found = find_copies(**sets({**pictures, "held_out": leaked, "samples": pictures["train"][:40]}))
    for row in found["copies"]:
        assert row["num_same"] == 30
        assert row["copies"]["value"] == 1


def test_a_limit_that_near_copies_among_the_held_out_pull_down_is_said(pictures: dict[str, torch.Tensor]) -> None:
    noise = torch.randint(-2, 3, pictures["train"][:8].shape, generator=torch.Generator().manual_seed(0))
    near = (pictures["train"][:8].int() + noise).clamp(0, 255).to(torch.uint8)
    leaked = torch.cat([pictures["held_out"][:100], near])
    found = find_copies(**sets({**pictures, "held_out": leaked}))
    found["pairs"] = []
    (text,) = [line for line in sections(found, [], [])[0].text if "lie so near" in line]
    assert "MRI by pixels" in text


def test_pictures_of_the_own_patient_set_no_limit() -> None:
    train = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    held_out = train + 0.05 * torch.randn(100, 8, generator=torch.Generator().manual_seed(1))  # a second slice of each
    people = [f"patient {i}" for i in range(100)]
    names = {"x": train}
    seen = PictureSet(features=names, modalities=["CT"] * 100, patients=people)
    copied = PictureSet(features={"x": held_out + 0.05}, modalities=["CT"] * 100)
    known = PictureSet(features={"x": held_out}, modalities=["CT"] * 100, patients=people)
    unknown = PictureSet(features={"x": held_out}, modalities=["CT"] * 100)
    assert find_copies(copied, known, seen)["copies"][0]["copies"]["value"] > 0.9
    assert find_copies(copied, unknown, seen)["copies"][0]["copies"]["value"] < 0.2


def test_detectors_that_disagree_leave_no_conclusion() -> None:
    many = {"copies": {"low": 0.2}, "unseen": {"high": 0.03}, "bound": 0.4}
    none = {
        "copies": {"low": 0.0}, "unseen": {"high": 0.03}, "bound": 0.015,
        "close": {"value": 0}, "close_unseen": {"value": 0},
    }  # fmt: skip
    assert verdict([many, many]) == "more than unseen real images"
    assert verdict([none, none]) == "no more than unseen real images"
    assert verdict([many, none]) == verdict([none, {"note": "too few"}]) == "no conclusion"
    assert verdict([{**none, "bound": 0.05}]) == "no conclusion"
    assert verdict([{**none, "close": {"value": 0.001}}]) == "no conclusion"


def test_too_few_held_out_images_are_said_and_the_rest_is_measured(clean: dict[str, PictureSet]) -> None:
    few = clean["held_out"].at(range(19))
    found = find_copies(clean["samples"], few, clean["train"])
    assert all("a limit needs 20" in row["note"] for row in found["copies"])
    assert found["pairs"] == found["near_duplicates"] == []
    assert "not measured" in copies_table(found).rows[0][2]


def test_bad_features_are_refused(clean: dict[str, PictureSet]) -> None:
    def having(**features: torch.Tensor) -> PictureSet:
        return PictureSet(features=features, modalities=["MRI"] * 2, names=["first.png", "second.png"])

    good = having(x=torch.zeros(2, 3))
    holed = having(x=torch.tensor([[0.0, 1, 2], [0, float("nan"), 1]]))
    with pytest.raises(ValueError, match=r"samples: features of second\.png by x are not finite"):
        find_copies(holed, good, good)
    with pytest.raises(ValueError, match="training images have features by y"):
        find_copies(good, good, having(y=torch.zeros(2, 3)))
    with pytest.raises(ValueError, match=r"held-out images: features by x are \(2, 4\)"):
        find_copies(good, having(x=torch.zeros(2, 4)), good)
    with pytest.raises(ValueError, match="no training images"):
        find_copies(good, good, PictureSet(features={}, modalities=[]))


def test_the_page_shows_the_nearest_pairs_side_by_side(
    tmp_path: Path, pictures: dict[str, torch.Tensor], clean: dict[str, PictureSet]
) -> None:
    found = find_copies(**clean)
    paths = {}
    for name in ("samples", "train"):
        paths[name] = [tmp_path / f"{name}-{i}.png" for i in range(NUM[name])]
        for path, image in zip(paths[name], pictures[name], strict=True):
            write_png(path, image.permute(1, 2, 0).numpy())
    made = sections(found, paths["samples"], paths["train"], ["a mass"] * NUM["samples"])
    assert len(made[1].figures) == 2 * len(found["pairs"]) == 16
    assert "limit" in made[1].figures[0].note
    assert len(duplicates_table(found).rows) == 2
    write_page(tmp_path / "page.html", "Copies", "", made)
    assert "no conclusion" in (tmp_path / "page.html").read_text()
