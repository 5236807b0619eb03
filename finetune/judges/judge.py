"""Train the judge on real images and phantoms: contrastive image-text pairs with hard negatives, and a finding head.

    python -m vesalius.finetune.judges.judge --data DIR... --out RUN --steps 3000

Resumes by the same line. Writes RUN/judge and RUN/judge.json (its own error on held-out records).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vesalius.data.command.progress import Progress
from vesalius.data.record import Record, write_json
from vesalius.data.texts.prompt import prompts_of, swap_sides
from vesalius.data.texts.wording import reword_record
from vesalius.finetune.feeding.examples import gather, load_images, to_pixels
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices
from vesalius.finetune.feeding.trainset import data_digest
from vesalius.finetune.judges.attributes import attribute_targets, class_attributes, phantom_attributes
from vesalius.finetune.learning.optimizer import MatrixOptimizer
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, save_checkpoint
from vesalius.models.architecture import Architecture
from vesalius.models.networks.judge import Judge, JudgeConfig
from vesalius.models.networks.origin import RANDOM, digest_run
from vesalius.models.text import train_tokenizer

OUTER = ("image.trunk.0.", "image.embedding", "image.modality", "image.attributes", "text.tokens", "text.places")
"""First and last layers and embeddings of a judge, as the optimizer wants to know them."""


@dataclass(frozen=True, kw_only=True)
class JudgeTraining:
    """A run that trains the judge."""

    data: tuple[Path, ...]
    """dataset folders; records of origin "synthetic" are refused"""
    out: Path
    """run folder"""
    exclude: tuple[str, ...] = ()
    """real records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.4
    """share of real images in a batch; the rest are phantoms"""
    steps: int = 3000
    """optimizer updates"""
    batch_size: int = 64
    """images per update"""
    learning_rate: float = 1e-3
    """peak"""
    save_every: int = 500
    """steps between checkpoints"""
    seed: int = 7
    """seed; another than the base's"""


def train_judge(config: JudgeTraining) -> Path:
    """Run or resume the training; returns the judge's folder."""
    members = gather(config.data, "train", config.exclude)
    records = [r for _, r in members]
    if any(r.origin == "synthetic" for r in records):
        raise ValueError("the judge never trains on generated images; give datasets without synthetic records")
    weights = balanced_weights(records, {"real": config.real_share, "phantom": 1 - config.real_share})
    sizes = JudgeConfig(
        modalities=tuple(sorted({r.modality for r in records})),
        attributes=(*phantom_attributes(records), *class_attributes(records)),
    )
    images = load_images(members, sizes.image_size)
    modality = torch.tensor([sizes.modalities.index(r.modality) for r in records])
    truth, known = attribute_targets(records, sizes.attributes)
    alphabet = Architecture(vocabulary=sizes.vocabulary, context=sizes.context)
    torch.manual_seed(config.seed)
    drawn = np.random.default_rng([config.seed, 1])
    told = [reword_record(r, drawn, language) for r in records for language in ("en", "zh")]
    judge = Judge(sizes, train_tokenizer(told, alphabet))
    optimizer = MatrixOptimizer(judge, config.learning_rate, weight_decay=0.05, outer=OUTER)
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "config.json", asdict(config))
    step = 0
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, _ = found
        judge.load_state_dict({k.removeprefix("judge."): v for k, v in tensors.items() if k.startswith("judge.")})
        optimizer.restore(tensors)

    judge.train()
    with Progress("judge", config.steps, start=step) as bar:
        while step < config.steps:
            picked = batch_indices(config.seed, step, config.batch_size, len(records), weights)
            rng = np.random.default_rng([config.seed, step, 2])
            shown = [reword_record(records[i], rng, "zh" if rng.random() < 0.25 else "en") for i in picked]
            pixels = jitter(to_pixels(images[torch.from_numpy(picked)]), rng)
            with torch.autocast("cpu", torch.bfloat16):
                embedded, modality_logits, attribute_logits = judge.image(pixels)
                contrast = contrastive_loss(judge, embedded.float(), shown)
            loss = contrast + functional.cross_entropy(modality_logits.float(), modality[picked])
            errors = functional.binary_cross_entropy_with_logits(
                attribute_logits.float(), truth[picked], reduction="none"
            )
            loss = loss + 4 * (errors * known[picked]).sum() / known[picked].sum().clamp_min(1)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            loss.backward()
            nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            bar.step(note=f"loss {loss.item():.3f} contrast {contrast.item():.3f}")
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"judge.{k}": v for k, v in judge.state_dict().items()} | optimizer.tensors()
                save_checkpoint(config.out, step, tensors, {"loss": loss.item()})
    judge.eval()
    judge.save(config.out / "judge", {"run": digest_run(asdict(config), data_digest(members)), "init": RANDOM})
    quality = measure(Judge.load(config.out / "judge"), gather(config.data, "val", config.exclude))
    write_json(config.out / "judge.json", quality)
    print(f"judge: {quality}; written to {config.out / 'judge'}")
    return config.out / "judge"


def jitter(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random brightness, contrast and noise, so that the judge reads shapes rather than a scanner's signature."""
    num = len(pixels)
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (num, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (num, 1, 1, 1)).astype(np.float32))
    level = torch.from_numpy(rng.uniform(0, 0.08, (num, 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
    return (pixels * gain + shift + level * noise).clamp(-1, 1)


def contrastive_loss(judge: Judge, embedded: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Symmetric InfoNCE over the batch (Radford et al. 2021), the side-swapped text of each pair a hard negative.

    Pairs with equal texts are no negatives of one another.
    """
    swapped = [swap_sides(t) or "" for t in texts]
    embeddings = judge.text(*judge.tokenize([*texts, *swapped])).float()
    num, scale = len(texts), judge.log_scale.exp().clamp_max(100)
    logits = scale * embedded @ embeddings.T
    names = np.array(texts)
    same = torch.from_numpy(names[:, None] == np.array([*texts, *swapped])[None, :])
    empty = torch.tensor([not s for s in swapped])
    same[:, num:] |= empty[None, :]
    own = torch.eye(num, 2 * num, dtype=torch.bool)
    logits = logits.masked_fill(same & ~own, float("-inf"))
    target = torch.arange(num)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits[:, :num].T, target)) / 2


@torch.no_grad()
def measure(judge: Judge, members: list[tuple[Path, Record]]) -> dict[str, float]:
    """The judge's own quality on held-out records: modality, attributes (balanced), and sides told apart by text."""
    records = [r for _, r in members]
    images = load_images(members, judge.config.image_size, quiet=True)
    modality, attributes = judge.read(images)
    right = [judge.config.modalities[int(p.argmax())] == r.modality for p, r in zip(modality, records, strict=True)]
    truth, known = attribute_targets(records, judge.config.attributes)
    said = (attributes > 0.5).float()
    present, absent = (known * truth).bool(), (known * (1 - truth)).bool()
    sided = [
        (i, prompts_of(r)[0]) for i, r in enumerate(records) if swap_sides(prompts_of(r)[0]) and r.origin == "phantom"
    ]
    margins = torch.zeros(0)
    if sided:
        chosen = judge.embed_images(images[[i for i, _ in sided]])
        own = (chosen * judge.embed_texts([t for _, t in sided])).sum(1)
        margins = own - (chosen * judge.embed_texts([swap_sides(t) or "" for _, t in sided])).sum(1)
    return {
        "num_val": len(records),
        "modality_accuracy": round(float(np.mean(right)), 4),
        "attribute_sensitivity": round(float(said[present].mean()), 4),
        "attribute_specificity": round(float(1 - said[absent].mean()), 4),
        "side_told_by_text": round(float((margins > 0).float().mean()), 4) if sided else float("nan"),
    }


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(JudgeTraining, train_judge)
