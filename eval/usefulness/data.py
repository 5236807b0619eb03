"""What a measure of usefulness trains and tests on: real records and samples, each with its class, as one set.

Refused are sets in which a patient lies on both sides, in which nothing is labelled, or which have one class only, and
datasets of samples that are the training images.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.datasets.fields import told_field, value_of
from vesalius.data.datasets.split import patient_key
from vesalius.data.images.image import fit_image, load_stack, read_image
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file, load_records, numbered_rows
from vesalius.data.sources.inside import own_file
from vesalius.data.texts.prompt import prompts_of
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.retrieval import tokenize
from vesalius.eval.usefulness.seen import Seen, origins_of, seen_by_model
from vesalius.inference.sample import Sample, load_samples

MIN_IMAGES = 2
"""Images that a class needs among the real training images, and again among the test images."""

Role = Literal["real", "synthetic", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image. name: `file_name` of its row. group: its subgroup. patient: "" of one that has none."""

    path: Path
    name: str
    text: str
    role: Role
    modality: str
    label: str
    patient: str = ""
    group: str = ""
    mask: Path | None = None
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All pictures of a measure.

    classes: in order; `labels` are their indices. images: uint8 [N, 3, S, S]. masks: uint8 [N, S, S], 0 outside, where
    the task is segmentation. tokens: int64 [N, L] of the texts, -1 at their ends, where it is retrieval. digests: of
    each picture's pixels and what is learnt of it. origin: what those are that are no samples: real, phantom, or real
    and phantom. warnings: why the measure may tell something else than it seems to.
    """

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    images: torch.Tensor
    masks: torch.Tensor | None
    tokens: torch.Tensor | None
    digests: tuple[str, ...]
    seen: Seen
    notes: tuple[str, ...]
    origin: str = "real"
    warnings: tuple[str, ...] = ()

    def of(self, role: Role) -> NDArray[np.int64]:
        """The places of the pictures of a role."""
        return np.array([i for i, p in enumerate(self.pictures) if p.role == role], dtype=np.int64)

    @property
    def num_classes(self) -> int:
        """Classes to be told apart; with masks also what is outside of all. One number of each text's rank."""
        if self.tokens is not None:
            return 1
        return len(self.classes) if self.masks is None else int(self.masks.max()) + 1

    @property
    def targets(self) -> torch.Tensor:
        """What is learnt of each picture: its class, int64 [N], its mask, or its text."""
        if self.tokens is not None:
            return self.tokens
        return torch.from_numpy(self.labels) if self.masks is None else self.masks

    def names(self, places: Iterable[int]) -> list[str]:
        """A name for each picture's patient; a picture without one is a patient of its own."""
        return [self.pictures[i].patient or f"image {self.pictures[i].name}" for i in places]


def read_pool(config: UsefulnessConfig) -> Pool:
    """Read and check everything. ValueError as the module says, and where a folder or an image cannot be read."""
    notes: list[str] = []
    segment = config.task == "segmentation"
    wanted = {find_modality(m).name for m in config.modality}
    records = [r for r in load_records(config.real) if r.origin != "synthetic"]
    synthetic = [p for p in _synthetic(config, records, notes) if not wanted or p.modality in wanted]
    if not synthetic:
        raise ValueError(
            f"{config.samples}: no sample is of {', '.join((*config.modality, *config.organ))}; name others"
        )
    modalities = {find_modality(p.modality).name for p in synthetic}
    kept = [r for r in records if not config.organ or r.organ in config.organ]
    real = [_of_record(config.real, r, config, _role(r)) for r in kept]
    real = [p for p in real if p.label]
    if not real:
        raise ValueError(
            f"{config.real}: no record has {_lacking(config)}; name a column that is there with --label, or fill it in"
        )
    elsewhere = {p.modality for p in real if p.modality not in modalities}
    real = [p for p in real if p.modality in modalities]
    if segment and len(modalities) > 1:
        raise ValueError(
            f"{config.samples}: has masks of {', '.join(sorted(modalities))}, where one value means different things; "
            "choose one with --modality"
        )
    if elsewhere and not wanted:
        notes.append(f"Not measured, for no sample is of it: {', '.join(sorted(elsewhere))}.")
    for split, role in (("train", "real"), ("test", "test")):
        if not any(p.role == role for p in real):
            raise ValueError(
                f"{config.real}: split '{split}' has no image of {', '.join(sorted(modalities))} with "
                f"{_lacking(config)}; both train and test are needed"
            )
    origin = origins_of([r for r in kept if find_modality(r.modality).name in modalities])
    _refuse_shared_patients(config, records, real, origin, notes)
    if config.subgroup and not any(p.group for p in real if p.role == "test"):
        raise ValueError(f"{config.real}: no test record has the column '{config.subgroup}'; choose another --subgroup")
    warnings: list[str] = []
    pictures, classes = _classes(config, [*real, *synthetic], origin, notes, warnings)
    seen = seen_by_model(config, modalities, records)  # refuses before hours of reading
    members = [(p.path, p.modality) for p in pictures]
    stack = torch.from_numpy(load_stack(members, config.size, what="reading images", quiet=config.json))
    masks = torch.from_numpy(np.stack([_read_mask(p, config.size) for p in pictures])) if segment else None
    tokens = tokenize([p.text for p in pictures]) if config.task == "retrieval" else None
    learnt = next((t for t in (masks, tokens) if t is not None), None)
    index = {name: i for i, name in enumerate(classes)}
    digests = tuple(_digest(p, stack[i], None if learnt is None else learnt[i]) for i, p in enumerate(pictures))
    _look_for_copies(config, pictures, digests, origin, notes)
    return Pool(
        pictures=tuple(pictures), classes=classes, images=stack, masks=masks, tokens=tokens,
        labels=np.array([index[p.label] for p in pictures], dtype=np.int64),
        digests=digests,
        seen=seen,
        notes=tuple(notes), origin=origin, warnings=tuple(warnings),
    )  # fmt: skip


def _field(config: UsefulnessConfig) -> str:
    """By what images are grouped: texts have no classes, and are repeated within their modality."""
    return "modality" if config.task == "retrieval" else config.label


def _class_of(record: Record, config: UsefulnessConfig) -> str:
    if config.task == "retrieval" and not (record.caption or record.text):
        return ""
    return value_of(record, _field(config))


def _role(record: Record) -> Role:
    return "real" if record.split == "train" else "val" if record.split == "val" else "test"


def _of_record(folder: Path, record: Record, config: UsefulnessConfig, role: Role) -> Picture:
    label = _class_of(record, config)
    mask = None
    if config.task == "segmentation":
        mask, label = own_file(folder, record.mask) if record.mask else None, "" if not record.mask else "outlined"
    path, digest = own_file(folder, record.file_name), record.sha256
    if config.train is not None and role == "real":
        digest = digest or digest_file(path)
    return Picture(
        path=path, name=record.file_name, text=record.caption or record.text, role=role, label=label, mask=mask,
        modality=find_modality(record.modality).name, patient=patient_key(record) or "",
        group=value_of(record, config.subgroup) if config.subgroup else "", sha256=digest or record.file_name,
    )  # fmt: skip


def _is_dataset(folder: Path) -> bool:
    """Whether a folder of samples is one of records, as `vesalius augment` writes it."""
    return (folder / "manifest.json").is_file() or (folder / "train").is_dir()


def _synthetic(config: UsefulnessConfig, real: Sequence[Record], notes: list[str]) -> list[Picture]:
    """The samples that have a class. ValueError where none has."""
    if _is_dataset(config.samples):
        found = [r for r in load_records(config.samples, "train") if r.origin != "real"]
        if any(r.origin == "synthetic" for r in found):
            found = [r for r in found if r.origin == "synthetic"]
        if not found:
            raise ValueError(
                f"{config.samples}: its training split holds no synthetic record; give a samples folder, or a dataset "
                "of `vesalius augment`"
            )
        found = [r for r in found if not config.organ or r.organ in config.organ]
        pictures = [_of_record(config.samples, r, config, "synthetic") for r in found]
    else:
        samples, said = load_samples(config.samples), _said_by_prompts(real, _field(config))
        organs = _said_by_prompts(real, "organ")
        rows = [row for _, row in numbered_rows(config.samples / "metadata.jsonl")]
        pictures = [
            Picture(
                path=s.picture(config.samples), name=s.file_name, text=s.text, role="synthetic",
                modality=find_modality(s.modality).name, label=_of_sample(s, row, said, _field(config)),
            )
            for s, row in zip(samples, rows, strict=True)
            if not config.organ or _of_sample(s, row, organs, "organ") in config.organ
        ]  # fmt: skip
        if config.task == "segmentation":
            raise ValueError(f"{config.samples}: samples have no masks; give a dataset whose synthetic records do")
    known = [p for p in pictures if p.label]
    if not known and config.organ and not pictures:
        return []
    if not known:
        raise ValueError(
            f"{config.samples}: no sample has {_lacking(config)}, and no prompt is the text of a training record that "
            "has one; give a dataset of `vesalius augment`, draw from the training captions (`vesalius generate "
            f"--prompts {config.real}`), or write a column '{config.label}' into its metadata.jsonl"
        )
    if len(known) < len(pictures):
        notes.append(
            f"{len(pictures) - len(known)} of {len(pictures)} samples have no class that is known, and are left out."
        )
    return known


def _said_by_prompts(real: Sequence[Record], field: str) -> dict[str, set[str]]:
    """The classes of the training records that a prompt is a text of."""
    said: dict[str, set[str]] = {}
    for record in real:
        if record.split == "train" and (label := value_of(record, field)):
            for text in (*prompts_of(record), record.text, record.caption or record.text):
                said.setdefault(text, set()).add(label)
    return said


def _of_sample(sample: Sample, row: dict[str, Any], said: dict[str, set[str]], field: str) -> str:
    """The class of a sample: its own column, what its findings or modality say, or the one class of its prompt."""
    own = Record(
        file_name=sample.file_name, text=sample.text, modality=sample.modality, findings=sample.findings,
        label=str(row["label"]) if row.get("label") else None, organ=str(row["organ"]) if row.get("organ") else None,
        extra={field: row[field]} if row.get(field) not in (None, "") else {},
    )  # fmt: skip
    meant = said.get(sample.text, set())
    return value_of(own, field) or (next(iter(meant)) if len(meant) == 1 else "")


def _refuse_shared_patients(
    config: UsefulnessConfig, records: Sequence[Record], real: Sequence[Picture], origin: str, notes: list[str]
) -> None:
    """ValueError where a test patient is trained on; counted in a note where it cannot be known."""
    tested = {p.patient for p in real if p.role == "test" and p.patient}
    for record in records:
        if record.split != "test" and (key := patient_key(record)) in tested:
            raise ValueError(
                f"{config.real}: patient '{key}' lies in test and in {record.split}, so a classifier "
                "would be tested on whom it was trained; split anew by patient (`vesalius data build`)"
            )
    if nameless := sum(not p.patient for p in real):
        notes.append(
            f"{nameless} of {len(real)} {origin} images name no patient: that no patient is on both sides is not "
            "known of them, and each counts as a patient of its own."
        )


def _classes(
    config: UsefulnessConfig, pictures: list[Picture], origin: str, notes: list[str], warnings: list[str]
) -> tuple[list[Picture], tuple[str, ...]]:
    """The pictures of classes that can be learnt and tested, and those classes. ValueError where that is one alone."""
    if config.task != "classification":
        there = {p.label for p in pictures if p.role == "real" and (p.mask is not None or p.text)}
        return [p for p in pictures if p.label in there], tuple(sorted(there))
    counts: dict[Role, Counter[str]] = {
        role: Counter(p.label for p in pictures if p.role == role) for role in ("real", "test", "synthetic")
    }
    found = sorted({*counts["real"], *counts["test"]})
    classes = tuple(c for c in found if min(counts["real"][c], counts["test"][c]) >= MIN_IMAGES)
    if len(classes) < 2:
        told = ", ".join(f"{c} ({counts['real'][c]} train, {counts['test'][c]} test)" for c in found)
        raise ValueError(
            f"{config.real}: {told_field(config.label)} has {'one class' if len(classes) == 1 else 'no class'} with "
            f"{MIN_IMAGES} training and {MIN_IMAGES} test images, and two are needed to tell apart (has: {told}); "
            "choose another --label"
        )
    if rare := [c for c in found if c not in classes]:
        notes.append(f"Left out for want of {MIN_IMAGES} training and {MIN_IMAGES} test images: {', '.join(rare)}.")
    if undrawn := [c for c in classes if not counts["synthetic"][c]]:
        warnings.append(
            f"No sample shows: {', '.join(undrawn)}. So a classifier can tell classes by whether an image was drawn, "
            f"and the arms with samples may come out worse, or better, than their images are. Draw samples of every "
            f"class, as a larger --ratio of `vesalius augment` does."
        )
    if other := sum(n for c, n in counts["synthetic"].items() if c not in classes):
        notes.append(f"{other} samples show another class than these, and are left out.")
    if not any(counts["synthetic"][c] for c in classes):
        raise ValueError(f"{config.samples}: no sample is of {', '.join(classes)}, the classes of {config.real}")
    return [p for p in pictures if p.label in classes], classes


def _read_mask(picture: Picture, size: int) -> NDArray[np.uint8]:
    """A mask as the model sees its picture: uint8 HW, each value resized alone, so that none is made in between."""
    assert picture.mask is not None
    values, modality = read_image(picture.mask)[..., :1], find_modality(picture.modality)
    mask = np.zeros((size, size), dtype=np.uint8)
    for value in np.unique(values[values > 0]):
        alone = np.where(values == value, 255, 0).astype(np.uint8)
        mask[fit_image(alone, modality, (size, size))[..., 0] > 127] = value
    return mask


def _look_for_copies(
    config: UsefulnessConfig, pictures: Sequence[Picture], digests: Sequence[str], origin: str, notes: list[str]
) -> None:
    """Notes where test images are trained on, or samples are training images, pixel by pixel, under other names.
    ValueError where all records of a dataset are: it adds nothing, and every arm would be one of repeated images."""
    held: dict[Role, list[str]] = {r: [] for r in get_args(Role)}
    for digest, picture in zip(digests, pictures, strict=True):
        held[picture.role].append(digest)
    trained, tested = set(held["real"]), set(held["test"])
    known = sum(d in trained for d in held["synthetic"])
    if 0 < known == len(held["synthetic"]) and _is_dataset(config.samples):
        raise ValueError(
            f"{config.samples}: all {known} images that would be its samples are training images of {config.real}, "
            "pixel by pixel, so there is nothing to measure; give a samples folder of `vesalius generate`, or what "
            f"`vesalius augment {config.real} --out DIR` writes"
        )
    if known:
        notes.append(f"{known} samples are {origin} training images, pixel by pixel: they add nothing.")
    copied: tuple[tuple[Role, str], ...] = ("real", f"{origin} training images"), ("synthetic", "samples")
    for role, what in copied:
        if num := sum(d in tested for d in held[role]):
            notes.append(f"{num} {what} are test images, pixel by pixel: what is measured is too good.")


def _digest(picture: Picture, image: torch.Tensor, learnt: torch.Tensor | None) -> str:
    content = hashlib.sha256(picture.label.encode() + image.numpy().tobytes())
    content.update(b"" if learnt is None else learnt.numpy().tobytes())
    return content.hexdigest()


def _lacking(config: UsefulnessConfig) -> str:
    """What a picture lacks that has no class."""
    return {"classification": told_field(config.label), "segmentation": "a mask", "retrieval": "a text"}[config.task]
