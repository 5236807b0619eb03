"""One process or many: the accelerator of a run, its precision, and the notice of a machine that is taken away."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, TorchDynamoPlugin

from vesalius.inference.generator import find_device
from vesalius.models.computing.machine import has_bf16

BUCKET = 16_000_000
"""Gradients that are exchanged at once: 64 MB."""


def make_accelerator(
    precision: str = "auto",
    device: str = "auto",
    tracker: str = "none",
    folder: Path | None = None,
    compiled: bool = False,
) -> Accelerator:
    """An accelerator for this run alone. tracker: one that accelerate knows; folder: where it logs; compiled: the
    networks that it prepares are.

    ValueError where the tracker is not installed, or this machine lacks the device.

    accelerate shares its state between all accelerators of a process, so a second run of another precision would be
    refused. Only the process group of a distributed launch has to stay.
    """
    if tracker == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ValueError('--tracker wandb is not installed; `pip install "vesalius[wandb]"`, or use tensorboard')
    find_device(device)
    AcceleratorState._reset_state(reset_partial_state="LOCAL_RANK" not in os.environ)
    waits = InitProcessGroupKwargs(timeout=timedelta(hours=6))  # the others wait while one process caches the latents
    return Accelerator(
        mixed_precision=choose_precision(precision, device),
        cpu=device == "cpu",
        kwargs_handlers=[waits],
        log_with=None if tracker == "none" else tracker,
        project_dir=folder,
        dynamo_plugin=TorchDynamoPlugin(backend="inductor") if compiled else None,
    )


def choose_precision(precision: str, device: str) -> str:
    """accelerate's word for the precision: bf16 where asked, or where auto finds hardware for it."""
    if precision != "auto":
        return "no" if precision == "fp32" else "bf16"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16" if has_bf16(device) else "no"


def num_workers(asked: int, device: torch.device) -> int:
    """Processes that read ahead: as many as asked; of -1, on a GPU all cores but two, on a processor none, which has
    no time to spare."""
    if asked < 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        asked = max(1, cores - 2) if device.type == "cuda" else 0
    if asked:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not outlive a fork
    return asked


def leave_signals(_: int) -> None:
    """In a process that reads ahead: SIGTERM and Ctrl-C, which a whole group gets, are for the one that trains. It ends
    the others when it has saved."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def watch_signals() -> Iterator[list[int]]:
    """Yields a list that SIGTERM, the notice of a preempted machine, and Ctrl-C make longer; in a thread neither does.

    A second Ctrl-C does not wait: KeyboardInterrupt.
    """
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def told(number: int, _: object) -> None:
        if number == signal.SIGINT and number in stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    former = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def average_gradients(accelerator: Accelerator, parameters: Sequence[torch.nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients, a bucket at a time.

    An adapter's gradients are small, so that one exchange after the backward pass costs next to nothing, and a process
    that ran out of memory may try its share again before it: no hook waits inside the pass.
    """
    if accelerator.num_processes == 1:
        return
    bucket: list[torch.Tensor] = []
    for place, parameter in enumerate(parameters):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(parameter.grad)
        if sum(g.numel() for g in bucket) >= BUCKET or place == len(parameters) - 1:
            mean: torch.Tensor = accelerator.reduce(torch.cat([g.flatten() for g in bucket]), "mean")
            parts = mean.split([g.numel() for g in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
            bucket = []
