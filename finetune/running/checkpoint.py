"""Checkpoints that survive kill -9: written whole beside the last one, verified before they are trusted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from vesalius.data.record import digest_file, write_json
from vesalius.models.adapters.adapter import disk_errors

KEEP = 2
DAMAGED = (OSError, ValueError, KeyError, TypeError, SafetensorError)
"""What reading a checkpoint raises that is not whole."""


def save_checkpoint(run: Path, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> Path:
    """Write `run/checkpoints/step-N`: tensors, a state file with their digest, one rename. Keeps the last two."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    for left in (run / "checkpoints").glob(".step-*.tmp"):  # of a save that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with disk_errors(temporary):
        save_file(whole, temporary / "tensors.safetensors")
    with (temporary / "tensors.safetensors").open("rb") as file:
        os.fsync(file.fileno())
    write_json(
        temporary / "state.json", {"step": step, "sha256": digest_file(temporary / "tensors.safetensors"), **state}
    )
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    sync_folder(folder.parent)
    # A later step than this one can only be damaged: a whole one would have been resumed from.
    kept = [f for f in sorted(folder.parent.glob("step-*"), reverse=True) if f.name <= folder.name][:KEEP]
    for other in set(folder.parent.glob("step-*")) - set(kept):
        shutil.rmtree(other, ignore_errors=True)
    return folder


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder outlive a loss of power. Nothing where the system cannot open folders."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def load_checkpoint(run: Path) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
    """The newest checkpoint whose digest holds, as (step, tensors, state), or None; damaged ones are passed over."""
    for folder in checkpoints(run):
        try:
            if (state := whole_state(folder)) is not None:
                return state["step"], load_file(folder / "tensors.safetensors"), state
        except DAMAGED:
            continue
    return None


def find_checkpoint(run: Path) -> tuple[Path, dict[str, Any]] | None:
    """As `load_checkpoint`, but its folder in place of its tensors."""
    for folder in checkpoints(run):
        try:
            if (state := whole_state(folder)) is not None:
                with safe_open(folder / "tensors.safetensors", framework="pt"):
                    return folder, {**state, "step": int(state["step"])}
        except DAMAGED:
            continue
    return None


def checkpoints(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, newest first."""
    return sorted((run / "checkpoints").glob("step-*"), reverse=True)


def whole_state(folder: Path) -> dict[str, Any] | None:
    """The state of a checkpoint whose digest holds, or None; raises what a damaged one makes raise."""
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return state if digest_file(folder / "tensors.safetensors") == state["sha256"] else None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimizer's state as named tensors (safetensors holds no pickles)."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{k}": torch.as_tensor(v) for i, slots in state.items() for k, v in slots.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of `optimizer_tensors`, into an optimizer over the same parameters in the same order."""
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
