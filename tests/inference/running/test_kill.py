"""kill -9 at any moment, of a run or of its workers: the same line ends with the same bytes, and none missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.killing import report_of_kills
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples, generate
from vesalius.inference.sample import load_samples

RUNS = Path(__file__).parent / "killed_process.py"
PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")


def line(base: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "vesalius.cli.main", "generate", *PROMPTS, "--num", "20", "--steps", "4", "--base",
        str(base), "--out", str(out), "--batch-size", "2", "--shard-size", "4", *more,
    ]  # fmt: skip


def whole(base: Path, out: Path) -> dict[str, str]:
    """The digests of an undisturbed run of that line, in this one process."""
    run = GenerateConfig(
        prompt=PROMPTS, num=20, steps=4, base=str(base), out=out, batch_size=2, shard_size=4, json=True
    )
    return {s.file_name: s.sha256 for s in draw_samples(run)}


def wait_for_shards(out: Path, num: int, process: subprocess.Popen[str]) -> None:
    """Until so many shards are whole."""
    deadline = time.monotonic() + 120
    while len(list(out.glob(".generate/shards/*.jsonl"))) < num:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> Sequence[psutil.Process]:
    return [p for p in psutil.Process(process.pid).children() if "vesalius.inference.running.worker" in p.cmdline()]


def test_a_run_that_is_killed_at_3_random_points_ends_with_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    report = report_of_kills(RUNS, tiny_base, tmp_path, "png", 3, 1)
    assert (report["kills"], report["different"]) == (3, [])


@pytest.mark.slow
@pytest.mark.parametrize("sink", ["png", "imagefolder", "parquet"])
def test_a_run_that_is_killed_at_20_random_points_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path, sink: str
) -> None:
    report = report_of_kills(RUNS, tiny_base, tmp_path, sink, 20, 2)
    assert (report["kills"], report["different"]) == (20, [])


@pytest.mark.slow
def test_when_a_worker_is_killed_the_others_end_its_shards_and_say_so(tiny_base: Path, tmp_path: Path) -> None:
    wanted = whole(tiny_base, tmp_path / "whole")
    out = tmp_path / "s"
    process = subprocess.Popen(line(tiny_base, out, "--workers", "2"), stderr=subprocess.PIPE, text=True)
    wait_for_shards(out, 2, process)
    workers = workers_of(process)
    assert len(workers) == 2
    workers[0].kill()
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert f"(process {workers[0].pid}) was ended by SIGKILL; 1 goes on" in told
    samples = load_samples(out)
    assert [(s.file_name, s.sha256) for s in samples] == list(wanted.items())
    assert len(list((out / "images").iterdir())) == 60
    assert not (out / ".generate").exists()


@pytest.mark.slow
def test_when_all_workers_are_killed_or_the_run_is_the_same_line_continues(tiny_base: Path, tmp_path: Path) -> None:
    wanted = whole(tiny_base, tmp_path / "whole")
    out = tmp_path / "s"
    process = subprocess.Popen(
        line(tiny_base, out, "--workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_shards(out, 2, process)
    for worker in workers_of(process):
        worker.kill()
    said, told = process.communicate(timeout=240)
    assert process.returncode == 75, told
    assert "none is left" in told
    assert "the same line continues" in said

    process = subprocess.Popen(line(tiny_base, out, "--workers", "2"), stderr=subprocess.PIPE, text=True)
    wait_for_shards(out, 5, process)
    workers = workers_of(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []  # nobody draws on for a run that has gone
    with pytest.raises(ValueError, match="unfinished"):
        load_samples(out)

    run = GenerateConfig(
        prompt=PROMPTS, num=20, steps=4, base=str(tiny_base), out=out, batch_size=2, shard_size=4, json=True
    )
    summary = generate(run)
    assert summary.finished
    assert 0 < summary.num_drawn < 60
    assert [(s.file_name, s.sha256) for s in load_samples(out)] == list(wanted.items())


def test_a_signal_ends_a_run_and_its_workers_with_75(tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    process = subprocess.Popen(line(tiny_base, out, "--workers", "2"), stderr=subprocess.PIPE, text=True)
    wait_for_shards(out, 2, process)
    workers = workers_of(process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped" in told
    assert psutil.wait_procs(workers, timeout=1)[1] == []
