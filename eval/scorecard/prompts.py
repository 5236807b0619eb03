"""What a base is asked to draw for its scorecard.

Every list is a pure function of its seed, and a longer one begins with the shorter: samples already drawn stay good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vesalius.data.modality import MODALITIES
from vesalius.data.phantoms.phantom import KINDS, sample_findings
from vesalius.data.record import Finding, Record
from vesalius.data.texts.wording import reword, reword_record

FIRST_PHANTOM = 9 * 1_000_003
"""The seed of the first phantom asked for; no training set comes near it."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt and what is known of it. family: the pictures it is counted with (`family_of`).

    record: what a prompt of a real picture tells. seed: of the phantom that it asks for.
    """

    text: str
    modality: str
    family: str
    language: str = "en"
    findings: tuple[Finding, ...] = ()
    record: Record | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """A line of a prompts file (`vesalius.inference.prompts.read.stream_prompts`)."""
        findings = [asdict(f) for f in self.findings]
        return {"text": self.text, "modality": self.modality, "findings": findings}


def family_of(record: Record) -> str:
    """The pictures that a record is compared with: its modality, and of CT apart those whose units are unknown."""
    unknown = MODALITIES[record.modality].windows and not record.hounsfield
    return f"{record.modality}, greyscale" if unknown else record.modality


def class_prompts(members: Mapping[str, Sequence[Record]], num: int, seed: int) -> list[Asked]:
    """`num` prompts over the classes in turn, every fourth of a class in Chinese.

    members: training records of each class, which are told anew by sentences that no training uses.
    """
    orders = _shuffled(members, seed)
    asked, names = [], list(members)
    for index in range(num):
        name, turn = names[index % len(names)], index // len(names)
        record = orders[name][turn % len(orders[name])]
        language = "zh" if turn % 4 == 3 else "en"
        text = _told(record, np.random.default_rng([seed, index, 1]), language)
        asked.append(
            Asked(text=text, modality=record.modality, family=family_of(record), language=language, record=record)
        )
    return asked


def _told(record: Record, rng: np.random.Generator, language: str) -> str:
    """An unseen wording of a record that names the magnification where that is part of its label (oral_oscc_400x)."""
    needed = re.findall(r"_(\d+)x$", record.label or "")
    for _ in range(50):
        text = reword_record(record, rng, language, unseen=True)
        if all(number in text for number in needed):
            break
    return text


def _shuffled(members: Mapping[str, Sequence[Record]], seed: int) -> dict[str, list[Record]]:
    return {
        name: [records[i] for i in np.random.default_rng([seed, len(records)]).permutation(len(records))]
        for name, records in members.items()
    }


def phantom_prompts(num: int) -> list[Asked]:
    """`num` texts of fresh phantoms: the modalities in turn, captions and reports, English and Chinese.

    A caption tells what is present alone, so nothing is counted as denied by it.
    """
    asked, modalities = [], tuple(KINDS)
    for index in range(num):
        modality, turn = modalities[index % len(modalities)], index // len(modalities)
        kind, language = ("caption", "report")[turn % 2], ("en", "zh")[turn // 2 % 2]
        findings = sample_findings(FIRST_PHANTOM + index, modality)
        told = findings if kind == "report" else tuple(f for f in findings if f.present)
        rng = np.random.default_rng([FIRST_PHANTOM + index, 6])
        text = reword(told, modality, rng, language=language, kind=kind, unseen=True)
        asked.append(
            Asked(
                text=text, modality=modality, family=modality, language=language, findings=told,
                seed=FIRST_PHANTOM + index,
            )
        )  # fmt: skip
    return asked


def caption_prompts(families: Mapping[str, Sequence[Record]], num: int, seed: int) -> list[Asked]:
    """`num` English captions as training words them, the families in turn, each one's records round and round."""
    orders = _shuffled(families, seed)
    asked, names = [], list(families)
    for index in range(num):
        name = names[index % len(names)]
        record = orders[name][index // len(names) % len(orders[name])]
        text = reword_record(record, np.random.default_rng([seed, index, 2]))
        asked.append(Asked(text=text, modality=record.modality, family=name, record=record))
    return asked
