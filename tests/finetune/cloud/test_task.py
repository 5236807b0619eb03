"""Task files for rented GPUs: what SkyPilot and dstack know, the line of the recipe in them, and the loop around it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vesalius.cli.main import DONE, USAGE, find_verb, main, parse
from vesalius.data.command.recipe import read_recipe_file
from vesalius.data.record import read_rows
from vesalius.finetune.cloud.config import GPUS, CloudConfig
from vesalius.finetune.cloud.task import render_task, run_script
from vesalius.finetune.config import FinetuneConfig

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "runs" / "chest-ct.toml"
DATA = ("s3://my-bucket/datasets/chest-ct",)

# The keys that SkyPilot 0.14.1 knows: properties of get_task_schema, get_resources_schema and get_storage_schema of
# its sky/utils/schemas.py, without those for its own use.
SKY_TASK = {
    "api_server_access", "config", "envs", "event_callback", "file_mounts", "file_mounts_mapping", "inputs",
    "managed_secrets", "name", "num_nodes", "outputs", "pool", "resources", "run", "secrets", "service", "setup",
    "volume_mounts", "volumes", "workdir",
}  # fmt: skip
SKY_RESOURCES = {
    "accelerator_args", "accelerators", "any_of", "autostop", "cloud", "cpus", "disk_size", "disk_tier", "image_id",
    "infra", "instance_type", "job_recovery", "labels", "local_disk", "max_hourly_cost", "memory", "network_tier",
    "ordered", "ports", "priority", "priority_class", "region", "use_spot", "volumes", "zone",
}  # fmt: skip
SKY_STORAGE = {"config", "mode", "name", "persistent", "source", "store", "type"}
SKY_RECOVERY = {"strategy", "max_restarts_on_errors", "recover_on_exit_codes"}
# Those of dstack 0.22.5: the fields of TaskConfiguration of its _internal/core/models/configurations.py.
DSTACK_TASK = {
    "availability_zones", "backend_options", "backends", "commands", "creation_policy", "docker", "dstack",
    "entrypoint", "env", "files", "fleets", "groups", "home_dir", "idle_duration", "image", "instance_types",
    "instances", "max_duration", "max_price", "name", "nodes", "nvcc", "ports", "priority", "privileged", "python",
    "regions", "registry_auth", "repos", "reservation", "resources", "retry", "schedule", "setup", "shell",
    "single_branch", "spot_policy", "startup_order", "stop_criteria", "stop_duration", "tags", "type", "user",
    "utilization_policy", "volumes", "working_dir",
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_the_root_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def cloud(tmp_path: Path, to: str = "skypilot", **fields: Any) -> CloudConfig:
    usual: dict[str, Any] = {"recipe": RECIPE, "to": to, "data": DATA, "out": tmp_path / "task.yaml"}
    if to == "skypilot":
        usual["bucket"] = "gs://my-bucket/runs/"
    return CloudConfig(**{**usual, **fields})


def task_of(config: CloudConfig) -> dict[str, Any]:
    """The task that a rendered file holds, its keys compared with those that its reader knows."""
    task: dict[str, Any] = yaml.safe_load(render_task(config).text)
    if config.to == "dstack":
        assert set(task) <= DSTACK_TASK
        assert set(task["resources"]) <= {"cpu", "disk", "gpu", "memory", "shm_size"}
        assert set(task["retry"]) <= {"on_events", "duration"}
        assert all(set(volume) <= {"name", "path"} for volume in task["volumes"])
    else:
        assert set(task) <= SKY_TASK
        assert set(task["resources"]) <= SKY_RESOURCES
        assert set(task["resources"]["job_recovery"]) <= SKY_RECOVERY
        assert all(set(m) <= SKY_STORAGE for m in task["file_mounts"].values() if isinstance(m, dict))
    return task


def line_of(script: str) -> list[str]:
    """The words of `vesalius finetune` in a script, its quotes read."""
    (line,) = (x for x in script.replace("\\\n", " ").splitlines() if " finetune " in x)
    words = shlex.split(line.removesuffix("&"))
    return words[words.index("finetune") :]


@pytest.mark.parametrize("to", ["skypilot", "dstack"])
def test_the_committed_task_files_are_what_rendering_gives(to: str, tmp_path: Path) -> None:
    committed = ROOT / "runs" / "cloud" / f"{to}.yaml"
    made = committed.read_text().splitlines()[0].removeprefix("# Made by: vesalius ")
    verb, words = find_verb(shlex.split(made))
    assert verb is not None
    config = parse(verb, words)
    assert config.out == committed.relative_to(ROOT)
    result = render_task(config)
    assert (result.text, result.unchanged) == (committed.read_text(), True)


@pytest.mark.parametrize("to", ["skypilot", "dstack"])
@pytest.mark.parametrize("gpu", ["l4", "a100-80gb:4"])
def test_the_rented_line_is_the_recipe_on_the_rented_machine(to: str, gpu: str, tmp_path: Path) -> None:
    task = task_of(cloud(tmp_path, to, gpu=gpu, spot=False, max_price=2.0))
    script = task["run"] if to == "skypilot" else task["commands"][-1]
    verb, words = find_verb(line_of(script))
    assert verb is not None
    config = parse(verb, words)
    data = Path("/data/chest-ct" if to == "skypilot" else "/runs/data/chest-ct")
    given = {"data": (data,), "out": Path("/runs/chest-ct")}
    assert config == FinetuneConfig(**read_recipe_file(RECIPE, FinetuneConfig, given=given))
    assert ("accelerate launch --multi_gpu --num_processes 4 " in script) == (gpu != "l4")


def test_a_recipe_keeps_its_words_whatever_they_are(tmp_path: Path) -> None:
    (tmp_path / "two words.toml").write_text('min_snr_gamma = "none"\nmodalities = ["CT", "chest X-ray"]\nsteps = 3\n')
    task = task_of(cloud(tmp_path, recipe=tmp_path / "two words.toml"))
    assert task["name"] == "vesalius-two-words"
    verb, words = find_verb(line_of(task["run"]))
    assert verb is not None
    config = parse(verb, words)
    assert (config.min_snr_gamma, config.modalities, config.steps) == (None, ("CT", "chest X-ray"), 3)


def test_skypilot_mounts_data_and_run_folder_and_goes_on_after_75(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "recipe.toml").write_text(f'base = "{base}"\n')
    data = (str(tmp_path / "dataset"), "s3://b/other/dataset/", "/runs/third")
    task = task_of(cloud(tmp_path, data=data, recipe=tmp_path / "recipe.toml", gpu="H100:8", max_price=20.5))
    assert task["file_mounts"] == {
        "/data/dataset": str(tmp_path / "dataset"),
        "/data/dataset-2": {"source": "s3://b/other/dataset", "mode": "COPY"},
        "/base/base": str(base),
        "/runs": {"source": "gs://my-bucket/runs", "mode": "MOUNT_CACHED"},
    }
    assert task["resources"] == {
        "accelerators": "H100:8", "use_spot": True, "max_hourly_cost": 20.5,
        "job_recovery": {"recover_on_exit_codes": [75]},
    }  # fmt: skip
    assert "--base /base/base" in task["run"]
    assert "/runs/third" in task["run"]
    assert "HF_HUB_OFFLINE" not in task["run"]


def test_dstack_keeps_the_run_on_a_volume_and_retries_after_an_interruption(tmp_path: Path) -> None:
    data = ("gs://b/brain", "s3://b/chest", "/runs/data/own")
    task = task_of(cloud(tmp_path, "dstack", data=data, gpu="A100-80GB:2", volume="mine", max_price=3.0))
    assert task["volumes"] == [{"name": "mine", "path": "/runs"}]
    assert task["resources"] == {"gpu": "A100:80GB:2"}
    assert (task["type"], task["spot_policy"], task["max_price"]) == ("task", "spot", 3.0)
    assert task["retry"]["on_events"] == ["no-capacity", "interruption"]
    assert (tmp_path / task["repos"][0]).resolve() == ROOT
    copies = [c for c in task["commands"] if c.startswith("rclone copy")]
    assert [c.split()[-1] for c in copies] == ["/runs/data/brain", "/runs/data/chest"]
    assert {"AWS_ACCESS_KEY_ID", "RCLONE_GCS_SERVICE_ACCOUNT_CREDENTIALS"} <= set(task["env"])
    assert task_of(cloud(tmp_path / "other", "dstack", spot=False))["spot_policy"] == "on-demand"


def test_a_package_from_elsewhere_needs_no_checkout(tmp_path: Path) -> None:
    package = "git+https://example.org/vesalius.git@main"
    task = task_of(cloud(tmp_path, package=package))
    assert "workdir" not in task
    assert task["setup"].splitlines()[-1].endswith(f" {package}")
    assert "repos" not in task_of(cloud(tmp_path / "other", "dstack", package=package))


def test_rendering_again_changes_nothing_and_overwrites_nothing(tmp_path: Path) -> None:
    config = cloud(tmp_path)
    assert not render_task(dataclasses.replace(config, dry_run=True)).out.exists()
    first = render_task(config)
    assert config.out.read_text() == first.text
    assert (first.unchanged, render_task(config).unchanged) == (False, True)
    with pytest.raises(ValueError, match="is there already and holds something else; give another --out"):
        render_task(dataclasses.replace(config, gpu="L4"))
    assert config.out.read_text() == first.text


@pytest.mark.parametrize(
    ("fields", "recipe", "said"),
    [
        ({"gpu": "A1000"}, "", r"--gpu: 'A1000' is not known; did you mean 'A100'\? \(A10, "),
        ({"gpu": "A100:0"}, "", "--gpu A100:0: expected a number of GPUs"),
        ({"gpu": "A100:x"}, "", "--gpu A100:x: expected a number of GPUs"),
        ({"gpu": "A100:3"}, "batch_size = 16", "batch_size 16 does not divide among 3 GPUs"),
        ({"max_price": 0.0}, "", "--max-price is 0.0; expected US dollars per hour above 0"),
        ({"max_price": float("nan")}, "", "--max-price is nan"),
        ({"bucket": "my-bucket"}, "", "--bucket is 'my-bucket'; expected s3://BUCKET"),
        ({"bucket": "s3://"}, "", "--bucket is 's3://'; expected s3://BUCKET"),
        ({"bucket": None}, "", "--bucket is missing"),
        ({"volume": "v"}, "", "--volume is for --to dstack"),
        ({"to": "dstack", "bucket": "s3://b"}, "", "--bucket is for --to skypilot"),
        ({"to": "dstack", "bucket": None, "data": ("tests",)}, "", "'tests': dstack uploads 2 MB at most"),
        ({"data": ("nowhere",)}, "", "--data 'nowhere': no such folder here"),
        ({"data": ("ftp://a/b",)}, "", "--data 'ftp://a/b': expected a folder, s3://"),
        ({"data": ()}, "", "recipe.toml: names no data; give --data"),
        ({"package": "tests"}, "", "--package tests: holds no pyproject.toml"),
        ({"package": "./nowhere"}, "", "--package ./nowhere: holds no pyproject.toml"),
        ({}, "stepz = 3", "recipe.toml: 'stepz' is no field of FinetuneConfig; did you mean 'steps'"),
        ({}, "steps = 0", "--steps is 0; expected at least 1"),
        ({}, 'base = "./nowhere"', "base './nowhere': no such folder here"),
        ({}, 'resume = "never"', "recipe.toml: resume is 'never'"),
        ({}, 'pairs = ["rated.jsonl"]', "recipe.toml: pairs are files here"),
        ({}, 'device = "cpu"', "recipe.toml: device is 'cpu'"),
        ({}, "dry_run = true", "recipe.toml: dry_run would rent a GPU"),
    ],
)
def test_what_would_waste_a_paid_hour_is_refused(
    fields: dict[str, Any], recipe: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(recipe)
    with pytest.raises(ValueError, match=said) as error:
        render_task(cloud(tmp_path, **{"recipe": tmp_path / "recipe.toml", **fields}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "task.yaml").exists()


def test_the_verb_says_how_to_start_and_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "cloud",
        "render",
        "runs/chest-ct.toml",
        "--to",
        "dstack",
        "--data",
        *DATA,
        "--out",
        str(tmp_path / "a.yaml"),
    ]
    assert main([*line, "--dry-run"]) == DONE
    assert yaml.safe_load(capsys.readouterr().out)["type"] == "task"
    assert main([*line, "--json"]) == DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["start"], told["unchanged"]) == (f"dstack apply -f {tmp_path / 'a.yaml'}", False)
    assert main(line) == DONE
    assert capsys.readouterr().out.startswith(f"unchanged: {tmp_path / 'a.yaml'}\n")
    assert main([*line, "--gpu", "H1000"]) == USAGE
    assert capsys.readouterr().err.startswith("vesalius: --gpu: 'H1000' is not known; did you mean 'H100'?")


def test_every_gpu_is_found_by_its_name_in_small_letters(tmp_path: Path) -> None:
    for name in GPUS:
        assert cloud(tmp_path, gpu=f"{name.lower()}:2").gpus() == (name, 2)


def write_command(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def start(
    tmp_path: Path, command: str, body: str, count: int, config: FinetuneConfig | None = None
) -> subprocess.Popen[str]:
    """A run's script in a shell, where the command that it starts is a few lines of shell."""
    tools = tmp_path / "vesalius-env" / "bin"
    tools.mkdir(parents=True)
    write_command(tools, command, f"echo x >> {tmp_path}/tries\ntries=$(wc -l < {tmp_path}/tries)\n{body}")
    write_command(tools, "sleep", "exit 0")
    values = {"out": str(tmp_path / "run")} if config is None else dataclasses.asdict(config)
    if config is None:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["sh", "-c", run_script(values, count)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def tries(tmp_path: Path) -> int:
    return len((tmp_path / "tries").read_text().splitlines())


@pytest.mark.parametrize(
    ("count", "body", "code", "num"),
    [
        (1, '[ "$tries" -eq 3 ] || exit 75', 0, 3),  # stopped twice, then done
        (1, "exit 2", 2, 1),  # bad input is not paid for twice
        (1, "exit 75", 1, 3),  # stopped again and again without a step
        (1, 'mkdir "{run}/checkpoints/step-0000000$tries"; [ "$tries" -eq 6 ] || exit 75', 0, 6),
        (2, 'mkdir "{run}/checkpoints/step-0000000$tries"; [ "$tries" -eq 3 ] || exit 1', 0, 3),
        (2, "exit 1", 1, 1),  # the launcher's word for any fault
    ],
)
def test_the_loop_runs_again_what_was_stopped_and_not_what_failed(
    count: int, body: str, code: int, num: int, tmp_path: Path
) -> None:
    command = "vesalius" if count == 1 else "accelerate"
    process = start(tmp_path, command, body.replace("{run}", str(tmp_path / "run")), count)
    process.communicate(timeout=60)
    assert (process.returncode, tries(tmp_path)) == (code, num)


def test_sigterm_to_the_script_leaves_one_whole_checkpoint_of_a_real_run(
    config_for: Callable[..., FinetuneConfig], tmp_path: Path
) -> None:
    config = config_for(steps=20_000, save_every=20_000, validate_every=20_000)
    process = start(tmp_path, "vesalius", f'exec {sys.executable} -m vesalius.cli.main "$@"', 1, config)
    log, end = config.out / "losses.jsonl", time.monotonic() + 240
    while not (log.is_file() and log.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert (process.returncode, tries(tmp_path)) == (75, 1)
    (kept,) = (config.out / "checkpoints").iterdir()
    assert int(kept.name.removeprefix("step-")) == len(list(read_rows(log)))


def test_the_rendered_shell_is_sound(tmp_path: Path) -> None:
    for to in ("skypilot", "dstack"):
        task = task_of(cloud(tmp_path / to, to, gpu="T4:2"))
        shell = (
            f"{task['setup']}\n{task['run']}" if to == "skypilot" else " && ".join(c.strip() for c in task["commands"])
        )
        assert subprocess.run(["sh", "-n"], input=shell, text=True, capture_output=True).stderr == ""


def test_rendering_loads_no_torch() -> None:
    code = "import sys, vesalius.finetune.cloud.task; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout == "False\n", process.stderr
