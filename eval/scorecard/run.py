"""The scorecard of a base: everything that can be measured of it, each number with its interval, count and target.

    python -m vesalius.eval.scorecard.run --base nano --real DATASET --phantoms DATASET --out DIR

Resumes by the same line: what was drawn is kept in DIR/samples. Writes DIR/scorecard.json and DIR/scorecard.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from vesalius.data.record import digest_file, load_records, write_atomic, write_json
from vesalius.eval.scorecard.material import IMAGE_SIZE, Material, Missing, ScorecardConfig
from vesalius.eval.scorecard.obedience import measure_classes, measure_phantoms
from vesalius.eval.scorecard.prompts import family_of
from vesalius.eval.scorecard.reconstruction import reconstruction_scores
from vesalius.eval.scorecard.sets import measure_copies, measure_fidelity
from vesalius.eval.scorecard.table import Bar, Part, Row, Unit
from vesalius.eval.scorecard.utility import measure_utility

RETRIEVAL_BAR, AUC_BAR = Bar(least=0.95), Bar(least=0.95)
RECONSTRUCTION: dict[str, tuple[Unit, Bar | None]] = {
    "PSNR": ("dB", Bar(least=31.0)),
    "MS-SSIM": ("", Bar(least=0.97)),
    "HU error": ("HU", None),
    "HU error in soft tissue": ("HU", None),
}
MAX_PHANTOMS = 150
"""Phantoms that the autoencoder is measured on: the first of the test split."""


def measure_text(material: Material) -> Part:
    """Paraphrase retrieval and hard negatives of the base's text encoder."""
    from vesalius.eval.scorecard.text import text_scores

    pipeline, config = material.base.pipeline, material.config
    scores = text_scores(pipeline.tokenizer, pipeline.text_encoder, seed=config.seed, num=config.num_texts)
    rows = []
    for name, measured in scores.items():
        what, _, of = name.partition(", ")
        if what == "AUC":
            rows.append(Row(what=what, of=of, measured=measured, unit="", bar=AUC_BAR))
        else:
            rows.append(Row(what=what, of=of, measured=measured, bar=RETRIEVAL_BAR))
    return Part(
        title="Text encoder",
        text=(
            f"Texts of phantom findings by sentences that no training used, compared by the hidden state at the end-of-"
            f"text token. Retrieval: how often the nearest of {config.num_texts} texts of different meaning is the "
            "paraphrase. AUC: paraphrases against texts that differ in one side, or in one negation.",
        ),
        rows=tuple(rows),
    )


def measure_autoencoder(material: Material) -> Part:
    """What the base's autoencoder loses of the test split, and of phantoms where a folder of them is given."""
    config, vae = material.config, material.base.pipeline.vae
    records = [r for r in material.records if r.split == "test"]
    images = material.read(records)
    if config.phantoms is not None:
        phantoms = load_records(config.phantoms, "test")[:MAX_PHANTOMS]
        records, images = [*records, *phantoms], torch.cat([images, material.read(phantoms, config.phantoms)])
    groups = [f"{family_of(r)}{' phantoms' if r.origin == 'phantom' else ''}" for r in records]
    scores = reconstruction_scores(vae, images, groups, [r.hounsfield for r in records])
    rows = [
        Row(what=what, of=group, measured=scores[group][what], unit=unit, bar=bar)
        for what, (unit, bar) in RECONSTRUCTION.items()
        for group in scores
        if what in scores[group]
    ]
    return Part(
        title="Autoencoder",
        text=(
            f"Test images at {IMAGE_SIZE} pixels through the autoencoder and back (mean of the posterior); CT with "
            "known Hounsfield units (HU) in its three windows. Means over images, Student's interval. MS-SSIM: the "
            "first four of its five scales, their weights renormalised, since the fifth needs 161 pixels. HU error: "
            "mean absolute difference, also within soft tissue (-160 to 240 HU).",
        ),
        rows=tuple(rows),
    )


SECTIONS: dict[str, Callable[[Material], Part]] = {
    "text": measure_text,
    "autoencoder": measure_autoencoder,
    "classes": measure_classes,
    "phantoms": measure_phantoms,
    "fidelity": measure_fidelity,
    "copies": measure_copies,
    "utility": measure_utility,
}


def scorecard(config: ScorecardConfig) -> dict[str, Any]:
    """Measure, and write scorecard.json and scorecard.md; returns what the JSON holds.

    A section that lacks what it needs is refused with the reason, and the others go on. ValueError where base or real
    images are not there, or the folder holds other drawings.
    """
    check(config)
    material = Material(config)
    base, parts = material.base, dict[str, Part]()
    assert material.records
    for name in config.sections:
        try:
            parts[name] = SECTIONS[name](material)
        except Missing as error:
            parts[name] = Part(title=name.capitalize(), refused=str(error))
    rows = [row for part in parts.values() for row in part.rows]
    first = material.samples[0] if material.samples else None
    result = {
        "base": config.base,
        "base_digest": base.digest,
        "adapter": config.adapter,
        "adapter_digest": first and first.adapter_digest,
        "sampling": first
        and {
            "steps": first.steps,
            "guidance": first.guidance,
            "scheduler": first.scheduler,
            "precision": first.precision,
        },
        "config": asdict(config),
        "real_digest": digest_file(config.real / "manifest.json"),
        "met": sum(row.met is True for row in rows),
        "bars": sum(row.met is not None for row in rows),
        "sections": {name: part.to_json() for name, part in parts.items()},
    }
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "scorecard.json", result)
    write_atomic(config.out / "scorecard.md", markdown(result, parts).encode())
    return result


def check(config: ScorecardConfig) -> None:
    """ValueError where the configuration cannot be: before anything is loaded."""
    if unknown := [name for name in config.sections if name not in SECTIONS]:
        raise ValueError(f"--sections {' '.join(unknown)}: not known ({', '.join(SECTIONS)})")
    if config.num < 1 or config.num_texts < 2:
        raise ValueError(f"--num {config.num} must be at least 1, and --num-texts {config.num_texts} at least 2")
    if config.out.is_file():
        raise ValueError(f"{config.out}: is a file; choose a folder for --out")
    if not (config.real / "manifest.json").is_file():
        raise ValueError(f"{config.real}: no finished dataset there (manifest.json); `vesalius data build` makes one")


def markdown(result: dict[str, Any], parts: dict[str, Part]) -> str:
    """The scorecard as Markdown tables."""
    drawn_by = f"Base {result['base']} (digest {result['base_digest'][:12]})"
    drawn_by += f" with adapter {result['adapter']}" if result["adapter"] else ""
    if sampling := result["sampling"]:
        drawn_by += f", {sampling['steps']} steps of {sampling['scheduler']} in {sampling['precision']}"
        drawn_by += f", guidance {sampling['guidance']:g}"
    head = [
        "# Scorecard",
        "",
        f"{drawn_by}. {result['met']} of {result['bars']} targets met. All drawings are synthetic; not for diagnosis.",
        "",
    ]
    return "\n".join([*head, *(part.markdown() for part in parts.values())])


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(ScorecardConfig, scorecard)
