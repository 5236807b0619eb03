"""An evaluation: a samples folder against real images, as one page, one JSON and one Markdown summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vesalius.data.counted import counted
from vesalius.data.image import read_image
from vesalius.data.record import digest_file, load_records, write_atomic, write_json
from vesalius.eval.config import EvalConfig
from vesalius.eval.gates import Verdict, calibrate, check_enough, judge_sample
from vesalius.eval.metrics import MIN_IMAGES, kernel_distance_with_interval, real_floor
from vesalius.eval.pictures import histogram_svg, image_uri
from vesalius.eval.report import Figure, Section, Table, write_page
from vesalius.eval.scores import Case, Scorer, Scores, case_of_record, case_of_sample, read_images
from vesalius.inference.sample import Sample, load_samples
from vesalius.models.detector import DETECTORS, JudgeDetector
from vesalius.models.judge_network import Judge


def evaluate(config: EvalConfig) -> dict[str, Any]:
    """Run an evaluation and write report.html, report.json and report.md; returns what the JSON holds.

    ValueError where a folder is none, or where the two share no modality.
    """
    samples = load_samples(config.samples)
    modalities = {s.modality for s in samples}
    real = [c for c in _cases(config.real, config.split) if c.modality in modalities]
    if not real:
        raise ValueError(
            f"{config.real}: split '{config.split}' has no images of {', '.join(sorted(modalities))}, "
            "which the samples are of"
        )
    train = [c for c in _cases(config.train or config.real, "train") if c.modality in modalities]
    check_folders(config, samples)
    for name, count in Counter(c.modality for c in real).items():
        check_enough(name, count, f"{config.split} (of {config.real})")
    if not train:
        raise ValueError(
            f"{config.train or config.real}: no training images of {', '.join(sorted(modalities))} to search for copies"
        )
    if config.dry_run:
        return {"samples": len(samples), "real": len(real), "train": len(train)}

    judge = Judge.load()
    cases = [case_of_sample(config.samples, s) for s in samples]
    images = read_images(cases, judge.config.image_size, "reading samples", quiet=config.json)
    real_images = read_images(real, judge.config.image_size, "reading real images", quiet=config.json)
    scorer = Scorer(judge, train, quiet=config.json)
    scores, real_scores = scorer(cases, images), scorer(real, real_images)
    thresholds = calibrate([c.modality for c in real], real_scores)
    verdicts = [judge_sample(s, row, thresholds) for s, row in zip(samples, scores, strict=True)]
    result: dict[str, Any] = {
        "synthetic": True,
        "num_samples": len(samples),
        "num_real": len(real),
        "num_train": len(train),
        "split": config.split,
        "judge": judge.digest,
        "image_size": judge.config.image_size,
        "base_digest": samples[0].base_digest,
        "adapter_digest": samples[0].adapter_digest,
        "fidelity": fidelity(cases, images, real, real_images, judge, seed=config.seed),
        "agreement": {m: agreement(m, cases, scores, real, real_scores) for m in sorted(modalities)},
        "copies": {m: copies(m, cases, scores, real, real_scores) for m in sorted({c.modality for c in real})},
        "accepted": sum(v.reason is None for v in verdicts),
        "thresholds": {m: asdict(t) for m, t in thresholds.items()},
        "scores": [{"file_name": s.file_name, **row} for s, row in zip(samples, scores, strict=True)],
    }
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "report.json", result)
    write_atomic(config.out / "report.md", markdown(result).encode())
    sections = report_sections(result, scorer, cases, images, verdicts, real_scores, scores)
    write_page(
        config.out / "report.html",
        "Evaluation of a synthetic set",
        f"{counted(len(samples), 'sample')} from {config.samples.resolve().name}",
        sections,
    )
    return result


def check_folders(config: EvalConfig, samples: list[Sample]) -> None:
    """ValueError where --out holds something else than a report, or a sample's picture is not the one drawn."""
    if config.out.exists() and not config.out.is_dir():
        raise ValueError(f"{config.out}: is a file; choose a folder for --out")
    there = [p for p in config.out.glob("*") if not p.name.startswith(".")]
    if there and not any(p.name == "report.json" for p in there):
        raise ValueError(f"{config.out}: is not empty and holds no report; choose another --out")
    for sample in samples:
        path = config.samples / sample.file_name
        if path.suffix != ".png":
            raise ValueError(f"{path}: only samples of `vesalius generate --sink png` are evaluated; draw them so")
        if path.is_file() and digest_file(path) != sample.sha256:
            read_image(path)  # says what is wrong with it where it does not open
            raise ValueError(f"{path}: was changed since it was drawn; run its `vesalius generate` line again")


def _cases(folder: Path, split: str) -> list[Case]:
    return [case_of_record(folder, r) for r in load_records(folder, split) if r.origin != "synthetic"]


def fidelity(
    cases: list[Case], images: torch.Tensor, real: list[Case], real_images: torch.Tensor, judge: Judge, *, seed: int
) -> list[dict[str, Any]]:
    """KID under each detector, per modality, beside the real-against-real floor. Sets that are too small say so."""
    rows: list[dict[str, Any]] = []
    for name, make in DETECTORS.items():
        detector = JudgeDetector(judge) if name == "judge" else make()
        ours, theirs = detector(images), detector(real_images)
        for modality in sorted({c.modality for c in cases}):
            a = ours[[i for i, c in enumerate(cases) if c.modality == modality]]
            b = theirs[[i for i, c in enumerate(real) if c.modality == modality]]
            row: dict[str, Any] = {
                "modality": modality,
                "detector": name,
                "digest": detector.digest,
                "num_samples": len(a),
                "num_real": len(b),
            }
            if min(len(a), len(b) // 2) < MIN_IMAGES:
                rows.append(
                    {
                        **row,
                        "note": f"too few images for a KID (needs {MIN_IMAGES} samples and {2 * MIN_IMAGES} real ones)",
                    }
                )
            else:
                rows.append(
                    {
                        **row,
                        "kid": asdict(kernel_distance_with_interval(a, b, seed=seed)),
                        "floor": asdict(real_floor(b, seed=seed)),
                    }
                )
    return rows


def agreement(
    modality: str, cases: list[Case], scores: list[Scores], real: list[Case], real_scores: list[Scores]
) -> dict[str, Any]:
    """Obedience to the prompt, each number beside the same judge's on real images with their own captions."""

    def summary(members: list[Scores]) -> dict[str, Any]:
        sided = [s["side_margin"] > 0 for s in members if "side_margin" in s]
        found = [s["findings"] >= 0.5 for s in members if "findings" in s]
        return {
            "num": len(members),
            "modality_right": float(np.mean([s["modality"] >= 0.5 for s in members])) if members else None,
            "agreement": float(np.mean([s["agreement"] for s in members])) if members else None,
            "side_right": float(np.mean(sided)) if sided else None,
            "findings_right": float(np.mean(found)) if found else None,
        }

    return {
        "samples": summary([s for c, s in zip(cases, scores, strict=True) if c.modality == modality]),
        "real": summary([s for c, s in zip(real, real_scores, strict=True) if c.modality == modality]),
    }


def copies(
    modality: str, cases: list[Case], scores: list[Scores], real: list[Case], real_scores: list[Scores]
) -> dict[str, Any]:
    """Distance to the nearest training image, beside that of real images that the model never saw."""
    ours = [s["nearest_train"] for c, s in zip(cases, scores, strict=True) if c.modality == modality]
    theirs = [s["nearest_train"] for c, s in zip(real, real_scores, strict=True) if c.modality == modality]
    limit = float(np.percentile(theirs, 1))
    return {
        "median": float(np.median(ours)),
        "median_real": float(np.median(theirs)),
        "limit": limit,
        "share_below_limit": float(np.mean([x < limit for x in ours])),
    }


def markdown(result: dict[str, Any]) -> str:
    """The summary as Markdown tables."""
    lines = [
        "# Evaluation of a synthetic set",
        "",
        f"{result['num_samples']} samples against {result['num_real']} real images ({result['split']} split). "
        "Not for diagnosis.",
        "",
    ]
    for table in (fidelity_table(result), agreement_table(result), copies_table(result)):
        lines += [
            f"| {' | '.join(table.head)} |",
            f"|{'---|' * len(table.head)}",
            *(f"| {' | '.join(row)} |" for row in table.rows),
            "",
        ]
    return "\n".join(lines)


def fidelity_table(result: dict[str, Any]) -> Table:
    rows = []
    for row in result["fidelity"]:
        kid, floor = row.get("kid"), row.get("floor")
        told = [_interval(kid), _interval(floor)] if kid and floor else [row["note"], ""]
        rows.append([row["modality"], row["detector"], *told, str(row["num_samples"]), str(row["num_real"])])
    return Table(head=("modality", "detector", "KID (95 %)", "real against real (95 %)", "samples", "real"), rows=rows)


def agreement_table(result: dict[str, Any]) -> Table:
    rows = []
    for modality, pair in result["agreement"].items():
        for name in ("samples", "real"):
            row = pair[name]
            cells = [
                _share(row["modality_right"]),
                _number(row["agreement"]),
                _share(row["side_right"]),
                _share(row["findings_right"]),
            ]
            rows.append([f"{modality}, {name}", *cells, str(row["num"])])
    return Table(head=("images", "modality right", "agreement", "side right", "findings right", "n"), rows=rows)


def copies_table(result: dict[str, Any]) -> Table:
    rows = [
        [m, _number(c["median"]), _number(c["median_real"]), _number(c["limit"]), _share(c["share_below_limit"])]
        for m, c in result["copies"].items()
    ]
    return Table(
        head=(
            "modality",
            "median distance",
            "of unseen real images",
            "limit (their 1st percentile)",
            "nearer than the limit",
        ),
        rows=rows,
    )


def report_sections(
    result: dict[str, Any], scorer: Scorer, cases: list[Case], images: torch.Tensor, verdicts: list[Verdict],
    real_scores: list[Scores], scores: list[Scores],
) -> list[Section]:  # fmt: skip
    """The page: how near the set is to the real one, whether it obeys, whether it copies, the pictures."""
    distances = {
        "samples": [s["nearest_train"] for s in scores],
        "unseen real images": [s["nearest_train"] for s in real_scores],
    }
    agreements = {
        "samples": [s["agreement"] for s in scores],
        "unseen real images": [s["agreement"] for s in real_scores],
    }
    _, nearest = scorer.nearest(cases, scorer.judge.embed_images(images))
    closest = sorted(range(len(cases)), key=lambda i: scores[i]["nearest_train"])[:4]
    pairs = []
    for i in closest:
        note, training = f"distance {scores[i]['nearest_train']:.3f}", scorer.references[int(nearest[i])]
        pairs += [
            Figure(
                image=image_uri(cases[i].path), caption=f"sample: {cases[i].text[:90]}", alt=cases[i].modality,
                note=note,
            ),
            Figure(
                image=image_uri(training.path), caption="its nearest training image",
                alt="(training image, real or phantom)",
            ),
        ]  # fmt: skip
    return [
        Section(
            title="Fidelity", tables=[fidelity_table(result)],
            text=["KID by two detectors that share nothing; draw a conclusion only where both say the same."],
        ),
        Section(
            title="Obedience to the prompt", tables=[agreement_table(result)],
            text=[
                "Measured by the embedded judge. Its row on real images is its own error: "
                "no sample can be trusted more than that."
            ],
            plots=[histogram_svg(agreements, x="agreement of picture and prompt", title="Agreement")],
        ),
        Section(
            title="Copies", tables=[copies_table(result)],
            plots=[histogram_svg(distances, x="distance to the nearest training image", title="Distance")],
            text=["The four samples nearest to a training image, each beside that image."], figures=pairs,
        ),
        Section(
            title=f"Samples: {result['accepted']} of {len(verdicts)} pass the gates",
            figures=[
                Figure(
                    image=image_uri(c.path), caption=c.text[:140], alt=c.text,
                    note=v.reason or "accepted", bad=v.reason is not None,
                )
                for c, v in list(zip(cases, verdicts, strict=True))[:60]
            ],
        ),
    ]  # fmt: skip


def _interval(row: dict[str, Any]) -> str:
    return f"{row['value']:.4f} ({row['low']:.4f} to {row['high']:.4f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
