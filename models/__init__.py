"""The latent diffusion model, the judge, and the folders they live in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.models.adapter import AdapterCard, apply_adapter, read_card
    from vesalius.models.adapter_check import check_adapter
    from vesalius.models.adapter_config import (
        AdapterCheckConfig,
        AdapterExportConfig,
        AdapterFuseConfig,
        AdapterMergeConfig,
    )
    from vesalius.models.adapter_export import export_adapter
    from vesalius.models.adapter_fuse import fuse_adapter
    from vesalius.models.adapter_merge import merge_adapters
    from vesalius.models.base import Base, open_base
    from vesalius.models.detector import DETECTORS, Detector
    from vesalius.models.judge_network import Judge

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
    "AdapterCard": "adapter",
    "apply_adapter": "adapter",
    "read_card": "adapter",
    "AdapterCheckConfig": "adapter_config",
    "AdapterExportConfig": "adapter_config",
    "AdapterFuseConfig": "adapter_config",
    "AdapterMergeConfig": "adapter_config",
    "check_adapter": "adapter_check",
    "export_adapter": "adapter_export",
    "fuse_adapter": "adapter_fuse",
    "merge_adapters": "adapter_merge",
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
