"""A gallery of what a base draws: contact sheets of samples that nobody chose, each beside its nearest training image.

    python -m vesalius.eval.scorecard.gallery --base nano --real DIR --phantoms DIR --out docs/gallery

The prompts are the commonest training captions, the seeds count from --seed, and the samples that agree least with
their prompts get a sheet of their own. Of real training images only name, source and distances are shown, for no
picture of a patient may enter the documentation; phantoms are shown. Writes OUT/*.webp and OUT.md beside the folder.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vesalius.data.command.progress import Progress
from vesalius.data.images.image import load_stack
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, load_records, write_atomic
from vesalius.data.texts.captions import UNLABELLED
from vesalius.data.texts.prompt import clean, prompts_of
from vesalius.eval.gates.scores import Case, case_of_record, case_of_sample
from vesalius.eval.privacy.nearest import nearest
from vesalius.eval.scorecard.gallery_page import (
    FAILURES,
    Scale,
    Shot,
    draw_sheet,
    markdown,
    sheet_file,
    title_of,
    to_webp,
)
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.models.base import base_folder
from vesalius.models.detectors.detector import TextureDetector
from vesalius.models.networks.judge import Judge
from vesalius.models.support import Support

NUM_HELD_OUT = 100
"""Validation images of a modality that give the distances and agreements a scale."""

Prompt = tuple[str, Record]


@dataclass(frozen=True, kw_only=True)
class GalleryConfig:
    """Draw a gallery of a base."""

    real: Path
    """dataset of real images that the base was trained on"""
    out: Path
    """folder of the sheets; the page is written beside it, under its name"""
    phantoms: Path | None = None
    """dataset of phantoms that the base was trained on"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    samples: Path | None = None
    """folder to keep the samples in, so that a stopped run continues; none: a temporary one"""
    num_prompts: int = 6
    """prompts per modality"""
    num: int = 4
    """samples per prompt"""
    num_failures: int = 16
    """samples on the sheet of failures"""
    seed: int = 0
    """seed of the samples"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """precision in which they are drawn"""
    device: str = "auto"
    """cpu, cuda, or auto"""

    def __post_init__(self) -> None:
        """ValueError where a count cannot be."""
        if min(self.num_prompts, self.num, self.num_failures) < 1:
            raise ValueError("--num-prompts, --num and --num-failures must be at least 1")


def choose_prompts(records: Sequence[Record], support: Support | None, num: int) -> list[Prompt]:
    """Per modality the commonest wording of each of the `num` commonest labels, real images before phantoms.

    Labels of which the base has seen no image are passed over, where it says what it has seen.
    """
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if record.source in UNLABELLED:
            continue
        modality, label = find_modality(record.modality).name, record.label or ""
        if support is None or support.ask(modality, record.organ or None):
            groups.setdefault((modality, record.origin, record.organ or "", label), []).append(record)
    chosen: list[Prompt] = []
    for modality in sorted({key[0] for key in groups}):
        keys = sorted((k for k in groups if k[0] == modality), key=lambda k: (k[1] != "real", -len(groups[k]), k))
        real = [k for k in keys if k[1] == "real"]
        rest = [k for k in keys if k[1] != "real"]
        share = max(num - len(rest), num // 2)  # half to the phantoms, or more where real labels are few
        for key in [*real[:share], *rest][:num]:
            first = {prompts_of(r)[0]: r for r in reversed(groups[key])}
            counts = Counter(prompts_of(r)[0] for r in groups[key])
            text = min(counts, key=lambda t: (-counts[t], len(t), t))
            chosen.append((text, first[text]))
    return chosen


def make_gallery(config: GalleryConfig) -> list[Shot]:
    """Draw, measure and write the gallery; returns its samples in order. ValueError where a folder is none."""
    folders = [f for f in (config.real, config.phantoms) if f is not None]
    members = [(f, r) for f in folders for r in load_records(f) if r.origin != "synthetic" and r.split != "test"]
    train = [(f, r) for f, r in members if r.split == "train"]
    support = Support.load(base_folder(config.base))
    prompts = choose_prompts([r for _, r in train], support, config.num_prompts)
    if not prompts:
        raise ValueError(f"{config.real}: no training record whose caption could be a prompt; give another dataset")
    page = config.out.with_suffix(".md")
    if config.out.exists() and any(p.suffix != ".webp" for p in config.out.iterdir()):
        raise ValueError(f"{config.out}: holds other files than sheets; choose another --out")
    with tempfile.TemporaryDirectory() as temporary:
        shots, scales = _shoot(config, config.samples or Path(temporary), prompts, members)
        sheets = {m: [s for s in shots if s.case.modality == m] for m in sorted({s.case.modality for s in shots})}
        sheets[FAILURES] = sorted(shots, key=lambda s: s.agreement)[: config.num_failures]
        config.out.mkdir(parents=True, exist_ok=True)
        for name, members_of in sheets.items():
            write_atomic(config.out / sheet_file(name), to_webp(draw_sheet(title_of(name), members_of, config.num)))
    write_atomic(page, markdown(config.out.name, sheets, scales, num=config.num, seed=config.seed).encode())
    return shots


def _shoot(
    config: GalleryConfig, folder: Path, prompts: Sequence[Prompt], members: Sequence[tuple[Path, Record]]
) -> tuple[list[Shot], dict[str, Scale]]:
    """Draw the samples, and measure them and unseen images against the training images."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text, "modality": r.modality, "findings": [asdict(f) for f in r.findings]} for text, r in prompts]
    write_atomic(folder / "prompts.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    samples = draw_samples(
        GenerateConfig(
            prompts=folder / "prompts.jsonl",
            num=config.num,
            seed=config.seed,
            base=config.base,
            out=folder / "samples",
            precision=config.precision,
            device=config.device,
        )
    )
    judge = Judge.load()
    cases = [case_of_sample(folder / "samples", s) for s in samples]
    modalities = {c.modality for c in cases}
    train = [(f, r) for f, r in members if r.split == "train" and find_modality(r.modality).name in modalities]
    held_out = _first_of_each([(f, r) for f, r in members if r.split == "val"], modalities)
    references, unseen = ([case_of_record(f, r) for f, r in some] for some in (train, held_out))
    known = _features(judge, references, "reading training images")
    scores = _measure(judge, cases, references, known, "reading samples")
    unseen_scores = _measure(judge, unseen, references, known, "reading unseen images")
    scales = {m: _scale([s for s, c in zip(unseen_scores, unseen, strict=True) if c.modality == m]) for m in modalities}
    shots = []
    for sample, case, score in zip(samples, cases, scores, strict=True):
        where, record = train[int(score["nearest"])]
        shots.append(
            Shot(
                sample=sample,
                case=case,
                judge=score["judge"],
                texture=score["texture"],
                agreement=score["agreement"] - scales[case.modality].agreement,
                nearest=where / record.file_name,
                record=record,
            )
        )
    return shots, scales


def _first_of_each(members: Sequence[tuple[Path, Record]], modalities: set[str]) -> list[tuple[Path, Record]]:
    """At most `NUM_HELD_OUT` of each modality, evenly spread."""
    chosen: list[tuple[Path, Record]] = []
    for name in sorted(modalities):
        mine = [m for m in members if find_modality(m[1].modality).name == name]
        chosen += mine[:: max(1, -(-len(mine) // NUM_HELD_OUT))]
    return chosen


def _features(judge: Judge, cases: Sequence[Case], what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Features NC of the judge and of textures; a few images are in memory at a time."""
    texture, pairs = TextureDetector(), list[tuple[torch.Tensor, torch.Tensor]]()
    with Progress(what, len(cases)) as bar:
        for start in range(0, len(cases), 256):
            part = [(c.path, c.modality) for c in cases[start : start + 256]]
            images = torch.from_numpy(load_stack(part, judge.config.image_size, quiet=True))
            pairs.append((judge.embed_images(images), texture(images)))
            bar.step(len(part))
    return torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])


def _measure(
    judge: Judge, cases: Sequence[Case], references: Sequence[Case], known: tuple[torch.Tensor, torch.Tensor], what: str
) -> list[dict[str, float]]:
    """Per case: nearest (index of the reference, by the judge), the two distances, and agreement with the prompt."""
    if not cases:
        return []
    mine = _features(judge, cases, what)
    agreement = (mine[0] * judge.embed_texts([clean(c.text) for c in cases])).sum(1)
    rows = [{"agreement": float(a)} for a in agreement]
    for name in {c.modality for c in cases}:
        here = [i for i, c in enumerate(cases) if c.modality == name]
        pool = [i for i, c in enumerate(references) if c.modality == name]
        near, where = nearest(mine[0][here], known[0][pool])
        textures, _ = nearest(mine[1][here], known[1][pool])
        for i, a, b, j in zip(here, near.tolist(), textures.tolist(), where.tolist(), strict=True):
            rows[i] |= {"judge": a, "texture": b, "nearest": pool[j]}
    return rows


def _scale(rows: Sequence[dict[str, float]]) -> Scale:
    """Medians; zeros where there is no unseen image."""
    judge, texture, agreement = (
        float(np.median([row[k] for row in rows])) if rows else 0.0 for k in ("judge", "texture", "agreement")
    )
    return Scale(judge=judge, texture=texture, agreement=agreement, num=len(rows))


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(GalleryConfig, make_gallery)
