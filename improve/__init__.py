"""The loop: generate, score, gate, add back, fine-tune, promote or roll back."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.improve.config import ImproveConfig
    from vesalius.improve.loop import improve
    from vesalius.improve.telling.status import read_status

__all__ = ["ImproveConfig", "improve", "read_status"]
_HOME = {"ImproveConfig": "config", "improve": "loop", "read_status": "telling.status"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
