"""The cache of embedded texts: encoded once, kept within bounds, and the same as without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.inference import Generator
from vesalius.inference.drawing.text_cache import TextCache
from vesalius.inference.request import Request
from vesalius.models.base import open_base
from vesalius.models.text import embed

TEXTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "", "H&E tile with two glands.")
bases = pytest.mark.parametrize("base", ["tiny_base", "tiny_xl"])


@bases
@torch.inference_mode()
def test_embeddings_are_those_of_each_text_encoded_alone(base: str, request: pytest.FixtureRequest) -> None:
    pipeline = open_base(str(request.getfixturevalue(base))).pipeline
    cache = TextCache()
    asked = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[2]]
    for _ in range(2):
        found, pooled = cache.embed(pipeline, asked, 2)
        alone = [embed(pipeline, [text], 2) for text in asked]
        assert torch.equal(found, torch.cat([row for row, _ in alone]))
        together, pooled_together = embed(pipeline, asked, 2)
        assert (found - together).abs().max() < 1e-4
        assert (pooled is None) == (pooled_together is None) == (base == "tiny_base")
        if pooled is not None and pooled_together is not None:
            assert torch.equal(pooled, torch.cat([row for _, row in alone if row is not None]))
            assert (pooled - pooled_together).abs().max() < 1e-4
    assert len(cache) == 3


@bases
def test_a_run_encodes_each_text_once(base: str, request: pytest.FixtureRequest) -> None:
    generator = Generator(str(request.getfixturevalue(base)))
    rows: list[int] = []
    generator.base.pipeline.text_encoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    requests = [Request(prompt=t, seed=i, modality="CT") for i in range(3) for t in (TEXTS[0], TEXTS[1])]
    settings = {"steps": 1, "guidance": 3.0, "negative": "a mass", "batch_size": 2}
    drawn = [p.image for _, p in generator.draw_all(requests, **settings)]
    assert rows == [1] * 3
    again = [p.image for _, p in generator.draw_all(requests, **settings)]
    assert rows == [1] * 3
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_what_was_drawn_before_changes_no_picture(tiny_base: Path) -> None:
    fresh, used = Generator(str(tiny_base), precision="bf16"), Generator(str(tiny_base), precision="bf16")
    requests = [Request(prompt=t, seed=i, modality="CT") for i, t in enumerate((TEXTS[0], TEXTS[1], TEXTS[3]))]
    list(used.draw_all([requests[2], requests[0]], steps=1))
    for (_, one), (_, other) in zip(fresh.draw_all(requests, steps=2), used.draw_all(requests, steps=2), strict=True):
        assert np.array_equal(one.image, other.image)


def test_threads_that_share_a_cache_encode_each_text_once(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    rows: list[int] = []
    pipeline.text_encoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    cache = TextCache()

    @torch.inference_mode()
    def work(_: int) -> torch.Tensor:
        return cache.embed(pipeline, TEXTS, 1)[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(8)))
    assert rows == [1] * len(TEXTS)
    assert all(torch.equal(each, found[0]) for each in found)


@torch.inference_mode()
def test_chunks_and_precision_are_told_apart(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    cache = TextCache()
    one, two = (cache.embed(pipeline, TEXTS[:1], chunks)[0] for chunks in (1, 2))
    assert two.shape[1] == 2 * one.shape[1]
    with torch.autocast("cpu", torch.bfloat16):
        half = cache.embed(pipeline, TEXTS[:1], 1)[0]
        assert torch.equal(half, embed(pipeline, TEXTS[:1], 1)[0])
    assert not torch.equal(half.float(), one)
    assert torch.equal(cache.embed(pipeline, TEXTS[:1], 1)[0], one)
    assert len(cache) == 3


@torch.inference_mode()
def test_the_cache_is_bounded_and_forgets_what_was_asked_for_longest_ago(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    size = embed(pipeline, TEXTS[:1], 1)[0].nbytes
    cache = TextCache(2 * size)
    rows: list[int] = []
    pipeline.text_encoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    for text in (TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[3], TEXTS[0]):
        cache.embed(pipeline, [text], 1)
    assert (len(cache), cache.num_bytes, len(rows)) == (2, 2 * size, 3)
    cache.embed(pipeline, [TEXTS[1]], 1)
    assert len(rows) == 4
    cache.embed(pipeline, TEXTS, 1)  # more than fit at once
    assert cache.num_bytes <= 2 * size
    none = TextCache(0)
    assert torch.equal(none.embed(pipeline, [TEXTS[0]] * 2, 1)[0], embed(pipeline, TEXTS[:1], 1)[0].repeat(2, 1, 1))
    assert (len(none), none.num_bytes) == (0, 0)


def test_a_base_that_is_being_trained_has_its_texts_encoded_anew(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    generator = Generator.around(base, device="cpu", precision="fp32", steps=2)
    before = generator.draw(TEXTS[0])[0]
    with torch.no_grad():
        for weight in base.pipeline.text_encoder.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    assert not np.array_equal(before, generator.draw(TEXTS[0])[0])
