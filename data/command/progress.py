"""One progress line for every stage: a bar with ETA on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Progress:
    """Counts towards `total`, which may not be known; `note` shows beside the count. Silent where `quiet` (other
    ranks, tests, --json)."""

    def __init__(self, what: str, total: int | None, *, start: int = 0, quiet: bool = False) -> None:
        self.what, self.total, self.done, self.quiet = what, total, start, quiet
        self._bar = None
        self._start, self._began, self._spoke = start, time.monotonic(), time.monotonic()
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            delay = 2.0 if total is None else 0.0  # what is short in the end is not shown at all
            self._bar = tqdm(total=total, initial=start, desc=what, dynamic_ncols=True, delay=delay)

    def step(self, count: int = 1, note: str = "") -> None:
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif not self.quiet and (time.monotonic() - self._spoke > 10 or (count and self.done == self.total)):
            self._spoke = time.monotonic()
            rate = (self.done - self._start) / max(self._spoke - self._began, 1e-9)
            eta, of = "", ""
            if self.total is not None:
                left = (self.total - self.done) / max(rate, 1e-9)
                eta = f", {left:.0f} s left" if self.done < self.total else f" in {self._spoke - self._began:.0f} s"
                eta = eta if self.done > self._start else ""
                of = f"/{self.total}"
            print(
                f"{self.what}: {self.done}{of} ({rate:.1f}/s{eta}) {note}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def progress(items: Iterable[T], what: str, total: int, *, quiet: bool = False) -> Iterator[T]:
    """Iterate with a progress line."""
    with Progress(what, total, quiet=quiet) as bar:
        for each in items:
            yield each
            bar.step()
