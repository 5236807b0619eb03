"""The configuration files of `accelerate launch` in runs/accelerate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from vesalius.data.record import read_rows
from vesalius.finetune.config import FinetuneConfig

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "runs" / "accelerate").glob("*.yaml"))
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_there_is_a_file_for_every_kind_of_machine() -> None:
    names = {"one-gpu", "multi-gpu", "multi-node", "cpu-two-processes", "fsdp-sdxl"}
    assert {path.stem for path in FILES} == names


@each
def test_accelerate_takes_every_file_and_knows_each_of_its_words(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes >= config.num_machines >= 1


@each
def test_every_file_chooses_the_launcher_that_its_name_says(path: Path) -> None:
    arguments = launch_command_parser().parse_args(["--config_file", str(path), "script"])
    arguments, _, _ = _validate_launch_command(arguments)
    chosen = [k for k in ("multi_gpu", "use_fsdp", "use_deepspeed", "tpu", "use_megatron_lm") if getattr(arguments, k)]
    assert chosen == {"one-gpu": [], "fsdp-sdxl": ["use_fsdp"]}.get(path.stem, ["multi_gpu"])
    assert arguments.mixed_precision == ("no" if path.stem == "cpu-two-processes" else "bf16")
    assert arguments.use_cpu == (path.stem == "cpu-two-processes")


def test_the_blocks_that_are_sharded_are_those_of_the_largest_of_the_bases() -> None:
    import diffusers.models.attention
    import diffusers.models.downsampling
    import diffusers.models.resnet
    import diffusers.models.upsampling

    config = load_config_from_file(str(ROOT / "runs" / "accelerate" / "fsdp-sdxl.yaml")).fsdp_config
    assert config["fsdp_version"] == 2
    places = ("attention", "resnet", "downsampling", "upsampling")
    modules = [getattr(diffusers.models, place) for place in places]
    for name in config["fsdp_transformer_layer_cls_to_wrap"].split(","):
        assert any(hasattr(module, name) for module in modules), name


@each
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


@pytest.mark.slow
def test_two_processes_on_the_cpu_train_to_the_end(
    flags_of: Callable[[FinetuneConfig], list[str]], config_for: Callable[..., FinetuneConfig]
) -> None:
    config = config_for(steps=3)
    words = [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(ROOT / "runs" / "accelerate" / "cpu-two-processes.yaml"), "--main_process_port", "29614",
        "-m", "vesalius.cli.main", "finetune",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run([*words, *flags_of(config)], env=environment, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count('"finished": true') == 1
    assert [row["step"] for row in read_rows(config.out / "losses.jsonl")] == [1, 2, 3]
    assert (config.out / "adapter" / "adapter_model.safetensors").is_file()
