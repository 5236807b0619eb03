"""Train tokenizer and text encoder of a base, in English and Chinese: one meaning, one place.

    python -m vesalius.finetune.base.text --data DIR... --out RUN --steps 3000

Two wordings of the same findings are pulled together, whatever their language, and pushed from the wording with one
side or one negation changed (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748); a head reads every statement (kind,
absence, side, count, size; the class of a real record) off the end-of-text token. The head does not ship. Texts of
phantoms are made on the fly, so no two steps see the same ones.

Resumes by the same line. Writes RUN/tokenizer and RUN/text_encoder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from vesalius.data.command.progress import Progress
from vesalius.data.phantoms.phantom import RULES, sample_findings
from vesalius.data.record import Finding, Record, write_json
from vesalius.data.texts.wording import draw_words, hard_negatives, reword, reword_record
from vesalius.finetune.base.roughen import roughened
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices, slot_seed
from vesalius.finetune.judges.attributes import class_attribute, stated, statements
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.models.architecture import NANO, Architecture, make_text_encoder
from vesalius.models.text import train_tokenizer

LANGUAGES = ("en", "zh")
MODALITIES = tuple(RULES)
GROUP = 24
"""Texts that go through the encoder together."""
Meaning = tuple[str, tuple[Finding, ...]]  # modality and findings


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A run that trains tokenizer and text encoder."""

    data: tuple[Path, ...]
    """dataset folders, for the captions of real records"""
    out: Path
    """run folder"""
    exclude: tuple[str, ...] = ()
    """real records to leave out, as "MODALITY" or "MODALITY/organ\""""
    steps: int = 3000
    """optimizer updates"""
    num_meanings: int = 48
    """phantom meanings per update, each told twice and once falsely"""
    num_captions: int = 24
    """captions of real records per update"""
    learning_rate: float = 1e-3
    """peak, after 100 steps of warm-up and before a cosine to 2 %"""
    reading_weight: float = 8.0
    """weight of reading the statements, beside 1 for the contrast"""
    size_share: float = 0.5
    """share of false tellings that are false in a size, where one is told: millimetres are what is learnt last"""
    noise: float = 0.5
    """share of texts that are roughened: words dropped, doubled, or put in from other texts"""
    anchor: float = 0.0
    """weight that keeps the hidden states near those of --init, so that a denoiser trained on them still fits"""
    init: Path | None = None
    """folder that holds tokenizer/ and text_encoder/ to start from, with fresh optimizer"""
    save_every: int = 200
    """steps between checkpoints"""
    seed: int = 3
    """seed of texts and initial weights"""
    sizes: Architecture = field(default=NANO)
    """architecture"""


@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """Texts of one step. texts: meanings told once, told again, told falsely, then captions of real records.

    same: bool [num, 2 num], which of the meanings and false meanings equal each meaning. truth: float32 [N, S], what
    the texts without the false ones state. known: the same shape, where that is known.
    """

    texts: list[str]
    num: int
    same: torch.Tensor
    truth: torch.Tensor
    known: torch.Tensor


def train_text(config: TextConfig) -> Path:
    """Run or resume the training; returns the run folder."""
    records = [r for _, r in gather(config.data, "train", config.exclude) if r.origin == "real"]
    weights = balanced_weights(records, {})
    names = [*statements(), *sorted({name for r in records for name in class_names(r)})]
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "config.json", asdict(config))
    tokenizer = make_tokenizer(config, records)
    torch.manual_seed(config.seed)
    model = open_encoder(config, tokenizer).train()
    model.set_attn_implementation("eager")  # on a processor its backward pass is faster than that of fused attention
    anchor = open_encoder(config, tokenizer).eval().requires_grad_(False) if config.anchor else None
    head = nn.Linear(config.sizes.text_width, len(names))
    scale = nn.Parameter(torch.tensor(2.66))
    parameters = [*model.parameters(), *head.parameters(), scale]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.05, betas=(0.9, 0.98))
    step = 0
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, _ = found
        for parameter, name in zip(parameters, map(str, range(len(parameters))), strict=True):
            parameter.data.copy_(tensors[f"model.{name}"])
        restore_optimizer(optimizer, tensors)

    with Progress("text", config.steps, start=step) as bar:
        while step < config.steps:
            batch = make_batch(config, step, records, weights, names)
            with torch.autocast("cpu", torch.bfloat16):
                end, last = ends(model, tokenizer, batch.texts)
                told = torch.cat([end[: 2 * batch.num], end[3 * batch.num :]])
                padded = torch.cat([last[: 2 * batch.num], last[3 * batch.num :]])
                read = head(torch.cat([told, padded])).float()
            embedded = functional.normalize(end.float(), dim=1)
            contrast = contrastive_loss(embedded[: 3 * batch.num], batch.same, scale)
            errors = functional.binary_cross_entropy_with_logits(read, batch.truth.repeat(2, 1), reduction="none")
            known = batch.known.repeat(2, 1)
            reading = (errors * known).sum() / known.sum() * 10
            loss = contrast + config.reading_weight * reading
            if anchor is not None:
                loss = loss + config.anchor * drift(model, anchor, tokenizer, batch.texts[::3])
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            bar.step(note=f"contrast {contrast.item():.3f} reading {reading.item():.4f}")
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"model.{i}": p for i, p in enumerate(parameters)} | optimizer_tensors(optimizer)
                save_checkpoint(config.out, step, tensors, {"contrast": contrast.item()})
    model.eval().save_pretrained(config.out / "text_encoder")
    tokenizer.save_pretrained(config.out / "tokenizer")
    return config.out


def make_tokenizer(config: TextConfig, records: list[Record]) -> Any:
    """The tokenizer of the run, trained at its beginning and kept: the library breaks ties anew each time."""
    from transformers import CLIPTokenizer

    folder = config.init / "tokenizer" if config.init else config.out / "tokenizer"
    if not (folder / "tokenizer.json").is_file():
        temporary = folder.with_name(".tokenizer.tmp")
        train_tokenizer(corpus(config, records), config.sizes).save_pretrained(temporary)
        os.replace(temporary, folder)
    return CLIPTokenizer.from_pretrained(folder)


def open_encoder(config: TextConfig, tokenizer: Any) -> Any:
    """A fresh text encoder, or that of `config.init`."""
    from transformers import CLIPTextModel

    if config.init is None:
        return make_text_encoder(config.sizes, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id)
    return CLIPTextModel.from_pretrained(config.init / "text_encoder").float()


def drift(model: Any, anchor: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Mean squared difference of all hidden states of some texts under two encoders."""
    total = torch.zeros(())
    for rows, ids, _ in by_length(tokenizer, texts):
        with torch.autocast("cpu", torch.bfloat16):
            now, then = model(input_ids=ids)[0], anchor(input_ids=ids)[0]
        total = total + functional.mse_loss(now.float(), then.float()) * len(rows) / len(texts)
    return total


def corpus(config: TextConfig, records: list[Record]) -> list[str]:
    """What the tokenizer is trained on: phantom texts and captions, as many in each language."""
    texts = [text for step in range(60) for text in phantom_texts(config, step)[0]]
    rng = np.random.default_rng([config.seed, 5])
    return texts + [reword_record(r, rng, language) for r in records for language in LANGUAGES]


def phantom_texts(config: TextConfig, step: int) -> tuple[list[str], list[Meaning]]:
    """Meanings told once, again, and falsely (3 N texts), and the N meanings and N false ones.

    Even steps tell captions, which speak of what is present alone (or of what is denied, where nothing is); odd steps
    tell reports. A false telling differs in one side, size or negation.
    """
    rng = np.random.default_rng([config.seed, step, 1])
    kind = "report" if step % 2 else "caption"
    meanings, wrong = [], []
    for slot in range(config.num_meanings):
        modality = MODALITIES[int(rng.integers(len(MODALITIES)))]
        findings = settle(sample_findings(slot_seed(config.seed, step, slot) % (1 << 31), modality), kind)
        meanings.append((modality, findings))
        false = hard_negatives(findings)
        sizes = [change for change in false if change[0] == "size"]
        if sizes and rng.random() < config.size_share:
            false = sizes
        wrong.append((modality, settle(false[int(rng.integers(len(false)))][1], kind) if false else findings))

    scenes = [draw_words(modality, rng) for modality, _ in meanings]

    def tell(told: list[Meaning]) -> list[str]:
        return [
            reword(findings, modality, rng, language=LANGUAGES[int(rng.integers(2))], kind=kind, words=scene)
            for (modality, findings), scene in zip(told, scenes, strict=True)
        ]

    return [*tell(meanings), *tell(meanings), *tell(wrong)], [*meanings, *wrong]


def settle(findings: tuple[Finding, ...], kind: str) -> tuple[Finding, ...]:
    """What a text of this kind says for certain: a caption does not always name what is absent."""
    present = tuple(f for f in findings if f.present)
    return present if kind == "caption" else findings


def make_batch(
    config: TextConfig, step: int, records: list[Record], weights: NDArray[np.float64] | None, names: list[str]
) -> TextBatch:
    """All texts of one step with what they state, a pure function of (seed, step)."""
    texts, told = phantom_texts(config, step)
    meanings = told[: config.num_meanings]
    keys = [(modality, frozenset(findings)) for modality, findings in told]
    same = torch.tensor([[a == b for b in keys] for a in keys[: config.num_meanings]])
    picked = batch_indices(config.seed, step, config.num_captions, len(records), weights)
    rng = np.random.default_rng([config.seed, step, 2])
    captions = [reword_record(records[i], rng, LANGUAGES[int(rng.integers(2))]) for i in picked]
    index = {name: i for i, name in enumerate(names)}
    truth, known = torch.zeros(len(meanings), len(names)), torch.zeros(len(meanings), len(names))
    for row, (modality, findings) in enumerate(meanings):
        truth[row, [index[s] for s in stated(modality, findings) if s in index]] = 1
        known[row, : len(statements())] = 1
    classes, of_class = torch.zeros(len(captions), len(names)), torch.zeros(len(captions), len(names))
    of_class[:, len(statements()) :] = 1
    for row, i in enumerate(picked.tolist()):
        classes[row, [index[name] for name in class_names(records[i])]] = 1
    told_all = [*texts, *captions]
    rough = [roughened(t, rng) if rng.random() < config.noise else t for t in told_all]
    return TextBatch(
        texts=rough, num=len(meanings), same=same,
        truth=torch.cat([truth, truth, classes]), known=torch.cat([known, known, of_class]),
    )  # fmt: skip


def class_names(record: Record) -> list[str]:
    """What a caption of a real record tells: modality and organ, and its class where it has one that may be told."""
    return [name for name in (f"{record.modality}, {record.organ}", class_attribute(record)) if name]


def by_length(tokenizer: Any, texts: list[str]) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Texts in groups of like length: their rows, token ids [G, L] and places of their end-of-text tokens [G].

    Padded to the longest of all of them, half of a batch were padding. ValueError for a text that does not fit the
    context.
    """
    found = tokenizer(texts).input_ids
    order = sorted(range(len(texts)), key=lambda row: len(found[row]))
    if (longest := len(found[order[-1]])) > tokenizer.model_max_length:
        raise ValueError(
            f"a text of {longest} tokens does not fit the context of {tokenizer.model_max_length}; shorten it"
        )
    for start in range(0, len(order), GROUP):
        rows = order[start : start + GROUP]
        batch = tokenizer.pad({"input_ids": [found[row] for row in rows]}, return_tensors="pt")
        yield rows, batch.input_ids, batch.attention_mask.sum(1) - 1


def ends(model: Any, tokenizer: Any, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [N, C] at each text's end-of-text token, and at its last padding, which a denoiser sees too.

    ValueError as `by_length`.
    """
    rows, at_end, at_last = list[int](), list[torch.Tensor](), list[torch.Tensor]()
    for part, ids, lengths in by_length(tokenizer, texts):
        hidden = model(input_ids=ids)[0]
        rows += part
        at_end.append(hidden[torch.arange(len(ids)), lengths])
        at_last.append(hidden[:, -1])
    back = torch.tensor(rows).argsort()
    return torch.cat(at_end)[back], torch.cat(at_last)[back]


def contrastive_loss(embedded: torch.Tensor, same: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of first and second telling, the false tellings as further negatives of both.

    embedded: unit vectors [3 N, C]. same: bool [N, 2 N], pairs of equal meaning, which do not repel each other.
    """
    num = len(same)
    first, second, false = embedded.split(num)
    factor = scale.exp().clamp_max(100)
    others = same & ~torch.eye(num, 2 * num, dtype=torch.bool)
    loss = torch.zeros(())
    for one, other in ((first, second), (second, first)):
        logits = (factor * one @ torch.cat([other, false]).T).masked_fill(others, float("-inf"))
        loss = loss + functional.cross_entropy(logits, torch.arange(num)) / 2
    return loss


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(TextConfig, train_text)
