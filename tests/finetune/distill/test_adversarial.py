"""The discriminator on the teacher's features, on the tiny base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.adversarial import Adversarial, watched
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.method import Setting
from vesalius.finetune.distill.pairs import choose_pairs
from vesalius.finetune.distill.sampler import Sampler, make_scheduler
from vesalius.finetune.running.launch import make_accelerator
from vesalius.models.base import open_base


@pytest.fixture
def method(tiny_base: Path, phantoms: Path, tmp_path: Path) -> Adversarial:
    base, accelerator = open_base(str(tiny_base)), make_accelerator("fp32", "cpu")
    config = DistillConfig(
        data=(phantoms,), out=tmp_path, method="adversarial", num_pairs=8, batch_size=8, chinese_share=0.0,
        device="cpu", json=True,
    )  # fmt: skip
    condition = Condition(base.pipeline.tokenizer, base.pipeline.text_encoder)
    student = Sampler(scheduler=Adversarial.scheduler(config, base), accelerator=accelerator, guidance=1.0, blank=None)
    teacher = Sampler(scheduler=make_scheduler(base, 4), accelerator=accelerator, guidance=3.0, blank=condition([""]))
    return Adversarial(
        Setting(
            config=config, base=base, accelerator=accelerator, condition=condition, teacher=teacher, student=student,
            pairs=choose_pairs(config, "train", base.pipeline.tokenizer),
        )
    )  # fmt: skip


def adapted(method: Adversarial) -> Any:
    torch.manual_seed(0)
    return get_peft_model(method.unet, LoraConfig(r=2, target_modules=["to_q", "conv1", "conv_out"]))


def test_discriminator_and_adapter_learn_and_the_teacher_does_not(method: Adversarial) -> None:
    denoiser, before = adapted(method), {k: v.clone() for k, v in method.discriminator.state_dict().items()}
    loss = method.loss(denoiser, 0)
    of_discriminator = {k: p.grad.clone() for k, p in method.discriminator.named_parameters() if p.grad is not None}
    loss.backward()
    assert of_discriminator.keys() == dict(method.discriminator.named_parameters()).keys()
    for name, p in method.discriminator.named_parameters():
        assert p.grad is not None
        assert torch.equal(p.grad, of_discriminator[name]), "the student's loss teaches the discriminator nothing"
        assert not torch.equal(p, before[name])
    with_gradients = [name for name, p in denoiser.named_parameters() if p.grad is not None]
    assert with_gradients
    assert all("lora_" in name for name in with_gradients)
    assert any(p.grad.abs().max() > 0 for name, p in denoiser.named_parameters() if "lora_B" in name)


def test_noise_alone_is_learnt_from_without_a_number_that_is_none(method: Adversarial) -> None:
    assert method.levels.of(method.stops[:1])[0].item() == 0
    denoiser = adapted(method)
    for step in range(3):
        loss = method.loss(denoiser, step)
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in denoiser.parameters() if p.grad is not None)


def test_the_discriminator_learns_to_tell_pictures_from_noise(method: Adversarial) -> None:
    denoiser, batch = adapted(method), method.pairs.batch(method.setting.config, 0, torch.device("cpu"))
    text, timesteps = method.setting.condition(batch.texts), torch.full((8,), 100)
    with torch.no_grad(), denoiser.disable_adapter():
        _, real = method.look(denoiser, batch.latents, timesteps, text)
        _, fake = method.look(denoiser, batch.noise, timesteps, text)
    for _ in range(30):
        method.teach(fake, [f.clone() for f in real], timesteps, text)
    with torch.no_grad():
        verdicts = [
            torch.cat([x.flatten(1) for x in method.discriminator(f, timesteps, text)], 1) for f in (real, fake)
        ]
    assert verdicts[0].mean() > 0.5
    assert verdicts[1].mean() < -0.5


def test_the_student_learns_to_pass_for_real(method: Adversarial) -> None:
    denoiser = adapted(method)
    for _ in range(15):
        method.loss(denoiser, 0)  # the discriminator learns, the student does not yet
    for group in method.optimizer.param_groups:
        group["lr"] = 0.0
    optimizer = torch.optim.AdamW([p for p in denoiser.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(15):
        loss = method.loss(denoiser, 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2


def test_the_teachers_depths_are_seen_once_each_and_no_longer(method: Adversarial) -> None:
    text = method.setting.condition(["Chest CT"])
    with watched(method.unet) as seen, torch.no_grad():
        method.unet(torch.zeros(1, 4, 16, 16), 5, text)
    assert [f.shape[1] for f in seen] == [head.seen[0].in_channels for head in method.discriminator.heads]
    with torch.no_grad():
        method.unet(torch.zeros(1, 4, 16, 16), 5, text)
    assert len(seen) == 3


def test_the_discriminator_comes_back_with_its_optimizer(
    method: Adversarial, tiny_base: Path, phantoms: Path, tmp_path: Path
) -> None:
    denoiser = adapted(method)
    method.loss(denoiser, 0)
    kept = {k: v.clone() for k, v in method.tensors().items()}
    first = method.loss(denoiser, 1).item()
    method.restore(kept)
    assert method.loss(denoiser, 1).item() == first
