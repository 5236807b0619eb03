"""kill -9 at random moments, from the first import to the last save: the same line ends with the same losses."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune

ConfigFor = Callable[..., FinetuneConfig]
FlagsOf = Callable[[FinetuneConfig], list[str]]
LINE = [sys.executable, "-m", "vesalius.cli.main", "finetune"]


@pytest.mark.parametrize(("kills", "steps"), [(1, 60), pytest.param(20, 200, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(
    config_for: ConfigFor, flags_of: FlagsOf, tmp_path: Path, kills: int, steps: int
) -> None:
    fields = {"steps": steps, "save_every": 5, "validate_every": 50, "views": 2}
    whole, cut = (config_for(out=tmp_path / n, **fields) for n in ("whole", "cut"))
    began = time.monotonic()
    subprocess.run([*LINE, *flags_of(whole)], check=True, capture_output=True)
    lasted = time.monotonic() - began
    chance = random.Random(kills)
    died = 0
    while died < kills:
        child = subprocess.Popen([*LINE, *flags_of(cut)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(lasted * chance.uniform(0.1, 0.9))
        child.send_signal(signal.SIGKILL if died % 4 else signal.SIGTERM)
        _, said = child.communicate(timeout=120)
        assert child.returncode in (-signal.SIGKILL, -signal.SIGTERM, 75, 0), said
        died += 1
    assert finetune(cut).finished
    assert (whole.out / "losses.jsonl").read_text() == (cut.out / "losses.jsonl").read_text()
    assert (whole.out / "validation.json").read_text() == (cut.out / "validation.json").read_text()
    ours, theirs = (load_file(c.out / "adapter" / "adapter_model.safetensors") for c in (whole, cut))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["caching", "validating"])
def test_a_signal_while_caching_or_validating_ends_with_75_and_the_line_continues(
    config_for: ConfigFor, flags_of: FlagsOf, moment: str, number: int
) -> None:
    config = config_for(steps=4, validate_every=2, num_validation=12)
    # A pause in the loop that is to be interrupted, so that the signal comes while it runs
    pause = {
        "caching": "import vesalius.finetune.feeding.latents as m; name = '_encoded'",
        "validating": "import vesalius.finetune.learning.validation as m; name = 'denoising_loss'",
    }[moment]
    code = f"""
import sys, time
{pause}
real = getattr(m, name)
def slow(*a, **k):
    print("there", flush=True)
    time.sleep(0.5)
    return real(*a, **k)
setattr(m, name, slow)
from vesalius.cli.main import entry
entry()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, "finetune", *flags_of(config)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode == 75
    assert not (config.out / "adapter").exists()
    assert finetune(config).finished
