"""What the sections of a scorecard share: configuration, real images, the networks that measure, the drawings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from vesalius.data.images.image import load_stack
from vesalius.data.record import Record, load_records, write_atomic
from vesalius.eval.gates.scores import case_of_sample, read_images
from vesalius.eval.scorecard.prompts import Asked, class_prompts, family_of
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import Sample
from vesalius.models.base import Base, open_base
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness, classes_of, held_out, measurable_classes

IMAGE_SIZE = 128
"""Pixels at which all pictures are measured; drawings of another size are resized (Lanczos)."""


class Missing(ValueError):
    """What a section cannot do without is not there: the section is refused, the others go on."""


@dataclass(frozen=True, kw_only=True)
class ScorecardConfig:
    """Measure a base, with or without an adapter: obedience, fidelity, copies, utility, text encoder, autoencoder."""

    real: Path
    """dataset folder of real images, with all three splits"""
    phantoms: Path | None = None
    """dataset folder of phantoms, whose test split the autoencoder is measured on too"""
    out: Path
    """folder of scorecard.json and scorecard.md, and of what is drawn for them; the same line continues it"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: Path | None = None
    """adapter folder, or nano-fast"""
    steps: int | None = None
    """denoising steps; none: what the adapter was made for, else what suits the base's scheduler"""
    guidance: float | None = None
    """classifier-free guidance scale; none: what the adapter was made for, else 3"""
    num: int = 504
    """drawings of real classes, as many of phantoms, and three tenths of it of each kind of real picture"""
    num_texts: int = 1000
    """texts among which paraphrases are searched"""
    sections: tuple[str, ...] = ("text", "autoencoder", "classes", "phantoms", "fidelity", "copies", "utility")
    """what to measure"""
    seed: int = 9
    """seed of the drawings, and of the resampling behind the intervals"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """precision in which pictures are drawn"""
    device: str = "auto"
    """where pictures are drawn: cpu, cuda, or auto"""
    batch_size: int = 8
    """pictures drawn at once; changes speed and memory, never a picture"""
    witness: Path | None = None
    """folder of the witness; none: the embedded one"""
    reader: Path | None = None
    """folder of the phantom reader; none: the embedded one"""
    json: bool = False
    """print no progress"""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Prompts and the pictures drawn of them, uint8 [N, 3, 128, 128]."""

    asked: list[Asked]
    images: torch.Tensor


@dataclass
class Material:
    """Everything is made when first asked for, and once. samples: all that were drawn so far."""

    config: ScorecardConfig
    samples: list[Sample] = field(default_factory=list)
    _drawn: dict[str, Pictures] = field(default_factory=dict)
    _read: dict[tuple[str, ...], torch.Tensor] = field(default_factory=dict)

    @cached_property
    def base(self) -> Base:
        return open_base(self.config.base)

    @cached_property
    def records(self) -> list[Record]:
        """The real records. ValueError where the folder is none, or holds none."""
        records = [r for r in load_records(self.config.real) if r.origin == "real"]
        if not records:
            raise ValueError(f"{self.config.real}: holds no record of origin 'real'; give a dataset of real images")
        return records

    @cached_property
    def judge(self) -> Judge:
        return Judge.load()

    @cached_property
    def witness(self) -> Witness:
        try:
            return Witness.load(self.config.witness)
        except ValueError as error:
            raise Missing(str(error)) from None

    @cached_property
    def reader(self) -> Reader:
        try:
            return Reader.load(self.config.reader)
        except ValueError as error:
            raise Missing(str(error)) from None

    @cached_property
    def classes(self) -> dict[str, list[Record]]:
        """Training records of each class that can be measured, by "TASK: name". Raises Missing where there is none."""
        found = self.by_class([r for r in self.records if r.split == "train"])
        if not found:
            raise Missing(f"{self.config.real}: no class has the 30 training and 10 test images that a measure needs")
        return found

    @cached_property
    def tested(self) -> dict[str, list[Record]]:
        """Test records of each of `classes`, of patients that lie in no other split."""
        found = self.by_class(held_out(self.records))
        return {name: found[name] for name in self.classes}

    def by_class(self, records: Sequence[Record]) -> dict[str, list[Record]]:
        """The records of each measurable class."""
        measurable = measurable_classes(self.records)
        found: dict[str, list[Record]] = {}
        for record in records:
            task = task_of(record)
            name = classes_of(record).get(task)
            if name in measurable.get(task, ()):
                found.setdefault(f"{task}: {name}", []).append(record)
        return dict(sorted(found.items()))

    def by_family(self, *splits: str) -> dict[str, list[Record]]:
        """The records of these splits, by the pictures that they are compared with."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if record.split in splits:
                found.setdefault(family_of(record), []).append(record)
        return dict(sorted(found.items()))

    def read(self, records: Sequence[Record], folder: Path | None = None) -> torch.Tensor:
        """The pictures of records, uint8 [N, 3, 128, 128]. folder: their dataset; none: that of real images."""
        folder = folder or self.config.real
        key = (str(folder), *(r.file_name for r in records))
        if key not in self._read:
            members = [(folder / r.file_name, r.modality) for r in records]
            stack = load_stack(members, IMAGE_SIZE, what="reading real images", quiet=self.config.json)
            self._read[key] = torch.from_numpy(stack)
        return self._read[key]

    def draw(self, name: str, asked: list[Asked]) -> Pictures:
        """Draw the prompts into samples/NAME, or take up what lies there.

        ValueError where the folder was drawn otherwise: from another base, by other settings, of other texts.
        """
        if name not in self._drawn:
            config, folder = self.config, self.config.out / "samples" / name
            prompts = config.out.resolve() / "prompts" / f"{name}.jsonl"
            prompts.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(prompts, "".join(json.dumps(a.to_json(), ensure_ascii=False) + "\n" for a in asked).encode())
            samples = draw_samples(
                GenerateConfig(
                    prompts=prompts, seed=config.seed, out=folder, base=config.base,
                    adapter=(str(config.adapter),) if config.adapter else (),
                    steps=config.steps, guidance=config.guidance, batch_size=config.batch_size, device=config.device,
                    precision=config.precision, json=config.json,
                )
            )  # fmt: skip
            cases = [case_of_sample(folder, s) for s in samples]
            images = read_images(cases, IMAGE_SIZE, f"reading {name}", quiet=config.json)
            self.samples += samples
            self._drawn[name] = Pictures(asked=asked, images=images)
        return self._drawn[name]

    def drawn_classes(self) -> Pictures:
        """The drawings of real classes, as many of each."""
        num = max(1, round(self.config.num / len(self.classes))) * len(self.classes)
        return self.draw("classes", class_prompts(self.classes, num, self.config.seed))


def task_of(record: Record) -> str:
    """The witness's head that says a record's class: of histopathology all tissues together."""
    return "tissue" if record.modality == "pathology" else f"{record.modality}/{record.organ}"
