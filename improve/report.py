"""The page of a loop: the rounds and their decisions, the curves, what was accepted, what was refused and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vesalius.data.counted import counted
from vesalius.data.record import read_rows
from vesalius.eval.fidelity import kid_by_modality
from vesalius.eval.obedience_page import shares
from vesalius.eval.pictures import curve_svg, image_uri
from vesalius.eval.report import Figure, Section, Table, write_page
from vesalius.improve.candidates import read_verdicts
from vesalius.inference.sample import Sample, load_samples

MOST_FIGURES = 36


def write_report(folder: Path) -> Path:
    """Write OUT/report.html from the files of the rounds that there are; returns its path."""
    rounds = [p for p in sorted(folder.glob("round-*")) if (p / "decision.json").is_file()]
    decisions = {p: json.loads((p / "decision.json").read_text()) for p in rounds}
    sections = [_summary(decisions), *_obedience(rounds), _curves(rounds)]
    for path in rounds:
        sections += _samples(path)
    last = rounds[-1]
    drawn = load_samples(last / "eval-samples")
    sections.insert(
        1,
        Section(
            title="What the last round draws, under captions it was not trained on",
            figures=[_figure(last / "eval-samples", s, "", False) for s in drawn[:MOST_FIGURES]],
        ),
    )
    path = folder / "report.html"
    write_page(path, "Self-improvement loop", f"{counted(len(rounds), 'round')} in {folder.resolve().name}", sections)
    return path


def _summary(decisions: dict[Path, dict[str, Any]]) -> Section:
    rows = []
    for path, decision in decisions.items():
        verdicts = read_verdicts(path)
        accepted = sum(v["reason"] is None for v in verdicts)
        validation = json.loads((path / "run" / "validation.json").read_text())
        report = json.loads((path / "eval" / "report.json").read_text())
        kid = ", ".join(f"{m} {row['value']:.4f}" for m, row in kid_by_modality(report, "witness").items())
        rows.append([
            path.name, f"{accepted} of {len(verdicts)}" if verdicts else "-", f"{validation[0]['loss']:.4f}",
            f"{validation[-1]['loss']:.4f}", kid or "-",
            f"{'promoted' if decision['promoted'] else 'rolled back'}: {'; '.join(decision['reasons'])}",
        ])  # fmt: skip
    head = ("round", "samples accepted", "validation loss of the base", "of the adapter", "KID by witness", "decision")
    return Section(title="Rounds", tables=[Table(head=head, rows=rows)])


def _obedience(rounds: list[Path]) -> list[Section]:
    """What samples under test captions show of what was asked, by networks that gated none; nothing where no report
    says it."""
    found = {p.name: shares(json.loads((p / "eval" / "report.json").read_text()).get("obedience", {})) for p in rounds}
    questions = list(dict.fromkeys(question for each in found.values() for question in each))
    rows = [[question, *(_share(found[name].get(question)) for name in found)] for question in questions]
    if not rows:
        return []
    told = "Share that is right (95 %), n, by networks that filter nothing; the judge, which does, is not asked."
    return [Section(title="Obedience", text=[told], tables=[Table(head=("what, by", *found), rows=rows)])]


def _share(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['value']:.1%} ({row['low']:.1%} to {row['high']:.1%}), {row['num']}"


def _curves(rounds: list[Path]) -> Section:
    training: dict[str, tuple[list[float], list[float]]] = {}
    validation: dict[str, tuple[list[float], list[float]]] = {}
    for path in rounds:
        rows = list(read_rows(path / "run" / "losses.jsonl"))
        window = max(1, len(rows) // 25)
        chunks = [rows[i : i + window] for i in range(0, len(rows), window)]
        training[path.name] = ([c[-1]["step"] for c in chunks], [sum(r["loss"] for r in c) / len(c) for c in chunks])
        points = json.loads((path / "run" / "validation.json").read_text())
        validation[path.name] = ([p["step"] for p in points], [p["loss"] for p in points])
    return Section(
        title="Curves",
        text=[
            "Training loss is averaged over windows; "
            "validation loss is on held-out images with fixed noise and timesteps."
        ],
        plots=[
            curve_svg(validation, x="step", y="loss", title="Validation loss"),
            curve_svg(training, x="step", y="loss", title="Training loss"),
        ],
    )


def _samples(path: Path) -> list[Section]:
    verdicts = {v["file_name"]: v for v in read_verdicts(path)}
    if not verdicts:
        return []
    samples = load_samples(path / "samples")
    refused = [s for s in samples if verdicts[s.file_name]["reason"]]
    accepted = [s for s in samples if not verdicts[s.file_name]["reason"]]
    reasons = Counter(verdicts[s.file_name]["reason"].split(":")[0] for s in refused)
    return [
        Section(
            title=f"{path.name}: accepted and added back ({len(accepted)} of {len(samples)})",
            figures=[_figure(path / "samples", s, "accepted", False) for s in accepted[:MOST_FIGURES]],
        ),
        Section(
            title=f"{path.name}: refused ({len(refused)} of {len(samples)}), and why",
            tables=[
                Table(head=("gate", "refused"), rows=[[name, str(count)] for name, count in reasons.most_common()])
            ],
            figures=[
                _figure(path / "samples", s, verdicts[s.file_name]["reason"], True) for s in refused[:MOST_FIGURES]
            ],
        ),
    ]


def _figure(folder: Path, sample: Sample, note: str, bad: bool) -> Figure:
    return Figure(
        image=image_uri(folder / sample.file_name), caption=sample.text[:160], alt=sample.text, note=note, bad=bad
    )
