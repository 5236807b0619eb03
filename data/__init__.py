"""Records in: images and their texts from any known source, as one checked dataset folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.data.build import BuildSummary
    from vesalius.data.build_config import BuildConfig
    from vesalius.data.check import CheckConfig, CheckSummary
    from vesalius.data.modality import MODALITIES, Modality, find_modality
    from vesalius.data.phantom import Phantom, draw_phantom, write_phantoms
    from vesalius.data.phantom_config import PhantomConfig
    from vesalius.data.record import Finding, Record, load_records, write_dataset

__all__ = [
    "MODALITIES",
    "BuildConfig",
    "BuildSummary",
    "CheckConfig",
    "CheckSummary",
    "Finding",
    "Modality",
    "Phantom",
    "PhantomConfig",
    "Record",
    "draw_phantom",
    "find_modality",
    "load_records",
    "write_dataset",
    "write_phantoms",
]
_HOME = {
    "BuildConfig": "build_config",
    "BuildSummary": "build",
    "CheckConfig": "check",
    "CheckSummary": "check",
    "MODALITIES": "modality",
    "Modality": "modality",
    "find_modality": "modality",
    "Phantom": "phantom",
    "draw_phantom": "phantom",
    "write_phantoms": "phantom",
    "PhantomConfig": "phantom_config",
    "Finding": "record",
    "Record": "record",
    "load_records": "record",
    "write_dataset": "record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
