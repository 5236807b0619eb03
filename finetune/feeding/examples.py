"""Records to tensors in memory, with the choice of what a run may see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vesalius.data.datasets.streamed import dataset_records, place_of
from vesalius.data.images.image import load_stack
from vesalius.data.modality import find_modality
from vesalius.data.record import Record


def excluded(record: Record, rules: Sequence[str]) -> bool:
    """Whether a rule shuts a real record out: "MRI/brain" is that organ in that modality, "fundus" a whole modality.

    Phantoms are never shut out: they are nobody's images.
    """
    if record.origin == "phantom":
        return False
    modality = find_modality(record.modality).name
    for rule in rules:
        name, _, organ = rule.partition("/")
        if find_modality(name).name == modality and (not organ or organ == record.organ):
            return True
    return False


def gather(folders: Sequence[Path], split: str, exclude: Sequence[str] = ()) -> list[tuple[Path, Record]]:
    """(folder, record) of one split over several datasets, less what the rules exclude. ValueError where none is."""
    found = [(f, r) for f in folders for r in dataset_records(f) if r.split == split and not excluded(r, exclude)]
    if not found:
        raise ValueError(
            f"no records of split '{split}' in {', '.join(map(str, folders))} after excluding {list(exclude)}; "
            "give another dataset, or exclude less"
        )
    return found


def load_images(members: Sequence[tuple[Path, Record]], size: int, *, quiet: bool = False) -> torch.Tensor:
    """Images as the model sees them, NCHW uint8. An unreadable one is an error that names it."""
    stack = load_stack([(place_of(folder, r.file_name), r.modality) for folder, r in members], size, quiet=quiet)
    return torch.from_numpy(stack)


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """NCHW uint8 -> NCHW float32 in [-1, 1]."""
    return images.float() / 127.5 - 1.0
