"""Train the phantom reader on phantoms and their masks, then set its thresholds and measure it.

    python -m vesalius.finetune.judges.reader --data DIR... --out RUN --steps 2500

Resumes by the same line. Writes RUN/reader and RUN/reader.json (how well it reads held-out phantoms).
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import theilslopes
from torch import nn
from torch.nn import functional

from vesalius.data.command.progress import Progress, progress
from vesalius.data.datasets.streamed import place_of
from vesalius.data.images.image import Float32
from vesalius.data.phantoms.canvas import FindingRule
from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding, Record, write_json
from vesalius.eval.fidelity.metrics import share
from vesalius.finetune.feeding.examples import gather, load_images, to_pixels
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.models.networks.reader import (
    FIELDS,
    Reader,
    ReaderConfig,
    Threshold,
    compare_findings,
    components,
    finding_of,
    longest_diameter,
    offset_from_midline,
)

LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST = tuple(round(float(a), 1) for a in np.geomspace(3, 1500, 48))
"""Levels and areas (of which pixels count at 128) among which the thresholds are chosen."""
SLACK = 0.02
"""Share of the answers that thresholds may lose to lie further from the errors."""


@dataclass(frozen=True, kw_only=True)
class ReaderTraining:
    """A run that trains the reader."""

    data: tuple[Path, ...]
    """dataset folders; only their phantoms are used"""
    out: Path
    """run folder"""
    steps: int = 2500
    """optimizer updates"""
    batch_size: int = 32
    """images per update"""
    learning_rate: float = 2e-3
    """peak"""
    save_every: int = 250
    """steps between checkpoints"""
    seed: int = 11
    """seed; another than the base's and the judge's"""


def train_reader(config: ReaderTraining) -> Path:
    """Run or resume the training; returns the reader's folder."""
    held_out = {split: phantoms_of(config.data, split) for split in ("val", "test")}  # refused now or after hours
    members = phantoms_of(config.data, "train")
    torch.manual_seed(config.seed)
    reader = Reader(ReaderConfig()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, masks = load_images(members, reader.config.image_size), load_masks(members, reader.config)
    foreign = reader.foreign([r.modality for _, r in members])
    weights = class_weights(masks, 1 + len(reader.config.labels))
    optimizer = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=0.01)
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "config.json", asdict(config))
    step = 0
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, _ = found
        reader.load_state_dict({k.removeprefix("reader."): v for k, v in tensors.items() if k.startswith("reader.")})
        restore_optimizer(optimizer, tensors)

    reader.train()
    with Progress("reader", config.steps, start=step) as bar:
        while step < config.steps:
            picked = torch.from_numpy(batch_indices(config.seed, step, config.batch_size, len(members)))
            rng = np.random.default_rng([config.seed, step, 2])
            pixels, truth = move(disturb(to_pixels(images[picked]), rng), masks[picked].long(), rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = reader(pixels.contiguous(memory_format=torch.channels_last))
            loss = segmentation_loss(logits.float().masked_fill(foreign[picked], -1e4), truth, weights)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            if not math.isfinite(loss.item()):
                raise ValueError(f"{config.out}: the loss is {loss.item()} at step {step}; lower --learning-rate")
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            bar.step(note=f"loss {loss.item():.3f}")
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"reader.{k}": v for k, v in reader.state_dict().items()} | optimizer_tensors(optimizer)
                save_checkpoint(config.out, step, tensors, {"loss": loss.item()})
    reader.eval()
    reader.config = dataclasses.replace(reader.config, thresholds=calibrate(reader, held_out["val"]))
    reader.save(config.out / "reader")
    quality = measure(Reader.load(config.out / "reader"), held_out["test"])
    write_json(config.out / "reader.json", quality)
    print(f"reader: {quality['all']}; written to {config.out / 'reader'}")
    return config.out / "reader"


def phantoms_of(folders: Sequence[Path], split: str) -> list[tuple[Path, Record]]:
    """The phantoms of a split that have masks. ValueError where there is none."""
    found = [(f, r) for f, r in gather(folders, split) if r.origin == "phantom" and r.mask and r.modality in KINDS]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, folders))}: no phantoms with masks in split '{split}', and the reader learns from "
            "nothing else; make some with `vesalius data phantom --num N --seed S --out DIR`"
        )
    return found


def load_masks(members: Sequence[tuple[Path, Record]], config: ReaderConfig) -> torch.Tensor:
    """The network's targets, uint8 [N, size, size]: 0 the background, else 1 + the place in `config.labels`."""
    size = config.image_size
    targets = torch.empty(len(members), size, size, dtype=torch.uint8)
    for i, (folder, record) in enumerate(progress(members, "reading masks", len(members))):
        assert record.mask is not None
        with place_of(folder, record.mask).open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            mask = np.asarray(image.convert("L").resize((size, size), Image.Resampling.NEAREST))
        places = [0, *(1 + config.labels.index(f"{record.modality}/{kind}") for kind in KINDS[record.modality])]
        if mask.max() >= len(places):
            raise ValueError(
                f"{folder / record.mask}: value {mask.max()} is not within 0 and {len(places) - 1}; draw them anew"
            )
        targets[i] = torch.from_numpy(np.array(places, np.uint8)[mask])
    return targets


def class_weights(masks: torch.Tensor, num: int) -> torch.Tensor:
    """Weights of the cross-entropy, float32 [num]: the inverse cube root of each class's share, 1 for the commonest."""
    share_of = torch.bincount(masks.flatten(), minlength=num).float().clamp_min(1)
    return (share_of.max() / share_of) ** (1 / 3)


def disturb(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random blur or sharpening, contrast, brightness, fine and coarse noise: what a generator does to textures.

    NCHW float32 in [-1, 1], each picture with its own draw.
    """
    num, _, height, width = pixels.shape
    near = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    far = functional.interpolate(functional.avg_pool2d(pixels, 2), size=(height, width), mode="bilinear")
    pixels = pixels + _uniform(rng, -0.5, 1.0, num) * (near - pixels)
    pixels = pixels + _uniform(rng, -1.0, 1.0, num).clamp_min(0) * (far - pixels)
    gain, tint = _uniform(rng, 0.85, 1.15, num, 3), _uniform(rng, -0.04, 0.04, num, 3)
    pixels = pixels * gain + tint + _uniform(rng, -0.1, 0.1, num)
    fine = torch.from_numpy(rng.standard_normal((num, 1, height, width), dtype=np.float32))
    coarse = torch.from_numpy(rng.standard_normal((num, 1, height // 4, width // 4), dtype=np.float32))
    coarse = functional.interpolate(coarse, size=(height, width), mode="bilinear")
    pixels = pixels + _uniform(rng, -0.05, 0.08, num).clamp_min(0) * fine
    return (pixels + _uniform(rng, -0.05, 0.1, num).clamp_min(0) * coarse).clamp(-1, 1)


def _uniform(rng: np.random.Generator, low: float, high: float, num: int, channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(low, high, (num, channels, 1, 1)).astype(np.float32))


def move(
    pixels: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator, limit: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures NCHW and masks NHW moved by up to `limit` pixels, half of the batches mirrored: sides are measured."""
    shift = tuple(rng.integers(-limit, limit + 1, 2).tolist())
    pixels, truth = pixels.roll(shift, (2, 3)), truth.roll(shift, (1, 2))
    return (pixels.flip(3), truth.flip(2)) if rng.random() < 0.5 else (pixels, truth)


def segmentation_loss(logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus the soft Dice loss (Milletari et al. 2016) over the kinds that the batch shows.

    logits: [N, C, H, W]. truth: int64 [N, H, W]. weights: [C].
    """
    entropy = functional.cross_entropy(logits, truth, weights)
    probability = logits.softmax(1)
    hit = torch.zeros(logits.shape[1]).index_add(0, truth.flatten(), probability.gather(1, truth[:, None]).flatten())
    there = torch.bincount(truth.flatten(), minlength=logits.shape[1])
    shown = 1 + there[1:].nonzero().flatten()
    if not len(shown):
        return entropy
    dice = 2 * hit[shown] / (probability.sum((0, 2, 3)) + there)[shown]
    return entropy + 1 - dice.mean()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is needed to try thresholds of one label on one picture. probability and across: HW."""

    asked: Finding
    probability: Float32
    across: Float32


def calibrate(reader: Reader, members: Sequence[tuple[Path, Record]]) -> dict[str, Threshold]:
    """Thresholds of each label, with which most questions about held-out phantoms are answered right."""
    cases: dict[str, list[Case]] = defaultdict(list)
    images = load_images(members, reader.config.image_size, quiet=True)
    for i, (_, record) in enumerate(progress(members, "calibrating", len(members))):
        maps = reader.probabilities(images[i : i + 1], [record.modality])[0].numpy()
        across = offset_from_midline((images[i, 0] / 255).numpy(), record.modality)
        for finding in whole_truth(record):
            label = f"{record.modality}/{finding.kind}"
            probability = maps[1 + reader.config.labels.index(label)].copy()
            cases[label].append(Case(asked=finding, probability=probability, across=across))
    return {**reader.config.thresholds, **{label: choose_threshold(label, found) for label, found in cases.items()}}


def choose_threshold(label: str, cases: Sequence[Case]) -> Threshold:
    """A level and an area well within those that answer most right, away from the errors on either side.

    A picture or two that went wrong settle nothing: a share of `SLACK` of the answers may be lost.
    """
    modality, kind = label.split("/")
    rule = RULES[modality][kind]
    right = np.zeros((len(LEVELS), len(SMALLEST)))
    for row, level in enumerate(LEVELS):
        for case in cases:
            seen = components(case.probability, level, case.across, rule, SMALLEST[0])
            for column, smallest in enumerate(SMALLEST):
                kept = [c for c in seen if c.area >= smallest]
                said = [finding_of(kind, rule, kept)] if kept else []
                right[row, column] += sum(r for _, _, r in compare_findings([case.asked], said, modality))
    num = sum(len(compare_findings([c.asked], [c.asked], modality)) for c in cases)
    good = right >= right.max() - SLACK * num
    width = good.sum(axis=1)
    row = int(np.where(width > 0, width - 20 * np.abs(np.array(LEVELS) - 0.5), -np.inf).argmax())
    areas = np.array(SMALLEST)[good[row]]
    # Nearer to the specks than to the lesions: a picture's lesions may be cut off, or smaller than any phantom's.
    smallest = areas[0] + (areas[-1] - areas[0]) / 3
    threshold = Threshold(level=LEVELS[row], smallest=round(float(smallest), 1))
    return fit_diameter(threshold, cases, rule, FIELDS[modality]) if rule.size_mm is not None else threshold


def fit_diameter(threshold: Threshold, cases: Sequence[Case], rule: FindingRule, field_mm: float) -> Threshold:
    """With the line from measured to true diameters: medians (Theil 1950, Sen 1968), so that no outlier bends it."""
    pairs = []
    for case in cases:
        kept = components(case.probability, threshold.level, case.across, rule, threshold.smallest)
        if kept and case.asked.present:
            longest = longest_diameter(case.probability, kept, threshold.level)
            pairs.append((longest * field_mm / len(case.probability), case.asked.size_mm))
    if len(pairs) < 10:
        return threshold
    measured, true = np.array(pairs, np.float64).T
    scale, offset = theilslopes(true, measured, method="joint")[:2]
    return dataclasses.replace(threshold, scale=round(float(scale), 4), offset_mm=round(float(offset), 3))


def whole_truth(record: Record) -> tuple[Finding, ...]:
    """The findings that a phantom shows, and every other kind of its modality as absent, denied in its text or not."""
    shown = tuple(f for f in record.findings if f.present)
    kinds = {f.kind for f in shown}
    return (*shown, *(Finding(kind=k, present=False) for k in KINDS[record.modality] if k not in kinds))


def measure(reader: Reader, members: Sequence[tuple[Path, Record]]) -> dict[str, Any]:
    """How well the reader reads held-out phantoms.

    For each label, and for "all": the share of right answers to each question of `compare_findings` with its 95 %
    interval and number; "counts": how often each true count was read as which.
    """
    records = [r for _, r in members]
    readings = reader.read(load_images(members, reader.config.image_size, quiet=True), [r.modality for r in records])
    answers: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for record, reading in zip(records, readings, strict=True):
        truth = whole_truth(record)
        for kind, question, right in compare_findings(truth, reading.findings, record.modality):
            for name in ("all", f"{record.modality}/{kind}"):
                answers[name][question].append(right)
        read = {f.kind: f.count for f in reading.findings}
        for finding in truth:
            if finding.present and RULES[record.modality][finding.kind].max_count > 1:
                label = f"{record.modality}/{finding.kind}"
                counts[label][str(finding.count)][str(read.get(finding.kind, 0))] += 1
    shares = {
        name: {question: asdict(share(right)) for question, right in sorted(asked.items())}
        for name, asked in sorted(answers.items())
    }
    return {"num": len(records), "digest": reader.digest, **shares, "counts": counts}


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(ReaderTraining, train_reader)
