"""A few real steps on this machine, timed: what `vesalius plan` says of it is what it did, no data sheet."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from vesalius.data.record import Record
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.batch import draw_batch, draw_chances
from vesalius.finetune.feeding.buckets import Views, choose_buckets
from vesalius.finetune.feeding.latents import Latents, cached_latents
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.feeding.trainset import Trainset, choose_wording
from vesalius.finetune.learning.trained import make_trained
from vesalius.finetune.learning.validation import fixed_questions, validate
from vesalius.finetune.lora import backward
from vesalius.finetune.running.checkpoint import optimizer_tensors, save_checkpoint
from vesalius.finetune.running.launch import make_accelerator
from vesalius.finetune.running.logs import log
from vesalius.finetune.running.replicas import Replicas
from vesalius.models.base import Base, open_base, text_encoders
from vesalius.models.computing.attention import set_attention
from vesalius.models.objective import training_scheduler

FEW = 32
"""Records, at most, whose latents and texts are made."""
BUDGET = 4.0
"""Seconds in which each of encoding, steps and validation is to be measured."""
LEAST, MOST = 3, 40
"""Steps that are timed, after those that warm up."""
Clock = Callable[[], float]
PLAIN_TEXT = "a medical image"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds on this machine: of opening the base and wrapping it, of an image's latents and what the first ones take
    longer, of a text that is kept, of a step of the whole batch, of one image of one question of a validation, of a
    checkpoint.

    peak: most bytes held, with a batch of `batch_size`: fewer than asked for where that takes long or does not fit.
    """

    start: float
    encode_first: float
    encode: float
    text: float
    step: float
    question: float
    checkpoint: float
    peak: int
    batch_size: int


class Trial:
    """The parts of a run, put together as `vesalius.finetune.lora` does, over a few of its records."""

    def __init__(
        self, config: FinetuneConfig, base: Base, trainset: Trainset | None, folder: Path, clock: Clock, keeps: bool
    ) -> None:
        self.config, self.base, self.folder, self.clock = config, base, folder, clock
        self.accelerator = make_accelerator(config.precision, config.device)
        device = self.accelerator.device
        self.scheduler = training_scheduler(base.pipeline.scheduler.config, zero_terminal_snr=config.zero_terminal_snr)
        set_attention(base.pipeline.unet, config.attention, device)
        torch.manual_seed(config.seed)
        half = self.accelerator.mixed_precision == "bf16"
        self.trained = make_trained(base, config, half=half)
        self.encode_first = self.encode = self.encoding = self.text = 0.0
        self.few = few_of(trainset) if trainset else plain_trainset()
        if trainset is None:
            unet = base.pipeline.unet.config
            mean = torch.randn(1, unet.in_channels, unet.sample_size, unet.sample_size)
            self.latents = Latents([(mean, torch.zeros_like(mean))])
        else:
            self._encode(base, self.few)
        base.pipeline.vae.to("cpu")
        self.trained.denoiser.to(device)
        for encoder in text_encoders(base.pipeline):
            encoder.to(device)
        self.texts = Texts(base, self.trained.text_encoder, trained=config.train_text)
        self.parameters = self.trained.parameters
        self.weights = Replicas(trained=self.trained, accelerator=self.accelerator)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.step = 0
        if keeps:
            self._keep()
        num = len(self.few.train)
        size = self.latents.of(torch.tensor([0]))[0].shape[-1]
        self.draw = partial(
            draw_batch, config=dataclasses.replace(config, pairs=()), trainset=self.few,
            views=Views(
                latents=self.latents, places=np.tile(np.arange(num) % self.num_latents, (config.views, 1)),
                buckets=choose_buckets(self.few.train, base), rivals=self._rivals(num) if config.pairs else None,
            ),
            masks=[torch.zeros(1, size, size, dtype=torch.bool)] * num if config.mask_weight != 1 else None,
            num_timesteps=self.scheduler.config.num_train_timesteps,
        )  # fmt: skip

    @property
    def num_latents(self) -> int:
        return sum(len(mean) for mean, _ in self.latents.shards)

    def _rivals(self, num: int) -> Latents:
        """Latents for the worse pictures of pairs, which take as long whatever they show."""
        mean, deviation = self.latents.of(torch.arange(num) % self.num_latents)
        return Latents([(mean.flip(0), deviation.flip(0))])

    def _encode(self, base: Base, few: Trainset) -> None:
        """Times the latents of one image, then of as many as the budget allows."""
        autoencoder = base.pipeline.vae.to(self.accelerator.device)
        half = self.accelerator.mixed_precision == "bf16"
        cache: dict[str, Any] = {
            "folder": self.folder, "device": self.accelerator.device, "quiet": True, "half": half
        }  # fmt: skip
        encode = partial(cached_latents, autoencoder, base.digest, shape=(base.image_size,) * 2)
        self.encode_first, _ = timed(self.clock, encode, members=few.train[:1], **cache)
        self.encoding = self.encode_first
        for num in (1, max(1, min(len(few.train), int(BUDGET / self.encode_first)))):  # the former again, warm now
            cache["folder"] /= "again"
            seconds, self.latents = timed(self.clock, encode, members=few.train[:num], **cache)
            self.encode = seconds / num
            self.encoding += seconds
        self.encode_first = max(0.0, self.encode_first - self.encode)

    def _keep(self) -> None:
        """Encode the texts that will be drawn, as a run keeps them that has room for all of its own."""
        shown = self.few.texts
        longest = self.few.say_text_coverage(self.texts.base.pipeline.tokenizer, None, quiet=True)
        seconds, _ = timed(self.clock, self.texts.keep, shown, longest, len(shown), self.accelerator, quiet=True)
        self.text = seconds / len(shown)

    def take_step(self, num: int) -> float:
        """Seconds of one step, as the loop takes it, with the first `num` slots of its batch."""
        config, began = self.config, self.clock()
        self.trained.denoiser.train()
        micro = min(config.micro_batch or num, num)
        losses, _, _ = backward(
            self.draw, self.step, range(num), micro, self.weights, self.scheduler, self.texts, config
        )
        norm = self.weights.settle_gradients(self.parameters, config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        total, size = self.accelerator.reduce(torch.stack([losses.mean(), norm]), "mean").tolist()
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
        num = min(num, len(self.few.held_out))
        few = dataclasses.replace(self.few, held_out=self.few.held_out[:num])
        held_out = Views(
            latents=self.latents, places=np.arange(num)[None] % self.num_latents,
            buckets=choose_buckets(few.held_out, self.base),
        )  # fmt: skip
        questions = fixed_questions(few, held_out, self.config.seed, self.scheduler.config.num_train_timesteps)
        parts = (self.trained.denoiser, self.scheduler, self.texts)
        once, _ = timed(self.clock, validate, *parts, questions[:1], self.accelerator)
        if once * len(questions) > 2 * BUDGET:
            questions = questions[:1]
        seconds, _ = timed(self.clock, validate, *parts, questions, self.accelerator)
        return seconds / (num * len(questions))

    def time_checkpoint(self) -> float:
        whole = self.trained.tensors() | optimizer_tensors(self.optimizer)
        return timed(self.clock, save_checkpoint, self.folder, 1, whole, {"validation": []})[0]


def measure(
    config: FinetuneConfig, trainset: Trainset | None, most: int, clock: Clock = time.perf_counter, *, keeps: bool
) -> Measured:
    """Measure a run on this machine with batches of no more than `most` images, in some seconds; nothing stays.

    keeps: whether the run keeps all its texts. clock: time.process_time tells seconds of work, which other programs on
    the machine do not lengthen.
    """
    opened, base = timed(clock, open_base, config.base)
    with TemporaryDirectory() as folder:
        built, trial = timed(clock, Trial, config, base, trainset, Path(folder), clock, keeps)
        step, num = trial.time_steps(most)
        question = trial.time_question(min(16, max(num, 1), config.num_validation))
        checkpoint = trial.time_checkpoint()
    return Measured(
        start=opened + built - trial.encoding, encode_first=trial.encode_first, encode=trial.encode, text=trial.text,
        step=step, question=question, checkpoint=checkpoint, peak=peak_bytes(trial.accelerator.device), batch_size=num,
    )  # fmt: skip


def few_of(trainset: Trainset) -> Trainset:
    """A training set of at most FEW of its records, from all over it."""

    def spread(num: int) -> list[int]:
        return [i * num // min(FEW, num) for i in range(min(FEW, num))]

    chosen = spread(len(trainset.train))
    return dataclasses.replace(
        trainset,
        train=[trainset.train[i] for i in chosen],
        wordings=[trainset.wordings[i] for i in chosen],
        held_out=[trainset.held_out[i] for i in spread(len(trainset.held_out))],
        weights=None,
        rivals=[],
    )


def plain_trainset() -> Trainset:
    """One record with a short text, for a run whose data is not told."""
    record = Record(file_name="none.png", text=PLAIN_TEXT, modality="CT", hounsfield=True)
    members = [(Path(), record)]
    return Trainset(train=members, held_out=members * 16, wordings=[(PLAIN_TEXT,)], weights=None)


def drawn_prompts(config: FinetuneConfig, trainset: Trainset, step: int) -> list[str]:
    """The texts that the run sees at a step."""
    picked = batch_indices(config.seed, step, config.batch_size, len(trainset.train), trainset.weights).tolist()
    _, uniform = draw_chances(config.seed, step, range(config.batch_size))
    return [choose_wording(trainset.wordings[i], u, config) for i, u in zip(picked, uniform, strict=True)]


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
