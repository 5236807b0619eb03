"""Whether a round's accepted samples help: a classifier with and without them, and with real images repeated instead.

The cheap arms of `vesalius usefulness`: as many accepted samples as real training images at most, three seeds, small
pictures; tested on the deciding half of val.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vesalius.data.modality import find_modality
from vesalius.eval.usefulness import measure
from vesalius.eval.usefulness_config import UsefulnessConfig
from vesalius.improve.config import ImproveConfig
from vesalius.improve.facts import Fact
from vesalius.improve.material import Material, Member
from vesalius.improve.reference import write_parts

SEEDS, UPDATES = 3, 150


def usefulness_facts(config: ImproveConfig, folder: Path, material: Material) -> tuple[list[Fact], list[str]]:
    """The gain over real images alone as a fact, and notes on what could not be measured.

    The fact is 0 where nothing helps: round 0, which has no samples, has that by definition. It counts as better only
    where repeating real images helps less.
    """
    real = write_parts(
        config.out / "reference-usefulness",
        {"train": material.train, "val": material.calibrate, "test": material.decide}, links=False,
    )  # fmt: skip
    label = label_of(material.train)
    if label is None:
        return [], ["usefulness: no label and no finding is on some training images and not on others"]
    try:
        found = measure(
            UsefulnessConfig(
                samples=folder / "accepted", real=real, out=folder / "usefulness", label=label, ratios=(1.0,),
                shares=(), seeds=SEEDS, updates=UPDATES, json=config.json,
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


def label_of(members: list[Member]) -> str | None:
    """What a classifier is to tell: the records' label where two are frequent, else the most evenly split finding."""
    labels = Counter((find_modality(r.modality).name, r.label) for _, r in members if r.label)
    frequent = Counter(modality for (modality, _), count in labels.items() if count >= 2)
    if any(count > 1 for count in frequent.values()):
        return "label"
    kinds = Counter(f.kind for _, r in members for f in r.findings if f.present)
    fitting = {k: n for k, n in kinds.items() if 2 <= n <= len(members) - 2}
    return f"finding:{max(fitting, key=lambda k: (fitting[k], k))}" if fitting else None
