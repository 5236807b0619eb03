"""Full fine-tuning with sharded weights: two processes over gloo, launched with the very file of SDXL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vesalius.data.record import read_rows
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.batch import Batch
from vesalius.finetune.lora import finetune
from vesalius.finetune.running.sharding import Exchange, smallest, split_groups
from vesalius.inference.generator import Generator

ConfigFor = Callable[..., FinetuneConfig]
FlagsOf = Callable[[FinetuneConfig], list[str]]
ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "runs" / "accelerate" / "fsdp-sdxl.yaml"
PROCESS = str(Path(__file__).with_name("sharded_process.py"))


def launch(
    flags: list[str], port: int, folder: Path, memory: str = "none", processes: int = 2, more: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """The run on some processes. memory: where the second one's runs out; more: words for the launcher."""
    words = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(FILE),
        "--num_processes", str(processes), "--mixed_precision", "no", *more, "--main_process_port", str(port),
        PROCESS, str(folder), memory,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*words, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def end(child: subprocess.Popen[str]) -> str:
    _, said = child.communicate(timeout=240)
    assert child.returncode == 0, said
    return said


@pytest.fixture
def full(config_for: ConfigFor, tiny_xl: Path) -> ConfigFor:
    """A run of all weights of the tiny base of SDXL's shape."""

    def make(**fields: object) -> FinetuneConfig:
        usual = {"base": str(tiny_xl), "kind": "full", "learning_rate": 1e-3, "attention": "eager"}
        return config_for(**{**usual, **fields})

    return make


def rows_of(config: FinetuneConfig, key: str = "loss") -> list[float]:
    return [row[key] for row in read_rows(config.out / "losses.jsonl")]


@pytest.mark.slow
def test_two_sharded_processes_train_what_one_whole_does_and_each_goes_on_where_the_other_stopped(
    flags_of: FlagsOf, full: ConfigFor, tmp_path: Path
) -> None:
    one, two = (
        full(out=tmp_path / n, steps=6, batch_size=4, validate_every=3, save_every=3, num_pictures=1, draw_every=3)
        for n in ("one", "two")
    )
    whole = finetune(one)
    end(launch(flags_of(two), 29621, tmp_path))
    for key in ("loss", "gradient_norm"):
        assert rows_of(two, key) == pytest.approx(rows_of(one, key), abs=1e-4)
    validated = [[row["loss"] for row in json.loads((c.out / "validation.json").read_text())] for c in (one, two)]
    assert validated[1] == pytest.approx(validated[0], abs=1e-4)

    # Each process holds its half, and so do the two moments of Adam
    for rank in range(2):
        held = json.loads((tmp_path / f"held-{rank}.json").read_text())
        assert held["weights"] / held["all"] == pytest.approx(0.5, abs=0.02)
        assert held["states"] / held["all"] == pytest.approx(1.0, abs=0.04)

    # Checkpoints, base and pictures are those of an ordinary run
    for name in ("checkpoints/step-00000006/tensors.safetensors", "base/unet/diffusion_pytorch_model.safetensors"):
        ours, theirs = (load_file(c.out / name) for c in (one, two))
        assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {k: (v.shape, v.dtype) for k, v in theirs.items()}
        assert all(torch.allclose(ours[k], theirs[k], atol=1e-4) for k in ours if not k.startswith("optimizer."))
    for name in ("model_index.json", "unet/config.json", "fused.json"):
        assert (one.out / "base" / name).read_text() == (two.out / "base" / name).read_text()
    drawn = [Generator(str(c.out / "base"), device="cpu").draw("Chest CT", seed=1, steps=2)[0] for c in (one, two)]
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() <= 2
    for step in (0, 3, 6):
        pictures = [np.asarray(Image.open(c.out / "pictures" / f"step-{step:08d}.png")).astype(int) for c in (one, two)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 2

    # Each goes on with the other's kind of launch
    before = rows_of(one)
    for config in (one, two):
        shutil.rmtree(config.out / "checkpoints" / "step-00000006")
    end(launch(flags_of(one), 29622, tmp_path))
    resumed = finetune(two)
    assert resumed.validation[-1][1] == pytest.approx(whole.validation[-1][1], abs=1e-4)
    for config in (one, two):
        assert rows_of(config) == pytest.approx(before, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "processes", "port"), [("fp32", 3, 29626), ("bf16", 2, 29627)])
def test_shards_of_unequal_size_and_weights_that_stay_whole_between_passes_train_the_same(
    flags_of: FlagsOf, full: ConfigFor, tmp_path: Path, precision: str, processes: int, port: int
) -> None:
    usual = {"steps": 2, "batch_size": 6, "validate_every": 1, "num_validation": 5, "precision": precision}
    one, other = (full(out=tmp_path / n, **usual) for n in ("one", "other"))
    whole = finetune(one)
    more = ("--fsdp_reshard_after_forward", "false")
    end(launch(flags_of(other), port, tmp_path, processes=processes, more=more))
    near = 1e-4 if precision == "fp32" else 3e-3
    assert rows_of(other) == pytest.approx(rows_of(one), abs=near)
    validated = [row["loss"] for row in json.loads((other.out / "validation.json").read_text())]
    assert validated == pytest.approx([v for _, v in whole.validation], abs=near)


@pytest.mark.slow
def test_sigterm_ends_all_sharded_processes_with_75_and_one_whole_checkpoint_from_which_one_process_goes_on(
    flags_of: FlagsOf, full: ConfigFor, tmp_path: Path
) -> None:
    config = full(steps=400, save_every=20_000, validate_every=20_000)
    child = launch(flags_of(config), 29623, tmp_path)
    log, limit = config.out / "losses.jsonl", time.monotonic() + 240
    while not (log.is_file() and log.stat().st_size):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    assert [(tmp_path / f"code-{rank}").read_text() for rank in range(2)] == ["75", "75"]
    (kept,) = (config.out / "checkpoints").iterdir()
    step = int(kept.name.removeprefix("step-"))
    assert 0 < step == len(rows_of(config)) < 400


@pytest.mark.slow
@pytest.mark.parametrize(("where", "port"), [("forward", 29624), ("backward", 29625)])
def test_memory_that_runs_out_on_one_process_in_the_middle_of_a_pass_makes_all_take_fewer_images(
    flags_of: FlagsOf, full: ConfigFor, tmp_path: Path, where: str, port: int
) -> None:
    config, plain = full(steps=3, batch_size=8), full(steps=3, batch_size=8, out=tmp_path / "plain")
    said = end(launch(flags_of(config), port, tmp_path, memory=where))
    assert [line for line in said.splitlines() if "out of memory" in line] == [
        f"vesalius: step 0: out of memory; from here {n} images at a time" for n in (2, 1)
    ]
    finetune(plain)
    for key in ("loss", "gradient_norm"):
        assert rows_of(config, key) == pytest.approx(rows_of(plain, key), abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "environment", "said"),
    [
        ({"kind": "lora"}, {}, r"--kind lora: an adapter's state is small .*multi-gpu\.yaml"),
        ({"train_text": True}, {}, "--train-text: the text encoder is not sharded"),
        ({}, {"FSDP_VERSION": "1"}, "say fsdp_version: 2"),
        ({}, {"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params is not supported"),
        ({}, {"FSDP_AUTO_WRAP_POLICY": "NO_WRAP"}, "names no blocks"),
    ],
)
def test_what_cannot_be_sharded_is_refused_before_anything_is_loaded(
    full: ConfigFor, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], environment: dict[str, str], said: str
) -> None:
    usual = {
        "ACCELERATE_USE_FSDP": "true", "LOCAL_RANK": "0", "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }  # fmt: skip
    for name, value in {**usual, **environment}.items():
        monkeypatch.setenv(name, value)
    config = full(**fields)
    with pytest.raises(ValueError, match=said):
        finetune(config)
    assert not list(config.out.glob("*"))


def test_groups_of_texts_are_halved_until_there_are_as_many_as_elsewhere() -> None:
    rows = torch.tensor([4, 1, 3]), torch.tensor([0, 2])
    groups = [(r, r[:, None].float(), {"text_embeds": r[:, None] * 10}) for r in rows]
    for num in (2, 3, 5):
        parts = split_groups(groups, num)
        assert len(parts) == num
        assert sorted(int(row) for r, *_ in parts for row in r) == [0, 1, 2, 3, 4]
        for r, hidden, more in parts:  # type: ignore[misc]
            assert torch.equal(hidden[:, 0], r.float())
            assert torch.equal(more["text_embeds"][:, 0], r * 10)


def test_the_smallest_batch_has_as_many_groups_of_an_image_each() -> None:
    batch = Batch(
        records=[7, 8, 9], latents=torch.arange(3.0).view(3, 1, 1, 1), noise=torch.arange(3.0).view(3, 1, 1, 1),
        timesteps=torch.arange(3), prompts=["a", "b", "c"], emphasis=None, kept=None, worse=None,
    )  # fmt: skip
    text = [(torch.tensor([1, 0]), torch.tensor([[10.0], [0.0]])), (torch.tensor([2]), torch.tensor([[20.0]]))]
    few, groups = smallest(batch, text)
    assert few.records == [8, 9]
    assert few.timesteps.tolist() == [1, 2]
    assert [(r.tolist(), hidden.tolist()) for r, hidden in groups] == [([0], [[10.0]]), ([1], [[20.0]])]  # type: ignore[misc]


def test_what_was_exchanged_already_is_left_out() -> None:
    exchange = Exchange()
    assert [exchange.due() for _ in range(3)] == [True, True, True]
    exchange.begin(skip=exchange.done)
    assert [exchange.due() for _ in range(5)] == [False, False, False, True, True]
