"""Image-report retrieval: the judge's encoders at a small size, trained from nothing to find an image's own text.

Only the judge's vocabulary is taken over, none of its weights: the judge has seen real images.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.networks import Labelled, descend, seeded, vary
from vesalius.models.networks.judge import ImageEncoder, JudgeConfig, TextEncoder

CONTEXT = 64
"""Tokens that are read of a text."""
WIDTHS = (8, 16, 32, 64)
TEMPERATURE = 0.1

Rank = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Pair(nn.Module):
    """An encoder of images and one of texts, whose unit embeddings are compared."""

    def __init__(self, size: int, vocabulary: int) -> None:
        super().__init__()
        config = JudgeConfig(
            modalities=("any",), attributes=("any",), image_size=size, widths=WIDTHS, embedding=64, text_width=64,
            text_layers=1, context=CONTEXT, vocabulary=vocabulary,
        )  # fmt: skip
        self.image, self.text = ImageEncoder(config), TextEncoder(config)

    def look(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float [N, 3, S, S] in [-1, 1] -> [N, C]."""
        embedded: torch.Tensor = self.image(pixels)[0]
        return embedded

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Tokens [N, L], -1 at their ends -> [N, C]."""
        embedded: torch.Tensor = self.text(ids.clamp_min(0), ids >= 0)
        return embedded


def tokenize(texts: Sequence[str]) -> torch.Tensor:
    """Texts as tokens int64 [N, L], -1 at their ends; of a long one the first 64."""
    batch = _tokenizer()(list(texts), padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
    ids: torch.Tensor = batch.input_ids.masked_fill(batch.attention_mask == 0, -1)
    return ids


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(Path(str(importlib.resources.files("vesalius.models"))) / "judge")


def fit_pair(
    config: UsefulnessConfig, train: Labelled, seed: int, num_classes: int, first: Labelled | None = None
) -> Rank:
    """Images and tokens -> the rank [N, 1] of each image's own text among all different ones that are given."""
    network = seeded(lambda: Pair(config.size, len(_tokenizer())), seed)
    assert isinstance(network, Pair)
    generator = torch.Generator().manual_seed(seed)
    before = 0 if first is None else config.updates // 2
    for data, updates in ((first, before), (train, config.updates - before)):
        if data is not None:
            _align(network, data, updates, config.batch_size, generator)
    return _ranker(network.eval())


def _align(network: Pair, data: Labelled, updates: int, batch_size: int, generator: torch.Generator) -> None:
    """CLIP's loss (Radford et al. 2021), where every image of the same text is a right one."""
    images, ids = data

    def loss(picked: torch.Tensor) -> torch.Tensor:
        own = ids[picked]
        near = network.look(vary(images[picked], None, generator)[0]) @ network.read(own).T / TEMPERATURE
        same = (own[:, None] == own[None]).all(2).float()
        same = same / same.sum(1, keepdim=True)
        return functional.cross_entropy(near, same) + functional.cross_entropy(near.T, same)

    descend(list(network.parameters()), loss, len(images), updates, batch_size, generator)


def _ranker(network: Pair) -> Rank:
    @torch.inference_mode()
    def rank(images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        texts, own = torch.unique(ids, dim=0, return_inverse=True)
        read = torch.cat([network.read(part) for part in texts.split(256)])
        near = torch.cat([network.look(part.float() / 127.5 - 1) for part in images.split(256)]) @ read.T
        return 1 + (near > near.gather(1, own[:, None])).sum(1, keepdim=True).float()

    return rank
