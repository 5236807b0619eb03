"""What a run writes down beside its checkpoints: what it runs on, and a line of each step."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from vesalius.data.record import Record, write_atomic


def machine(accelerator: Accelerator, attention: str) -> dict[str, Any]:
    """What a run runs on: device, precision, the attention kernel, and versions."""
    device = accelerator.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processes": accelerator.num_processes, "precision": str(accelerator.mixed_precision), "attention": attention,
        **{name: version(name) for name in ("vesalius", "torch", "diffusers", "peft", "accelerate")},
    }  # fmt: skip


def cut_log(path: Path, step: int) -> None:
    """Drop the lines of a log that a resumed run will write again, a half line of a killed one among them."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    # Lines are complete up to a checkpoint, one for each step, so the rest is what came after it.
    write_atomic(path, "".join(lines[:step]).encode())


def log(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def not_finite(step: int, loss: float, norm: float, losses: torch.Tensor, records: list[Record]) -> str:
    """What is said of a step whose loss or gradient is no number, with the records that it came from."""
    bad = [r.file_name for r, x in zip(records, losses.tolist(), strict=True) if not math.isfinite(x)]
    return (
        f"step {step}: loss is {loss} and gradient norm {norm}, at {', '.join(bad[:3]) or 'no one record here'}; "
        "lower --learning-rate or look there"
    )
