"""What depends on the text alone is computed once, and no picture changes by a bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.inference import Generator
from vesalius.inference.drawing.constant_text import constant_text
from vesalius.models.base import open_base


def counted(module: Any, name: str, calls: Counter[str]) -> None:
    module.register_forward_hook(lambda *_: calls.update([name]))


@pytest.mark.parametrize("base", ["tiny_base", "tiny_xl"])
def test_a_denoiser_says_the_same_to_the_last_bit(base: str, request: pytest.FixtureRequest) -> None:
    pipeline = open_base(str(request.getfixturevalue(base))).pipeline
    denoiser = pipeline.unet
    width = denoiser.config.cross_attention_dim
    told = [torch.randn(2, 77, width) for _ in range(2)]
    more = {}
    if getattr(pipeline, "text_encoder_2", None):
        pooled = pipeline.text_encoder_2.config.projection_dim
        more = {"added_cond_kwargs": {"text_embeds": torch.randn(2, pooled), "time_ids": torch.ones(2, 6)}}
    latents = torch.randn(2, denoiser.config.in_channels, denoiser.config.sample_size, denoiser.config.sample_size)

    def ask(text: torch.Tensor, step: int) -> torch.Tensor:
        with torch.inference_mode():
            answer: torch.Tensor = denoiser(latents * step, step, text, **more).sample
            return answer

    order = [(0, 1), (0, 2), (1, 2), (1, 5), (0, 5)]
    plain = [ask(told[text], step) for text, step in order]
    with constant_text(denoiser):
        kept = [ask(told[text], step) for text, step in order]
    again = [ask(told[text], step) for text, step in order]
    for one, two, three in zip(plain, kept, again, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_the_text_is_asked_about_once_for_all_steps(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base))
    layers = {n: m for n, m in generator.base.pipeline.unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_q"))}
    calls: Counter[str] = Counter()
    for name, module in layers.items():
        counted(module, name.rpartition(".")[2], calls)
    generator.draw("Chest CT", steps=5)
    # The hook of a kept layer runs at each step, its own work does not; so the work is counted in its forward
    assert calls["to_q"] == 5 * len(layers) // 2
    worked: Counter[str] = Counter()
    for name, module in layers.items():
        plain = module.forward
        module.forward = lambda *a, plain=plain, name=name: (worked.update([name.rpartition(".")[2]]), plain(*a))[1]
    first = generator.draw("Chest CT", steps=5)[0]
    assert worked["to_q"] == 5 * len(layers) // 2
    assert worked["to_k"] == len(layers) // 2
    assert np.array_equal(first, generator.draw("Chest CT", steps=5)[0])
    assert worked["to_k"] == len(layers)  # another drawing asks anew


def test_a_forward_that_was_there_before_is_there_again(tiny_base: Path) -> None:
    denoiser = open_base(str(tiny_base)).pipeline.unet
    layer = next(m for n, m in denoiser.named_modules() if n.endswith("attn2.to_k"))
    mine = layer.forward
    layer.forward = mine
    with constant_text(denoiser):
        assert layer.forward is not mine
    assert layer.forward is mine
    others = [m for n, m in denoiser.named_modules() if n.endswith("attn2.to_v")]
    assert all("forward" not in vars(m) for m in others)
