"""Counted work: what a computation is, before anyone knows how long a card takes for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """Counted work. FLOPs (a multiplication and an addition are two) by kind; bytes moved by all that is no product;
    and how many operations are started."""

    convolution: float = 0.0
    matmul: float = 0.0
    attention: float = 0.0
    moved: float = 0.0
    operations: float = 0.0

    @property
    def flops(self) -> float:
        return self.convolution + self.matmul + self.attention

    def times(self, count: float) -> Work:
        """That of `count` times as large a batch: as many operations, each on more."""
        return Work(
            convolution=self.convolution * count, matmul=self.matmul * count, attention=self.attention * count,
            moved=self.moved * count, operations=self.operations,
        )  # fmt: skip

    def __add__(self, other: Work) -> Work:
        return Work(**{name: value + getattr(other, name) for name, value in vars(self).items()})
