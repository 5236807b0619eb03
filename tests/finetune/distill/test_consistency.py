"""The consistency function, and the loss that is made of it, on the tiny base."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from peft import LoraConfig, get_peft_model

from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.config import TARGETS, DistillConfig
from vesalius.finetune.distill.consistency import Consistency
from vesalius.finetune.distill.method import Setting
from vesalius.finetune.distill.pairs import choose_pairs
from vesalius.finetune.distill.sampler import Sampler, make_levels, make_scheduler
from vesalius.finetune.running.launch import make_accelerator
from vesalius.models.base import Base, open_base

KINDS = ("v_prediction", "epsilon")


def base_of(tiny_base: Path, kind: str) -> Base:
    """The tiny base as one that predicts v up to noise alone, or the noise."""
    base = open_base(str(tiny_base))
    usual = base.pipeline.scheduler.config
    base.pipeline.scheduler = DDIMScheduler.from_config(
        usual, prediction_type=kind, rescale_betas_zero_snr=kind == "v_prediction"
    )
    return base


def lesson(base: Base, phantoms: Path, out: Path, **fields: Any) -> Consistency:
    usual = {"num_pairs": 8, "batch_size": 4, "sampling_steps": 2, "chinese_share": 0.0, "device": "cpu", "json": True}
    config = DistillConfig(data=(phantoms,), out=out, method="consistency", **{**usual, **fields})
    accelerator = make_accelerator("fp32", "cpu")
    condition = Condition(base.pipeline.tokenizer, base.pipeline.text_encoder)
    student = Sampler(scheduler=Consistency.scheduler(config, base), accelerator=accelerator, guidance=1.0, blank=None)
    teacher = Sampler(scheduler=make_scheduler(base, 4), accelerator=accelerator, guidance=3.0, blank=condition([""]))
    pairs = choose_pairs(config, "train", base.pipeline.tokenizer)
    return Consistency(
        Setting(
            config=config, base=base, accelerator=accelerator, condition=condition, teacher=teacher, student=student,
            pairs=pairs,
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_consistency_function_is_what_the_sampler_draws_by(
    kind: str, tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    base = base_of(tiny_base, kind)
    method, unet = lesson(base, phantoms, tmp_path, sampling_steps=5), base.pipeline.unet
    noisy, text = (
        torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)),
        method.setting.condition(["CT"] * 2),
    )
    sampler = method.setting.student
    assert sampler.scheduler.timesteps.tolist() == [999, 799, 599, 399, 199]
    for timestep in sampler.scheduler.timesteps:
        with torch.no_grad():
            predicted = sampler.predict(unet, timestep, noisy, text)
            ours = method.picture(unet, noisy, timestep.repeat(2), text)
        assert torch.allclose(ours, sampler.scheduler.step(predicted, timestep, noisy).denoised, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_lowest_level_the_picture_is_the_latents(
    kind: str, tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    base = base_of(tiny_base, kind)
    method, noisy = lesson(base, phantoms, tmp_path), torch.randn(1, 4, 16, 16)
    text = method.setting.condition(["CT"])
    with torch.no_grad():
        assert torch.equal(method.picture(base.pipeline.unet, noisy, torch.tensor([0]), text), noisy)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_alone_is_learnt_from_without_a_number_that_is_none(
    kind: str, tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    base = base_of(tiny_base, kind)
    method = lesson(base, phantoms, tmp_path, solver_steps=2, guidance_range=(1.0, 8.0))  # levels 499 and 999
    assert (method.levels.of(torch.tensor([999]))[0].item() == 0) == (kind == "v_prediction")
    denoiser = get_peft_model(base.pipeline.unet, LoraConfig(r=2, target_modules=["to_q", "conv1", "conv_out"]))
    loss = method.loss(denoiser, 0)
    loss.backward()
    gradients = {name: p.grad for name, p in denoiser.named_parameters() if p.grad is not None}
    assert loss.isfinite()
    assert gradients
    assert all("lora_" in name and g.isfinite().all() for name, g in gradients.items())


@pytest.mark.parametrize("kind", KINDS)
def test_neighbouring_levels_come_to_predict_the_same_picture(
    kind: str, tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    base = base_of(tiny_base, kind)
    method = lesson(base, phantoms, tmp_path, num_pairs=2, batch_size=2, solver_steps=2, huber=0.1)
    torch.manual_seed(0)
    denoiser = get_peft_model(base.pipeline.unet, LoraConfig(r=16, lora_alpha=16, target_modules=list(TARGETS)))
    optimizer = torch.optim.AdamW([p for p in denoiser.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        loss = method.loss(denoiser, 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses


def test_splitting_a_prediction_is_the_inverse_of_adding_noise(tiny_base: Path) -> None:
    clean, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 500, 999])
    for kind in KINDS:
        levels = make_levels(base_of(tiny_base, kind))
        noisy, (alpha, sigma) = levels.add_noise(clean, noise, timesteps), levels.of(timesteps)
        predicted = noise if kind == "epsilon" else alpha * noise - sigma * clean
        found = levels.split(predicted, noisy, timesteps)
        assert torch.allclose(found[0], clean, atol=1e-4)
        assert torch.allclose(found[1], noise, atol=1e-4)


def test_guidance_is_each_samples_own(tiny_base: Path, phantoms: Path, tmp_path: Path) -> None:
    base = open_base(str(tiny_base))
    setting = lesson(base, phantoms, tmp_path).setting
    noisy, text, timesteps = (
        torch.randn(2, 4, 16, 16),
        setting.condition(["Chest CT", "Brain MRI"]),
        torch.tensor([9, 700]),
    )
    with torch.no_grad():
        both = dataclasses.replace(setting.teacher, guidance=torch.tensor([1.0, 5.0]).view(-1, 1, 1, 1))
        together = both.predict(base.pipeline.unet, timesteps, noisy, text)
        for i, scale in enumerate((1.0, 5.0)):
            one = dataclasses.replace(setting.teacher, guidance=scale)
            alone = one.predict(base.pipeline.unet, timesteps[i], noisy[i : i + 1], text[i : i + 1])
            assert torch.allclose(together[i : i + 1], alone, atol=1e-4)


def test_a_base_whose_pictures_cannot_be_told_is_refused(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    for change, words in (
        ({"prediction_type": "sample"}, "predicts 'sample'"),
        ({"prediction_type": "epsilon", "rescale_betas_zero_snr": True}, "noise alone"),
    ):
        base.pipeline.scheduler = DDIMScheduler.from_config(base.pipeline.scheduler.config, **change)
        with pytest.raises(ValueError, match=words):
            make_levels(base)
