"""`vesalius data check`: whether a dataset folder is what it says, before anything is trained on it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.data.journal import read_object
from vesalius.data.modality import find_modality
from vesalius.data.progress import progress
from vesalius.data.record import Record, digest_file, load_records
from vesalius.data.split import divided

MOST_LINES = 20
"""How many problems of one kind are told one by one."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What to check."""

    folder: tyro.conf.Positional[Path]
    """Dataset folder, as `vesalius data build` or `vesalius data phantom` writes it."""
    json: bool = False
    """Print the summary as JSON, without progress."""


@dataclass(frozen=True, kw_only=True)
class CheckSummary:
    """What a check found. problems: what must be mended, each with its file; warnings: what one should know.

    Counts are of records: by split, by modality, by label within each modality ("CT / malignant"), and by origin.
    """

    folder: tyro.conf.Positional[Path]
    num_records: int
    splits: dict[str, int]
    modalities: dict[str, int]
    labels: dict[str, int]
    origins: dict[str, int]
    num_patients: int
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def check(config: CheckConfig) -> CheckSummary:
    """Read every row and every image of a dataset folder. ValueError where it is no dataset folder at all."""
    root = config.folder
    records = load_records(root)
    problems = _check_manifest(root)
    warnings: list[str] = []
    by_pixels: dict[str, list[Record]] = {}
    images: list[str] = []
    for record in progress(records, "data check", len(records), quiet=config.json):
        found, pixels = _check_record(root, record)
        images += found
        if pixels:
            by_pixels.setdefault(pixels, []).append(record)
    problems += _short(images, "problems of single records")

    # The same picture on both sides of a split is a leak; twice on one side is only worth knowing.
    leaks, repeats = [], 0
    for same in by_pixels.values():
        if len({r.split for r in same}) > 1:
            leaks.append(f"{root / same[0].file_name}: the same image is in {_places(same)}; keep it in one split")
        repeats += len(same) - 1
    problems += _short(leaks, "images in two splits")
    problems += _short(
        [
            f"{root}: patient or group '{key}' is in more than one split; build again with --resplit"
            for key in divided(records)
        ],
        "patients in two splits",
    )
    if repeats:
        warnings.append(f"{repeats} images repeat another one pixel by pixel")

    splits = Counter(r.split for r in records)
    modalities = Counter(r.modality for r in records)
    labels = Counter(f"{r.modality} / {r.label}" for r in records if r.label)
    warnings += _balance(splits, modalities, labels)
    return CheckSummary(
        folder=root,
        num_records=len(records),
        splits=dict(splits),
        modalities=dict(modalities.most_common()),
        labels=dict(labels.most_common()),
        origins=dict(Counter(r.origin for r in records)),
        num_patients=len({r.patient_id for r in records if r.patient_id}),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _check_manifest(root: Path) -> list[str]:
    path = root / "manifest.json"
    if not path.is_file():
        return [f"{root}: no manifest.json, so the folder may be half-written; run its `vesalius data build` again"]
    splits = read_object(path).get("splits")
    if not isinstance(splits, dict):
        return [f"{path}: damaged, it names no splits; build the dataset again"]
    problems = []
    for split, facts in splits.items():
        rows = root / split / "metadata.jsonl"
        if not rows.is_file():
            problems.append(f"{rows}: missing, the manifest names {facts['num_records']} records there; build again")
        elif digest_file(rows) != facts["sha256"]:
            problems.append(f"{rows}: changed since the manifest was written; build again, or undo the change")
    for rows in sorted(root.glob("*/metadata.jsonl")):
        if rows.parent.name not in splits:
            problems.append(f"{rows}: not in the manifest; remove it or build again")
    return problems


def _check_record(root: Path, record: Record) -> tuple[list[str], str | None]:
    """The problems of one record, and the digest of its pixels where it opens."""
    from vesalius.data.image import read_image

    path = root / record.file_name
    problems = []
    if not record.text.strip():
        problems.append(f"{path}: its text is empty; fill it or remove the row")
    try:
        find_modality(record.modality)
    except ValueError as error:
        problems.append(f"{path}: {error}")
    if not path.resolve().is_relative_to(root.resolve()):
        return [*problems, f"{path}: leads out of the dataset folder; copy the image into it"], None
    try:
        image = read_image(path)
    except ValueError as error:
        return [*problems, str(error)], None
    if record.sha256 and digest_file(path) != record.sha256:
        problems.append(f"{path}: its sha256 is not the one of its row; the image was changed, build again")
    if image.min() == image.max():
        problems.append(f"{path}: blank, every pixel is {image.min()}; remove it")
    return problems, hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _places(same: list[Record]) -> str:
    return ", ".join(f"{r.split} ({r.file_name})" for r in same[:4])


def _short(lines: list[str], what: str) -> list[str]:
    rest = len(lines) - MOST_LINES
    return lines if rest <= 0 else [*lines[:MOST_LINES], f"... and {rest} more {what}"]


def _balance(splits: Counter[str], modalities: Counter[str], labels: Counter[str]) -> list[str]:
    warnings = [f"split '{s}' is empty" for s in ("train", "val", "test") if not splits[s]]
    for what, counts in (("modality", modalities), ("label", labels)):
        if len(counts) > 1:
            (most, top), (least, low) = counts.most_common()[0], counts.most_common()[-1]
            if top > 20 * low:
                warnings.append(f"{what} '{least}' has {low} records, '{most}' {top}: weight or balance them")
    return warnings
