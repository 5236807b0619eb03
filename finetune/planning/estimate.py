"""From counts to bytes, seconds and remedies, for a card that need not be here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from peft import get_peft_model

from vesalius.finetune.feeding.latents import PIXELS
from vesalius.finetune.feeding.texts import BATCH as TEXTS
from vesalius.finetune.learning.trained import lora_config, to_half
from vesalius.finetune.learning.validation import BATCH as QUESTION
from vesalius.finetune.planning.cards import CARDS, Card, seconds_on
from vesalius.finetune.planning.config import PlanConfig
from vesalius.finetune.running.launch import choose_precision
from vesalius.finetune.running.pictures import BATCH as PICTURES
from vesalius.models.base import usual_steps
from vesalius.models.computing.count import (
    Count,
    Groups,
    Shape,
    count_decode,
    count_encode,
    count_step,
    count_text,
    count_validation,
    num_bytes,
    trainable,
)
from vesalius.models.computing.machine import machine_memory
from vesalius.models.computing.work import Work

QUARTERS = 4
"""How often each image of a validation is asked about."""
SLACK = 1.1
"""What the allocator takes for what is asked of it. Assumed."""
CONTEXT = 7 * 10**8
"""Bytes of a CUDA context with kernels and workspaces of its libraries. Assumed."""
INTERPRETER = 9 * 10**8
"""Bytes of Python with torch and diffusers."""
STARTING, READ, WRITE = 15.0, 1e9, 5e8
"""Seconds until a rented machine has imported all, and bytes per second of its disk. Assumed."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes that the parts of a run hold. step: of training, by what holds them. others: of what a run does beside, by
    its name."""

    step: dict[str, int]
    others: dict[str, int]

    @property
    def peak(self) -> int:
        return max(sum(self.step.values()), *self.others.values())

    @property
    def parts(self) -> dict[str, int]:
        """What makes the peak."""
        others = self.others
        return self.step if self.peak == sum(self.step.values()) else {max(others, key=others.__getitem__): self.peak}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a run sees. usual and longest: a batch of usual texts, and that of its longest ones, as groups.

    num_train and num_held_out: images, 0 where no data was told. split: groups of a usual batch for each that is here.
    """

    usual: Groups
    longest: Groups
    num_train: int
    num_held_out: int
    split: float = 1.0


class Counts:
    """The counts of one run, each made when it is asked for. They are the same for all cards and nearly so for all
    ranks."""

    def __init__(self, config: PlanConfig, shape: Shape, seen: Seen) -> None:
        self.shape, self.seen, self.rank = shape, seen, config.rank
        self.half, self.gpu = is_half(config), config.gpu != "cpu"
        self.denoiser = adapted(shape, config)
        self.encoders = adapted_text(shape, config)
        self.num_text = sum(map(trainable, self.encoders))
        self.num_trained = trainable(self.denoiser) + self.num_text
        self.chunks = max(count for _, count in seen.longest)
        self.num_question = min(QUESTION, seen.num_held_out or config.num_validation)
        self.num_encoded = min(max(1, PIXELS // shape.image_size**2), seen.num_train)
        self.num_drawn = min(PICTURES, num_pictures(config))

    def _step(self, groups: Groups) -> Count:
        encoders = self.encoders if self.num_text else ()
        return count_step(self.shape, self.denoiser, groups, encoders, half=self.half, gpu=self.gpu)

    @cached_property
    def usual(self) -> Count:
        return self._step(self.seen.usual)

    @cached_property
    def longest(self) -> Count:
        return self.usual if self.seen.longest == self.seen.usual else self._step(self.seen.longest)

    @cached_property
    def alone(self) -> Count:
        """A step of one image with a long text."""
        return self._step([(1, self.chunks)])

    @cached_property
    def question(self) -> Count:
        return count_validation(self.shape, self.denoiser, self.num_question, self.chunks, half=self.half, gpu=self.gpu)

    @cached_property
    def text(self) -> Count:
        return count_text(self.shape, text_length(self.seen.longest), half=self.half, gpu=self.gpu)

    @cached_property
    def encode(self) -> Count:
        if not self.num_encoded:
            return Count(work=Work(), peak=0)
        return count_encode(self.shape, self.num_encoded, half=self.half, gpu=self.gpu)

    @cached_property
    def decode(self) -> Count:
        """Latents of the pictures that are drawn together, decoded."""
        if not self.num_drawn:
            return Count(work=Work(), peak=0)
        return count_decode(self.shape, self.num_drawn, half=self.half, gpu=self.gpu)


class Estimate:
    """What a run needs on its card, which is None where it is the processor."""

    def __init__(self, config: PlanConfig, counts: Counts) -> None:
        self.config, self.counts, self.shape, self.seen = config, counts, counts.shape, counts.seen
        self.card, self.half = CARDS.get(config.gpu), counts.half
        scaled = 1 if config.kind == "full" else config.rank / counts.rank
        self.num_trained = int(counts.num_trained * scaled)

    @property
    def room(self) -> int:
        return self.card.memory if self.card else machine_memory()

    @property
    def latents(self) -> int:
        """Bytes of all cached latents, which are kept in the machine's memory and on its disk."""
        channels, size = self.shape.denoiser.config.in_channels, self.shape.latent_size
        return int(8 * channels * size * size) * (self.seen.num_train + self.seen.num_held_out)

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint: the adapter and AdamW's two moments."""
        return 12 * self.num_trained

    def needs(self, batch_size: int | None = None) -> Needs:
        """What a run with a smaller batch, or with its own, holds. Between one image and the whole batch what is alive
        lies on no more than a straight line."""
        counts, whole, alive = self.counts, self.config.batch_size, float(self.counts.longest.peak)
        batch_size = batch_size or self.config.micro_batch or None
        # Gradients are among what is alive; only of a share of a batch all are there from the start.
        gradients = 4 * self.num_trained
        if batch_size is not None and batch_size < whole:
            alive = counts.alone.peak + (batch_size - 1) / (whole - 1) * (alive - counts.alone.peak)
            gradients = 0
        alive = max(alive - gradients, 4 * self.num_trained)  # as much as AdamW takes for itself, for the while
        # What is frozen of the denoiser is in bfloat16 where that is asked for, text encoders are in float32.
        frozen = num_bytes(counts.denoiser) - 4 * (counts.num_trained - counts.num_text)
        text = sum(map(num_bytes, counts.encoders)) - 4 * counts.num_text
        weights = frozen // (2 if self.half else 1) + text + 4 * self.num_trained
        autoencoder = num_bytes(self.shape.autoencoder)
        fixed = {"CUDA and its libraries": CONTEXT}
        if self.card is None:  # everything is in one memory there
            fixed = {
                "Python and its libraries": INTERPRETER,
                "cached latents": self.latents,
                "autoencoder": autoencoder,
            }
        held = sum(fixed.values())
        idle = held + weights + 8 * self.num_trained  # the optimizer's moments are there, but no gradients
        others = {
            "making latents": held + int(SLACK * counts.encode.peak) + (autoencoder if self.card else weights),
            "a validation": idle + int(SLACK * counts.question.peak),
        }
        if counts.num_drawn:
            seen = 2 * counts.num_drawn / counts.num_question * counts.question.peak
            drawing = int(SLACK * max(counts.decode.peak, seen))
            others["drawing pictures"] = idle + drawing + (autoencoder if self.card else 0)
        return Needs(
            step={
                "weights": weights, "gradients and optimizer": 12 * self.num_trained,
                "activations": int(SLACK * max(alive, counts.text.peak)), **fixed,
            },
            others=others,
        )  # fmt: skip

    def fitting_batch(self) -> int:
        """The largest batch up to the run's own that fits; 0 where not even one image does."""
        least, most = (self.config.batch_size if self.fits else 0), self.config.batch_size
        while least < most:
            middle = (least + most + 1) // 2
            least, most = (middle, most) if self.needs(middle).peak <= self.room else (least, middle - 1)
        return least

    def remedies(self) -> Iterator[str]:
        """Changes with each of which alone the run fits; of larger cards the cheapest, or what the largest holds."""
        if batch_size := self.fitting_batch():
            yield f"--micro-batch {batch_size}"
        auto = self._other(precision="auto")
        if auto.half > self.half and auto.fits:
            yield "--precision bf16"
        rank = self.config.rank // 2
        while rank and not self._other(rank=rank).fits:
            rank //= 2
        if rank:
            yield f"--rank {rank}"
        room, largest = self.card.memory if self.card else 0, None
        for name, card in CARDS.items():  # from the cheapest on
            if card.memory > room:
                largest = (largest or self)._other(gpu=name)
                if largest.fits:
                    yield f"--gpu {name}"
                    return
        if largest and (batch_size := largest.fitting_batch()):
            yield f"--gpu {largest.config.gpu} --micro-batch {batch_size}"

    def _other(self, **fields: Any) -> Estimate:
        """The same with other settings; counted anew where these change what is counted."""
        config = dataclasses.replace(self.config, **fields)
        same = (is_half(config), config.gpu != "cpu") == (self.counts.half, self.counts.gpu)
        return Estimate(config, self.counts if same else Counts(config, self.shape, self.seen))

    @property
    def fits(self) -> bool:
        return self.needs().peak <= self.room

    def seconds(self, card: Card, reading: float, num_texts: int = 0) -> tuple[dict[str, float], float]:
        """Seconds of the run by part, and of one step, by counted work. reading: seconds to read an image. num_texts:
        those that are encoded first; 0 where those of each step are."""
        config, counts, seen = self.config, self.counts, self.seen
        usual, longest = text_length(seen.usual), text_length(seen.longest)
        each = usual / longest / config.batch_size  # of a usual text, by what is counted

        def texts(num: float) -> float:
            return seconds_on(card, counts.text.work.times(num * each), half=self.half)

        # AdamW reads four numbers for each that it trains and writes three; clipping reads one.
        update = Work(moved=32 * self.num_trained, operations=40)
        work = dataclasses.replace(counts.usual.work, operations=counts.usual.work.operations * seen.split)
        step = seconds_on(card, work + update, half=self.half)
        if not num_texts and not config.train_text:  # where they are trained, they are counted with the step
            step += texts(config.batch_size)
        question = seconds_on(card, counts.question.work, half=self.half)
        question += 0.0 if num_texts else texts(counts.num_question)
        images = seen.num_train + seen.num_held_out
        encode = seconds_on(card, counts.encode.work, half=self.half) / max(1, counts.num_encoded) + reading
        weights = sum(map(num_bytes, (counts.denoiser, *counts.encoders, self.shape.autoencoder)))
        asked = QUARTERS * (seen.num_held_out or config.num_validation) / counts.num_question
        return {
            "start": STARTING + weights / READ,
            "latents": images * encode,
            "texts": num_texts / TEXTS * texts(TEXTS),
            "steps": config.steps * step,
            "validation": num_validations(config) * asked * question,
            "pictures": num_drawings(config) * self._drawing(card),
            "checkpoints": num_checkpoints(config) * self.checkpoint / WRITE,
        }, step

    def _drawing(self, card: Card) -> float:
        """Seconds to draw the pictures of once: each by as many passes as it has steps, with the text and without."""
        counts, num = self.counts, num_pictures(self.config)
        if not num:
            return 0.0
        batches = math.ceil(num / PICTURES)
        seen = counts.question.work.times(2 * num / batches / counts.num_question)
        decode = counts.decode.work.times(num / batches / counts.num_drawn)
        passes = usual_steps(self.config.base) * seconds_on(card, seen, half=self.half)
        return batches * (passes + seconds_on(card, decode, half=self.half))


def adapted(shape: Shape, config: PlanConfig) -> Any:
    """The denoiser with the adapter of a run, on the meta device; the shape's own stays as it is."""
    with torch.device("meta"):
        denoiser = type(shape.denoiser).from_config(shape.denoiser.config).requires_grad_(config.kind == "full")
        if config.kind == "full":
            return denoiser
        wrapped = get_peft_model(denoiser, lora_config(config, config.targets))
    if is_half(config):
        to_half(denoiser)
    return wrapped


def adapted_text(shape: Shape, config: PlanConfig) -> tuple[Any, ...]:
    """The text encoders as a run has them: the shape's own, or with adapters, or trained."""
    if not config.train_text:
        return shape.text_encoders
    with torch.device("meta"):
        own = [type(e)(e.config).eval().requires_grad_(config.kind == "full") for e in shape.text_encoders]
        if config.kind == "full":
            return tuple(own)
        return tuple(get_peft_model(encoder, lora_config(config, config.text_targets)) for encoder in own)


def is_half(config: PlanConfig) -> bool:
    """Whether a run works under bfloat16: every card of `CARDS` has it, a processor may not."""
    if config.gpu == "cpu":
        return choose_precision(config.precision, "cpu") == "bf16"
    return config.precision != "fp32"


def num_validations(config: PlanConfig) -> int:
    """How often a run validates: before its first step, every so many, and after its last."""
    return 1 + config.steps // config.validate_every + (config.steps % config.validate_every > 0)


def num_checkpoints(config: PlanConfig) -> int:
    return config.steps // config.save_every + (config.steps % config.save_every > 0)


def num_drawings(config: PlanConfig) -> int:
    """How often a run draws pictures to be looked at."""
    return 1 + config.steps // config.draw_every + (config.steps % config.draw_every > 0)


def num_pictures(config: PlanConfig) -> int:
    """How many it draws each time."""
    return len(config.prompts) or (config.num_pictures if config.data else 0)


def text_length(groups: Groups) -> int:
    """Contexts of text in a batch."""
    return sum(num * count for num, count in groups)


def middle(batches: Sequence[Groups]) -> Groups:
    """The batch of usual length."""
    return sorted(batches, key=text_length)[len(batches) // 2]
