"""Out of memory halves the batch, and goes on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from vesalius.models.computing.machine import out_of_memory, return_memory

Asked = TypeVar("Asked")


class Halving:
    """Draws batches, in smaller parts once one was too large. limit: pictures that are drawn at once at most; None
    until memory ran out."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def draw(self, batch: Sequence[Asked], draw: Callable[[list[Asked]], Any]) -> Iterator[tuple[Asked, Any]]:
        """What `draw` makes of a batch, which is one thing for each. MemoryError where it cannot make one alone."""
        waiting = list(batch)
        while waiting:
            part = waiting[: self.limit]
            drawn = self._try(part, draw)
            if drawn is None:
                self.limit = len(part) // 2
                print(f"vesalius: out of memory; from here {self.limit} pictures at a time", file=sys.stderr)
                continue
            waiting = waiting[len(part) :]
            yield from zip(part, drawn, strict=True)

    def _try(self, part: list[Asked], draw: Callable[[list[Asked]], Any]) -> Any:
        """None where memory ran out and fewer may fit. The error's frames hold tensors, so nothing is tried before it
        has gone."""
        try:
            return draw(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            first = (str(error).splitlines() or ["out of memory"])[0]
        _release()
        if len(part) > 1:
            return None
        raise MemoryError(
            f"one picture alone does not fit ({first}); give --memory with less than this machine has, which lets "
            "weights come and go, or a smaller --size"
        )


def _release() -> None:
    """Give back what a failed pass held."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return_memory()
