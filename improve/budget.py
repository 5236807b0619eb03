"""A budget in hours or money, after which a loop stops cleanly: what is spent is counted over all its starts."""

from __future__ import annotations

import _thread
import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

from vesalius.data.record import write_json

BEAT = 5.0
"""Seconds between two counts of what is spent; a kill loses at most so many."""
UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def seconds_of(budget: str, price: float | None) -> float:
    """Seconds that a budget allows: 90m, 3h, 2d of time, or a bare number of money at `price` an hour.

    ValueError where it is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", budget.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"--budget '{budget}': expected hours such as 3h, or money such as 20 with --price an hour")
    if match[2]:
        return float(match[1]) * UNITS[match[2]]
    if price is None or price <= 0:
        raise ValueError(
            f"--budget {budget} is money: give --price too, what an hour of this machine costs; or write 3h"
        )
    return float(match[1]) / price * 3600


def spent(out: Path) -> float:
    """Seconds that a loop has run so far."""
    path = out / "spent.json"
    return float(json.loads(path.read_text())["seconds"]) if path.is_file() else 0.0


@contextmanager
def spending(out: Path, allowed: float | None) -> Iterator[Callable[[], None]]:
    """Count the seconds of what runs within, and interrupt it as Ctrl-C does when all allowed ones are spent.

    Yields a function to be called before each part of the work: an interrupt may be lost, in a destructor or on the
    last step of a training, and is not sent twice, since a second one does not wait for what is being saved. It raises
    KeyboardInterrupt once all is spent.

    KeyboardInterrupt at once where they are spent already. A process that a shell has put into the background ignores
    Ctrl-C; it goes on doing so, but for this one.
    """
    before, start = spent(out), time.monotonic()
    if allowed is not None and before >= allowed:
        _say(before, allowed)
        raise KeyboardInterrupt
    done, is_spent = threading.Event(), threading.Event()

    def heard(number: int, frame: FrameType | None) -> None:
        if is_spent.is_set():
            raise KeyboardInterrupt

    is_deaf = (
        allowed is not None
        and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        and threading.current_thread() is threading.main_thread()
    )
    if is_deaf:
        signal.signal(signal.SIGINT, heard)

    def count() -> float:
        total = before + time.monotonic() - start
        write_json(out / "spent.json", {"seconds": round(total, 1)})
        return total

    def beat() -> None:
        left = float("inf") if allowed is None else allowed - before
        while not done.wait(min(BEAT, max(0.01, left))):
            total = count()
            if left == float("inf"):
                continue
            left = (allowed or 0.0) - total
            if left <= 0:
                _say(total, allowed or 0.0)
                is_spent.set()
                interrupt()
                left = float("inf")  # said once; what runs ends in its own time

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()

    def check() -> None:
        if is_spent.is_set():
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        done.set()
        thread.join()
        count()
        if is_deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def interrupt() -> None:
    """Ctrl-C for the main thread, also where it sleeps or waits for a process."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)
    else:
        _thread.interrupt_main()


def _say(total: float, allowed: float) -> None:
    print(
        f"improve: the budget of {allowed / 3600:.2f} hours is spent ({total / 3600:.2f}); the same line with a larger "
        "--budget goes on",
        file=sys.stderr,
    )
