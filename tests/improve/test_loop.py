from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.improve.config import ImproveConfig
from vesalius.improve.ledger import read_ledger
from vesalius.improve.loop import improve
from vesalius.improve.status import read_status


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        PhantomConfig(num=150, seed=11, out=tmp_path_factory.mktemp("loop") / "data", val=0.4, test=0.3, json=True)
    )


def config(data: Path, out: Path, **changes: object) -> ImproveConfig:
    small = ImproveConfig(
        data=(data,), out=out, num=6, num_eval=6, steps=2, batch_size=2, sampling_steps=8, seed=2, json=True
    )
    return dataclasses.replace(small, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"rounds": 4}, "1 to 3"), ({"real_share": 0.3}, "0.5"), ({"quota": 0.0}, "quota"), ({"num": 0}, "--num")],
)
def test_arithmetic_that_would_harm_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        improve(config(data, tmp_path / "loop", **change))
    assert not (tmp_path / "loop").exists()


def test_a_dry_run_counts_records_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    told = improve(config(data, tmp_path / "loop", dry_run=True))
    assert set(told["records"]) == {"train", "calibrate", "decide", "test"}
    assert not (tmp_path / "loop").exists()


def test_another_folder_or_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        improve(config(data, tmp_path / "mine"))
    with pytest.raises(ValueError, match="no loop there"):
        read_status(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4.0, 12.0, 20.0])
def test_kill_9_at_any_moment_and_the_same_line_continues(data: Path, tmp_path: Path, seconds: float) -> None:
    line = [
        sys.executable, "-m", "vesalius.cli.main", "improve", "run", "--data", str(data),
        "--out", str(tmp_path / "loop"), "--num", "6", "--num-eval", "6", "--steps", "2", "--batch-size", "2",
        "--sampling-steps", "8", "--seed", "2", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status = read_status(tmp_path / "loop")
    assert len(status["rounds"]) == 2
    assert status["rounds"][1]["samples"] == 6
    verdicts = [e for e in list(read_ledger(tmp_path / "loop" / "ledger.jsonl")) if e["event"] == "verdict"]
    assert len({e["name"] for e in verdicts}) == 6
