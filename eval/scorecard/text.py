"""Does a text encoder know what a text says: paraphrases found among a thousand, false statements told from true ones.

Texts are wordings of phantom findings by templates that no training uses, in each language. What is compared is the
hidden state at the end-of-text token, by cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from vesalius.data.phantoms.phantom import KINDS, sample_findings
from vesalius.data.record import Finding
from vesalius.data.texts.wording import hard_negatives, reword
from vesalius.eval.fidelity.metrics import Measure, paired_auc, share
from vesalius.models.text import tokenize

LANGUAGES = ("en", "zh")
CHANGES = {"side": ("side",), "negation": ("denial", "claim")}
"""Ways of falsifying a text, and their names in `hard_negatives`."""
FIRST_SEED = 900_000_000
"""Phantom seeds from here on; those of training sets lie far below, as `vesalius.data.phantoms` numbers them."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a text says. A caption tells what is present alone; a report also tells what is not."""

    modality: str
    findings: tuple[Finding, ...]
    kind: Literal["caption", "report"]


def text_scores(tokenizer: Any, text_encoder: Any, *, seed: int = 0, num: int = 1000) -> dict[str, Measure]:
    """Scores of a text encoder, a pure function of (encoder, seed, num).

    "retrieval, en", "retrieval, zh": how often, of `num` texts of different meaning in that language, the nearest one
    is the paraphrase. "retrieval, en to zh" and back: the same between languages. "AUC, side" and "AUC, negation": area
    under the ROC curve of true paraphrases against texts with one side exchanged, or one statement denied (or its
    denial taken back), both languages together. A false text is worded by the same draws as the true one.
    """
    meanings = draw_meanings(seed, num)
    first = {lang: _embed_meanings(tokenizer, text_encoder, meanings, seed, 0, lang) for lang in LANGUAGES}
    second = {lang: _embed_meanings(tokenizer, text_encoder, meanings, seed, 1, lang) for lang in LANGUAGES}
    own = torch.arange(len(meanings))
    scores = {}
    for a in LANGUAGES:
        for b in LANGUAGES:
            found = (first[a] @ second[b].T).argmax(1) == own
            scores[f"retrieval, {a}" if a == b else f"retrieval, {a} to {b}"] = share(found.tolist())
    for change in CHANGES:
        asked, false = _falsified(meanings, change, seed)
        if not asked:
            continue
        positive, negative = [], []
        for language in LANGUAGES:
            wrong = _embed_meanings(tokenizer, text_encoder, false, seed, 1, language, asked)
            positive.append((first[language][asked] * second[language][asked]).sum(1))
            negative.append((first[language][asked] * wrong).sum(1))
        scores[f"AUC, {change}"] = paired_auc(torch.cat(positive), torch.cat(negative), seed=seed)
    return scores


def draw_meanings(seed: int, num: int) -> list[Meaning]:
    """`num` different meanings of phantoms' captions and reports, of all modalities in turn as far as they differ."""
    meanings: dict[object, Meaning] = {}
    modalities, index = tuple(KINDS), 0
    while len(meanings) < num:
        modality = modalities[index % len(modalities)]
        findings = sample_findings(FIRST_SEED + 1_000_003 * seed + index, modality)
        kind: Literal["caption", "report"] = "report" if index // len(modalities) % 2 else "caption"
        told = findings if kind == "report" else tuple(f for f in findings if f.present)
        meanings.setdefault((modality, frozenset(told)), Meaning(modality=modality, findings=told, kind=kind))
        index += 1
    return list(meanings.values())


def _falsified(meanings: Sequence[Meaning], change: str, seed: int) -> tuple[list[int], list[Meaning]]:
    """Indices of the meanings that can be falsified in this way, and a falsified one of each."""
    asked, false = [], []
    for i, meaning in enumerate(meanings):
        if change == "negation" and meaning.kind == "caption":
            continue  # a caption may leave out what is not there, so that its falsified text would say no falsehood
        choices = [findings for name, findings in hard_negatives(meaning.findings) if name in CHANGES[change]]
        if choices:
            chosen = choices[int(np.random.default_rng([seed, i, 7]).integers(len(choices)))]
            asked.append(i)
            false.append(Meaning(modality=meaning.modality, findings=chosen, kind=meaning.kind))
    return asked, false


def _embed_meanings(
    tokenizer: Any,
    text_encoder: Any,
    meanings: Sequence[Meaning],
    seed: int,
    telling: int,
    language: str,
    rows: Sequence[int] | None = None,
) -> torch.Tensor:
    """Unit embeddings [N, C] of one wording of each meaning. rows: what each one's draws are numbered by."""
    texts = []
    for row, meaning in zip(rows if rows is not None else range(len(meanings)), meanings, strict=True):
        rng = np.random.default_rng([seed, row, telling])
        texts.append(reword(meaning.findings, meaning.modality, rng, language=language, kind=meaning.kind, unseen=True))
    return embed_texts(tokenizer, text_encoder, texts)


@torch.no_grad()
def embed_texts(tokenizer: Any, text_encoder: Any, texts: Sequence[str], *, batch_size: int = 64) -> torch.Tensor:
    """Unit embeddings float32 [N, C]: the hidden state at each text's end-of-text token.

    A text of several chunks has the mean of theirs.
    """
    ids = tokenize(tokenizer, texts)
    num, chunks, _ = ids.shape
    end = (ids == tokenizer.eos_token_id).int().argmax(2)  # padding is the same token, so the first one is the end
    filled = end > 1
    filled[:, 0] = True
    flat, ends = ids[filled], end[filled]
    states = torch.empty(len(flat), text_encoder.config.hidden_size)
    for rows in ends.argsort().split(batch_size):  # by length: a causal encoder's end does not see the padding behind
        short = flat[rows, : int(ends[rows].max()) + 1].to(text_encoder.device)
        states[rows] = text_encoder(short)[0].float().cpu()[torch.arange(len(rows)), ends[rows]]
    total = torch.zeros(num, chunks, states.shape[1])
    total[filled] = states
    return functional.normalize(total.sum(1) / filled.sum(1, keepdim=True), dim=1)
