"""Any number of processes trains the same adapter."""

from __future__ import annotations

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
FlagsOf = Callable[[FinetuneConfig], list[str]]


def launch(flags: list[str], port: int) -> subprocess.Popen[str]:
    """The run under `accelerate launch` on two processes that talk over gloo.

    `--multi_gpu` is the word that makes the launcher start several processes at all (with `--cpu` it starts one,
    whatever number it is told); `--device cpu` then keeps each of them off the GPUs.
    """
    words = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port),
        "-m", "vesalius.cli.main", "finetune",
    ]  # fmt: skip
    words += flags
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_train_what_one_does_and_one_goes_on_where_they_stopped(
    flags_of: FlagsOf, config_for: ConfigFor, tmp_path: Path
) -> None:
    one, two = (
        config_for(out=tmp_path / n, steps=8, batch_size=4, validate_every=4, save_every=4) for n in ("one", "two")
    )
    finetune(one)
    child = launch(flags_of(two), 29611)
    _, said = child.communicate(timeout=240)
    assert child.returncode == 0, said
    ours, theirs = (list(read_rows(c.out / "losses.jsonl")) for c in (one, two))
    assert [r["step"] for r in theirs] == list(range(1, 9))
    for key in ("loss", "gradient_norm"):
        assert [r[key] for r in theirs] == pytest.approx([r[key] for r in ours], abs=1e-4)
    alone, shared = (load_file(c.out / "adapter" / "adapter_model.safetensors") for c in (one, two))
    # Adam divides by the gradient's size, so that where it is next to nothing its rounding shows
    assert all(torch.allclose(alone[k], shared[k], atol=1e-4) for k in alone)
    shutil.rmtree(two.out / "checkpoints" / "step-00000008")
    resumed, whole = finetune(two), finetune(one)
    assert [v for _, v in resumed.validation] == pytest.approx([v for _, v in whole.validation], abs=1e-4)
    again = list(read_rows(two.out / "losses.jsonl"))
    assert again[:4] == theirs[:4]
    assert [r["loss"] for r in again] == pytest.approx([r["loss"] for r in ours], abs=1e-4)


def test_a_batch_that_does_not_divide_is_refused_with_one_message(flags_of: FlagsOf, config_for: ConfigFor) -> None:
    child = launch(flags_of(config_for(batch_size=3)), 29612)
    _, said = child.communicate(timeout=240)
    assert child.returncode != 0
    assert "vesalius: --batch-size 3 does not divide among 2 processes" in said


@pytest.mark.slow
def test_sigterm_to_the_launcher_leaves_one_whole_checkpoint(flags_of: FlagsOf, config_for: ConfigFor) -> None:
    config = config_for(steps=20_000, save_every=20_000, validate_every=20_000)
    child = launch(flags_of(config), 29613)
    log, end = config.out / "losses.jsonl", time.monotonic() + 240
    while not (log.is_file() and log.stat().st_size):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    (kept,) = (config.out / "checkpoints").iterdir()
    assert int(kept.name.removeprefix("step-")) == len(list(read_rows(log)))
