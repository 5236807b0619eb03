"""Texts of any length into the denoiser, none of them cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vesalius.models.architecture import TINY
from vesalius.models.base import Base, open_base
from vesalius.models.text import encode, split_chunks, tokenize, train_tokenizer

LETTERS = st.characters(categories=["L", "N", "P", "S", "Zs", "M"], max_codepoint=0x2FFFF)
TEXTS = st.one_of(
    st.text(LETTERS, max_size=400),
    st.text("肺部可见结节，。；左侧右下叶 mm12", max_size=400),
    st.text("abc .", max_size=600),
    st.lists(
        st.sampled_from(["The lungs are clear.", "Nodule of 1.8 cm;", "右肺。", "x" * 90, "?!", "H&E"]), max_size=40
    ).map(" ".join),
)
LONG = "The lungs are clear. A nodule of 1.8 cm lies in the left upper lobe. No effusion. " * 8


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return open_base(str(tiny_base))


@pytest.fixture(scope="module")
def tokenizer(base: Base) -> Any:
    return base.pipeline.tokenizer


def plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_chunks_lose_nothing_and_each_fits_one_context(tokenizer: Any, text: str) -> None:
    chunks = split_chunks(tokenizer, text)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert all(len(plain(tokenizer, c)) <= tokenizer.model_max_length - 2 for c in chunks)
    ids = tokenize(tokenizer, [text])
    assert ids.shape == (1, len(chunks), tokenizer.model_max_length)
    kept = [i for row in ids[0].tolist() for i in row if i not in (tokenizer.bos_token_id, tokenizer.eos_token_id)]
    assert kept == [i for c in chunks for i in plain(tokenizer, c)]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(["left", "lung", "nodule.", "1.8", "cm", "H&E;", "No", "mass?"]), max_size=150))
def test_cut_at_words_the_chunks_hold_just_the_tokens_of_the_text(tokenizer: Any, words: list[str]) -> None:
    text = " ".join(words)
    assert [i for c in split_chunks(tokenizer, text) for i in plain(tokenizer, c)] == plain(tokenizer, text)


def test_a_text_of_one_context_has_the_ids_of_the_plain_tokenizer(tokenizer: Any) -> None:
    texts = ["Chest CT, 12 mm nodule in the left lung", "", "  MRI  of the brain. ", "右肺上叶结节"]
    expected = tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    assert torch.equal(tokenize(tokenizer, texts), expected[:, None])


def test_chunks_end_where_sentences_end(tokenizer: Any) -> None:
    chunks = split_chunks(tokenizer, LONG)
    assert len(chunks) > 2
    assert all(c.endswith(".") and c[0] in "TAN" for c in chunks)
    chinese = split_chunks(tokenizer, "右肺上叶见结节。双肺未见胸腔积液；心影不大。" * 6)
    assert len(chinese) > 1
    assert all(c[-1] in "。；" for c in chinese)


def test_a_decimal_point_ends_no_chunk(tokenizer: Any) -> None:
    for size in range(1, 60):
        text = "mass " * size + "of 1.8 cm and 2.5 cm. " * 8
        assert all("1.8" in c for c in split_chunks(tokenizer, text) if "cm and" in c and "of" in c)
        assert not any(c.endswith(("1.", "2.")) for c in split_chunks(tokenizer, text))


def test_a_text_without_spaces_is_cut_between_characters(tokenizer: Any) -> None:
    text = "结节" * 200
    chunks = split_chunks(tokenizer, text)
    assert len(chunks) > 1
    assert "".join(chunks) == text


@pytest.mark.parametrize("text", ["a " * 5000, "x" * 20_000, "结节" * 5000, "No. " * 5000])
def test_what_is_asked_of_the_tokenizer_grows_with_a_text_and_not_with_its_square(
    tokenizer: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_call, letters = type(tokenizer).__call__, [0]

    def counted(self: Any, pieces: Any, **settings: Any) -> Any:
        letters[0] += sum(map(len, [pieces] if isinstance(pieces, str) else pieces))
        return plain_call(self, pieces, **settings)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    asked = []
    for part in (text[: len(text) // 2], text):
        letters[0] = 0
        split_chunks(tokenizer, part)
        asked.append(letters[0])
    assert asked[1] < 2.5 * asked[0]


def test_too_few_chunks_are_an_error(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"a text needs \d+ chunks of 64 tokens, more than 1"):
        tokenize(tokenizer, [LONG], 1)


def test_no_texts_have_no_ids(tokenizer: Any) -> None:
    assert tokenize(tokenizer, ["a"], 3).shape == (1, 3, 64)


def test_one_context_gives_the_embeddings_of_the_plain_pipeline(base: Base) -> None:
    pipeline, prompt = base.pipeline, "Brain MRI with a lesion on the right"
    with torch.no_grad():
        ours = encode(pipeline.text_encoder, tokenize(pipeline.tokenizer, [prompt]))
        theirs, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_end_of_a_long_report_changes_the_picture(base: Base) -> None:
    pipeline = base.pipeline
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = [
            pipeline.unet(noisy, 500, encode(pipeline.text_encoder, tokenize(pipeline.tokenizer, [LONG + end]))).sample
            for end in ("Effusion on the left.", "Effusion on the right.")
        ]
    assert not torch.equal(*seen)


def test_a_prompt_without_text_is_the_same_over_several_contexts(base: Base) -> None:
    pipeline = base.pipeline
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = [
            pipeline.unet(noisy, 500, encode(pipeline.text_encoder, tokenize(pipeline.tokenizer, [""], count))).sample
            for count in (1, 3)
        ]
    assert torch.allclose(*seen, atol=1e-5)


def test_a_tokenizer_is_the_same_each_time_it_is_trained_on_the_same_texts() -> None:
    texts = ["The lungs are clear. 肺部未见结节。", "H&E of a gland", "Nodule of 12 mm"] * 3  # many pairs come as often
    first, *others = (train_tokenizer(texts, TINY).backend_tokenizer.to_str() for _ in range(4))
    assert all(other == first for other in others)
