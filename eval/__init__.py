"""Samples to scores, metrics, verdicts, and one honest page."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.eval.config import EvalConfig
    from vesalius.eval.explanations.config import ExplainConfig
    from vesalius.eval.explanations.finding_maps import gradcam
    from vesalius.eval.explanations.run import explain
    from vesalius.eval.explanations.word_maps import attention_maps
    from vesalius.eval.readers.config import ReadersMakeConfig, ReadersScoreConfig
    from vesalius.eval.readers.report import score_study
    from vesalius.eval.readers.study import make_study
    from vesalius.eval.run import evaluate
    from vesalius.eval.usefulness.config import UsefulnessConfig

__all__ = [
    "EvalConfig",
    "ExplainConfig",
    "ReadersMakeConfig",
    "ReadersScoreConfig",
    "UsefulnessConfig",
    "attention_maps",
    "evaluate",
    "explain",
    "gradcam",
    "make_study",
    "score_study",
]
_HOME = {
    "EvalConfig": "config",
    "ExplainConfig": "explanations.config",
    "ReadersMakeConfig": "readers.config",
    "ReadersScoreConfig": "readers.config",
    "UsefulnessConfig": "usefulness.config",
    "attention_maps": "explanations.word_maps",
    "evaluate": "run",
    "explain": "explanations.run",
    "gradcam": "explanations.finding_maps",
    "make_study": "readers.study",
    "score_study": "readers.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
