"""The browser application for educators and raters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.demo.config import DemoConfig
    from vesalius.demo.server import launch

__all__ = ["DemoConfig", "launch"]
_HOME = {"DemoConfig": "config", "launch": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
