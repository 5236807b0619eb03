"""What the denoiser is asked to predict, and how much each noise level weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

KINDS = ("epsilon", "v_prediction", "flow_prediction")
"""What denoisers predict, in diffusers' words."""


class Flow:
    """The noise of rectified flow (Liu et al. 2023): a straight line from image to noise, x_t = (1 - t) x + t n.

    It has of a scheduler what training asks for. timesteps: integers below `num_train_timesteps`, t = timestep / 1000.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    def sigmas(self, timesteps: torch.Tensor) -> torch.Tensor:
        sigmas: torch.Tensor = ((timesteps + 1) / self.config.num_train_timesteps).float()
        return sigmas

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        sigmas = self.sigmas(timesteps).view(-1, 1, 1, 1)
        noisy: torch.Tensor = (1 - sigmas) * latents + sigmas * noise
        return noisy


def training_scheduler(config: Any, *, zero_terminal_snr: bool = False) -> Any:
    """The noise levels that a base is trained on, whatever it draws with: DDPM's, or those of a flow.

    zero_terminal_snr: rescaled so that the last one is noise alone (Lin et al. 2024, algorithm 1). ValueError where the
    base predicts something else than v then, since noise alone says nothing of the noise, or predicts what is not
    known.
    """
    from diffusers import DDPMScheduler

    kind = config.prediction_type if "prediction_type" in config else "epsilon"
    if kind not in KINDS:
        raise ValueError(f"the base's scheduler predicts '{kind}'; training knows {', '.join(map(repr, KINDS))}")
    if zero_terminal_snr and kind != "v_prediction":
        raise ValueError(f"--zero-terminal-snr needs a base that predicts v; this one predicts '{kind}'")
    if kind == "flow_prediction":
        return Flow(config)
    more = {"rescale_betas_zero_snr": True} if zero_terminal_snr else {}
    return DDPMScheduler.from_config(config, **more)


def targets(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The regression target, N4HW: the noise; or v = alpha noise - sigma latents (Salimans & Ho 2022, eq. in sec. 4);
    or of a flow noise - latents.

    ValueError for a prediction type that is none of them.
    """
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: torch.Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    if kind == "flow_prediction":
        return noise - latents
    raise ValueError(f"scheduler predicts '{kind}'; training knows {', '.join(map(repr, KINDS))}")


def snr_weights(scheduler: Any, timesteps: torch.Tensor, gamma: float | None) -> torch.Tensor:
    """Loss weights [N] of min-SNR-gamma (Hang et al. 2023, arXiv 2303.09556, sec. 3.4); ones without gamma.

    For v the weight is min(snr, gamma) / (snr + 1). At zero terminal SNR that is 0 and the first drawing step would
    never be trained, so where there is more noise than image (snr < 1) the weight is kept at no less than 0.1.
    """
    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    if scheduler.config.prediction_type == "flow_prediction":
        raise ValueError("--min-snr-gamma is not defined for a base that predicts a flow; leave it out")
    alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    snr = alphas / (1 - alphas).clamp_min(1e-8)
    divisor = snr + 1 if scheduler.config.prediction_type == "v_prediction" else snr.clamp_min(1e-8)
    weights = snr.clamp_max(gamma) / divisor
    return torch.where(snr < 1, weights.clamp_min(0.1), weights).float()


def preference_loss(
    denoiser: Any,
    scheduler: Any,
    better: torch.Tensor,
    worse: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    condition: TextGroups,
    beta: float,
) -> torch.Tensor:
    """Loss of each pair [N], float32, of Diffusion-DPO (Wallace et al. 2023, arXiv 2311.12908, eq. 14): -log sigmoid of
    -beta / 2 times how much more the error fell on the better latents than on the worse, against the model without its
    adapter. Both get the same noise and timestep. log 2 where nothing was learnt.
    """

    def gap() -> torch.Tensor:
        first, second = (denoising_loss(denoiser, scheduler, x, noise, timesteps, condition) for x in (better, worse))
        return first - second

    with torch.no_grad(), denoiser.disable_adapter():
        reference = gap()
    return -functional.logsigmoid(-0.5 * beta * (gap() - reference))


def denoising_loss(
    denoiser: Any,
    scheduler: Any,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    condition: TextGroups,
    gamma: float | None = None,
    emphasis: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of each sample [N], float32: weighted mean squared error of the prediction.

    latents and noise are N4HW, timesteps int64 [N]; condition is the text, as `Texts` makes it; emphasis,
    N1HW, weighs places of the latent grid, such as a lesion's. kept: bool [N], samples whose target is what the
    denoiser predicts without its adapter, so that it keeps what it knew (prior preservation, after Ruiz et al. 2023,
    eq. 2, with the prediction in place of a picture drawn from it).
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    order = torch.cat([rows for rows, *_ in condition]).argsort()

    def predicted() -> torch.Tensor:
        parts = []
        for rows, hidden, *more in condition:
            told = {"added_cond_kwargs": more[0]} if more else {}
            parts.append(denoiser(noisy[rows], timesteps[rows], hidden, **told).sample.float())
        return torch.cat(parts)[order]

    wanted = targets(scheduler, latents, noise, timesteps)
    if kept is not None and kept.any():
        with torch.no_grad(), denoiser.disable_adapter():
            wanted = torch.where(kept.view(-1, 1, 1, 1), predicted(), wanted)
    errors = (predicted() - wanted).pow(2)
    if emphasis is not None:
        errors = errors * emphasis
    losses: torch.Tensor = errors.mean((1, 2, 3)) * snr_weights(scheduler, timesteps, gamma)
    return losses
