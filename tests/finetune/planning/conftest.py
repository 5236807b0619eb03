"""Counting runs shapes through whole networks, seconds each: what many plans ask alike is counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from vesalius.finetune.planning import estimate
from vesalius.models.computing.count import Count, Shape

COUNTED = ("count_step", "count_validation", "count_text", "count_encode", "count_decode")


def likeness(asked: Any) -> str:
    """Equal where two networks, bases or settings are counted alike."""
    if isinstance(asked, Shape):
        parts = (asked.denoiser, asked.autoencoder, *asked.text_encoders)
        return " ".join([*map(likeness, parts), repr(asked.latent_size), repr(asked.tokenizer.model_max_length)])
    if isinstance(asked, nn.Module):
        return repr(asked) + repr([(tuple(p.shape), p.dtype, p.requires_grad) for p in asked.parameters()])
    return "".join(map(likeness, asked)) if isinstance(asked, tuple) else repr(asked)


@pytest.fixture(scope="session")
def counted() -> dict[str, Count]:
    return {}


@pytest.fixture(autouse=True)
def _count_once(counted: dict[str, Count], monkeypatch: pytest.MonkeyPatch) -> None:
    def once(count: Callable[..., Count]) -> Callable[..., Count]:
        def ask(*asked: Any, **settings: Any) -> Count:
            key = f"{count.__name__} {likeness(asked)} {settings}"
            if key not in counted:
                counted[key] = count(*asked, **settings)
            return counted[key]

        return ask

    for name in COUNTED:
        monkeypatch.setattr(estimate, name, once(getattr(estimate, name)))
