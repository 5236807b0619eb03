"""The latent diffusion model, the judge, and the folders they live in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.models.adapters.adapter import AdapterCard, apply_adapter, read_card
    from vesalius.models.adapters.check import check_adapter
    from vesalius.models.adapters.config import (
        AdapterCheckConfig,
        AdapterExportConfig,
        AdapterFuseConfig,
        AdapterMergeConfig,
    )
    from vesalius.models.adapters.export import export_adapter
    from vesalius.models.adapters.fuse import fuse_adapter
    from vesalius.models.adapters.merge import merge_adapters
    from vesalius.models.base import Base, open_base
    from vesalius.models.detectors.detector import DETECTORS, Detector
    from vesalius.models.networks.judge import Judge

__all__ = [
    "DETECTORS",
    "AdapterCard",
    "AdapterCheckConfig",
    "AdapterExportConfig",
    "AdapterFuseConfig",
    "AdapterMergeConfig",
    "Base",
    "Detector",
    "Judge",
    "apply_adapter",
    "check_adapter",
    "export_adapter",
    "fuse_adapter",
    "merge_adapters",
    "open_base",
    "read_card",
]
_HOME = {
    "AdapterCard": "adapters.adapter",
    "apply_adapter": "adapters.adapter",
    "read_card": "adapters.adapter",
    "AdapterCheckConfig": "adapters.config",
    "AdapterExportConfig": "adapters.config",
    "AdapterFuseConfig": "adapters.config",
    "AdapterMergeConfig": "adapters.config",
    "check_adapter": "adapters.check",
    "export_adapter": "adapters.export",
    "fuse_adapter": "adapters.fuse",
    "merge_adapters": "adapters.merge",
    "Base": "base",
    "open_base": "base",
    "DETECTORS": "detectors.detector",
    "Detector": "detectors.detector",
    "Judge": "networks.judge",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
