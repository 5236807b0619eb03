"""Run folders are told apart by what lies in them; a damaged one is a line, and a lock is looked at, never taken."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.record import hold, write_json
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.finetune.running.runs import LOCKS, Run, RunsConfig, is_held, list_runs

locks = pytest.mark.skipif(not LOCKS.is_file(), reason="the system keeps no list of locks")


def made(folder: Path, *, steps: int = 100, saved: tuple[int, ...] = (), finished: bool = False) -> Path:
    """A run folder as the loop leaves it, without its tensors."""
    folder.mkdir(parents=True)
    config = FinetuneConfig(data=(Path("data"),), out=folder, steps=steps)
    write_json(folder / "config.json", dataclasses.asdict(config))
    for step in saved:
        (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
        validation = [[0, 1.0], *[[s, 1.0 - s / 1000] for s in saved if s <= step]]
        write_json(folder / "checkpoints" / f"step-{step:08d}" / "state.json", {"step": step, "validation": validation})
    if finished:
        (folder / "adapter").mkdir()
        write_json(folder / "adapter" / "adapter_config.json", {})
        write_json(folder / "validation.json", [{"step": 0, "loss": 1.0}, {"step": 60, "loss": 0.5}])
    return folder


def only(folder: Path) -> Run:
    (run,) = list_runs(RunsConfig(folders=(folder,)))
    return run


def test_a_run_with_an_adapter_is_finished_and_tells_its_best_loss(tmp_path: Path) -> None:
    run = only(made(tmp_path / "run", saved=(50, 100), finished=True))
    assert (run.state, run.step, run.steps, run.best, run.best_step, run.base) == (
        "finished", 100, 100, 0.5, 60, "nano",
    )  # fmt: skip
    assert run.num_bytes > 500
    assert 0 <= run.age < 60


def test_a_run_with_checkpoints_alone_is_stopped_at_the_newest(tmp_path: Path) -> None:
    run = only(made(tmp_path / "run", saved=(50, 60)))
    assert (run.state, run.step, run.best_step) == ("stopped", 60, 60)


def test_a_run_without_a_checkpoint_is_new(tmp_path: Path) -> None:
    run = only(made(tmp_path / "run"))
    assert (run.state, run.step, run.best) == ("new", 0, None)


@locks
def test_a_locked_folder_is_running_at_the_step_of_its_log(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", saved=(50,))
    (folder / "losses.jsonl").write_text('{"step": 72, "loss": 1}\n{"step": 73, "loss": 1}\n{"st')
    with hold(folder):
        run = only(tmp_path)
        assert (run.state, run.step) == ("running", 73)
    assert only(tmp_path).state == "stopped"


@locks
def test_the_lock_of_another_process_is_seen_and_that_of_another_folder_is_not(tmp_path: Path) -> None:
    folder, other = made(tmp_path / "a"), made(tmp_path / "b")
    code = (
        "import sys\nfrom pathlib import Path\nfrom vesalius.data.record import hold\n"
        "with hold(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    line = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert is_held(folder)
        assert not is_held(other)
        child.communicate()
    assert not is_held(folder)


@locks
def test_looking_never_turns_a_starting_run_away(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    for _ in range(50):
        assert not is_held(folder)
        with hold(folder):
            assert is_held(folder)
            with pytest.raises(ValueError, match="another run"), hold(folder):
                pass
            assert is_held(folder)


def test_the_newest_comes_first_and_folders_that_hold_no_run_are_passed_over(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        folder = made(tmp_path / "deep" / name, saved=(5,))
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (time.time() - 1000 * age,) * 2)
    (tmp_path / "samples").mkdir()
    write_json(tmp_path / "samples" / "config.json", {"prompt": ["x"], "base": "nano"})
    (tmp_path / "loop").mkdir()
    write_json(tmp_path / "loop" / "config.json", {"data": [], "steps": 3, "rank": 4, "base": "nano", "rounds": 1})
    made(tmp_path / "loop" / "round-00" / "run", saved=(7,))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")
    made(tmp_path / ".hidden" / "run")
    names = [run.path.name for run in list_runs(RunsConfig(folders=(tmp_path,)))]
    assert names == ["run", "new", "old", "oldest"]


def test_a_folder_that_is_named_twice_is_listed_once(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    assert len(list_runs(RunsConfig(folders=(tmp_path, folder)))) == 1


@pytest.mark.parametrize(
    ("file", "content", "state"),
    [
        ("config.json", "{", "damaged"), ("config.json", "[]", "damaged"), ("config.json", "\xff", "damaged"),
        ("config.json", '{"base": 1, "data": 1, "steps": "x", "rank": 1, "validate_every": 1, "save_every": 1}',
         "damaged"),
        ("checkpoints/step-00000060/state.json", "{", "stopped"),
        ("checkpoints/step-00000060/state.json", "7", "stopped"),
        ("checkpoints/step-00000060/state.json", '{"step": 60, "validation": "x"}', "stopped"),
        ("checkpoints/step-00000060/state.json", '{"step": 60, "validation": [[1], 2, ["a", 3]]}', "stopped"),
        ("losses.jsonl", "nothing\n{}\n[]\n", "stopped"), ("validation.json", "{}", "stopped"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_a_line_and_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, state: str
) -> None:
    folder = made(tmp_path / "run", saved=(50, 60))
    (folder / file).write_text(content, encoding="latin-1")
    run = only(tmp_path)
    assert run.state == state
    assert (run.problem is not None) is (state == "damaged")
    assert main(["runs", str(tmp_path)]) == DONE
    told = capsys.readouterr().out
    assert str(folder) in told
    assert ("damaged: " in told) is (state == "damaged")


def test_a_damaged_list_of_losses_leaves_a_finished_run_finished(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", saved=(100,), finished=True)
    (folder / "validation.json").write_text("7")
    run = only(folder)
    assert (run.state, run.best_step) == ("finished", 100)


def test_a_real_run_is_listed_with_its_own_losses(config_for: Callable[..., FinetuneConfig]) -> None:
    config = config_for()
    summary = finetune(config)
    run = only(config.out)
    best_step, best = min(summary.validation, key=lambda row: row[1])
    assert (run.state, run.step, run.best_step) == ("finished", 4, best_step)
    assert run.best == pytest.approx(best)
    assert run.num_bytes == sum(p.stat().st_size for p in config.out.rglob("*") if p.is_file())


def test_runs_are_told_as_a_table_or_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "run", saved=(50, 60))
    assert main(["runs", str(tmp_path)]) == DONE
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["run", "state", "step"]
    assert row.split()[:3] == [str(tmp_path / "run"), "stopped", "60/100"]
    assert "0.9400 at step 60" in row
    assert main(["runs", str(tmp_path), "--json"]) == DONE
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (told["state"], told["step"], told["steps"]) == ("stopped", 60, 100)


def test_no_run_is_said_and_no_folder_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == DONE
    assert capsys.readouterr().out == f"no fine-tuning run below {tmp_path}\n"
    assert main(["runs", str(tmp_path / "nowhere")]) == USAGE
    assert "no such folder" in capsys.readouterr().err


def test_the_current_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    config: Any = RunsConfig()
    assert [str(run.path) for run in list_runs(config)] == ["run"]
