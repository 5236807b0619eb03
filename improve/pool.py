"""The pool: accepted samples of a round as a dataset of its own, for training only."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from vesalius.data.record import Record, write_dataset
from vesalius.inference.sample import Sample


def write_accepted(folder: Path, samples: Path, accepted: Sequence[Sample]) -> None:
    """Accepted samples as records again: origin synthetic, one generation deeper, for training only."""
    (folder / "train" / "images").mkdir(parents=True, exist_ok=True)
    records = []
    for sample in accepted:
        name = f"train/{sample.file_name}"
        shutil.copyfile(samples / (sample.raw16 or sample.file_name), folder / name)
        records.append(
            Record(
                file_name=name, text=sample.text, modality=sample.modality, findings=sample.findings, split="train",
                origin="synthetic", depth=sample.depth, source="vesalius generate",
                sha256=sample.raw16_sha256 or sample.sha256, hounsfield=sample.raw16 is not None,
            )
        )  # fmt: skip
    write_dataset(folder, records)


def has_records(folder: Path) -> bool:
    """Whether a pool of accepted samples is whole and not empty."""
    return (folder / "manifest.json").is_file() and (folder / "train" / "metadata.jsonl").is_file()
