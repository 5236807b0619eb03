"""What a stage exports: the names that its `__init__` gives, whose modules are imported when one asks for them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any


def exports(stage: str) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """`__all__`, `__getattr__` and `__dir__` (PEP 562) of a stage, out of the imports that its `__init__` shows to type
    checkers: `from MODULE import NAME as NAME`, a line for each.

    They are read from the source, so that a name stands in one place, and what editors see is what is there.
    ImportError where the source is not installed. `lazy_loader` does the same from a stub file beside it, which may
    hold relative imports alone; there are none in this house.
    """
    homes = homes_of(stage)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {stage!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return sorted(homes), get, lambda: sorted(homes)


def homes_of(stage: str) -> dict[str, str]:
    """The names that a stage exports, each with the module that it is in; nothing is imported but the stage itself."""
    spec = importlib.util.find_spec(stage)
    source = spec.loader.get_source(stage) if spec and spec.loader else None  # type: ignore[attr-defined]
    if source is None:
        raise ImportError(
            f"{stage}: its source is not installed, and says what it exports; install vesalius with its .py files",
            name=stage,
        )
    shown = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    return {name.asname: node.module for node in shown if node.module for name in node.names if name.asname}
