from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vesalius.cli.main import USAGE, main
from vesalius.data.record import write_json
from vesalius.improve.config import ImproveConfig, ResumeConfig
from vesalius.improve.resuming import settled_config


def begun(root: Path, out: str = "runs/loop", **changes: object) -> Path:
    """The folder of a loop that was begun in `root` with relative paths."""
    (root / "data").mkdir(parents=True)
    folder = root / out
    folder.mkdir(parents=True)
    told = {"data": (Path("data"),), "out": Path(out), "budget": "3h", "seed": 5, "json": True, **changes}
    write_json(folder / "config.json", dataclasses.asdict(ImproveConfig(**told)))  # type: ignore[arg-type]
    return folder


def test_a_loop_is_taken_up_with_what_was_settled_from_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path / "work")
    for here, named in ((tmp_path / "work", Path("runs/loop")), (tmp_path, folder), (folder, Path("."))):
        monkeypatch.chdir(here)
        former, root = settled_config(ResumeConfig(folder=named, price=2.0))
        assert root == tmp_path / "work"
        assert (former.out, former.data) == (Path("runs/loop"), (Path("data"),))
        assert (former.budget, former.price, former.seed, former.json) == ("3h", 2.0, 5, False)


def test_a_loop_that_was_moved_is_taken_up_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(tmp_path / "work", data=(tmp_path / "work" / "data",))
    folder.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    former, _ = settled_config(ResumeConfig(folder=Path("moved"), budget="5h"))
    assert (former.out, former.budget) == (tmp_path / "moved", "5h")


def test_a_folder_that_is_no_loop_or_without_its_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["improve", "resume", str(tmp_path)]) == USAGE
    assert "no loop there" in capsys.readouterr().err
    folder = begun(tmp_path / "work")
    (tmp_path / "work" / "data").rmdir()
    monkeypatch.chdir(tmp_path)
    assert main(["improve", "resume", str(folder)]) == USAGE
    assert "its data 'data' is not there" in capsys.readouterr().err
    write_json(folder / "config.json", {"data": ["data"], "out": "loop", "colour": "blue"})
    assert main(["improve", "resume", str(folder)]) == USAGE
    assert "'colour', which this release does not know" in capsys.readouterr().err
