"""One process or many: the accelerator of a run, its precision, and the notice of a machine that is taken away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs


def make_accelerator(precision: str = "auto", device: str = "auto") -> Accelerator:
    """An accelerator for this run alone.

    accelerate shares its state between all accelerators of a process, so a second run of another precision would be
    refused. Only the process group of a distributed launch has to stay.
    """
    AcceleratorState._reset_state(reset_partial_state="LOCAL_RANK" not in os.environ)
    waits = InitProcessGroupKwargs(timeout=timedelta(hours=6))  # the others wait while one process caches the latents
    return Accelerator(
        mixed_precision=choose_precision(precision, device), cpu=device == "cpu", kwargs_handlers=[waits]
    )


def choose_precision(precision: str, device: str) -> str:
    """accelerate's word for the precision: bf16 where asked, or where auto finds hardware for it."""
    if precision != "auto":
        return "no" if precision == "fp32" else "bf16"
    if device == "auto" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


@contextmanager
def watch_sigterm() -> Iterator[list[int]]:
    """Yields a list that SIGTERM, the notice of a preempted machine, makes longer. In a thread it stays empty."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    former = signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, former)
