"""Texts as a denoiser is conditioned on them: encoded once where they fit into memory, at every step elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator

from vesalius.data.command.progress import progress
from vesalius.models.base import Base, text_encoders
from vesalius.models.text import embed, size_condition, split_chunks

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

ROOM = 2_000_000_000
"""Bytes of embeddings that may be kept in memory."""
BATCH = 16
"""Texts that are encoded together: more do not fit a processor's cache."""


def worth_keeping(num: int, longest: int, drawn: int, size: int) -> bool:
    """Whether a run encodes its `num` texts before its first step: they fit into ROOM, and it draws as many.

    longest: the most chunks of one. drawn: images that the run sees. size: numbers of a chunk's embedding.
    """
    return num <= drawn and num * longest * 4 * size <= ROOM


class Texts:
    """Prompts -> groups of like length with their embeddings: nothing is padded, so each text is seen just as it is
    when drawn alone.

    text_encoder: that of the base, or what wraps it; of SDXL the first, and the second is in the base, where an adapter
    is put into it in place. trained: they change, so nothing can be kept. device: where embeddings are wanted; none:
    where the text encoder is.
    """

    def __init__(
        self, base: Base, text_encoder: Any, *, trained: bool = False, device: torch.device | None = None
    ) -> None:
        self.base, self.text_encoder, self.trained = base, text_encoder, trained
        self.device: torch.device = device or text_encoder.device
        self._kept: dict[str, tuple[torch.Tensor, ...]] = {}

    def keep(self, texts: set[str], longest: int, drawn: int, accelerator: Accelerator, *, quiet: bool) -> bool:
        """Encode all texts of a run, in an order and in batches of their own, so that what a step sees does not depend
        on where the run was taken up; none where that is not worth it. Returns whether the text encoders have nothing
        left to do. longest, drawn: as `worth_keeping`."""
        width = sum(encoder.config.hidden_size for encoder in text_encoders(self.base.pipeline))
        context = self.base.pipeline.tokenizer.model_max_length
        if self.trained or not worth_keeping(len(texts), longest, drawn, width * context):
            return False
        lengths: dict[int, list[str]] = {}
        for text in sorted(texts):
            lengths.setdefault(self._num_chunks(text), []).append(text)
        batches = [ts[i : i + BATCH] for _, ts in sorted(lengths.items()) for i in range(0, len(ts), BATCH)]
        for batch in progress(batches, "encoding texts", len(batches), quiet=quiet):
            with torch.no_grad(), accelerator.autocast():
                parts = [part.float().cpu() for part in self._embeddings(batch)]
            self._kept.update(zip(batch, zip(*parts, strict=True), strict=True))
        return True

    def __call__(self, prompts: Sequence[str], grid: Sequence[int] | None = None) -> TextGroups:
        """grid: height and width of the latents that they condition, which SDXL is told in pixels; none: the base's
        square."""
        scale: int = self.base.pipeline.vae_scale_factor
        shape = [edge * scale for edge in grid or (self.base.image_size // scale,) * 2]
        device = self.device
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            lengths = [self._num_chunks(prompt) for prompt in prompts]
            groups: list[Any] = []
            for length in sorted(set(lengths)):
                rows = [row for row, n in enumerate(lengths) if n == length]
                hidden, *pooled = (part.to(device) for part in self._embeddings([prompts[row] for row in rows]))
                more = [size_condition(p, shape) for p in pooled]
                groups.append((torch.tensor(rows, device=device), hidden, *more))
            return groups

    def _num_chunks(self, prompt: str) -> int:
        kept, tokenizer = self._kept.get(prompt), self.base.pipeline.tokenizer
        return len(kept[0]) // int(tokenizer.model_max_length) if kept else len(split_chunks(tokenizer, prompt))

    def _embeddings(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """Embeddings [N, K * L, C] and, of SDXL, pooled ones [N, P], of texts of one length."""
        if all(prompt in self._kept for prompt in prompts):
            return [torch.stack(parts) for parts in zip(*(self._kept[p] for p in prompts), strict=True)]
        return [part for part in embed(self.base.pipeline, prompts, 0, self.text_encoder) if part is not None]
