"""The browser application for educators."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.demo.app import build_app, launch
    from vesalius.demo.config import DemoConfig

__all__ = ["DemoConfig", "build_app", "launch"]
_HOME = {"DemoConfig": "config", "build_app": "app", "launch": "app"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
