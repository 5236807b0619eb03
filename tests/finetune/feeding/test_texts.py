"""Texts as a denoiser is conditioned on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.running.launch import make_accelerator
from vesalius.models.base import open_base
from vesalius.models.text import encode, tokenize

LONG = "The lungs are clear. A nodule of 1.8 cm lies in the left upper lobe. No effusion. " * 8


@pytest.mark.parametrize("keeps", [True, False])
def test_texts_of_mixed_length_are_seen_as_each_alone(tiny_base: Path, keeps: bool) -> None:
    base = open_base(str(tiny_base))
    pipeline = base.pipeline
    texts = ["Chest CT", LONG, "", LONG[:300]]
    noisy = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([1, 400, 700, 999])
    with torch.no_grad():
        texts_of = Texts(base, pipeline.text_encoder)
        if keeps:
            texts_of.keep(set(texts), 9, 99, make_accelerator("fp32", "cpu"), quiet=True)
        condition = texts_of(texts)
        for rows, hidden, *_ in condition:
            together = pipeline.unet(noisy[rows], steps[rows], hidden).sample
            for row, seen in zip(rows.tolist(), together, strict=True):
                alone = encode(pipeline.text_encoder, tokenize(pipeline.tokenizer, [texts[row]]))
                expected = pipeline.unet(noisy[row : row + 1], steps[row : row + 1], alone).sample[0]
                assert torch.allclose(seen, expected, atol=1e-5), texts[row]
    assert sorted(row for rows, *_ in condition for row in rows.tolist()) == [0, 1, 2, 3]
    assert len(condition) == 3


def test_texts_that_are_kept_are_not_encoded_again(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = open_base(str(tiny_base))
    texts_of = Texts(base, base.pipeline.text_encoder)
    ((_, first, *_),) = texts_of(["Chest CT"])
    texts_of.keep({"Chest CT", ""}, 1, 2, make_accelerator("fp32", "cpu"), quiet=True)
    monkeypatch.setattr(base.pipeline.text_encoder, "forward", None)
    ((rows, again, *_),) = texts_of(["Chest CT", "Chest CT"])
    assert rows.tolist() == [0, 1]
    assert torch.allclose(again[1], first[0], atol=1e-5)


def test_texts_that_do_not_fit_are_more_than_is_drawn_or_change_are_not_kept(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(str(tiny_base))
    for trained, room, drawn in ((True, 10**9, 9), (False, 1000, 9), (False, 10**9, 0)):
        monkeypatch.setattr("vesalius.finetune.feeding.texts.ROOM", room)
        texts_of = Texts(base, base.pipeline.text_encoder, trained=trained)
        texts_of.keep({"Chest CT"}, 1, drawn, make_accelerator("fp32", "cpu"), quiet=True)
        assert not texts_of._kept
