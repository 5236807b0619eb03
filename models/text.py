"""Text into the denoiser: reports of any length, as chunks cut at sentences, never cut silently."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from vesalius.data.texts.prompt import sentences

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

    from vesalius.models.architecture import Architecture

    TextGroups = Sequence[
        tuple[torch.Tensor, torch.Tensor] | tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]
    ]
    """Rows of a batch and their text embeddings, in groups of like length; of SDXL also `size_condition`."""


def train_tokenizer(texts: Iterable[str], sizes: Architecture) -> CLIPTokenizer:
    """A byte-level BPE tokenizer in CLIP's format, so that plain pipelines open it; any Unicode text has tokens."""
    from tokenizers import pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    blank = CLIPTokenizer()
    start, end = str(blank.bos_token), str(blank.eos_token)
    # Every byte must also exist as the end of a word, or a rare last letter would become the unknown token. As special
    # tokens they have their numbers before the trainer meets a word, which it does in an order that differs from run to
    # run: of pairs that are equally frequent the one of lower numbers is joined first.
    ends = [f"{byte}</w>" for byte in sorted(pre_tokenizers.ByteLevel.alphabet())]
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary, special_tokens=[start, end, *ends], end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    blank.backend_tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(blank.backend_tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(m) for m in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=sizes.context)


def open_tokenizer(base: str) -> Any:
    """The tokenizer of a base, without its weights. ValueError where there is no such base, or it has none."""
    from transformers import CLIPTokenizer

    from vesalius.models.base import base_folder

    folder = base_folder(base) / "tokenizer"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such tokenizer; name another base")
    return CLIPTokenizer.from_pretrained(folder)


def split_chunks(tokenizer: Any, text: str) -> list[str]:
    """Cut a text at sentences into pieces that each fit one context; a longer sentence is cut at words.

    A text of one context stays whole, so that short prompts give just what the plain pipeline gives. The pieces are
    slices of the text: between them nothing but white space is left out. A word longer than a context (Chinese is
    written without spaces) is cut between characters.
    """
    return list(_split(tokenizer, tokenizer.model_max_length, text))


@lru_cache(maxsize=1024)
def _split(tokenizer: Any, context: int, text: str) -> tuple[str, ...]:
    """`split_chunks`, kept: a drawing asks for the chunks of its prompt when it is batched, drawn and embedded.

    Tokens of pieces with white space between them add up, so such pieces are counted once, all in one call: a text of a
    megabyte takes seconds. Others are counted together with their neighbours.
    """
    room = context - 2
    if _count(tokenizer, [text])[0] <= room:
        return (text,)
    spans: list[_Span] = []
    for span in _units(tokenizer, room, text):
        if spans:
            last, num = spans[-1], spans[-1].num + span.num
            if span.start == last.end:
                num = _count(tokenizer, [text[last.start : span.end]])[0]
            if num <= room:
                spans[-1] = _Span(last.start, span.end, num)
                continue
        spans.append(span)
    return tuple(text[span.start : span.end] for span in spans)


class _Span(NamedTuple):
    """Where a piece of a text lies, and how many tokens it has."""

    start: int
    end: int
    num: int


def _count(tokenizer: Any, pieces: Sequence[str]) -> list[int]:
    """How many tokens each piece has."""
    ids = tokenizer(pieces, add_special_tokens=False, verbose=False).input_ids if pieces else []
    return [len(each) for each in ids]


def _units(tokenizer: Any, room: int, text: str) -> Iterator[_Span]:
    """A text in sentences; a sentence that does not fit in words; a word that does not fit in parts that do."""
    places: list[tuple[int, int]] = []
    end = 0
    for sentence in sentences(text):
        start = text.index(sentence, end)
        end = start + len(sentence)
        places.append((start, end))
    for span in _counted(tokenizer, text, places):
        if span.num <= room:
            yield span
            continue
        words = re.finditer(r"\S+", text[span.start : span.end])
        for word in _counted(tokenizer, text, [(span.start + w.start(), span.start + w.end()) for w in words]):
            yield from [word] if word.num <= room else _parts(tokenizer, room, text, word)


def _counted(tokenizer: Any, text: str, places: Sequence[tuple[int, int]]) -> Iterator[_Span]:
    for (start, end), num in zip(places, _count(tokenizer, [text[a:b] for a, b in places]), strict=True):
        yield _Span(start, end, num)


def _parts(tokenizer: Any, room: int, text: str, word: _Span) -> Iterator[_Span]:
    """The parts of a word that is longer than a context. No token is longer than the longest of the vocabulary, so none
    is tried that cannot fit."""
    most = room * _longest_token(tokenizer)
    start = word.start
    while start < word.end:
        size = word.end - start
        while True:
            num = room + 1 if size > most else _count(tokenizer, [text[start : start + size]])[0]
            if num <= room or size == 1:
                break
            size //= 2
        yield _Span(start, start + size, num)
        start += size


@lru_cache(maxsize=8)
def _longest_token(tokenizer: Any) -> int:
    return max(map(len, tokenizer.get_vocab()))


def tokenize(tokenizer: Any, texts: Sequence[str], num_chunks: int = 0) -> torch.Tensor:
    """Texts -> token ids, int64 [N, K, L]: K chunks (the most any text needs, or `num_chunks`) of L = context tokens.

    Texts that need fewer chunks are filled up with empty ones. ValueError where `num_chunks` is too few.
    """
    return _tokenize_pieces(tokenizer, [split_chunks(tokenizer, t) for t in texts], num_chunks)


def _tokenize_pieces(tokenizer: Any, pieces: Sequence[list[str]], num_chunks: int = 0) -> torch.Tensor:
    most = max(map(len, pieces), default=1)
    if num_chunks and most > num_chunks:
        length = tokenizer.model_max_length
        raise ValueError(f"a text needs {most} chunks of {length} tokens, more than {num_chunks}; shorten it")
    count = num_chunks or most
    flat = [piece for chunks in pieces for piece in chunks + [""] * (count - len(chunks))]
    batch = tokenizer(flat, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    ids: torch.Tensor = batch.input_ids
    assert ids.shape[1] == tokenizer.model_max_length, max(flat, key=len)
    return ids.reshape(len(pieces), count, -1)


def encode(text_encoder: Any, token_ids: torch.Tensor) -> torch.Tensor:
    """Token ids [N, K, L] -> embeddings float [N, K * L, C]: each chunk alone, then one after another."""
    num, chunks, length = token_ids.shape
    hidden: torch.Tensor = text_encoder(token_ids.reshape(num * chunks, length))[0]
    return hidden.reshape(num, chunks * length, -1)


def embed(
    pipeline: Any, texts: Sequence[str], num_chunks: int = 0, text_encoder: Any = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Texts as the denoiser of a pipeline is conditioned on them: embeddings [N, K * L, C], and of SDXL the pooled ones
    [N, P], those of each text's first chunk.

    text_encoder: in place of the pipeline's first, such as one that is being trained. SDXL joins the layer before the
    last of both its encoders, and has zeros for an empty text where its folder says so (Podell et al. 2023, section
    2.1, and diffusers' `force_zeros_for_empty_prompt`). ValueError as `tokenize`.
    """
    import torch

    second = getattr(pipeline, "text_encoder_2", None)
    first = text_encoder or pipeline.text_encoder
    if second is None:
        return encode(first, tokenize(pipeline.tokenizer, texts, num_chunks).to(_device(first))), None
    pieces = [split_chunks(pipeline.tokenizer, t) for t in texts]
    parts = []
    for tokenizer, encoder in ((pipeline.tokenizer, first), (pipeline.tokenizer_2, second)):
        ids = _tokenize_pieces(tokenizer, pieces, num_chunks).to(_device(encoder))
        num, chunks, length = ids.shape
        output = encoder(ids.reshape(num * chunks, length), output_hidden_states=True)
        parts.append(output.hidden_states[-2].reshape(num, chunks * length, -1))
    hidden, pooled = torch.cat(parts, dim=-1), output.text_embeds.reshape(num, chunks, -1)[:, 0]
    if pipeline.config.force_zeros_for_empty_prompt:
        told = torch.tensor([bool(t) for t in texts], device=hidden.device)
        hidden, pooled = hidden * told[:, None, None], pooled * told[:, None]
    return hidden, pooled


def _device(encoder: Any) -> Any:
    """Where a text encoder computes, which is not where its weights are while they are offloaded."""
    for module in encoder.modules():
        place = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if place is not None:
            return place
    return encoder.device


def size_condition(pooled: torch.Tensor, shape: Sequence[int]) -> dict[str, torch.Tensor]:
    """What SDXL's denoiser is told beside the text: the pooled embeddings [N, P], and that the image had this height
    and width in pixels and was not cropped."""
    facts = pooled.new_tensor([*shape, 0, 0, *shape])
    return {"text_embeds": pooled, "time_ids": facts.expand(len(pooled), -1)}
