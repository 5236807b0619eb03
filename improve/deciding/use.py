"""Whether a round's accepted samples help: a classifier with and without them, and with real images repeated instead.

The cheap arms of `vesalius usefulness`: as many accepted samples as real training images at most, three seeds, small
pictures; tested on the deciding half of val.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vesalius.data.modality import find_modality
from vesalius.data.record import Record, load_records
from vesalius.data.texts.prompt import prompts_of
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.run import measure
from vesalius.improve.candidates.pool import has_records
from vesalius.improve.config import ImproveConfig
from vesalius.improve.deciding.facts import Fact
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.material import Material, Member

SEEDS, UPDATES = 3, 100


def usefulness_facts(config: ImproveConfig, folder: Path, material: Material) -> tuple[list[Fact], list[str]]:
    """The gain over real images alone as a fact, and notes on what could not be measured.

    The fact is 0 where nothing helps: round 0, which has no samples, has that by definition. It counts as better only
    where repeating real images helps less.
    """
    real = write_parts(
        config.out / "reference-usefulness",
        {"train": material.train, "val": material.calibrate, "test": material.decide}, links=False,
    )  # fmt: skip
    samples = labelled(load_records(folder / "accepted"), material.train) if has_records(folder / "accepted") else []
    label = label_of(material.train, samples)
    if label is None:
        return [], ["usefulness was not measured: no label or finding is known of real images and of accepted samples"]
    accepted = [(folder / "accepted", r) for r in samples]
    try:
        found = measure(
            UsefulnessConfig(
                samples=write_parts(folder / "usefulness-samples", {"train": accepted}, links=False), real=real,
                out=folder / "usefulness", label=label, ratios=(1.0,), shares=(), seeds=SEEDS, updates=UPDATES,
                json=config.json,
            )
        )  # fmt: skip
    except ValueError as error:
        return [], [f"usefulness was not measured: {error}"]
    rows = [arm for arm in found["regimes"][0]["arms"] if arm["kind"] == "both"]
    if not rows:
        return [], ["usefulness: too few samples were accepted to train with"]
    gain, control = rows[-1]["against_real"], rows[-1]["against_repeated"]
    least = min(gain["low"], control["low"]) if control else gain["low"]  # a gain that repeating has too is none
    fact = Fact(
        name="usefulness", told=f"What accepted samples add to a classifier of {label} (AUROC, over real images alone)",
        group="usefulness", value=gain["value"], low=min(least, gain["value"]), high=gain["high"],
        num=found["num_test"], up=True,
    )  # fmt: skip
    return [fact], []


def labelled(samples: Sequence[Record], members: Sequence[Member]) -> list[Record]:
    """Accepted samples with the label of the training records whose text was their prompt, where those agree."""
    said: dict[str, set[str | None]] = {}
    for _, record in members:
        for text in {*prompts_of(record), record.text, record.caption or record.text}:
            said.setdefault(text, set()).add(record.label)
    found = []
    for sample in samples:
        labels = said.get(sample.text, set())
        found.append(replace(sample, label=sample.label or (next(iter(labels)) if len(labels) == 1 else None)))
    return found


def label_of(members: Sequence[Member], samples: Sequence[Record]) -> str | None:
    """What a classifier is to tell: the label, where two are frequent in a modality and most samples have one; else the
    finding that is most evenly there and not there; None where there is neither."""
    if not samples:
        return None
    labels = Counter((find_modality(r.modality).name, r.label) for _, r in members if r.label)
    frequent = Counter(modality for (modality, _), count in labels.items() if count >= 2)
    if max(frequent.values(), default=0) > 1 and 2 * sum(bool(s.label) for s in samples) >= len(samples):
        return "label"
    known = [r for _, r in members if r.findings]
    kinds = Counter(kind for r in known for kind in {f.kind for f in r.findings if f.present})
    fitting = {kind: min(n, len(known) - n) for kind, n in kinds.items() if 2 <= n <= len(known) - 2}
    return f"finding:{max(fitting, key=lambda kind: (fitting[kind], kind))}" if fitting else None
