"""What networks see of pictures, as rows of numbers, of which `questions` asks; no picture is held."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from vesalius.data.findings.read import LANGUAGES
from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Finding
from vesalius.eval.gates.scores import Case, JudgeReading
from vesalius.eval.obedience.readings import OwnReading, ReaderReading, WitnessReading
from vesalius.models.networks.witness import FINDINGS

if TYPE_CHECKING:
    from vesalius.eval.obedience.questions import Networks

AS_TOLD = {"pituitary tumor": "pituitary adenoma"}
"""Classes of the networks that texts are read to name otherwise."""


class Heads(NamedTuple):
    """Answers by name, with the probabilities that a network gives them, float32 [N, K]."""

    names: tuple[str, ...]
    said: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What networks made of N pictures, by the network's name.

    embedded: unit vectors, float32 [N, C]. modality: answers named as modalities. findings: answers "MODALITY/kind" and
    "MODALITY/kind/side". measured: the findings that the reader sees, None of pictures that it was not shown; empty
    where there is no reader.
    """

    embedded: Mapping[str, torch.Tensor]
    modality: Mapping[str, Heads]
    findings: Mapping[str, Heads]
    measured: Sequence[tuple[Finding, ...] | None] = ()


def seen_in(
    readings: Mapping[str, OwnReading],
    rows: Mapping[str, torch.Tensor],
    cases: Sequence[Case],
    embedded: Mapping[str, torch.Tensor] | None = None,
) -> Seen:
    """Out of what readings of this package made of the pictures of the cases, by name. embedded: by other networks."""
    vectors, modality, findings = dict(embedded or {}), {}, {}
    measured: Sequence[tuple[Finding, ...] | None] = ()
    for name, reading in readings.items():
        if isinstance(reading, ReaderReading):
            measured = reading.split(rows[name], cases)
        elif isinstance(reading, WitnessReading):
            said = reading.split(rows[name])[1]
            heads = reading.witness.config.heads
            if "modality" in said:
                modality[name] = Heads(heads["modality"], said["modality"])
            asked = {h: _finding_names(h, classes) for h, classes in heads.items() if "/" in h}
            if asked:
                told = torch.cat([said[h] for h in asked], 1)
                findings[name] = Heads(tuple(n for names in asked.values() for n in names), told)
        else:
            _, vector, of, attributes = reading.split(rows[name])
            config = reading.judge.config
            vectors.setdefault(name, vector)
            modality[name] = Heads(config.modalities, of)
            findings[name] = Heads(config.attributes, attributes)
    return Seen(embedded=vectors, modality=modality, findings=findings, measured=measured)


def _finding_names(head: str, classes: Sequence[str]) -> Sequence[str]:
    """The answers of a head of the witness, named as the judge names its attributes."""
    return classes if head.startswith(FINDINGS) else [f"{head}/{name}" for name in classes]


def look(net: Networks, cases: Sequence[Case], images: torch.Tensor, phantoms: Collection[str] = ()) -> Seen:
    """The same out of pictures themselves, uint8 [N, 3, H, W]. phantoms: modalities in which the reader measures."""
    readings: dict[str, OwnReading] = {}
    if net.judge is not None:
        readings["judge"] = JudgeReading(net.judge)
    if net.witness is not None:
        readings["witness"] = WitnessReading(net.witness)
    if net.reader is not None:
        readings["reader"] = ReaderReading(net.reader, phantoms)
    rows = {
        name: r.of_cases(images, cases) if isinstance(r, ReaderReading) else r(images) for name, r in readings.items()
    }
    others = {name: each.embed_images(images) for name, each in net.agreement.items() if each is not net.judge}
    return seen_in(readings, rows, cases, others)


def places_of(names: Sequence[str]) -> dict[str, int]:
    """Where an answer "MODALITY/kind" or "MODALITY/kind/side" stands. A class "MRI/brain/glioma" is the kind "glioma"
    of MRI, where that is a kind of finding."""
    places = {name: i for i, name in enumerate(names)}
    for name, i in list(places.items()):
        modality, _, rest = name.partition("/")
        organ, _, label = rest.partition("/")
        kind = AS_TOLD.get(label, label)
        if organ not in KINDS.get(modality, ()) and kind in kinds_told():
            places.setdefault(f"{modality}/{kind}", i)
    return places


@cache
def kinds_told() -> frozenset[str]:
    """All kinds of finding that are read out of texts."""
    return frozenset(kind for words in LANGUAGES for kind in words.kinds)
