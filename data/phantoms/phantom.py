"""Phantoms: digital reference objects with known findings, each with its report, caption and mask.

Everything is a pure function of the seed. Convention: radiological display, the patient's left on the image's right.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import check_place
from vesalius.data.command.workers import Crashed, Workers, batches
from vesalius.data.datasets.split import hashed_split
from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import Float32, Uint8, png_bytes
from vesalius.data.phantoms import brain, chest, tissue
from vesalius.data.phantoms.canvas import FindingRule, Scene
from vesalius.data.phantoms.config import PhantomConfig as PhantomConfig
from vesalius.data.phantoms.report import Writer
from vesalius.data.record import Finding, Record, Side, hold, read_state, write_atomic, write_dataset, write_json

RULES: dict[str, dict[str, FindingRule]] = {
    "CT": chest.RULES,
    "MRI": brain.RULES,
    "pathology": tissue.RULES,
}
KINDS: dict[str, tuple[str, ...]] = {modality: tuple(rules) for modality, rules in RULES.items()}
_DRAW: dict[str, Callable[[int, int, tuple[Finding, ...]], Scene]] = {
    "CT": chest.draw_chest,
    "MRI": brain.draw_brain,
    "pathology": tissue.draw_tissue,
}
ORGANS = {"CT": "chest", "MRI": "brain", "pathology": "breast"}
NORMAL_SHARE, PAIR_SHARE = 0.25, 0.2
TASK = 32
"""Phantoms that a worker is given at once."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One drawn case.

    image: HWC uint8, 1 channel for CT and MRI, 3 for pathology. mask: HW uint8, 0 for background, k for the k-th of
    KINDS[modality]. hu: Hounsfield units HW float32, of CT. text: the report. caption: one line. findings: those
    present, as drawn, then those denied. words: what the drawing settled beside them (sequence, level).
    """

    image: Uint8
    mask: Uint8
    hu: Float32 | None
    text: str
    caption: str
    modality: str
    """CT, MRI or pathology"""
    organ: str
    """part of the body"""
    findings: tuple[Finding, ...]
    words: dict[str, str]


def _rules(modality: str) -> dict[str, FindingRule]:
    if modality not in RULES:
        near = difflib.get_close_matches(modality, RULES, n=1, cutoff=0.3)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise ValueError(f"phantom modality '{modality}' is not drawn{hint} ({', '.join(RULES)})")
    return RULES[modality]


def _settle(finding: Finding, modality: str, rng: np.random.Generator) -> Finding:
    """The finding with what it left open drawn by chance. ValueError where it cannot be."""
    rules = _rules(modality)
    if finding.kind not in rules:
        near = difflib.get_close_matches(finding.kind, rules, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise ValueError(f"finding '{finding.kind}' is not drawn in {modality}{hint} ({', '.join(rules)})")
    rule = rules[finding.kind]
    if not finding.present:
        return Finding(kind=finding.kind, present=False)
    where = f"{modality} finding '{finding.kind}'"
    if finding.side is not None and finding.side not in rule.sides:
        raise ValueError(f"{where}: side '{finding.side}' cannot be; use {', '.join(rule.sides) or 'none'}")
    if not 1 <= finding.count <= rule.max_count:
        raise ValueError(f"{where}: count {finding.count} is not within 1 and {rule.max_count}")
    side, size = finding.side, finding.size_mm
    if side is None and rule.sides:
        side = cast(Side, str(rng.choice(["left", "right"])))
    if side == "bilateral" and rule.size_mm is not None and finding.count < 2:
        raise ValueError(f"{where}: a bilateral one needs a count of at least 2, got {finding.count}")
    if rule.size_mm is None and size is not None:
        raise ValueError(f"{where}: takes no size_mm, got {size:g}; leave it out")
    if rule.size_mm is not None:
        low, high = rule.size_mm
        if size is None:
            size = float(rng.integers(low, (high if finding.count == 1 else min(high, 24)) + 1))
        if not low <= round(size) <= high:
            raise ValueError(f"{where}: size_mm {size:g} is not within {low} and {high}")
        size = float(round(size))
    return Finding(kind=finding.kind, side=side, size_mm=size, count=finding.count)


def check_finding(finding: Finding, modality: str) -> None:
    """ValueError where the finding cannot be drawn: a kind, side, size or count that the modality does not have."""
    _settle(finding, modality, np.random.default_rng(0))


def sample_findings(seed: int, modality: str) -> tuple[Finding, ...]:
    """What a phantom shows where nothing is asked for: a quarter normal, else a kind or two; one to three denied."""
    rng = np.random.default_rng([seed, 2])
    rules = _rules(modality)
    kinds = list(rules)
    rng.shuffle(kinds)
    num = 0 if rng.random() < NORMAL_SHARE else 1 + int(rng.random() < PAIR_SHARE)
    findings = []
    for kind in kinds[:num]:
        rule = rules[kind]
        single = rule.size_mm is not None and (num > 1 or rng.random() < 0.65)
        count = 1 if single else int(rng.integers(1, rule.max_count + 1))
        chosen = "left" if rng.random() < 0.5 else "right"
        if "bilateral" in rule.sides and rng.random() < (0.4 if count > 1 else 0 if rule.size_mm else 0.12):
            chosen = "bilateral"
        # two kinds in one patient, or several of a kind, stay small enough to fit beside each other
        ceiling = min(rule.size_mm[1], 24 if count > 1 else 26 if num > 1 else 99) if rule.size_mm else 0
        size = float(rng.integers(rule.size_mm[0], ceiling + 1)) if rule.size_mm else None
        findings.append(Finding(kind=kind, side=cast(Side, chosen) if rule.sides else None, size_mm=size, count=count))
    denied = kinds[num : num + int(rng.integers(1, 4))]
    return (*findings, *(Finding(kind=kind, present=False) for kind in denied))


def draw_phantom(seed: int, modality: str, *, size: int = 64, findings: tuple[Finding, ...] | None = None) -> Phantom:
    """The phantom of a seed: exactly these findings (side and size may be left open), or sampled ones.

    The patient behind a seed stays the same whatever the findings. ValueError for a kind, side, size or count that
    cannot be drawn, for one kind named twice, and where the findings leave no room for one another.
    """
    if not 32 <= size <= 512:
        raise ValueError(f"phantom size {size} is not within 32 and 512 pixels")
    if seed < 0:
        raise ValueError(f"phantom seed {seed} is negative; use 0 or more")
    asked = sample_findings(seed, modality) if findings is None else findings
    rng = np.random.default_rng([seed, 4])
    settled = tuple(_settle(finding, modality, rng) for finding in asked)
    kinds = [finding.kind for finding in settled]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"{modality} findings name a kind twice ({', '.join(kinds)}); use count, or side='bilateral'")
    settled = tuple(sorted(settled, key=lambda finding: not finding.present))
    scene = _DRAW[modality](seed, size, tuple(f for f in settled if f.present))
    writer = Writer(np.random.default_rng([seed, 5]), modality, {**scene.words, "organ": ORGANS[modality]})
    return Phantom(
        image=scene.image,
        mask=scene.mask,
        hu=scene.hu,
        text=writer.report(settled),
        caption=writer.caption(settled),
        modality=modality,
        organ=ORGANS[modality],
        findings=settled,
        words=scene.words,
    )


def _check(config: PhantomConfig) -> dict[str, Any]:
    """The part of the configuration that settles the content, checked."""
    if config.num < 1:
        raise ValueError(f"--num {config.num}: expected at least 1")
    if not 32 <= config.size <= 512:
        raise ValueError(f"--size {config.size} is not within 32 and 512 pixels")
    if config.seed < 0:
        raise ValueError(f"--seed {config.seed} is negative; use 0 or more")
    if config.workers < 0:
        raise ValueError(f"--workers {config.workers}: expected a number of processes, or 0 for one a core")
    if not config.modalities:
        raise ValueError(f"--modalities is empty; choose of {', '.join(RULES)}")
    for modality in config.modalities:
        _rules(modality)
    if not (config.val >= 0 and config.test >= 0 and config.val + config.test < 1):
        raise ValueError(
            f"--val {config.val} and --test {config.test}: expected shares of at least 0 that leave some to train"
        )
    plan = {k: v for k, v in dataclasses.asdict(config).items() if k not in ("out", "json", "dry_run", "workers")}
    return {**plan, "modalities": list(config.modalities)}


def _card(config: PhantomConfig, counts: dict[str, int]) -> str:
    rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(counts.items()))
    kinds = "; ".join(f"{modality}: {', '.join(KINDS[modality])}" for modality in config.modalities)
    return f"""---
license: cc0-1.0
task_categories:
- text-to-image
tags:
- medical
- radiology
- phantom
- synthetic
---
# Phantoms

{config.num} digital reference objects drawn by Vesalius, not images of patients: {config.size} x {config.size} pixels,
seed {config.seed}. Each row has a report (`text`), a caption, its findings, and a `mask`, whose value k is
the k-th kind of the row's modality ({kinds}).
The patient's left is on the image's right. Not for diagnosis.

| label | records |
|---|---:|
{rows}
"""


def write_phantoms(config: PhantomConfig) -> Path:
    """Write a dataset folder of phantoms and return it.

    The same configuration continues a folder that was stopped, and a larger `num` adds to a finished one. ValueError
    where the folder holds something else, or was made by another configuration.
    """
    plan, out = _check(config), config.out
    marker = out / "phantom.json"
    check_place(out)
    if out.is_dir() and any(out.iterdir()):
        if not marker.is_file():
            raise ValueError(f"{out}: is not empty and holds no phantoms; name a new folder")
        before = read_state(marker, "delete the folder, or name a new one")
        differ = [k for k in plan if k != "num" and before.get(k) != plan[k]] + (
            ["num"] if before.get("num", 0) > config.num else []
        )
        if differ:
            told = ", ".join(f"{k} {before.get(k)} there, {plan[k]} asked" for k in differ)
            raise ValueError(f"{out}: was made by another configuration ({told}); name a new folder")
        if before == plan and (out / "manifest.json").is_file():
            return out
    if config.dry_run:
        return out
    with hold(out):
        (out / "manifest.json").unlink(missing_ok=True)
        write_json(marker, plan)
        _draw_all(config, plan)
    return out


def _draw_all(config: PhantomConfig, plan: dict[str, Any]) -> None:
    records, counts = [], dict[str, int]()
    with Progress("phantoms", config.num, quiet=config.json) as bar, Workers(config.workers) as workers:

        def draw(indices: list[int]) -> list[Record | Exception]:
            return workers.call(_write_one, indices, config)

        for _, drawn in workers.in_order(batches(range(config.num), TASK), draw, config.num // 4):
            for record in drawn:
                if isinstance(record, Crashed):
                    raise ValueError(
                        f"a process that draws phantoms died ({record}), as for want of memory; the same line "
                        "continues, with fewer --workers or a smaller --size"
                    )
                if isinstance(record, Exception):
                    raise record
                records.append(record)
                key = f"{record.modality}: {record.label}"
                counts[key] = counts.get(key, 0) + 1
                bar.step()
    write_dataset(config.out, records, card=_card(config, counts), manifest={"origin": "phantom", "phantom": plan})


def _write_one(index: int, config: PhantomConfig) -> Record:
    seed = config.seed * 1_000_003 + index
    modality = config.modalities[index % len(config.modalities)]
    phantom = draw_phantom(seed, modality, size=config.size)
    patient = f"phantom-{seed:06d}"
    split, _ = hashed_split(patient, seed=0, val=config.val, test=config.test)
    in_units = config.hounsfield and phantom.hu is not None
    image = hu_png(phantom.hu) if config.hounsfield and phantom.hu is not None else png_bytes(phantom.image)
    file_name, mask = f"{split}/images/{patient}.png", f"{split}/masks/{patient}.png"
    for name, content in ((file_name, image), (mask, png_bytes(phantom.mask[..., None]))):
        path = config.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            write_atomic(path, content)
    present = [finding for finding in phantom.findings if finding.present]
    return Record(
        file_name=file_name,
        text=phantom.text,
        caption=phantom.caption,
        modality=modality,
        organ=phantom.organ,
        label=present[0].kind if present else "normal",
        findings=phantom.findings,
        patient_id=patient,
        split=split,
        origin="phantom",
        license="CC0-1.0",
        source="vesalius phantom",
        mask=mask,
        sha256=hashlib.sha256(image).hexdigest(),
        hounsfield=in_units,
        extra={"phantom_seed": seed, **phantom.words},
    )
