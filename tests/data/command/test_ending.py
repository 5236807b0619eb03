"""How lines end: no traceback for what a user got wrong, whichever way the line was started."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vesalius.data.command.ending import DONE, PARTIAL, RESUMABLE, USAGE, ended

ROOT = Path(__file__).resolve().parents[3]
MODULES = [
    p for stage in ("eval", "finetune") for p in sorted((ROOT / stage).rglob("*.py")) if "__main__" in p.read_text()
]


def raised(error: BaseException) -> int:
    def work() -> int:
        raise error

    return ended(work)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("a.csv:2: mend it"), USAGE, "vesalius: a.csv:2: mend it\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            USAGE,
            "vesalius: /x: Permission denied; change its permissions",
        ),
        (MemoryError("8 GB"), USAGE, "vesalius: not enough memory: 8 GB; lower --batch-size"),
        (
            RuntimeError("CUDA out of memory. Tried\nmore"),
            USAGE,
            "vesalius: not enough memory: CUDA out of memory. Tried;",
        ),
        (KeyboardInterrupt(), RESUMABLE, "\nstopped; the same line continues where it can\n"),
    ],
)
def test_what_went_wrong_is_one_sentence_and_a_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raised(error) == code
    assert capsys.readouterr().err.startswith(told)


def test_a_mistake_of_our_own_is_shown_whole() -> None:
    with pytest.raises(RuntimeError, match="ours"):
        raised(RuntimeError("ours"))
    assert [ended(lambda: DONE), ended(lambda: PARTIAL)] == [DONE, PARTIAL]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_module_with_a_line_of_its_own_ends_as_the_command_does(path: Path) -> None:
    block = ast.parse(path.read_text()).body[-1]
    assert isinstance(block, ast.If)
    called = {node.id for node in ast.walk(block) if isinstance(node, ast.Name)}
    assert "run_module" in called


def test_a_bad_line_of_a_module_has_no_traceback(tmp_path: Path) -> None:
    # of those lines the one that imports least
    line = [sys.executable, "-m", "vesalius.finetune.feeding.pack", "--data", "nowhere", "--out", str(tmp_path / "run")]
    paths = os.pathsep.join([str(ROOT / "typings"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths})
    assert run.returncode == USAGE
    assert run.stderr.splitlines()[-1].startswith("vesalius: nowhere: no such dataset folder")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "run").exists()
