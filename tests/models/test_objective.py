"""The loss against an independent computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import nn

from vesalius.finetune.feeding.texts import Texts
from vesalius.models.architecture import make_scheduler
from vesalius.models.base import open_base
from vesalius.models.objective import denoising_loss, snr_weights, targets

TIMESTEPS = torch.tensor([0, 1, 250, 500, 998, 999])


def terminal_alphas() -> np.ndarray:
    """Cumulative alphas of zero terminal SNR after Lin et al. 2024, algorithm 1, in float64."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    roots = np.sqrt(np.cumprod(1 - betas))
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, noise = (torch.randn(len(TIMESTEPS), 4, 8, 8, generator=generator) for _ in range(2))
    return latents, noise


def test_v_is_alpha_noise_less_sigma_latents() -> None:
    latents, noise = drawn(0)
    alphas = terminal_alphas()[TIMESTEPS.numpy()][:, None, None, None]
    expected = np.sqrt(alphas) * noise.numpy() - np.sqrt(1 - alphas) * latents.numpy()
    got = targets(make_scheduler(), latents, noise, TIMESTEPS)
    assert np.allclose(got.numpy(), expected, atol=1e-4)


def test_epsilon_is_the_noise() -> None:
    latents, noise = drawn(1)
    assert torch.equal(targets(DDPMScheduler(prediction_type="epsilon"), latents, noise, TIMESTEPS), noise)


def test_another_prediction_type_is_refused() -> None:
    latents, noise = drawn(2)
    with pytest.raises(ValueError, match=r"'sample'.*'epsilon', 'v_prediction'"):
        targets(DDPMScheduler(prediction_type="sample"), latents, noise, TIMESTEPS)


def test_without_gamma_all_noise_levels_weigh_the_same() -> None:
    assert torch.equal(snr_weights(make_scheduler(), TIMESTEPS, None), torch.ones(len(TIMESTEPS)))


def test_min_snr_weights_are_those_of_the_paper() -> None:
    timesteps = torch.arange(0, 900, 7)
    for kind in ("epsilon", "v_prediction"):
        scheduler = DDPMScheduler(
            prediction_type=kind, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
        )
        alphas = scheduler.alphas_cumprod[timesteps].double()
        snr = alphas / (1 - alphas)
        expected = torch.minimum(snr, torch.tensor(5.0)) / (snr if kind == "epsilon" else snr + 1)
        loud = (snr < 1) & (expected < 0.1)
        got = snr_weights(scheduler, timesteps, 5.0).double()
        assert torch.allclose(got[~loud], expected[~loud], rtol=1e-5)
        assert torch.allclose(got[loud], torch.tensor(0.1, dtype=torch.float64))


def test_the_step_of_zero_terminal_snr_is_still_trained() -> None:
    scheduler = make_scheduler()
    assert scheduler.alphas_cumprod[999] == 0
    assert snr_weights(scheduler, torch.tensor([999]), 5.0).item() == pytest.approx(0.1)


class Scale(nn.Module):
    """A denoiser with one number to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, hidden: torch.Tensor) -> object:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=self.scale * noisy)


def test_the_loss_is_the_weighted_mean_square_of_each_sample() -> None:
    latents, noise = drawn(3)
    alphas = terminal_alphas()[TIMESTEPS.numpy()]
    root, rest = (np.sqrt(a)[:, None, None, None] for a in (alphas, 1 - alphas))
    noisy, velocity = root * latents.numpy() + rest * noise.numpy(), root * noise.numpy() - rest * latents.numpy()
    expected = ((0.5 * noisy - velocity) ** 2).mean((1, 2, 3))
    text = [(torch.arange(len(latents)), torch.zeros(len(latents), 1, 1))]
    got = denoising_loss(Scale(), make_scheduler(), latents, noise, TIMESTEPS, text)
    assert np.allclose(got.detach().numpy(), expected, atol=1e-4)
    weighted = denoising_loss(Scale(), make_scheduler(), latents, noise, TIMESTEPS, text, 5.0)
    assert torch.allclose(weighted, got * snr_weights(make_scheduler(), TIMESTEPS, 5.0))


def test_the_training_scheduler_has_the_noise_levels_of_the_base() -> None:
    base: DDIMScheduler = make_scheduler()
    assert torch.equal(DDPMScheduler.from_config(base.config).alphas_cumprod, base.alphas_cumprod)


def test_a_long_report_trains_next_to_short_ones_with_the_loss_it_has_alone(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    pipeline, texts_of = base.pipeline, Texts(base, base.pipeline.text_encoder)
    texts = ["Chest CT", "", "The lungs are clear. A nodule of 12 mm lies in the left upper lobe. " * 9]
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 16, 16, generator=generator) for _ in range(2))
    timesteps = torch.tensor([10, 500, 990])
    with torch.no_grad():
        condition = texts_of(texts)
        assert [rows.tolist() for rows, *_ in condition] == [[0, 1], [2]]
        assert condition[1][1].shape[1] > 2 * pipeline.tokenizer.model_max_length
        together = denoising_loss(pipeline.unet, make_scheduler(), latents, noise, timesteps, condition)
        for i, text in enumerate(texts):
            one = texts_of([text])
            mine = slice(i, i + 1)
            alone = denoising_loss(pipeline.unet, make_scheduler(), latents[mine], noise[mine], timesteps[mine], one)
            assert torch.allclose(together[mine], alone, atol=1e-5), text
