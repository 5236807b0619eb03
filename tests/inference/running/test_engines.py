"""The same bytes from one process, from several, from those of `accelerate launch`, and from a Ray cluster."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from vesalius.inference import GenerateConfig
from vesalius.inference.running.engines import check_engine
from vesalius.inference.running.run import draw_samples, generate
from vesalius.inference.sample import load_samples

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


def config(base: Path, out: Path, **changes: object) -> GenerateConfig:
    usual = GenerateConfig(
        prompt=PROMPTS, out=out, base=str(base), num=8, steps=2, seed=5, json=True, batch_size=2, shard_size=4
    )
    return dataclasses.replace(usual, **changes)


@pytest.fixture(scope="module")
def wanted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Digests of the pictures that one process draws, in order."""
    return [s.sha256 for s in draw_samples(config(tiny_base, tmp_path_factory.mktemp("engines") / "one"))]


def digests(out: Path) -> list[str]:
    return [s.sha256 for s in load_samples(out)]


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of this machine, in whose processes one thread computes."""
    import ray

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other tests nice workers hardly start
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False,
        object_store_memory=80_000_000,
    )  # fmt: skip
    yield
    ray.shutdown()


@needs_ray
@pytest.mark.slow
def test_when_a_ray_worker_is_killed_the_set_is_whole(
    tiny_base: Path, tmp_path: Path, ray_cluster: None, wanted: list[str]
) -> None:
    run = config(tiny_base, tmp_path / "s", engine="ray", workers=1)
    killed: list[int] = []

    def kill() -> None:
        """Kill the worker, once, when it has drawn some shards."""
        while not killed and not ended.wait(0.01):
            if len(list((run.out / ".generate" / "shards").glob("*.jsonl"))) >= 2:
                for process in psutil.Process().children(recursive=True):
                    if "MapWorker" in process.name():
                        process.kill()
                        killed.append(process.pid)

    ended = threading.Event()
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    summary = generate(run)
    ended.set()
    thread.join()
    assert len(killed) == 1
    assert (summary.finished, summary.num_drawn) == (True, 24)
    assert digests(run.out) == wanted
    assert generate(dataclasses.replace(run, engine="local", workers=0)).num_drawn == 0

    # What a worker refuses comes as one message.
    with pytest.raises(ValueError, match="size 33 x 32"):
        generate(dataclasses.replace(run, out=tmp_path / "t", size=(33, 32)))
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_two_launched_processes_draw_what_one_does(tiny_base: Path, tmp_path: Path, wanted: list[str]) -> None:
    run = config(tiny_base, tmp_path / "s")
    words = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines",
        "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29631",
        "-m", "vesalius.cli.main", "generate", *PROMPTS, "--num", "8", "--steps", "2", "--seed", "5", "--base",
        str(tiny_base), "--out", str(run.out), "--batch-size", "2", "--shard-size", "4", "--device", "cpu", "--engine",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    refused = subprocess.run([*words, "local"], capture_output=True, text=True, env=environment)
    assert refused.returncode != 0
    assert "give --engine accelerate" in refused.stderr
    assert not run.out.exists()
    done = subprocess.run([*words, "accelerate"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"24 images: {run.out}\n"
    assert digests(run.out) == wanted


def test_several_workers_draw_what_one_does_and_refuse_with_one_message(
    tiny_base: Path, tmp_path: Path, wanted: list[str]
) -> None:
    run = config(tiny_base, tmp_path / "s", workers=2)
    with pytest.raises(ValueError, match="size 33 x 32"):
        generate(dataclasses.replace(run, size=(33, 32)))
    assert not run.out.exists()
    assert generate(run).num_drawn == 24
    assert digests(run.out) == wanted


def test_an_engine_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = GenerateConfig(prompt=PROMPTS, out=tmp_path / "s")
    with pytest.raises(ValueError, match="--workers -1"):
        check_engine(dataclasses.replace(run, workers=-1))
    with pytest.raises(ValueError, match="num_processes"):
        check_engine(dataclasses.replace(run, engine="accelerate", workers=2))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "vesalius\[ray\]"'):
        check_engine(dataclasses.replace(run, engine="ray"))
