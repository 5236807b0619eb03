"""kill -9 at random moments, from the first import to the last save: the same line ends with the same losses."""

from __future__ import annotations

import json
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

from tests.killing import report_of_kills
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune

ConfigFor = Callable[..., FinetuneConfig]
FlagsOf = Callable[[FinetuneConfig], list[str]]
LINE = [sys.executable, "-m", "vesalius.cli.main", "finetune"]
RUNS, SIGNALLED = (Path(__file__).parent / name for name in ("killed_run.py", "signalled_runs.py"))
SIGNALS = (signal.SIGTERM, signal.SIGINT)
MOMENTS = {
    "caching": ("vesalius.finetune.feeding.latents", "_encoded"),
    "validating": ("vesalius.finetune.learning.validation", "denoising_loss"),
}
"""What a run does while it gets a signal -> where that is done."""


@pytest.mark.slow
def test_a_run_killed_at_20_random_moments_ends_as_one_that_was_not(
    config_for: ConfigFor, flags_of: FlagsOf, tmp_path: Path
) -> None:
    fields = {"steps": 200, "save_every": 5, "validate_every": 50, "views": 2}
    whole, cut = (config_for(out=tmp_path / n, **fields) for n in ("whole", "cut"))
    began = time.monotonic()
    subprocess.run([*LINE, *flags_of(whole)], check=True, capture_output=True)
    lasted = time.monotonic() - began
    chance = random.Random(20)
    for number in range(20):
        child = subprocess.Popen([*LINE, *flags_of(cut)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(lasted * chance.uniform(0.1, 0.9))
        child.send_signal(signal.SIGKILL if number % 4 else signal.SIGTERM)
        _, said = child.communicate(timeout=120)
        assert child.returncode in (-signal.SIGKILL, -signal.SIGTERM, 75, 0), said
    assert finetune(cut).finished
    assert (whole.out / "losses.jsonl").read_text() == (cut.out / "losses.jsonl").read_text()
    assert (whole.out / "validation.json").read_text() == (cut.out / "validation.json").read_text()
    ours, theirs = (load_file(c.out / "adapter" / "adapter_model.safetensors") for c in (whole, cut))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_run_killed_at_3_random_moments_after_its_imports_ends_with_the_same_bytes(
    config_for: ConfigFor, flags_of: FlagsOf, tmp_path: Path
) -> None:
    flags = flags_of(config_for(steps=8, save_every=2, validate_every=4, views=2))
    place = flags.index("--out")
    report = report_of_kills(RUNS, tmp_path, 3, 1, *flags[:place], *flags[place + 2 :])
    assert (report["kills"], report["different"]) == (3, [])


@pytest.fixture(scope="module")
def signalled(
    short_run: ConfigFor, flags_of: FlagsOf, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], tuple[FinetuneConfig, int]]:
    """Runs by what they did when a signal came and by its number, each with its exit code."""
    configs = {
        (moment, number): short_run(
            out=tmp_path_factory.mktemp("signalled") / "run", steps=4, validate_every=2, num_validation=12
        )
        for moment in MOMENTS
        for number in SIGNALS
    }
    runs = [[*MOMENTS[moment], int(number), flags_of(config)] for (moment, number), config in configs.items()]
    line = [sys.executable, str(SIGNALLED), json.dumps(runs)]
    process = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    codes = dict(zip(configs, json.loads(process.stdout.splitlines()[-1]), strict=True))
    return lambda moment, number: (configs[moment, number], codes[moment, number])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_while_caching_or_validating_ends_with_75_and_the_line_continues(
    signalled: Callable[[str, int], tuple[FinetuneConfig, int]], moment: str, number: int
) -> None:
    config, code = signalled(moment, number)
    assert code == 75
    assert not (config.out / "adapter").exists()
    assert finetune(config).finished
