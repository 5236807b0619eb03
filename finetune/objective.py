"""What the denoiser is asked to predict, and how much each noise level weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups


def targets(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The regression target, N4HW: the noise, or v = alpha noise - sigma latents (Salimans & Ho 2022, eq. in sec. 4).

    ValueError for a prediction type that is neither.
    """
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: torch.Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    raise ValueError(f"scheduler predicts '{kind}'; training knows 'epsilon' and 'v_prediction'")


def snr_weights(scheduler: Any, timesteps: torch.Tensor, gamma: float | None) -> torch.Tensor:
    """Loss weights [N] of min-SNR-gamma (Hang et al. 2023, arXiv 2303.09556, sec. 3.4); ones without gamma.

    For v the weight is min(snr, gamma) / (snr + 1). At zero terminal SNR that is 0 and the first drawing step would
    never be trained, so where there is more noise than image (snr < 1) the weight is kept at no less than 0.1.
    """
    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    snr = alphas / (1 - alphas).clamp_min(1e-8)
    divisor = snr + 1 if scheduler.config.prediction_type == "v_prediction" else snr.clamp_min(1e-8)
    weights = snr.clamp_max(gamma) / divisor
    return torch.where(snr < 1, weights.clamp_min(0.1), weights).float()


def denoising_loss(
    denoiser: Any,
    scheduler: Any,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    condition: TextGroups,
    gamma: float | None = None,
    emphasis: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of each sample [N], float32: weighted mean squared error of the prediction.

    latents and noise are N4HW, timesteps int64 [N]; condition is the text, as `text_condition` makes it; emphasis,
    N1HW, weighs places of the latent grid, such as a lesion's.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    predicted = [denoiser(noisy[rows], timesteps[rows], hidden).sample.float() for rows, hidden in condition]
    order = torch.cat([rows for rows, _ in condition]).argsort()
    errors = (torch.cat(predicted)[order] - targets(scheduler, latents, noise, timesteps)).pow(2)
    if emphasis is not None:
        errors = errors * emphasis
    losses: torch.Tensor = errors.mean((1, 2, 3)) * snr_weights(scheduler, timesteps, gamma)
    return losses
