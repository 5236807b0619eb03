"""Checkpoints survive what happens to rented machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vesalius.finetune.running.checkpoint import (
    KEEP,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

SAVE_FOREVER = """
import sys, torch
from pathlib import Path
from vesalius.finetune.running.checkpoint import save_checkpoint
step = 1
while True:
    save_checkpoint(Path(sys.argv[1]), step, {"w": torch.full((400_000,), float(step))}, {"note": step})
    print(step, flush=True)
    step += 1
"""


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    tensors = {"adapter.a": torch.randn(3, 4).T, "optimizer.0.step": torch.tensor(7.0)}
    save_checkpoint(tmp_path, 12, tensors, {"validation": [(0, 0.5)]})
    found = load_checkpoint(tmp_path)
    assert found is not None
    step, loaded, state = found
    assert (step, state["validation"]) == (12, [[0, 0.5]])
    assert all(torch.equal(loaded[k], v) for k, v in tensors.items())


def test_an_empty_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_kill_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", SAVE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = 0
    while said < 3:
        said = int(child.stdout.readline())
    time.sleep(0.003)  # into the middle of a later save
    child.send_signal(signal.SIGKILL)
    said = max([said, *map(int, child.stdout.read().split())])
    child.wait()
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert said <= found[0] <= said + 1
    assert torch.equal(found[1]["w"], torch.full((400_000,), float(found[0])))


def test_what_a_killed_save_left_is_swept_away(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".step-00000003.999.tmp"
    left.mkdir(parents=True)
    (left / "tensors.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 4, {"w": torch.zeros(1)}, {})
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


@pytest.mark.parametrize("damage", ["flip", "cut", "no tensors", "no state", "state is a list", "state is no JSON"])
def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, 1, {"w": torch.ones(100)}, {})
    newest = save_checkpoint(tmp_path, 2, {"w": torch.ones(100) * 2}, {})
    tensors, state = newest / "tensors.safetensors", newest / "state.json"
    content = bytearray(tensors.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "cut":
        tensors.write_bytes(content[:-8])
    elif damage.startswith("no "):
        os.remove(tensors if damage == "no tensors" else state)
    else:
        state.write_text("[1]" if damage == "state is a list" else "{")
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[0] == 1


def test_only_the_last_checkpoints_are_kept_and_none_later_than_the_newest(tmp_path: Path) -> None:
    for step in (2, 4, 6, 5):  # after damage to step 6 the run went on from 4
        save_checkpoint(tmp_path, step, {"w": torch.zeros(1)}, {})
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000005"]
    assert len(names) == KEEP


def test_a_restored_optimizer_takes_the_same_next_steps() -> None:
    def start() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(5, 3)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.01)

    def advance(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            layer(torch.full((2, 5), float(step))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    whole, its_optimizer = start()
    advance(whole, its_optimizer, range(6))
    first, its_first = start()
    advance(first, its_first, range(3))
    kept = {k: v.clone() for k, v in optimizer_tensors(its_first).items()}
    second, its_second = start()
    second.load_state_dict(first.state_dict())
    restore_optimizer(its_second, kept)
    assert all(torch.equal(v, optimizer_tensors(its_second)[k]) for k, v in kept.items())
    advance(second, its_second, range(3, 6))
    assert torch.equal(second.weight, whole.weight)
