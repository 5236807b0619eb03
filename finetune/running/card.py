"""The card of a finished run: what it was trained on and how, its curve and its pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.datasets.card import Tally, table
from vesalius.data.record import read_rows, write_atomic
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.trainset import Trainset
from vesalius.finetune.running.pictures import read_rows_of
from vesalius.inference.request import Request
from vesalius.models.base import Base

SMOOTH = 0.95
"""Weight of the past in the training loss as it is drawn."""


def write_run_card(
    config: FinetuneConfig,
    trainset: Trainset,
    base: Base,
    validation: Sequence[tuple[int, float]],
    requests: Sequence[Request],
) -> None:
    """`README.md`, `curve.png` and `pictures.png` in the run folder."""
    out = config.out
    write_atomic(out / "curve.png", _curve(list(read_rows(out / "losses.jsonl")), validation))
    drawn = read_rows_of(out / "pictures")
    if drawn:
        write_atomic(out / "pictures.png", _sheet(drawn))
    tally = Tally(record for _, record in trainset.train)
    whole = "base" if config.kind == "full" else "adapter"
    best = min(validation, key=lambda each: each[1])
    folder = out.name if whole == "adapter" else f"{out.name}/base"
    how = f"--base {base.name} --adapter {folder}" if whole == "adapter" else f"--base {folder}"
    told = (
        f"A fine-tuned {whole} ({config.kind}) of `{base.name}`. **What it draws is synthetic and not for diagnosis.**",
        "",
        f"Validation loss {validation[0][1]:.4f} at step {validation[0][0]}, {validation[-1][1]:.4f} at step "
        f"{validation[-1][0]}; least {best[1]:.4f} at step {best[0]}. Images, noise and timesteps are the same each "
        "time. It says whether training helped, and nothing of how well pictures show what is asked: `vesalius eval` "
        "does.",
    )
    lines = [
        *("---", "library_name: diffusers", "pipeline_tag: text-to-image", "tags: [medical, synthetic]", "---", ""),
        *(f"# {out.name}", "", *told, "", "![Training and validation loss](curve.png)", ""),
        *(("![Drawn on the way, from the same noise](pictures.png)", "") if drawn else ()),
        *(f"{i + 1}. {request.prompt}" for i, request in enumerate(requests if drawn else ())),
        *("", "## Trained on", ""),
        f"{counted(tally.num_records, 'image')}, {counted(len(trainset.held_out), 'other')} for the validation loss.",
        *("", *table("Modality", tally.modalities), *table("Source and licence", tally.sources)),
        *("Carry the attribution that these licences ask for wherever the weights go.", ""),
        *("## Made with", "", "```json", json.dumps(_told(config), indent=1, default=str), "```", ""),
        *("## Use", "", "```bash", f'vesalius generate "PROMPT" {how}', "```"),
    ]
    write_atomic(out / "README.md", ("\n".join(lines) + "\n").encode())


def _told(config: FinetuneConfig) -> dict[str, Any]:
    """The fields that differ from their defaults; places on a disk by their names alone."""
    plain = FinetuneConfig(data=(), out=Path())
    changed = {k: v for k, v in vars(config).items() if v != getattr(plain, k) and k not in ("json", "out", "sync")}
    return {k: [p.name for p in v] if k == "data" else v for k, v in changed.items()}


def _curve(rows: list[dict[str, Any]], validation: Sequence[tuple[int, float]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    smooth: list[float] = []
    for row in rows:
        smooth.append(row["loss"] if not smooth else SMOOTH * smooth[-1] + (1 - SMOOTH) * row["loss"])
    axes.plot([row["step"] for row in rows], smooth, color="0.6", linewidth=1, label="training (smoothed)")
    axes.plot(*zip(*validation, strict=True), color="tab:blue", marker="o", markersize=3, label="validation")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    return _png(figure)


def _sheet(drawn: Sequence[tuple[int, Any]]) -> bytes:
    from matplotlib.figure import Figure

    high, wide = drawn[0][1].shape[:2]
    figure = Figure(figsize=(8, 0.35 + len(drawn) * 7.4 * high / wide), layout="constrained")
    for axes, (step, picture) in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set(xticks=[], yticks=[], ylabel=f"step {step}")
    return _png(figure)


def _png(figure: Any) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
