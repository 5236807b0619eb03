"""Texts as the denoiser hears them, encoded once: prompts that come again, the negative one, ladders."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MOST_BYTES = 64 * 2**20
"""About 280 prompts of Stable Diffusion 1, 100 of SDXL and 250 of `nano`, of one chunk each."""


class TextCache:
    """Embeddings of the texts that were asked for last, of one pipeline whose text encoders do not change.

    Each text is encoded alone. So its embedding depends on nothing but the text, and not on its neighbours in a batch,
    whose number changes the rounding of sums; were several encoded together, a picture would depend on what was drawn
    before. Threads may share it; one at a time encodes.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """most_bytes: of embeddings that are kept; 0 keeps none."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, int, torch.dtype | None], tuple[torch.Tensor, torch.Tensor | None]]
        self._kept = OrderedDict()
        self.num_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def embed(self, pipeline: Any, texts: Sequence[str], chunks: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`vesalius.models.text.embed` of N cleaned texts in so many chunks, in the precision of the autocast around
        it: embeddings [N, chunks * L, C], and of SDXL the pooled ones [N, P]. ValueError as there."""
        import torch

        # Where weights come and go, the encoder's own device is none
        kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
        precision = torch.get_autocast_dtype(kinds[0]) if kinds else None
        with self._lock:
            found = {text: self._embedding(pipeline, text, chunks, precision) for text in dict.fromkeys(texts)}
        rows = [found[text] for text in texts]
        pooled = [row for _, row in rows if row is not None]
        return torch.cat([row for row, _ in rows]), torch.cat(pooled) if pooled else None

    def _embedding(
        self, pipeline: Any, text: str, chunks: int, precision: torch.dtype | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        from vesalius.models.text import embed

        key = (text, chunks, precision)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        row = embed(pipeline, [text], chunks)
        self._kept[key] = row
        self.num_bytes += _bytes(row)
        while self.num_bytes > self._most_bytes:
            self.num_bytes -= _bytes(self._kept.popitem(last=False)[1])
        return row


def _bytes(row: tuple[torch.Tensor, torch.Tensor | None]) -> int:
    return sum(each.nbytes for each in row if each is not None)
