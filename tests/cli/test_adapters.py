"""The verbs of adapters, from a run to a base that needs none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vesalius.cli.main import CHECK, DONE, USAGE, main


def say(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one line."""
    capsys.readouterr()
    code = main([str(w) for w in words])
    told = capsys.readouterr()
    return code, told.out, told.err


def one_object(out: str) -> Any:
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture
def runs(phantoms: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    """Two runs of two steps, alpha other than rank; the first adapts the text encoder too."""
    small = ("--steps", 2, "--batch-size", 2, "--num-validation", 2, "--rank", 2, "--alpha", 5, "--device", "cpu")
    for seed in (1, 2):
        line = ("finetune", "--data", phantoms, "--base", tiny_base, "--out", tmp_path / f"run{seed}", "--seed", seed)
        both = ("--train-text",) if seed == 1 else ()
        code, _, err = say(capsys, *line, *small, *both, "--learning-rate", 0.02, "--warmup", 0)
        assert code == DONE, err
    return tmp_path / "run1", tmp_path / "run2"


def test_a_run_is_exported_checked_merged_and_fused(
    runs: tuple[Path, Path], tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kohya = tmp_path / "chest.safetensors"
    line = ("adapter", "export", runs[0], "--format", "kohya", "--out", kohya)
    code, out, _ = say(capsys, *line, "--dry-run")
    assert (code, out[:11], kohya.exists()) == (DONE, "would write", False)
    code, out, err = say(capsys, *line)
    assert (code, out[:5], kohya.is_file()) == (DONE, "wrote", True), err
    assert one_object(say(capsys, *line, "--json")[1])["unchanged"] is True

    code, out, err = say(capsys, "adapter", "check", kohya, "--base", tiny_base)
    assert (code, out.splitlines()[-1]) == (DONE, "no problem found"), out + err
    assert "rank 2, alpha 5" in out
    assert "text_encoder 4" in out
    code, out, _ = say(capsys, "adapter", "check", runs[0], "--base", tiny_base, "--json")
    told = one_object(out)
    assert (code, told["ok"], told["format"]) == (CHECK, False, "PEFT")
    assert "adapter export" in told["problems"][0]

    code, out, err = say(capsys, "adapter", "merge", *runs, "--weights", "0.7", "-0.3", "--out", tmp_path / "blend")
    assert code == DONE, err
    assert out.startswith("blended 0.7 run1 + -0.3 run2: ")
    code, out, err = say(capsys, "adapter", "fuse", tmp_path / "blend", "--out", tmp_path / "base", "--json")
    assert (code, one_object(out)["parts"]) == (DONE, ["unet", "text_encoder"]), err
    drawing = ("generate", "Chest CT", "--steps", 1, "--base", tmp_path / "base", "--out", tmp_path / "samples")
    code, _, err = say(capsys, *drawing)
    assert code == DONE, err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "{nothing}", "--out", "{out}"), "no adapter there"),
        (("check", "{nothing}"), "no adapter there"),
        (("merge", "nano-fast", "{nothing}", "--out", "{out}"), "no adapter there"),
        (("merge", "nano-fast", "{nothing}", "--weights", "nan", "1", "--out", "{out}"), "--weights holds nan"),
        (("merge", "nano-fast", "--out", "{out}"), "name two or more"),
        (("fuse", "nano-fast", "--weight", "nan", "--out", "{out}"), "--weight is nan"),
    ],
)
def test_bad_lines_end_in_one_message(
    words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"nothing": tmp_path / "nothing", "out": tmp_path / "out"}
    code, _, err = say(capsys, "adapter", *(word.format(**places) for word in words))
    assert (code, err.count("\n")) == (USAGE, 1), err
    assert told in err
    assert list(tmp_path.iterdir()) == []
