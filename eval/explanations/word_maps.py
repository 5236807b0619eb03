"""Which region of a drawing attended to which word of its prompt.

    maps = attention_maps(generator, request)      {word: float32 [H, W]}

In every cross-attention layer each cell of the picture shares its attention out over the tokens of the text. Those
shares are averaged over heads, layers and denoising steps, added up over the tokens of a word, and brought to the size
of the picture: DAAM (Tang et al. 2023, "What the DAAM: interpreting Stable Diffusion using cross attention", ACL, arXiv
2210.04885). Here the generator's own drawing is watched, which stays the same to the last bit: the layers compute as
they did, and their shares are computed beside them.

A map says where a word was looked up, not what it caused. Layers hear the text in other ways too: the pooled text of
SDXL and of `nano` reaches every level, and what attention wrote early is carried by all that follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from vesalius.data.images.image import Float32, Picture
from vesalius.data.texts.prompt import clean
from vesalius.inference.request import Request
from vesalius.models.text import split_chunks

if TYPE_CHECKING:
    from vesalius.inference.generator import Generator

_LETTER = r"[^\W_㐀-鿿]"
_WORD = re.compile(rf"{_LETTER}+(?:[-'’]{_LETTER}+|[.,]\d+)*|[㐀-鿿]+|[^\w\s]|_")
_HAN = re.compile(r"[㐀-鿿]")


@dataclass(frozen=True, kw_only=True)
class WordMaps:
    """A drawing and its maps.

    words: of the prompt in their order; one that comes again has its number behind it. maps: float32 [N, H, W] in
    [0, 1], the share of a place's attention that each word had. marks: float32 [H, W], what the marks of begin, end and
    padding had. All maps and the marks add up to 1 at every place. grids: cells (height, width) of the layers that were
    watched, finest first. steps: how often each was.
    """

    picture: Picture
    words: tuple[str, ...]
    maps: Float32
    marks: Float32
    grids: tuple[tuple[int, int], ...]
    steps: int

    def shares(self) -> dict[str, float]:
        """The share of all attention that each word had, in [0, 1]."""
        return {word: float(each.mean()) for word, each in zip(self.words, self.maps, strict=True)}


def attention_maps(generator: Generator, request: Request, **sampling: Any) -> dict[str, Float32]:
    """Draw a request, and map for each word of its prompt which region attended to it: float32 [H, W] in [0, 1].

    sampling: steps, guidance and negative, as `Generator.draw_all`. `watch_words` tells more.
    """
    watched = watch_words(generator, request, **sampling)
    return dict(zip(watched.words, watched.maps, strict=True))


def watch_words(generator: Generator, request: Request, **sampling: Any) -> WordMaps:
    """Draw a request and watch its cross-attention. sampling: steps, guidance and negative, as `Generator.draw_all`.

    Under guidance the half that hears the prompt is watched. ValueError as the drawing, or where the base has no
    cross-attention that can be watched.
    """
    pipeline = generator.base.pipeline
    height, width = generator.check_size(request.size)
    names = [name for name in pipeline.unet.attn_processors if name.endswith("attn2.processor")]
    if not names:
        raise ValueError(f"base '{generator.base.name}' has no cross-attention to watch; words cannot be mapped")
    watch = _Watch(height / width)
    with _watched(pipeline.unet, watch):
        ((_, picture),) = generator.draw_all([request], **sampling)
    words, owners = words_of(pipeline.tokenizer, request.prompt, watch.num_tokens)
    maps = watch.shares([len(words) if o is None else o for o in owners], len(words) + 1, (height, width))
    grids = tuple(sorted(watch.sums, reverse=True))
    return WordMaps(
        picture=picture, words=words, maps=maps[:-1].numpy(), marks=maps[-1].numpy(), grids=grids,
        steps=max(watch.counts[grid] for grid in grids) // watch.layers(grids),
    )  # fmt: skip


def words_of(tokenizer: Any, prompt: str, num_tokens: int) -> tuple[tuple[str, ...], list[int | None]]:
    """The words of a prompt, and for each of the tokens that the denoiser hears its word (None: a mark or padding).

    A text is heard in chunks of one context each. Words of scripts without blanks are cut where tokens are.
    """
    context = tokenizer.model_max_length
    words: list[str] = []
    owners: list[int | None] = [None] * num_tokens
    for number, chunk in enumerate(split_chunks(tokenizer, clean(prompt))):
        told = tokenizer(chunk, return_offsets_mapping=True, add_special_tokens=True, verbose=False)
        marks = tokenizer.get_special_tokens_mask(told.input_ids, already_has_special_tokens=True)
        spans = [None if mark else tuple(span) for span, mark in zip(told.offset_mapping, marks, strict=True)]
        pieces = _pieces(chunk, [s for s in spans if s is not None])
        for place, span in enumerate(spans[:context]):
            if span is not None:
                found = next((i for i, (a, b) in enumerate(pieces) if a < span[1] and span[0] < b), None)
                owners[number * context + place] = None if found is None else len(words) + found
        words += [chunk[a:b] for a, b in pieces]
    seen: dict[str, int] = {}
    named = []
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        named.append(word if seen[word] == 1 else f"{word} ({seen[word]})")
    return tuple(named), owners


def _pieces(text: str, spans: list[Any]) -> list[tuple[int, int]]:
    """Where the words of a text lie. A run of Chinese is cut where a token begins that shares no character with the one
    before, and words that share a token are one."""
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if not _HAN.match(match[0]):
            found.append(match.span())
            continue
        cuts = {match.start()}
        for before, after in pairwise(spans):
            if match.start() < after[0] < match.end() and before[1] <= after[0]:
                cuts.add(after[0])
        edges = [*sorted(cuts), match.end()]
        found += list(pairwise(edges))
    for start, end in spans:
        over = [i for i, (a, b) in enumerate(found) if a < end and start < b]
        if len(over) > 1:
            found[over[0] : over[-1] + 1] = [(found[over[0]][0], found[over[-1]][1])]
    return found


class _Watch:
    """Sums of attention over heads, layers and steps. sums: by grid (height, width), float32 [cells, tokens]."""

    def __init__(self, aspect: float) -> None:
        self.aspect = aspect
        self.sums: dict[tuple[int, int], torch.Tensor] = {}
        self.counts: dict[tuple[int, int], int] = {}
        self.names: dict[tuple[int, int], set[str]] = {}

    def add(self, name: str, shares: torch.Tensor) -> None:
        """shares: [cells, tokens], each row adds up to 1."""
        height = round((len(shares) * self.aspect) ** 0.5)
        grid = (height, len(shares) // height)
        assert grid[0] * grid[1] == len(shares), (grid, shares.shape)
        self.sums[grid] = self.sums[grid] + shares if grid in self.sums else shares
        self.counts[grid] = self.counts.get(grid, 0) + 1
        self.names.setdefault(grid, set()).add(name)

    def layers(self, grids: tuple[tuple[int, int], ...]) -> int:
        """How many layers the grid has that was counted most."""
        return len(self.names[max(grids, key=lambda grid: self.counts[grid])])

    @property
    def num_tokens(self) -> int:
        assert self.sums, "no cross-attention ran"
        return next(iter(self.sums.values())).shape[1]

    def shares(self, owners: list[int], num: int, size: tuple[int, int]) -> torch.Tensor:
        """The mean over layers and steps, added up by the owners of tokens: float32 [num, height, width]."""
        total = sum(self.counts.values())
        mean = torch.zeros(num, *size)
        for grid, each in self.sums.items():
            drawn = torch.zeros(num, len(each)).index_add_(0, torch.tensor(owners), each.cpu().T / total)
            drawn = drawn.reshape(1, num, *grid)
            mean += functional.interpolate(drawn, size=size, mode="bilinear", align_corners=False)[0]
        return mean


class _Watched:
    """An attention processor that computes as the one it stands for, and notes how the last of the batch attended."""

    def __init__(self, processor: Any, name: str, watch: _Watch) -> None:
        self.processor, self.name, self.watch = processor, name, watch

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None, *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        given = (attn, hidden_states, encoder_hidden_states, attention_mask)
        if encoder_hidden_states is not None and attention_mask is None:
            self.watch.add(self.name, _shares(attn, hidden_states, encoder_hidden_states))
        return self.processor(*given, *args, **kwargs)


def _shares(attn: Any, hidden: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """How each cell of the last picture of a batch shares its attention out: [cells, tokens] float32, mean over heads.

    The keys are asked for with the very tensor that the layer is given, of which `constant_text` keeps them.
    """
    if attn.group_norm is not None:
        hidden = attn.group_norm(hidden.transpose(1, 2)).transpose(1, 2)
    if attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)
    query, key = (
        x[-1].float().unflatten(-1, (attn.heads, -1)).transpose(0, 1) for x in (attn.to_q(hidden), attn.to_k(text))
    )
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    total = torch.zeros(query.shape[1], key.shape[1], device=query.device)
    with torch.autocast(query.device.type, enabled=False):  # else shares would be rounded to bfloat16
        for q, k in zip(query, key, strict=True):  # a head at a time, so that memory stays that of one
            total += (q @ k.T * attn.scale).softmax(-1)
    shares: torch.Tensor = total / attn.heads
    return shares


@contextmanager
def _watched(denoiser: Any, watch: _Watch) -> Iterator[None]:
    """Cross-attention is watched inside; afterwards the denoiser is as it was."""
    modules = [(name, each) for name, each in denoiser.named_modules() if name.endswith("attn2")]
    before = [(each, each.processor) for _, each in modules]
    try:
        for name, each in modules:
            each.processor = _Watched(each.processor, name, watch)
        yield
    finally:
        for each, processor in before:
            each.processor = processor


def peak(values: Float32) -> tuple[float, float]:
    """Where a map is highest: how far down and how far right, each in [0, 1]."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return (float(row) + 0.5) / values.shape[0], (float(column) + 0.5) / values.shape[1]
