"""How long the texts of a dataset are, in tokens, and how many a context would cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol


class Tokenizer(Protocol):
    """What is needed of a tokenizer of `transformers`: calling it gives `input_ids`, start and end counted."""

    model_max_length: int

    def __call__(self, text: str) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class TextLengths:
    """unit: "tokens", or "words" where no tokenizer was given. context: tokens of one context, 0 where not known.

    share_cut: of texts longer than one context, in [0, 1]; Vesalius reads these in several chunks, and plain pipelines
    cut them. histogram: texts by length, in steps of ten.
    """

    unit: str
    context: int
    median: int
    percentile_95: int
    longest: int
    share_cut: float
    histogram: dict[str, int]


class Lengths:
    """Counts texts by their length; memory is that of the different lengths."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self._counts: Counter[int] = Counter()

    def add(self, text: str) -> None:
        self._counts[len(self._tokenizer(text).input_ids) if self._tokenizer else len(text.split())] += 1

    def summary(self) -> TextLengths:
        context = self._tokenizer.model_max_length if self._tokenizer else 0
        total, steps = self._counts.total(), Counter[int]()
        for length, count in self._counts.items():
            steps[length // 10 * 10] += count
        over = sum(count for length, count in self._counts.items() if length > context)
        return TextLengths(
            unit="tokens" if self._tokenizer else "words",
            context=context,
            median=self._at(0.5),
            percentile_95=self._at(0.95),
            longest=max(self._counts, default=0),
            share_cut=over / total if context and total else 0.0,
            histogram={f"{start} to {start + 9}": steps[start] for start in sorted(steps)},
        )

    def _at(self, share: float) -> int:
        """The smallest length that at least this share of texts does not exceed."""
        seen, wanted = 0, share * self._counts.total()
        for length in sorted(self._counts):
            seen += self._counts[length]
            if seen >= wanted:
                return length
        return 0
