"""A stage exports what its `__init__` shows to type checkers, and imports it when it is asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from vesalius.data.command.exports import exports, homes_of


def test_a_name_has_the_module_that_the_imports_say() -> None:
    homes = homes_of("vesalius.data")
    assert homes["Record"] == "vesalius.data.record"
    assert set(homes.values()) <= {f"vesalius.{m}" for m in map(".".join, _modules())}


def _modules() -> list[tuple[str, ...]]:
    root = Path(__file__).resolve().parents[3]
    return [path.relative_to(root).with_suffix("").parts for path in (root / "data").rglob("*.py")]


def test_a_stage_lists_its_names_and_no_others_are_there() -> None:
    names, get, listed = exports("vesalius.finetune")
    assert names == sorted(names) == listed() == dir(importlib.import_module("vesalius.finetune"))
    assert get("FinetuneConfig").__name__ == "FinetuneConfig"
    with pytest.raises(AttributeError, match="no attribute 'lora_of_nobody'"):
        get("lora_of_nobody")


def test_a_stage_is_imported_without_what_it_exports() -> None:
    stages = ("data", "models", "inference", "eval", "finetune", "improve", "demo")
    shown = "print(sorted(m for m in sys.modules if 'vesal' in m))"
    code = f"import sys, {', '.join(f'vesalius.{s}' for s in stages)}; {shown}"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = {"vesalius", *(f"vesalius.{s}" for s in stages), "vesalius.data.command", "vesalius.data.command.exports"}
    assert {name for name in ast.literal_eval(told) if not name.startswith("_")} == ours


def test_a_stage_without_its_source_is_named() -> None:
    with pytest.raises(
        ImportError, match=r"vesalius.nowhere: its source is not installed.*; install vesalius"
    ) as caught:
        homes_of("vesalius.nowhere")
    assert caught.value.name == "vesalius.nowhere"
