"""The second copy of a run's checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.finetune.running.sync import Mirror

ConfigFor = Callable[..., FinetuneConfig]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_fresh_machine_goes_on_from_the_copy(config_for: ConfigFor, tmp_path: Path, scheme: str) -> None:
    config = config_for(sync=f"{scheme}{tmp_path / 'copy'}", save_every=2)
    first = finetune(config)
    kept = sorted(p.name for p in (tmp_path / "copy" / "checkpoints").iterdir())
    assert kept == ["step-00000002", "step-00000004"]
    before = (config.out / "losses.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "copy" / "checkpoints" / "step-00000004" / "x", ignore_errors=True)
    (tmp_path / "copy" / "checkpoints" / "step-00000004" / "state.json").unlink()  # killed before it was whole
    losses = config.out / "losses.jsonl"
    shutil.rmtree(config.out / "checkpoints")
    again = finetune(config)
    assert again.validation == first.validation
    assert losses.read_bytes() == before


def test_a_copy_that_fails_is_told_and_stops_nothing(
    config_for: ConfigFor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy").write_text("a file in the way")
    summary = finetune(config_for(sync=str(tmp_path / "copy")))
    assert summary.finished
    assert "the checkpoint was not copied" in capsys.readouterr().err


def test_without_a_place_nothing_is_done(tmp_path: Path) -> None:
    mirror = Mirror(None, tmp_path)
    mirror.fetch()
    mirror.push(tmp_path)
    mirror.wait()
    assert not list(tmp_path.iterdir())
