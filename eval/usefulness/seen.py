"""What the model that drew the samples had seen of the real images: to one that saw all, no share of them is few."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vesalius.data.datasets.split import patient_key
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file, load_records, numbered_rows, read_state
from vesalius.eval.strata import patient_of
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.models.base import EMBEDDED, base_folder
from vesalius.models.support import Support

PHANTOM = "phantom"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """kind: counted (which ones is known), none (it saw no real image of the kind), or assumed (not known: as if all).

    digests: sha256 of the files that it saw, where counted. num: real images of these modalities that it saw, where
    that is said. lines: the same for people.
    """

    kind: Literal["counted", "none", "assumed"]
    num: int | None
    lines: tuple[str, ...]
    digests: frozenset[str] = frozenset()

    def behind(self, chosen: Collection[str], everything: Collection[str]) -> int:
        """How many real images an arm with samples rests on: those that it trains on, and those that the model saw.

        chosen: digests of the real images of the arm. everything: of all real training images of the measure.
        """
        if self.kind == "none":
            return len(chosen)
        if self.kind == "counted":
            return len(set(chosen) | self.digests)
        return max(len(everything), self.num or 0)

    def told(self, everything: Sequence[str], origin: str = "real") -> str:
        """One line on how many of the training images the model saw. origin: what they are, as `origins_of` says."""
        if self.kind == "none":
            return f"The model saw none of the {origin} training images."
        if self.kind == "counted":
            num = sum(digest in self.digests for digest in everything)
            return f"Of the {len(everything)} {origin} training images here it saw {num}."
        return (
            f"Whether it saw the {len(everything)} {origin} training images here is not known: it is counted as if it "
            "saw all of them. Give the dataset that it was trained on with --train."
        )


def origins_of(records: Sequence[Record]) -> str:
    """What records are that are no samples: real, phantom, or real and phantom."""
    there = {record.origin for record in records}
    return " and ".join(origin for origin in ("real", PHANTOM) if origin in there) or "real"


def seen_by_model(config: UsefulnessConfig, modalities: set[str], records: Sequence[Record]) -> Seen:
    """What the model saw: counted in --train, else as its base says. ValueError where it was trained on test patients.

    records: all of --real.
    """
    if config.train is not None:
        return _counted(config, modalities, records)
    base, adapted = _made_by(config.samples)
    if base == PHANTOM:
        return Seen(kind="none", num=0, lines=("The samples are phantoms, drawn by rule from no image.",))
    name = f"base {Path(base).name}" if base else "a base that is not named"
    told = f"The samples were drawn by {name}{' with an adapter' if adapted else ''}."
    support = None
    if base == EMBEDDED or (base and Path(base).expanduser().is_dir()):
        support = Support.load(base_folder(base, weights=False))
    if support is None:
        return Seen(kind="assumed", num=None, lines=(told, "It does not say what it was trained on."))
    shown = [s for s in support.shown if s.modality in modalities]
    num = sum(s.num_real if any(r.origin == "real" for r in records) else s.num for s in shown)
    said = f"It says that it saw {num} {origins_of(records)} images of {', '.join(sorted(modalities))} (support.json)."
    if not num and not adapted:
        return Seen(kind="none", num=0, lines=(told, said))
    return Seen(kind="assumed", num=num, lines=(told, said))


def _counted(config: UsefulnessConfig, modalities: set[str], records: Sequence[Record]) -> Seen:
    assert config.train is not None
    tested = {key for r in records if r.split == "test" and (key := patient_of(r)) is not None}
    pictures = {r.sha256: r for r in records if r.split == "test" and r.sha256}
    found, learnt = set[str](), list[Record]()
    for record in load_records(config.train, "train"):
        if record.origin == "synthetic" or find_modality(record.modality).name not in modalities:
            continue
        digest = record.sha256 or digest_file(config.train / record.file_name)
        known = patient_of(record) in tested
        if known or digest in pictures:
            told = f"patient '{patient_key(record)}'" if known else f"image '{pictures[digest].file_name}'"
            raise ValueError(
                f"{config.train}: {told} was trained on by the model and lies in the test split of {config.real}; "
                "samples could show what is tested. Draw from a model that has not seen the test patients"
            )
        found.add(digest)
        learnt.append(record)
    told = f"The model saw {len(found)} {origins_of(learnt)} images of {', '.join(sorted(modalities))}"
    told += f" (dataset '{config.train.name}')."
    return Seen(kind="counted" if found else "none", num=len(found), lines=(told,), digests=frozenset(found))


def _made_by(folder: Path) -> tuple[str, bool]:
    """The base of samples ("" where nothing says) and whether an adapter changed it."""
    manifest: dict[str, Any] = {}
    if (folder / "manifest.json").is_file():
        manifest = read_state(folder / "manifest.json", "make the dataset again")
    if manifest.get("origin") == PHANTOM:
        return PHANTOM, False
    if (derived := manifest.get("derived") or {}).get("base"):
        return str(derived["base"]), bool(derived.get("adapter"))
    for place in (folder / "metadata.jsonl", folder / "train" / "metadata.jsonl"):
        for _, row in numbered_rows(place) if place.is_file() else ():
            if row.get("base"):
                return str(row["base"]), bool(row.get("adapter_digest"))
    return "", False
