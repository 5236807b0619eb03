"""Any number of processes trains the same adapter."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vesalius.data.record import read_rows
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune

ConfigFor = Callable[..., FinetuneConfig]


def launch(config: FinetuneConfig, port: int) -> subprocess.Popen[str]:
    """The run on two processes that talk over gloo, started as `accelerate launch --multi_gpu` starts them.

    `accelerate launch --cpu` itself starts one process, whatever number it is told.
    """
    words = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port),
        "-m", "vesalius.finetune.lora",
    ]  # fmt: skip
    for name, value in dataclasses.asdict(config).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)] if value else []
        elif value is not None:
            words += [flag, str(value)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_train_what_one_does_and_one_goes_on_where_they_stopped(
    config_for: ConfigFor, tmp_path: Path
) -> None:
    one, two = (
        config_for(out=tmp_path / n, steps=8, batch_size=4, validate_every=4, save_every=4) for n in ("one", "two")
    )
    finetune(one)
    child = launch(two, 29611)
    _, said = child.communicate(timeout=240)
    assert child.returncode == 0, said
    ours, theirs = (list(read_rows(c.out / "losses.jsonl")) for c in (one, two))
    assert [r["step"] for r in theirs] == list(range(1, 9))
    for key in ("loss", "gradient_norm"):
        assert [r[key] for r in theirs] == pytest.approx([r[key] for r in ours], abs=1e-4)
    alone, shared = (load_file(c.out / "adapter" / "adapter_model.safetensors") for c in (one, two))
    assert all(torch.allclose(alone[k], shared[k], atol=1e-5) for k in alone)
    shutil.rmtree(two.out / "checkpoints" / "step-00000008")
    resumed, whole = finetune(two), finetune(one)
    assert [v for _, v in resumed.validation] == pytest.approx([v for _, v in whole.validation], abs=1e-4)
    again = list(read_rows(two.out / "losses.jsonl"))
    assert again[:4] == theirs[:4]
    assert [r["loss"] for r in again] == pytest.approx([r["loss"] for r in ours], abs=1e-4)


def test_a_batch_that_does_not_divide_is_refused_with_one_message(config_for: ConfigFor) -> None:
    child = launch(config_for(batch_size=3), 29612)
    _, said = child.communicate(timeout=240)
    assert child.returncode != 0
    assert "vesalius: --batch-size 3 does not divide among 2 processes" in said


def test_sigterm_to_the_launcher_leaves_one_whole_checkpoint(config_for: ConfigFor) -> None:
    config = config_for(steps=20_000, save_every=20_000, validate_every=20_000)
    child = launch(config, 29613)
    log, end = config.out / "losses.jsonl", time.monotonic() + 240
    while not (log.is_file() and log.stat().st_size):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    (kept,) = (config.out / "checkpoints").iterdir()
    assert int(kept.name.removeprefix("step-")) == len(list(read_rows(log)))
