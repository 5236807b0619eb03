"""An autoencoder that begins as the best linear one."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import AutoencoderKL

from vesalius.finetune.base.linear_start import haar, start_linear
from vesalius.models.architecture import NANO, TINY, make_autoencoder


def smooth_images(num: int, size: int) -> torch.Tensor:
    """Random colour fields with a natural fall of their spectrum, NCHW in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(num, 3, size, size)
    for cells in (2, 4, 8, 16, 32):
        field = torch.randn(num, 3, cells, cells, generator=generator) / cells
        total += torch.nn.functional.interpolate(field, size=(size, size), mode="bicubic")
    return total.clamp(-1, 1)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * math.log10(float((one - other).pow(2).mean()) / 4)


def test_the_haar_transform_keeps_all_energy() -> None:
    pixels = smooth_images(4, 32)
    assert haar(pixels, 2).shape == (4, 48, 8, 8)
    assert haar(pixels, 2).pow(2).sum() == pytest.approx(float(pixels.pow(2).sum()), rel=1e-4)


@pytest.mark.parametrize("sizes", [NANO, TINY])
def test_the_encoder_begins_as_the_principal_components_of_patches(sizes: object) -> None:
    torch.manual_seed(0)
    pixels = smooth_images(24, 32)
    model = make_autoencoder(sizes)  # type: ignore[arg-type]
    start_linear(model, pixels)
    depth, latent = len(model.config.block_out_channels) - 1, model.config.latent_channels
    with torch.no_grad():
        found = model.encode(pixels).latent_dist.mean.permute(0, 2, 3, 1).flatten(0, 2)
    patches = haar(pixels, depth).permute(0, 2, 3, 1).flatten(0, 2)
    centred = patches - patches.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    wanted = centred @ axes.flip(1)[:, :latent]
    wanted = wanted / wanted.std()
    for k in range(min(3, latent)):  # an axis has no sign of its own
        assert abs(torch.corrcoef(torch.stack([found[:, k], wanted[:, k]]))[0, 1]) > 0.999
    assert found.std() == pytest.approx(1, rel=0.02)


def test_it_begins_far_ahead_of_random_weights() -> None:
    torch.manual_seed(0)
    pixels = smooth_images(24, 64)
    model = make_autoencoder(NANO)
    with torch.no_grad():
        before = psnr(model.decode(model.encode(pixels).latent_dist.mean).sample, pixels)
        start_linear(model, pixels)
        after = psnr(model.decode(model.encode(pixels).latent_dist.mean).sample, pixels)
    assert after > before + 10
    assert after > 24


def test_every_weight_still_learns() -> None:
    torch.manual_seed(0)
    pixels = smooth_images(4, 32)
    model = make_autoencoder(TINY)
    start_linear(model, pixels)
    model.decode(model.encode(pixels).latent_dist.mean).sample.sub(pixels).pow(2).mean().backward()
    branches = [p.grad for n, p in model.named_parameters() if n.endswith("conv2.weight")]
    assert all(g is not None and g.abs().sum() > 0 for g in branches)


def test_an_autoencoder_too_narrow_for_the_transform_is_refused() -> None:
    model = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, mid_block_add_attention=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="too narrow to start linear"):
        start_linear(model, smooth_images(2, 16))
