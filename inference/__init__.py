"""Prompts to samples: drawing, and writing with provenance."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.inference.augmentation.config import AugmentConfig
    from vesalius.inference.augmentation.run import augment
    from vesalius.inference.config import GenerateConfig
    from vesalius.inference.generator import Generator
    from vesalius.inference.running.run import generate
    from vesalius.inference.sample import Sample, load_samples

__all__ = ["AugmentConfig", "GenerateConfig", "Generator", "Sample", "augment", "generate", "load_samples"]
_HOME = {
    "AugmentConfig": "augmentation.config",
    "augment": "augmentation.run",
    "GenerateConfig": "config",
    "Generator": "generator",
    "generate": "running.run",
    "Sample": "sample",
    "load_samples": "sample",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
