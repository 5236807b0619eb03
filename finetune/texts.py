"""Texts as a denoiser is conditioned on them: encoded once where they fit into memory, at every step elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from vesalius.models.text import encode, split_chunks, text_condition, tokenize

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

ROOM = 2_000_000_000
"""Bytes of embeddings that may be kept in memory."""


class Texts:
    """Prompts -> groups of like length with their embeddings, as `text_condition`.

    Where all texts of a run fit into ROOM, each is encoded alone when it is first met and kept, so that what a step
    sees does not depend on which were met before it. A trained text encoder keeps nothing.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, *, trained: bool, num_texts: int, longest: int) -> None:
        self.tokenizer, self.text_encoder, self.trained = tokenizer, text_encoder, trained
        size = 4 * text_encoder.config.hidden_size * tokenizer.model_max_length * longest
        self.keeps = not trained and num_texts * size <= ROOM
        self._kept: dict[str, torch.Tensor] = {}

    def __call__(self, prompts: Sequence[str]) -> TextGroups:
        # A frozen encoder works in full precision, whatever is asked of the denoiser
        whole = nullcontext() if self.trained else torch.autocast(self.text_encoder.device.type, enabled=False)
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()), whole:
            if not self.keeps:
                return text_condition(self.tokenizer, self.text_encoder, prompts)
            embeddings = [self._embedding(prompt) for prompt in prompts]
            groups = []
            for length in sorted({len(e) for e in embeddings}):
                rows = [row for row, e in enumerate(embeddings) if len(e) == length]
                hidden = torch.stack([embeddings[row] for row in rows]).to(self.text_encoder.device)
                groups.append((torch.tensor(rows, device=hidden.device), hidden))
            return groups

    def _embedding(self, prompt: str) -> torch.Tensor:
        """[K * L, C] float32 on the CPU."""
        if prompt not in self._kept:
            ids = tokenize(self.tokenizer, [prompt]).to(self.text_encoder.device)
            self._kept[prompt] = encode(self.text_encoder, ids)[0].cpu()
        return self._kept[prompt]


def longest_of(tokenizer: Any, texts: Sequence[str]) -> int:
    """The most chunks that one of the texts needs."""
    return max((len(split_chunks(tokenizer, t)) for t in texts), default=1)
