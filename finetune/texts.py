"""Texts as a denoiser is conditioned on them: encoded once where they fit into memory, at every step elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from vesalius.models.base import Base, text_encoders
from vesalius.models.text import embed, size_condition, split_chunks

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

ROOM = 2_000_000_000
"""Bytes of embeddings that may be kept in memory."""


class Texts:
    """Prompts -> groups of like length with their embeddings: nothing is padded, so each text is seen just as it is
    when drawn alone.

    Where all texts of a run fit into ROOM, each is encoded alone when it is first met and kept, so that what a step
    sees does not depend on which were met before it. A trained text encoder keeps nothing.

    text_encoder: that of the base, or what wraps it. num_texts, longest: how many texts there are, and the most
    chunks of one.
    """

    def __init__(self, base: Base, text_encoder: Any, *, trained: bool, num_texts: int, longest: int) -> None:
        self.base, self.text_encoder, self.trained = base, text_encoder, trained
        width = sum(encoder.config.hidden_size for encoder in text_encoders(base.pipeline))
        size = 4 * width * base.pipeline.tokenizer.model_max_length * longest
        self.keeps = not trained and num_texts * size <= ROOM
        self._kept: dict[str, tuple[torch.Tensor, ...]] = {}

    def __call__(self, prompts: Sequence[str]) -> TextGroups:
        # A frozen encoder works in full precision, whatever is asked of the denoiser
        device = self.text_encoder.device
        whole = nullcontext() if self.trained else torch.autocast(device.type, enabled=False)
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()), whole:
            lengths = [self._num_chunks(prompt) for prompt in prompts]
            groups: list[Any] = []
            for length in sorted(set(lengths)):
                rows = [row for row, n in enumerate(lengths) if n == length]
                hidden, *pooled = (part.to(device) for part in self._embeddings([prompts[row] for row in rows]))
                more = [size_condition(p, self.base.image_size) for p in pooled]
                groups.append((torch.tensor(rows, device=device), hidden, *more))
            return groups

    def _num_chunks(self, prompt: str) -> int:
        kept = self._kept.get(prompt)
        tokenizer = self.base.pipeline.tokenizer
        if kept is not None:
            return len(kept[0]) // int(tokenizer.model_max_length)
        return len(split_chunks(tokenizer, prompt))

    def _embeddings(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """Embeddings [N, K * L, C] and, of SDXL, pooled ones [N, P], float32."""
        if not self.keeps:
            return [part for part in embed(self.base.pipeline, prompts, 0, self.text_encoder) if part is not None]
        for prompt in prompts:
            if prompt not in self._kept:
                parts = embed(self.base.pipeline, [prompt], 0, self.text_encoder)
                self._kept[prompt] = tuple(part[0].cpu() for part in parts if part is not None)
        return [torch.stack(parts) for parts in zip(*(self._kept[p] for p in prompts), strict=True)]
