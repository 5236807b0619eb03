"""Records to adapters: LoRA on a frozen base."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.finetune.cloud.config import CloudConfig
    from vesalius.finetune.cloud.task import render_task
    from vesalius.finetune.config import FinetuneConfig
    from vesalius.finetune.lora import RunSummary, finetune

__all__ = [
    "CloudConfig",
    "FinetuneConfig",
    "RunSummary",
    "finetune",
    "render_task",
]
_HOME = {
    "CloudConfig": "cloud.config",
    "FinetuneConfig": "config",
    "RunSummary": "lora",
    "finetune": "lora",
    "render_task": "cloud.task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
