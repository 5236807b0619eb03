"""Samples to scores, metrics, verdicts, and one honest page."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.eval.config import EvalConfig
    from vesalius.eval.explain_config import ExplainConfig
    from vesalius.eval.explanation import explain
    from vesalius.eval.finding_maps import gradcam
    from vesalius.eval.reader_report import score_study
    from vesalius.eval.reader_study import make_study
    from vesalius.eval.readers_config import ReadersMakeConfig, ReadersScoreConfig
    from vesalius.eval.run import evaluate
    from vesalius.eval.usefulness_config import UsefulnessConfig
    from vesalius.eval.word_maps import attention_maps

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
    "ExplainConfig": "explain_config",
    "ReadersMakeConfig": "readers_config",
    "ReadersScoreConfig": "readers_config",
    "UsefulnessConfig": "usefulness_config",
    "attention_maps": "word_maps",
    "evaluate": "run",
    "explain": "explanation",
    "gradcam": "finding_maps",
    "make_study": "reader_study",
    "score_study": "reader_report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
