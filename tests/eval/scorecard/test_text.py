from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
import torch

from vesalius.eval.scorecard.text import draw_meanings, embed_texts, text_scores
from vesalius.models.architecture import TINY, make_text_encoder
from vesalius.models.text import split_chunks, train_tokenizer


@pytest.fixture(scope="module")
def encoder() -> tuple[Any, Any]:
    """A tokenizer and a text encoder of random weights."""
    torch.manual_seed(0)
    sizes = dataclasses.replace(TINY, vocabulary=640)
    tokenizer = train_tokenizer(["No nodule is seen in the left lung."], sizes)
    return tokenizer, make_text_encoder(sizes, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id).eval()


def test_meanings_differ_and_a_longer_list_begins_with_the_shorter() -> None:
    meanings = draw_meanings(0, 120)
    assert len({(m.modality, frozenset(m.findings)) for m in meanings}) == 120
    assert meanings[:30] == draw_meanings(0, 30)
    assert meanings != draw_meanings(1, 120)
    assert set(Counter((m.modality, m.kind) for m in meanings)) == {
        (modality, kind) for modality in ("CT", "MRI", "pathology") for kind in ("caption", "report")
    }


def test_captions_tell_what_is_present_alone() -> None:
    assert all(f.present for m in draw_meanings(0, 60) if m.kind == "caption" for f in m.findings)


def test_an_embedding_is_the_hidden_state_at_the_end_of_the_text(encoder: tuple[Any, Any]) -> None:
    tokenizer, model = encoder
    batch = tokenizer(["nodule"], padding="max_length", return_tensors="pt")
    with torch.no_grad():
        pooled = torch.nn.functional.normalize(model(batch.input_ids).pooler_output, dim=1)
    alone = embed_texts(*encoder, ["nodule"])
    torch.testing.assert_close(alone, pooled)


def test_an_embedding_does_not_depend_on_its_neighbours(encoder: tuple[Any, Any]) -> None:
    texts = ["nodule", "", "No nodule is seen. " * 30, "左肺结节"]
    assert len(split_chunks(encoder[0], texts[2])) > 1
    together = embed_texts(*encoder, texts, batch_size=2)
    single = torch.cat([embed_texts(*encoder, [t]) for t in texts])
    torch.testing.assert_close(together, single, atol=1e-5, rtol=1e-4)


def test_an_encoder_that_learnt_nothing_passes_no_bar(encoder: tuple[Any, Any]) -> None:
    scores = text_scores(*encoder, num=24)
    assert set(scores) == {
        "retrieval, en", "retrieval, zh", "retrieval, en to zh", "retrieval, zh to en", "AUC, side", "AUC, negation",
    }  # fmt: skip
    assert all(measured.value < 0.9 for measured in scores.values())
    assert scores["retrieval, en"].num == 24
    assert scores["AUC, side"].num >= 10


def test_scores_are_a_function_of_encoder_and_seed(encoder: tuple[Any, Any]) -> None:
    first, second, other = (text_scores(*encoder, num=12, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first["AUC, negation"].value != pytest.approx(other["AUC, negation"].value, abs=1e-6)
