"""The latent diffusion model, the judge, and the folders they live in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.models.adapter import AdapterCard, apply_adapter, read_card
    from vesalius.models.base import Base, open_base
    from vesalius.models.detector import DETECTORS, Detector
    from vesalius.models.judge_network import Judge

__all__ = [
    "DETECTORS",
    "AdapterCard",
    "Base",
    "Detector",
    "Judge",
    "apply_adapter",
    "open_base",
    "read_card",
]
_HOME = {
    "AdapterCard": "adapter",
    "apply_adapter": "adapter",
    "read_card": "adapter",
    "Base": "base",
    "open_base": "base",
    "DETECTORS": "detector",
    "Detector": "detector",
    "Judge": "judge_network",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
