"""Schedulers by name: each draws what the base was trained for, or says that it cannot."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vesalius.inference import GenerateConfig, Generator, generate
from vesalius.inference.drawing.schedulers import SCHEDULERS, find_scheduler, make_scheduler
from vesalius.inference.request import Request
from vesalius.inference.sample import load_samples
from vesalius.models.base import open_base

ABLE = {"ddim", "ddpm", "dpm++", "dpm++-karras", "dpm++-sde", "euler", "euler-a", "lcm", "tcd", "unipc"}
"""Those that know a last noise level without signal, on which the tiny base, as nano, is trained."""


@pytest.mark.parametrize("name", sorted(ABLE))
def test_a_picture_does_not_depend_on_its_batch_by_any_scheduler(tiny_base: Path, name: str) -> None:
    generator = Generator(str(tiny_base), scheduler=name)
    requests = [Request(prompt="Brain MRI, no mass.", seed=seed) for seed in range(3)]
    alone, together = (
        [p.image.astype(int) for _, p in generator.draw_all(requests, steps=4, batch_size=size)] for size in (1, 3)
    )
    assert np.abs(np.array(alone) - np.array(together)).max() <= 1
    assert len({image.tobytes() for image in alone}) == 3


@pytest.mark.parametrize("name", sorted({*SCHEDULERS} - ABLE))
def test_a_scheduler_that_cannot_walk_the_levels_of_the_base_says_which_can(tiny_base: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot draw with this base, which has a last noise level.*use ddim, ddpm"):
        Generator(str(tiny_base), scheduler=name)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_walks_from_noise_to_the_picture_that_a_perfect_denoiser_tells(name: str) -> None:
    """On the levels of Stable Diffusion, which all know. Clipped latents would end at 1, and not at 3."""
    import torch
    from diffusers import DDPMScheduler

    levels = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler = make_scheduler(name, levels.config)
    wanted = torch.full((1, 1, 2, 2), 3.0)
    scheduler.set_timesteps(20)
    latents = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        share = levels.alphas_cumprod[int(timestep)]
        told = (seen - share.sqrt() * wanted) / (1 - share).sqrt()
        latents = scheduler.step(told, timestep, latents).prev_sample
    assert torch.allclose(latents, wanted, atol=0.15), latents


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_has_the_name_of_its_class_too(name: str) -> None:
    assert find_scheduler(SCHEDULERS[name][0].upper())[0] == SCHEDULERS[name][0]


def test_a_scheduler_that_is_none_is_refused_with_the_nearest_before_the_base_is_opened() -> None:
    with pytest.raises(ValueError, match="--scheduler 'eulr' is not known; did you mean 'euler'"):
        Generator("no/such/base", scheduler="eulr")


def test_a_base_that_predicts_a_flow_is_drawn_by_those_that_can() -> None:
    from diffusers import DPMSolverMultistepScheduler

    flow = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True).config
    assert make_scheduler("unipc", flow).config.use_flow_sigmas
    with pytest.raises(ValueError, match=r"which predicts a flow; use deis, dpm\+\+"):
        make_scheduler("ddim", flow)


def test_the_scheduler_of_the_base_by_its_name_is_itself(tiny_base: Path) -> None:
    config = open_base(str(tiny_base)).pipeline.scheduler.config
    assert dict(make_scheduler("dpm++", config).config) == dict(config)


def test_a_sample_tells_its_scheduler_and_is_drawn_in_the_steps_that_suit_it(tiny_base: Path, tmp_path: Path) -> None:
    run = GenerateConfig(prompt=("Chest CT",), out=tmp_path / "s", base=str(tiny_base), scheduler="euler", json=True)
    generate(run)
    (sample,) = load_samples(run.out)
    assert (sample.scheduler, sample.steps) == ("euler", 20)
    with pytest.raises(ValueError, match="scheduler"):
        generate(dataclasses.replace(run, scheduler="unipc"))
