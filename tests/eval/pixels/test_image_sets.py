from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vesalius.data.hounsfield import encode_windows
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.eval.pixels.image_sets import (
    FREQUENCIES,
    STAINS,
    histogram_distance,
    hounsfield,
    intensities,
    measure,
    noise_power,
    sections,
    stains,
)


def pictures(modality: str, seeds: range, size: int = 64) -> torch.Tensor:
    drawn = [draw_phantom(s, modality, size=size) for s in seeds]
    images = [p.image if p.hu is None else (encode_windows(p.hu) * 255).round().astype(np.uint8) for p in drawn]
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in images]))


def test_white_noise_has_its_variance_at_every_frequency_and_a_ramp_adds_none() -> None:
    rng = np.random.default_rng(0)
    grey = 128 + rng.normal(0, 10, (40, 1, 128, 128)) + np.linspace(-30, 30, 128)
    images = torch.from_numpy(grey.round().clip(0, 255).astype(np.uint8)).expand(-1, 3, -1, -1)
    power = noise_power(images).mean(axis=0)
    assert power[1:] == pytest.approx([100] * 15, rel=0.15)
    assert len(FREQUENCIES) == 16


def test_blurred_noise_loses_its_high_frequencies() -> None:
    rng = np.random.default_rng(1)
    grey = torch.from_numpy(128 + rng.normal(0, 30, (8, 1, 96, 96)))
    blurred = torch.nn.functional.avg_pool2d(grey, 3, 1, 1)
    sharp, soft = (noise_power(x.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)) for x in (grey, blurred))
    ratio = soft.mean(axis=0) / sharp.mean(axis=0)
    assert ratio[0] > 0.7
    assert ratio[10] < 0.1


def test_blank_pictures_have_no_noise_and_small_ones_are_refused() -> None:
    assert np.isnan(noise_power(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))).all()
    with pytest.raises(ValueError, match="at least 32 pixels, got 31"):
        noise_power(torch.zeros(1, 3, 31, 64, dtype=torch.uint8))


def test_a_shift_of_greys_or_of_hounsfield_units_is_its_distance() -> None:
    low, high = (torch.full((2, 3, 32, 32), v, dtype=torch.uint8) for v in (40, 55))
    assert histogram_distance(np.arange(256.0))(intensities(low), intensities(high)) == pytest.approx(15)
    muscle, liver = (
        torch.from_numpy((encode_windows(np.full((1, 16, 16), hu, np.float32)) * 255).round().astype(np.uint8))
        for hu in (-55, 45)
    )
    rows = [hounsfield(each.permute(0, 3, 1, 2)) for each in (muscle, liver)]
    assert rows[0].sum() == pytest.approx(1)
    assert histogram_distance(np.arange(266) * 10.0 - 1345)(*rows) == pytest.approx(100, abs=10)


def test_stains_are_told_apart_in_what_was_mixed_from_them() -> None:
    unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    amounts = np.array([[0.7, 0.3], [0.2, 0.9], [0.0, 0.0]])
    light = 255 * 10 ** -(amounts @ unit)
    tiles = torch.from_numpy(light.round().astype(np.uint8))[:, :, None, None].expand(-1, -1, 8, 8)
    found = stains(tiles)
    assert found[:2, [0, 2]] == pytest.approx(amounts[:2], abs=0.02)
    assert found[:, 4].tolist() == [1, 1, 0]
    assert np.isnan(found[2, :4]).all()


CORRUPTIONS = {
    "noise power": lambda x: torch.nn.functional.avg_pool2d(x.float(), 3, 1, 1).round().to(torch.uint8),
    "grey levels": lambda x: (x.float() * 0.8 + 20).to(torch.uint8),
    "Hounsfield units": lambda x: (x.float() * 0.8 + 20).to(torch.uint8),
    "haematoxylin, mean": lambda x: (x.float() * 0.5).to(torch.uint8),
    "eosin, mean": lambda x: (x.float() * 0.5).to(torch.uint8),
}


@pytest.mark.parametrize(
    ("modality", "windowed", "what"),
    [
        ("MRI", False, "noise power"), ("MRI", False, "grey levels"), ("CT", True, "Hounsfield units"),
        ("pathology", False, "haematoxylin, mean"), ("pathology", False, "eosin, mean"),
    ],
)  # fmt: skip
def test_a_set_like_the_real_one_is_at_the_floor_and_a_corrupted_one_is_not(
    modality: str, windowed: bool, what: str
) -> None:
    real, same = pictures(modality, range(60)), pictures(modality, range(500, 530))
    told = [modality] if windowed else []
    found = {}
    for name, each in (("same", same), ("worse", CORRUPTIONS[what](same))):
        rows = measure(each, [modality] * 30, real, [modality] * 60, windowed=told)["rows"]
        found[name] = next(r for r in rows if r["what"] == what)
    assert found["same"]["value"]["low"] <= found["same"]["floor"]["high"]
    assert found["worse"]["value"]["low"] > found["worse"]["floor"]["high"]
    assert found["worse"]["value"]["low"] > found["same"]["value"]["high"]


def test_tiles_of_bare_glass_have_a_share_and_no_stain() -> None:
    real, glass = pictures("pathology", range(20)), torch.full((10, 3, 64, 64), 240, dtype=torch.uint8)
    found = {r.get("what"): r for r in measure(glass, ["pathology"] * 10, real, ["pathology"] * 20)["rows"]}
    assert found["eosin, mean"]["note"] == "not in these pictures"
    assert found["stained share"]["value"]["value"] > 0.3


def test_groups_are_apart_and_what_cannot_be_measured_is_said() -> None:
    real, few = pictures("MRI", range(20)), pictures("MRI", range(100, 109))
    images = torch.cat([few, real[:12], torch.zeros(12, 3, 64, 64, dtype=torch.uint8)])
    groups = ["X-ray"] * 9 + ["MRI"] * 12 + ["CT, greyscale"] * 12
    real_groups = ["MRI"] * 20 + ["CT, greyscale"] * 20
    found = measure(images, groups, torch.cat([real, real]), real_groups)
    assert [r["note"] for r in found["rows"] if r["group"] == "X-ray"] == ["needs 10 images and 20 real ones"]
    assert [r["note"] for r in found["rows"] if r.get("what") == "noise power" and "note" in r] == [
        "all pictures are blank"
    ]
    assert {r["what"] for r in found["rows"] if r["group"] == "MRI"} == {"noise power", "grey levels"}
    json.dumps(found)
    (section,) = sections(found)
    assert len(section.plots) == 1
    assert len(section.tables[0].rows) == len(found["rows"])
    with pytest.raises(ValueError, match="read both at one size"):
        measure(images, groups, real[:, :, :32], ["MRI"] * 20)
