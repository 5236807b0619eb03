"""What a loop works on: real images and phantoms, each patient in one part of it.

train       trained on
calibrate   half of val's patients: thresholds of the gates
decide      the other half: promotion
test        read once, after the last round
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.datasets.split import place_of
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, load_records, write_json
from vesalius.eval.gates.gates import check_enough
from vesalius.eval.strata import patient_of
from vesalius.finetune.feeding.trainset import data_digest

Member = tuple[Path, Record]


@dataclass(frozen=True, kw_only=True)
class Material:
    """Records of a loop as (dataset folder, record). digests: dataset folder -> sha256 over all its records."""

    train: list[Member]
    calibrate: list[Member]
    decide: list[Member]
    test: list[Member]
    digests: dict[str, str]


def read_material(folders: Sequence[Path]) -> Material:
    """ValueError where a split is empty, a record is a sample, or a modality has too few images to be decided by."""
    splits = {split: records_of(folders, split) for split in ("train", "val", "test")}
    halves = halve(splits["val"])
    material = Material(
        train=splits["train"], calibrate=halves[0], decide=halves[1], test=splits["test"],
        digests={
            str(folder): data_digest([m for members in splits.values() for m in members if m[0] == folder])
            for folder in folders
        },
    )  # fmt: skip
    check_modalities(material, ", ".join(map(str, folders)))
    return material


def halve(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Two parts that share no patient, each source, organ and modality as evenly as its patients allow.

    Patients come in an order that their names alone decide, each to the part with fewer images of its kinds.
    """
    patients: dict[str, list[Member]] = {}
    for folder, record in members:
        patients.setdefault(patient_of(record) or f"{folder}/{record.file_name}", []).append((folder, record))
    halves: tuple[list[Member], list[Member]] = ([], [])
    held = (Counter[tuple[object, ...]](), Counter[tuple[object, ...]]())
    for key in sorted(patients, key=place_of):
        owns = [Counter(kinds_of(r)[level] for _, r in patients[key]) for level in range(4)]
        # The finest kind that the halves differ in decides: limits of one source say little of another
        more = [sum(held[0][k] - held[1][k] for k in own) for own in owns]
        half = int(next((difference for difference in more if difference), 0) > 0)
        halves[half].extend(patients[key])
        for own in owns:
            held[half].update(own)
    return halves


def kinds_of(record: Record) -> list[tuple[object, ...]]:
    """What a record is one of, the finest kind first."""
    modality = find_modality(record.modality).name
    whole = (modality, record.hounsfield, record.organ, record.source)
    return [whole, whole[:3], whole[:2], whole[:1]]


def records_of(folders: Sequence[Path], split: str) -> list[Member]:
    """Real and phantom records of a split. ValueError where there are none, or one is a sample."""
    found = [(folder, r) for folder in folders for r in load_records(folder) if r.split == split]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, folders))}: no records in split '{split}'; a loop needs train, val and test"
        )
    for folder, record in found:
        if record.origin == "synthetic":
            raise ValueError(
                f"{folder / record.file_name}: is a sample; --data takes real images and phantoms, "
                "the loop adds its own samples"
            )
    return found


def check_modalities(material: Material, folders: str) -> None:
    """ValueError where a modality that a loop draws has too few real images to be gated and judged by.

    Images of patients who are trained on do not count: the evaluation leaves them out.
    """
    trained = {(f, patient_of(r)) for f, r in material.train if r.patient_id}
    parts = {
        "val (the half that calibrates)": material.calibrate,
        "val (the half that decides)": [(f, r) for f, r in material.decide if (f, patient_of(r)) not in trained],
        "test": [(f, r) for f, r in material.test if (f, patient_of(r)) not in trained],
    }
    names = sorted({find_modality(r.modality).name for _, r in material.train})
    for what, members in parts.items():
        found = Counter(find_modality(r.modality).name for _, r in members)
        for name in names:
            check_enough(name, found[name], f"{what} (of {folders})")


def check_unchanged(out: Path, material: Material) -> None:
    """Settle which data a loop is about, or ValueError where it has changed since the loop began."""
    path = out / "data.json"
    if not path.is_file():
        write_json(path, material.digests)
    former = json.loads(path.read_text())
    for folder, digest in material.digests.items():
        if former.get(folder) != digest:
            raise ValueError(
                f"{folder}: is not the dataset that this loop began with: images, texts or splits were changed, and "
                "what was decided would no longer hold. Put it back as it was (`vesalius data check` tells what is not "
                f"as its manifest says), or begin a new loop with another --out; {out} stays as it is"
            )
