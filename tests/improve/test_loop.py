from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.killing import report_of_kills
from vesalius.cli.main import main
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.eval.strata import patient_of
from vesalius.improve.config import ImproveConfig
from vesalius.improve.loop import improve
from vesalius.improve.material import check_unchanged, read_material
from vesalius.improve.telling.status import read_status

LOOPS = Path(__file__).parent / "killed_loop.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(
        PhantomConfig(num=150, seed=11, out=tmp_path_factory.mktemp("loop") / "data", val=0.4, test=0.3, json=True)
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of the size of `tiny_base`."""
    out = tmp_path_factory.mktemp("small") / "data"
    return write_phantoms(PhantomConfig(num=120, seed=5, size=32, val=0.4, test=0.3, out=out, json=True))


def config(data: Path, out: Path, **changes: object) -> ImproveConfig:
    small = ImproveConfig(
        data=(data,),
        out=out,
        num=6,
        num_eval=6,
        num_validation=6,
        steps=2,
        batch_size=2,
        sampling_steps=8,
        seed=2,
        json=True,
    )
    return dataclasses.replace(small, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"rounds": 4}, "0 to 3"), ({"real_share": 0.3}, "0.5"), ({"quota": 0.0}, "quota"), ({"num": 0}, "--num")],
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


def test_a_loop_that_is_killed_at_3_random_points_ends_with_the_same_ledger(
    tiny_base: Path, small: Path, tmp_path: Path
) -> None:
    report = report_of_kills(LOOPS, tiny_base, small, tmp_path, 3, 1)
    assert (report["kills"], report["different"]) == (3, [])


@pytest.mark.slow
def test_a_loop_that_is_killed_at_20_random_points_ends_with_the_same_ledger(
    tiny_base: Path, small: Path, tmp_path: Path
) -> None:
    report = report_of_kills(LOOPS, tiny_base, small, tmp_path, 20, 2)
    assert (report["kills"], report["different"]) == (20, [])


def test_a_changed_dataset_is_refused_and_the_loop_left_as_it_is(data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "data"
    shutil.copytree(data, moved)
    out = tmp_path / "loop"
    out.mkdir()
    check_unchanged(out, read_material((moved,)))
    check_unchanged(out, read_material((moved,)))
    lines = (moved / "train" / "metadata.jsonl").read_text().splitlines()
    (moved / "train" / "metadata.jsonl").write_text("\n".join(lines[1:]) + "\n")
    before = (out / "data.json").read_bytes()
    with pytest.raises(ValueError, match=r"data: is not the dataset that this loop began with.* another --out"):
        check_unchanged(out, read_material((moved,)))
    assert (out / "data.json").read_bytes() == before


def test_the_halves_of_val_share_no_patient_and_no_modality_is_in_one_alone(data: Path) -> None:
    material = read_material((data,))
    halves = [{(f, patient_of(r) or r.file_name) for f, r in half} for half in (material.calibrate, material.decide)]
    assert halves[0].isdisjoint(halves[1])
    counts = [Counter(r.modality for _, r in half) for half in (material.calibrate, material.decide)]
    assert all(abs(counts[0][m] - counts[1][m]) <= 1 for m in {*counts[0], *counts[1]})


def test_a_spent_budget_stops_a_loop_whose_interrupt_was_lost(
    small: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vesalius.improve.budget.interrupt", lambda: None)
    line = [
        "improve", "run", "--data", str(small), "--base", str(tiny_base), "--out", str(tmp_path / "loop"), "--num", "6",
        "--num-eval", "6", "--num-validation", "4", "--steps", "2", "--batch-size", "2", "--sampling-steps", "2",
        "--without", "gates", "--json", "--budget", "0.1s",
    ]  # fmt: skip
    assert main(line) == 75
    assert not (tmp_path / "loop" / "round-01").exists()


def test_a_budget_that_is_spent_stops_with_75_and_more_of_it_goes_on(
    small: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "improve", "run", "--data", str(small), "--base", str(tiny_base), "--out", str(tmp_path / "loop"), "--num", "6",
        "--num-eval", "6", "--num-validation", "4", "--steps", "2", "--batch-size", "2", "--sampling-steps", "2",
        "--without", "gates", "--json", "--budget",
    ]  # fmt: skip
    assert main([*line, "1s"]) == 75
    assert "larger --budget goes on" in capsys.readouterr().err
    assert main([*line, "2h"]) == 0
    assert len(read_status(tmp_path / "loop")["rounds"]) == 2
