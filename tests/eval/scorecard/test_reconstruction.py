from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vesalius.data.hounsfield import encode_windows
from vesalius.eval.scorecard.reconstruction import (
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


def plain_ms_ssim(a: NDArray[np.float64], b: NDArray[np.float64], betas: tuple[float, ...]) -> float:
    """The formula of Wang, Simoncelli & Bovik 2003 of CHW in [0, 1], channels and places averaged at each scale."""

    def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in (1, 2):
            x = gaussian_filter1d(x, 1.5, axis=axis, truncate=5 / 1.5)
        return x[:, 5:-5, 5:-5]

    def halve(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4

    found = 1.0
    for scale, beta in enumerate(betas):
        mean_a, mean_b = smooth(a), smooth(b)
        both = smooth(a * b) - mean_a * mean_b
        own = smooth(a * a) - mean_a**2 + smooth(b * b) - mean_b**2
        value = (2 * both + 0.03**2) / (own + 0.03**2)
        if scale == len(betas) - 1:
            value = value * (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        found *= max(0.0, float(value.mean())) ** beta
        a, b = halve(a), halve(b)
    return found


@pytest.mark.parametrize("size", [64, 128, 192])
def test_similarity_is_the_formula_of_its_paper(size: int) -> None:
    truth = torch.nn.functional.avg_pool2d(noise(1, size).float() / 255, 5, 1, 2)
    drawn = (0.8 * truth + 0.1 + 0.05 * noise(2, size)[1:].float() / 255).clamp(0, 1)
    plain = plain_ms_ssim(drawn[0].double().numpy(), truth[0].double().numpy(), scale_weights(size))
    assert ms_ssim(drawn, truth)[0] == pytest.approx(plain, abs=1e-3)
    assert 0.2 < plain < 0.99


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
