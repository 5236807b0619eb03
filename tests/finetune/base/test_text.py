"""The text encoder's training: what a step tells, what it asks, and that it resumes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vesalius.finetune.base.text import (
    GROUP,
    TextConfig,
    by_length,
    contrastive_loss,
    drift,
    ends,
    make_batch,
    phantom_texts,
    train_text,
)
from vesalius.models.architecture import TINY, make_text_encoder
from vesalius.models.text import train_tokenizer

SIZES = dataclasses.replace(TINY, context=512, vocabulary=1024)
TEXTS = [f"Chest CT with {n} nodules" + " in the left lung" * (n % 7) for n in range(2 * GROUP + 3)]


@pytest.fixture(scope="module")
def encoder() -> tuple[Any, Any]:
    """A tokenizer and a text encoder of random weights."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, SIZES)
    return tokenizer, make_text_encoder(SIZES, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id).eval()


@torch.no_grad()
def test_ends_are_those_of_each_text_alone(encoder: tuple[Any, Any]) -> None:
    tokenizer, model = encoder
    at_end, at_last = ends(model, tokenizer, TEXTS)
    assert at_end.shape == at_last.shape == (len(TEXTS), SIZES.text_width)
    for text, seen in zip(TEXTS, at_end, strict=True):
        alone = model(torch.tensor([tokenizer(text).input_ids]))[0][0, -1]
        assert torch.allclose(seen, alone, atol=1e-5), text


def test_texts_are_grouped_by_length_and_none_is_lost(encoder: tuple[Any, Any]) -> None:
    groups = list(by_length(encoder[0], TEXTS))
    assert sorted(row for rows, _, _ in groups for row in rows) == list(range(len(TEXTS)))
    lengths = [int(n) for _, _, places in groups for n in places]
    assert lengths == sorted(lengths)


def test_a_text_over_the_context_is_named(encoder: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="does not fit the context of 512"):
        list(by_length(encoder[0], ["nodule " * 600]))


def test_an_encoder_does_not_drift_from_itself(encoder: tuple[Any, Any]) -> None:
    tokenizer, model = encoder
    other = make_text_encoder(SIZES, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id)
    assert float(drift(model, model, tokenizer, TEXTS)) == 0
    assert float(drift(model, other, tokenizer, TEXTS)) > 0.1


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 60), (1.0, 100, 100)])
def test_false_tellings_are_false_in_a_size_as_often_as_asked(
    data: tuple[Path, ...], tmp_path: Path, share: float, least: int, most: int
) -> None:
    config = TextConfig(data=data, out=tmp_path, num_meanings=200, size_share=share, sizes=SIZES)
    _, told = phantom_texts(config, 1)
    true, false = told[:200], told[200:]
    sized = [(t, f) for t, f in zip(true, false, strict=True) if any(x.present and x.size_mm is not None for x in t[1])]

    def without_size(meaning: Any) -> Any:
        return meaning[0], frozenset(dataclasses.replace(f, size_mm=None) for f in meaning[1])

    changed = sum(t != f and without_size(t) == without_size(f) for t, f in sized)
    assert least <= 100 * changed / len(sized) <= most


def test_texts_of_a_step_are_a_function_of_seed_and_step(data: tuple[Path, ...], tmp_path: Path) -> None:
    config = TextConfig(data=data, out=tmp_path, num_meanings=6, sizes=SIZES)
    assert phantom_texts(config, 3) == phantom_texts(config, 3)
    assert phantom_texts(config, 3)[0] != phantom_texts(config, 5)[0]


def test_both_tellings_state_the_same_and_false_ones_are_left_out(data: tuple[Path, ...], tmp_path: Path) -> None:
    from vesalius.data.record import load_records
    from vesalius.finetune.base.text import class_names
    from vesalius.finetune.judges.attributes import statements

    records = [r for r in load_records(data[1]) if r.split == "train"]
    names = [*statements(), *sorted({name for r in records for name in class_names(r)})]
    config = TextConfig(data=data, out=tmp_path, num_meanings=6, num_captions=4, sizes=SIZES)
    batch = make_batch(config, 1, records, None, names)
    assert len(batch.texts) == 3 * 6 + 4
    assert batch.truth.shape == batch.known.shape == (2 * 6 + 4, len(names))
    assert torch.equal(batch.truth[:6], batch.truth[6:12])
    assert batch.same[:, :6].diagonal().all()


def test_meanings_that_are_equal_do_not_repel_each_other() -> None:
    embedded = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    far = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    scale = torch.tensor(2.66)
    assert contrastive_loss(embedded, same, scale) < contrastive_loss(embedded, far, scale)


def test_a_stopped_text_run_ends_with_the_same_weights(data: tuple[Path, ...], tmp_path: Path) -> None:
    def run(out: Path) -> dict[str, torch.Tensor]:
        config = TextConfig(data=data, out=out, steps=4, num_meanings=6, num_captions=4, save_every=2, sizes=SIZES)
        return load_file(train_text(config) / "text_encoder" / "model.safetensors")

    whole = run(tmp_path / "whole")
    tokenizer = (tmp_path / "whole" / "tokenizer" / "tokenizer.json").read_text()
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000004")
    resumed = run(tmp_path / "cut")
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert (tmp_path / "cut" / "tokenizer" / "tokenizer.json").read_text() == tokenizer
