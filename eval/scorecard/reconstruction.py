"""What an autoencoder loses: pictures through it and back, in decibels, structural similarity and Hounsfield units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from vesalius.data.hounsfield import decode_windows
from vesalius.eval.fidelity.metrics import Measure, mean_with_interval

if TYPE_CHECKING:
    from vesalius.data.images.image import Float32

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales of MS-SSIM, finest first (Wang, Simoncelli & Bovik 2003)."""

SOFT_TISSUE = (-160.0, 240.0)
"""HU within which the finest of the three windows has its slope."""


@torch.no_grad()
def reconstruct(vae: Any, images: torch.Tensor, *, batch_size: int = 16) -> torch.Tensor:
    """NCHW uint8 -> NCHW float32 in [0, 1]: the decoded mean of each picture's posterior.

    A picture with three equal channels comes back with three equal ones, their mean, since so it is written.
    """
    parts = []
    for part in images.split(batch_size):
        pixels = (part.float() / 127.5 - 1).to(vae.device, vae.dtype)
        drawn = (vae.decode(vae.encode(pixels).latent_dist.mean).sample.float().cpu() / 2 + 0.5).clamp(0, 1)
        grey = (part == part[:, :1]).flatten(1).all(1)
        drawn[grey] = drawn[grey].mean(1, keepdim=True)
        parts.append(drawn)
    return torch.cat(parts)


def psnr(drawn: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of each picture, [N]. NCHW float32 in [0, 1] each."""
    error: torch.Tensor = (drawn - truth).pow(2).flatten(1).mean(1)
    return -10 * error.clamp_min(1e-10).log10()


def ms_ssim(drawn: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Multi-scale structural similarity of each picture, [N]. NCHW float32 in [0, 1] each.

    torchmetrics' function. Its 11 x 11 window does not fit the fifth scale of pictures below 161 pixels, so only the
    weights of the scales that fit are used (four at 128 pixels), renormalised to a sum of one.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as similarity

    betas = scale_weights(min(truth.shape[-2:]))
    # In small batches: torchmetrics holds five filtered copies of a batch at once.
    parts = [
        torch.as_tensor(similarity(a, b, data_range=1.0, betas=betas, reduction="none", normalize="relu")).reshape(
            len(a)
        )
        for a, b in zip(drawn.split(16), truth.split(16), strict=True)
    ]
    return torch.cat(parts)


def scale_weights(size: int) -> tuple[float, ...]:
    """The weights of the scales of MS-SSIM that fit pictures of `size` pixels, renormalised. ValueError below 11."""
    fitting = [n for n in range(1, 6) if size // max(1, n - 1) ** 2 > 10 and size >= 2**n]
    if not fitting:
        raise ValueError(f"MS-SSIM needs pictures of at least 11 pixels, got {size}")
    betas = BETAS[: fitting[-1]]
    return tuple(b / sum(betas) for b in betas)


def hu_errors(drawn: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean absolute error in HU of each CT of three windows, [N]: over the picture, and over its soft tissue.

    NCHW float32 in [0, 1] each. Soft tissue is where the truth lies within -160 and 240 HU; NaN where there is none.
    HU are those of `decode_windows`, within -1350 and 1300, whose 8-bit rounding alone costs up to 4 HU.
    """
    ours, theirs = torch.from_numpy(decode_windows(_hwc(drawn))), torch.from_numpy(decode_windows(_hwc(truth)))
    error, soft = (ours - theirs).abs(), (theirs >= SOFT_TISSUE[0]) & (theirs <= SOFT_TISSUE[1])
    return {
        "HU error": error.flatten(1).mean(1),
        "HU error in soft tissue": (error * soft).flatten(1).sum(1) / soft.flatten(1).sum(1),
    }


def _hwc(pixels: torch.Tensor) -> Float32:
    array: Float32 = pixels.permute(0, 2, 3, 1).numpy()
    return array


def reconstruction_scores(
    vae: Any, images: torch.Tensor, groups: Sequence[str], windowed: Sequence[bool]
) -> dict[str, dict[str, Measure]]:
    """For each group of pictures: PSNR in dB, MS-SSIM, and errors in HU where they are windowed; means over pictures.

    images: NCHW uint8. groups: what each is counted under. windowed: whether it holds three windows of CT.
    """
    drawn = reconstruct(vae, images)
    truth = images.float() / 255
    found: dict[str, dict[str, Measure]] = {}
    for group in sorted(set(groups)):
        mine = torch.tensor([i for i, g in enumerate(groups) if g == group])
        values = {"PSNR": psnr(drawn[mine], truth[mine]), "MS-SSIM": ms_ssim(drawn[mine], truth[mine])}
        if windowed[int(mine[0])]:
            values |= hu_errors(drawn[mine], truth[mine])
        found[group] = {name: mean_with_interval(v[~v.isnan()].tolist()) for name, v in values.items()}
    return found
