"""What a fine-tuning run will need, before anyone pays: memory, hours, money, and what to change where it does not fit.

Work and memory are counted (`vesalius.models.computing.count`). Seconds are measured where the card is here, or `cpu`
is asked for (`vesalius.finetune.planning.measure`), and else counted work at an assumed share of the card's peaks,
which the plan says.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from vesalius.data.datasets.streamed import place_of
from vesalius.finetune.feeding.texts import worth_keeping
from vesalius.finetune.feeding.trainset import Trainset, choose_trainset
from vesalius.finetune.feeding.views import load_view
from vesalius.finetune.learning.trained import check_targets
from vesalius.finetune.planning.cards import ASSUMED, CARDS, is_card
from vesalius.finetune.planning.config import PlanConfig
from vesalius.finetune.planning.estimate import (
    CONTEXT,
    QUARTERS,
    SLACK,
    Counts,
    Estimate,
    Needs,
    Seen,
    middle,
    num_checkpoints,
    num_drawings,
    num_pictures,
    num_validations,
    text_length,
)
from vesalius.finetune.planning.measure import PLAIN_TEXT, Clock, Measured, drawn_prompts, measure, timed
from vesalius.finetune.running.checkpoint import KEEP
from vesalius.models.base import usual_steps
from vesalius.models.computing.count import Groups, Shape, open_shape
from vesalius.models.text import split_chunks

NUM_BATCHES, NUM_TEXTS = 8, 128
"""Batches of the run whose texts are looked at for their lengths: fewer where that many texts are in fewer."""
NUM_GROUPS = 4
"""Groups of texts of like length that are counted; more are taken together, for the time it takes."""
NUM_READ = 8
"""Images that are read to see how long that takes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fine-tuning run will need: memory, time, money, and what to change where it does not fit.

    measured: whether seconds were measured on the card itself. peak and room: bytes, the most that the run holds and
    what the card has; memory: what makes that peak. flops: of one step, forward and backward. seconds: of the whole
    run, by part; none where it does not fit this machine, which then cannot tell. disk: bytes of the run folder.
    remedies: flags with each of which alone it fits; none where it does. assumptions: what was neither
    counted nor measured, and what a smaller batch does not help.
    """

    gpu: str
    """name of the card in `CARDS`, or cpu"""
    card: str
    """the same in words"""
    measured: bool
    base: str
    """name of the base"""
    precision: str
    """of computing"""
    steps: int
    """optimizer updates"""
    batch_size: int
    """images per update"""
    rank: int
    """of the adapter"""
    num_train: int
    """training images"""
    num_held_out: int
    """images of the validation loss"""
    num_trained: int
    """numbers that are trained"""
    flops: dict[str, float]
    seconds_per_step: float | None
    """of training; none where it does not fit"""
    seconds: dict[str, float]
    hours: float | None
    """of the whole run"""
    price: float | None
    """of an hour, in USD"""
    money: float | None
    """what the run costs, in USD"""
    memory: dict[str, int]
    peak: int
    room: int
    fits: bool
    """whether the peak stays within the room"""
    checkpoint: int
    """bytes of one checkpoint"""
    disk: int
    remedies: tuple[str, ...]
    assumptions: tuple[str, ...]


def plan(config: PlanConfig, clock: Clock = time.perf_counter) -> Plan:
    """Plan a run; for cpu, and on the card itself, some seconds are spent on measuring, by `clock`. Nothing is written.

    ValueError for bad input, as the run itself would say it.
    """
    config.check()
    reading, trainset = timed(clock, choose_trainset, config) if config.data else (0.0, None)
    card = CARDS.get(config.gpu)
    here = card is None or (torch.cuda.is_available() and is_card(config.gpu, torch.cuda.get_device_name()))
    shape = open_shape(config.base)
    check_targets(shape.denoiser, config.targets, "--targets", config)
    for encoder in shape.text_encoders if config.train_text else ():
        check_targets(encoder, config.text_targets, "--text-targets", config)
    seen = look_at(config, shape.tokenizer, trainset)
    estimate = Estimate(config, Counts(config, shape, seen))
    needs, most = estimate.needs(), estimate.fitting_batch()
    peak, memory = needs.peak, needs.parts

    seconds, step, found = dict[str, float](), None, None
    num_texts = num_kept(config, trainset, shape, estimate.counts.chunks)
    if here and most:
        settings = dataclasses.replace(config, device="auto" if card else "cpu")
        found = measure(settings, trainset, most, clock, keeps=num_texts > 0)
        seconds, step = measured_seconds(config, seen, found, reading, num_texts), found.step
        if found.batch_size == config.batch_size:
            peak = found.peak + (CONTEXT if card else estimate.latents)
            memory = {"measured with this batch": peak}
    elif card is not None:
        seconds, step = estimate.seconds(card, read_seconds(trainset, shape.image_size), num_texts)
    fits = peak <= estimate.room
    hours = sum(seconds.values()) / 3600 if seconds else None
    work = estimate.counts.usual.work
    return Plan(
        gpu=config.gpu, card=card.name if card else "the processor of this machine", measured=found is not None,
        base=config.base, precision="bf16" if estimate.half else "fp32", steps=config.steps,
        batch_size=config.batch_size, rank=config.rank, num_train=seen.num_train, num_held_out=seen.num_held_out,
        num_trained=estimate.num_trained,
        flops={"convolutions": work.convolution, "matrix products": work.matmul, "attention": work.attention},
        seconds_per_step=step, seconds=seconds, hours=hours, price=config.price,
        money=None if hours is None or config.price is None else hours * config.price,
        memory=memory, peak=peak, room=estimate.room, fits=fits, checkpoint=estimate.checkpoint,
        disk=KEEP * estimate.checkpoint + estimate.checkpoint // 3 + estimate.latents,
        remedies=() if fits else tuple(estimate.remedies()),
        assumptions=(*bounds(estimate, needs), *assumptions(config, found, card is not None)),
    )  # fmt: skip


def look_at(config: PlanConfig, tokenizer: Any, trainset: Trainset | None) -> Seen:
    """How long the texts of the run's first batches are, and how many images it has."""
    if trainset is None:
        one: Groups = [(config.batch_size, len(split_chunks(tokenizer, PLAIN_TEXT)))]
        return Seen(usual=one, longest=one, num_train=0, num_held_out=0)
    lengths: dict[str, int] = {}
    batches: list[Groups] = []
    for step in range(min(NUM_BATCHES, config.steps, max(1, NUM_TEXTS // config.batch_size))):
        prompts = drawn_prompts(config, trainset, step)
        for prompt in prompts:
            if prompt not in lengths:
                lengths[prompt] = len(split_chunks(tokenizer, prompt))
        batches.append([(num, count) for count, num in sorted(Counter(lengths[p] for p in prompts).items())])
    usual, longest = middle(batches), max(batches, key=text_length)
    return Seen(
        usual=together(usual), longest=together(longest), num_train=len(trainset.train),
        num_held_out=len(trainset.held_out), split=len(usual) / len(together(usual)),
    )  # fmt: skip


def together(groups: Groups) -> Groups:
    """At most NUM_GROUPS groups in place of more: neighbours with their mean length, rounded up."""
    each = math.ceil(len(groups) / NUM_GROUPS)
    parts = [groups[start : start + each] for start in range(0, len(groups), each)]
    sizes = [sum(num for num, _ in part) for part in parts]
    return [(size, math.ceil(text_length(part) / size)) for size, part in zip(sizes, parts, strict=True)]


def num_kept(config: PlanConfig, trainset: Trainset | None, shape: Shape, chunks: int) -> int:
    """How many texts a run encodes before its first step; 0 where it encodes those of each step."""
    if trainset is None or config.train_text:
        return 0
    num, size = len(trainset.texts), shape.text_width * shape.tokenizer.model_max_length
    return num if worth_keeping(num, chunks, config.steps * config.batch_size, size) else 0


def measured_seconds(
    config: PlanConfig, seen: Seen, found: Measured, reading: float, num_texts: int
) -> dict[str, float]:
    """The parts of a run from what was measured of each. A picture is drawn by as many passes as it has steps, with the
    text and without."""
    images = seen.num_train + seen.num_held_out
    asked = QUARTERS * (seen.num_held_out or config.num_validation)
    return {
        "start": reading + found.start,
        "latents": found.encode_first + images * found.encode if images else 0.0,
        "texts": num_texts * found.text,
        "steps": config.steps * found.step,
        "validation": num_validations(config) * asked * found.question,
        "pictures": num_drawings(config) * num_pictures(config) * 2 * usual_steps(config.base) * found.question,
        "checkpoints": num_checkpoints(config) * found.checkpoint,
    }


def read_seconds(trainset: Trainset | None, size: int) -> float:
    """Seconds to read an image here, from a few of them; nothing where there is no data."""
    if trainset is None:
        return 0.0
    few = trainset.train[:NUM_READ]
    seconds, _ = timed(
        time.perf_counter, lambda: [load_view(place_of(root, r.file_name), r, (size, size), 0) for root, r in few]
    )
    return seconds / len(few)


def bounds(estimate: Estimate, needs: Needs) -> list[str]:
    """What of a run does not fit for a reason that its batch has nothing to do with, in words."""
    return [
        f"{name} alone needs {held / 1e9:.1f} GB, whatever the batch size"
        for name, held in needs.others.items()
        if held > estimate.room
    ]


def assumptions(config: PlanConfig, found: Measured | None, gpu: bool) -> list[str]:
    """What of a plan was neither counted nor measured, in words."""
    told = []
    if gpu and found is None:
        told.append(
            f"seconds were not measured on this card: convolutions are assumed to reach {ASSUMED.convolution:.0%} of "
            f"its peak, matrix products {ASSUMED.matmul:.0%}, attention {ASSUMED.attention:.0%}, other operations "
            f"{ASSUMED.bandwidth:.0%} of its bandwidth; `vesalius plan` on the card itself measures them"
        )
        told.append(
            f"memory is counted; not measured on this card: {CONTEXT / 1e9:.1f} GB of CUDA and its libraries, and "
            f"{SLACK - 1:.0%} lost by the allocator"
        )
    if found is not None and found.batch_size < config.batch_size:
        told.append(f"a step was measured with a batch of {found.batch_size}, and taken to grow with the batch")
    if not config.data:
        told.append("no --data: latents are not counted, and every text is taken to fit one context")
    return told
