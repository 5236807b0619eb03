"""A few real steps on this machine, timed: what `vesalius plan` says of it is what it did, no data sheet."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import DDPMScheduler
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict

from vesalius.finetune.checkpoint import optimizer_tensors, save_checkpoint
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.latents import BATCH, cached_latents
from vesalius.finetune.launch import make_accelerator
from vesalius.finetune.lora import fixed_questions, log, lora_config, validate
from vesalius.finetune.objective import denoising_loss
from vesalius.finetune.stream import batch_indices, slot_generator
from vesalius.finetune.trainset import Trainset, choose_wording
from vesalius.models.base import Base, open_base
from vesalius.models.text import text_condition

BUDGET = 4.0
"""Seconds in which each of encoding, steps and validation is to be measured."""
LEAST, MOST = 3, 40
"""Steps that are timed, after those that warm up."""
Clock = Callable[[], float]
PLAIN_TEXT = "a medical image"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds on this machine: of opening the base and wrapping it, of an image's latents and what the first ones take
    longer, of a step of the whole batch, of one image of one question of a validation, of a checkpoint.

    peak: most bytes held, with a batch of `batch_size`: fewer than asked for where that takes long or does not fit.
    """

    start: float
    encode_first: float
    encode: float
    step: float
    question: float
    checkpoint: float
    peak: int
    batch_size: int


class Trial:
    """The parts of a run, put together as `vesalius.finetune.lora` does, over the latents of a few images."""

    def __init__(
        self, config: FinetuneConfig, base: Base, trainset: Trainset | None, folder: Path, clock: Clock
    ) -> None:
        self.config, self.trainset, self.folder, self.clock = config, trainset, folder, clock
        self.accelerator = make_accelerator(config.precision, config.device)
        device = self.accelerator.device
        self.encode_first = self.encode = self.encoding = 0.0
        if trainset is None:
            unet = base.pipeline.unet.config
            self.mean = torch.randn(1, unet.in_channels, unet.sample_size, unet.sample_size)
            self.deviation = torch.zeros_like(self.mean)
        else:
            self._encode(base, trainset)
        base.pipeline.vae.to("cpu")
        torch.manual_seed(config.seed)
        network: Any = get_peft_model(base.pipeline.unet, lora_config(config))
        self.scheduler = DDPMScheduler.from_config(base.pipeline.scheduler.config)
        self.tokenizer, self.text_encoder = base.pipeline.tokenizer, base.pipeline.text_encoder.to(device)
        self.adapter = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(self.adapter, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.denoiser, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.wrapped = self.accelerator.unwrap_model(self.denoiser)
        self.step = 0

    def _encode(self, base: Base, trainset: Trainset) -> None:
        """Times the latents of one image, then of as many as the budget allows and a batch holds."""
        autoencoder = base.pipeline.vae.to(self.accelerator.device)
        members = [trainset.train[i * len(trainset.train) // BATCH] for i in range(min(BATCH, len(trainset.train)))]
        cache: dict[str, Any] = {"folder": self.folder, "device": self.accelerator.device, "quiet": True}
        seconds, _ = timed(self.clock, cached_latents, autoencoder, base.digest, members[:1], base.image_size, **cache)
        self.encode_first = self.encoding = seconds
        for num in (1, max(1, min(len(members), int(BUDGET / seconds)))):  # the former again, for it is warm now
            cache["folder"] /= "again"
            seconds, (self.mean, self.deviation) = timed(
                self.clock, cached_latents, autoencoder, base.digest, members[:num], base.image_size, **cache
            )
            self.encode = seconds / num
            self.encoding += seconds
        self.encode_first = max(0.0, self.encode_first - self.encode)

    def take_step(self, num: int) -> float:
        """Seconds of one step, as the loop takes it, with the first `num` images of its batch."""
        config, trainset, device = self.config, self.trainset, self.accelerator.device
        began = self.clock()
        self.denoiser.train()
        chances = [slot_generator(config.seed, self.step, slot) for slot in range(num)]
        uniform = torch.stack([torch.rand(4, generator=g) for g in chances])
        noise, spread = (
            torch.stack([torch.randn(self.mean.shape[1:], generator=g) for g in chances]) for _ in range(2)
        )
        prompts, mine = [PLAIN_TEXT] * num, torch.zeros(num, dtype=torch.long)
        if trainset is not None:
            prompts = drawn_prompts(config, trainset, self.step, uniform)
            mine = torch.arange(num) % len(self.mean)
        timesteps = (uniform[:, 3] * self.scheduler.config.num_train_timesteps).long()
        latents = self.mean[mine] + self.deviation[mine] * spread
        with torch.no_grad():
            text = text_condition(self.tokenizer, self.text_encoder, prompts)
        with self.accelerator.autocast():
            here = [t.to(device) for t in (latents, noise, timesteps)]
            losses = denoising_loss(
                self.denoiser, self.scheduler, here[0], here[1], here[2], text, config.min_snr_gamma
            )
        loss = losses.mean()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.adapter, config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        told = torch.full_like(loss, 0)
        total, size, _ = self.accelerator.reduce(torch.stack([loss.detach(), norm, told]), "mean").tolist()
        log(self.folder / "losses.jsonl", {"step": self.step, "loss": total, "gradient_norm": size})
        return self.clock() - began

    def time_steps(self, most: int) -> tuple[float, int]:
        """Mean seconds of a step of the whole batch, and the batch at which they were measured."""
        self.take_step(1)
        one, batch_size = self.take_step(1), self.config.batch_size
        num = min(batch_size, most)
        if one * num * LEAST > 2 * BUDGET:  # an image costs less in a batch than alone, so this is no underestimate
            num = max(1, min(num, int(2 * BUDGET / LEAST / one)))
        self.take_step(num)
        seconds: list[float] = []
        while len(seconds) < LEAST or (sum(seconds) < BUDGET and len(seconds) < MOST):
            seconds.append(self.take_step(num))
        return sum(seconds) / len(seconds) * batch_size / num, num

    def time_question(self, num: int) -> float:
        """Seconds of one image of one question, by the loop's own validation of up to 16 images."""
        if self.trainset is None:
            latents = self.mean.expand(num, -1, -1, -1)
            questions = [
                (latents, torch.randn_like(latents), torch.full((num,), 250 * i), [PLAIN_TEXT] * num) for i in range(4)
            ]
        else:
            held_out = self.trainset.held_out
            num = min(num, len(held_out))
            few = dataclasses.replace(self.trainset, held_out=[held_out[i * len(held_out) // num] for i in range(num)])
            questions = fixed_questions(few, self.mean[torch.arange(num) % len(self.mean)], self.config)
        parts = (self.wrapped, self.scheduler, self.tokenizer, self.text_encoder)
        once, _ = timed(self.clock, validate, *parts, questions[:1], self.accelerator)
        if once * len(questions) > 2 * BUDGET:
            questions = questions[:1]
        seconds, _ = timed(self.clock, validate, *parts, questions, self.accelerator)
        return seconds / (num * len(questions))

    def time_checkpoint(self) -> float:
        tensors = {f"adapter.{k}": v for k, v in get_peft_model_state_dict(self.wrapped).items()}
        whole = tensors | optimizer_tensors(self.optimizer)
        return timed(self.clock, save_checkpoint, self.folder, 1, whole, {"validation": []})[0]


def measure(config: FinetuneConfig, trainset: Trainset | None, most: int, clock: Clock = time.perf_counter) -> Measured:
    """Measure a run on this machine with batches of no more than `most` images, in some seconds; nothing stays.

    clock: time.process_time tells seconds of work, which other programs on the machine do not lengthen.
    """
    opened, base = timed(clock, open_base, config.base)
    with TemporaryDirectory() as folder:
        built, trial = timed(clock, Trial, config, base, trainset, Path(folder), clock)
        step, num = trial.time_steps(most)
        question = trial.time_question(min(16, max(num, 1), config.num_validation))
        checkpoint = trial.time_checkpoint()
    return Measured(
        start=opened + built - trial.encoding, encode_first=trial.encode_first, encode=trial.encode, step=step,
        question=question, checkpoint=checkpoint, peak=peak_bytes(trial.accelerator.device), batch_size=num,
    )  # fmt: skip


def drawn_prompts(
    config: FinetuneConfig, trainset: Trainset, step: int, uniform: torch.Tensor | None = None
) -> list[str]:
    """The texts that the run sees at a step; of its first places alone where their uniform numbers [N, 4] are given."""
    picked = batch_indices(config.seed, step, config.batch_size, len(trainset.train), trainset.weights).tolist()
    if uniform is None:
        generators = [slot_generator(config.seed, step, slot) for slot in range(config.batch_size)]
        uniform = torch.stack([torch.rand(4, generator=g) for g in generators])
    return [choose_wording(trainset.wordings[i], u, config) for i, u in zip(picked, uniform, strict=False)]


def peak_bytes(device: torch.device) -> int:
    """The most that this process held: of the GPU's memory where it works there, else of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def timed(clock: Clock, work: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    """Seconds of a call, and what it returns."""
    began = clock()
    result = work(*arguments, **named)
    return clock() - began, result
