"""Records in: images and their texts from any known source, as one checked dataset folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.data.build.config import BuildConfig
    from vesalius.data.build.run import BuildSummary
    from vesalius.data.check.run import CheckConfig, CheckSummary
    from vesalius.data.modality import MODALITIES, Modality, find_modality
    from vesalius.data.phantoms.config import PhantomConfig
    from vesalius.data.phantoms.phantom import Phantom, draw_phantom, write_phantoms
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
    "BuildConfig": "build.config",
    "BuildSummary": "build.run",
    "CheckConfig": "check.run",
    "CheckSummary": "check.run",
    "MODALITIES": "modality",
    "Modality": "modality",
    "find_modality": "modality",
    "Phantom": "phantoms.phantom",
    "draw_phantom": "phantoms.phantom",
    "write_phantoms": "phantoms.phantom",
    "PhantomConfig": "phantoms.config",
    "Finding": "record",
    "Record": "record",
    "load_records": "record",
    "write_dataset": "record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
