"""Samples to scores, metrics, verdicts, and one honest page."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.eval.config import EvalConfig
    from vesalius.eval.run import evaluate
    from vesalius.eval.usefulness_config import UsefulnessConfig

__all__ = ["EvalConfig", "UsefulnessConfig", "evaluate"]
_HOME = {"EvalConfig": "config", "UsefulnessConfig": "usefulness_config", "evaluate": "run"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
