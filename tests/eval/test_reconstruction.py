from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.hounsfield import encode_windows
from vesalius.eval.reconstruction import (
    hu_errors,
    ms_ssim,
    psnr,
    reconstruct,
    reconstruction_scores,
    scale_weights,
)
from vesalius.models.base import open_base


def noise(num: int, size: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num, channels, size, size), generator=generator, dtype=torch.uint8)
    return pixels.expand(num, 3, size, size)


def windows(hu: float) -> torch.Tensor:
    values = np.full((1, 64, 64), hu, np.float32)
    return torch.from_numpy(encode_windows(values)).permute(0, 3, 1, 2)


def test_psnr_of_a_tenth_of_the_range_is_twenty_decibels() -> None:
    truth = torch.full((2, 3, 8, 8), 0.5)
    assert psnr(truth + 0.1, truth).tolist() == pytest.approx([20, 20], abs=1e-3)


def test_four_scales_fit_128_pixels_and_five_fit_161() -> None:
    assert [len(scale_weights(size)) for size in (32, 64, 128, 160, 161, 512)] == [2, 3, 4, 4, 4, 5]
    assert sum(scale_weights(128)) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        scale_weights(8)


def test_similarity_is_one_of_a_picture_with_itself_and_each_picture_has_its_own() -> None:
    truth = noise(2, 64).float() / 255
    blurred = torch.nn.functional.avg_pool2d(truth[1:], 3, 1, 1)
    values = ms_ssim(torch.cat([truth[:1], blurred]), truth)
    assert values[0] == pytest.approx(1, abs=1e-4)
    assert values[1] < 0.9
    assert ms_ssim(blurred, truth[1:])[0] == pytest.approx(float(values[1]), abs=1e-5)


def test_an_error_in_hounsfield_units_is_told_in_hounsfield_units() -> None:
    errors = hu_errors(windows(60), windows(20))
    assert errors["HU error"].item() == pytest.approx(40, abs=1)
    assert errors["HU error in soft tissue"].item() == pytest.approx(40, abs=1)
    assert hu_errors(windows(-700), windows(-700))["HU error in soft tissue"].isnan().all()


def test_grey_pictures_come_back_grey_and_colour_in_colour(tiny_base: Path) -> None:
    vae = open_base(str(tiny_base)).pipeline.vae
    drawn = reconstruct(vae, torch.cat([noise(1, 32, 1), noise(1, 32)]))
    assert drawn.shape == (2, 3, 32, 32)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert torch.equal(drawn[0, 0], drawn[0, 2])
    assert not torch.equal(drawn[1, 0], drawn[1, 2])


def test_every_group_is_scored_and_windows_alone_in_hounsfield_units(tiny_base: Path) -> None:
    vae = open_base(str(tiny_base)).pipeline.vae
    groups = ["CT", "MRI", "MRI", "CT", "MRI"]
    scores = reconstruction_scores(vae, noise(5, 32), groups, [group == "CT" for group in groups])
    assert set(scores["CT"]) == {"PSNR", "MS-SSIM", "HU error", "HU error in soft tissue"}
    assert set(scores["MRI"]) == {"PSNR", "MS-SSIM"}
    assert (scores["CT"]["PSNR"].num, scores["MRI"]["PSNR"].num) == (2, 3)
