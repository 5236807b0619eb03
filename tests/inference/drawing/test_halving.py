"""Out of memory halves the batch, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.inference import Generator
from vesalius.inference.drawing.halving import Halving
from vesalius.inference.generator import Request
from vesalius.inference.service.batching import Batcher, Sampling

REQUESTS = [Request(prompt="Chest CT with a nodule.", seed=i) for i in range(7)]


class Starved:
    """Draws at most so many at once, and remembers what it was asked for."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.asked = most, error, list[int]()

    def __call__(self, batch: list[int]) -> list[int]:
        self.asked.append(len(batch))
        if len(batch) > self.most:
            raise self.error
        return [10 * each for each in batch]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_batch_that_was_too_large_is_drawn_in_parts_and_later_ones_begin_there(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    halving, draw = Halving(), Starved(2, error)
    assert list(halving.draw(range(8), draw)) == [(i, 10 * i) for i in range(8)]
    assert draw.asked == [8, 4, 2, 2, 2, 2]
    assert list(halving.draw(range(3), draw)) == [(i, 10 * i) for i in range(3)]
    assert draw.asked[6:] == [2, 1]
    told = capsys.readouterr().err.splitlines()
    assert told == [f"vesalius: out of memory; from here {n} pictures at a time" for n in (4, 2)]


def test_one_picture_that_does_not_fit_names_the_remedy() -> None:
    with pytest.raises(MemoryError, match=r"one picture alone does not fit \(CUDA out of memory\); give --memory"):
        list(Halving().draw(range(4), Starved(0, torch.OutOfMemoryError("CUDA out of memory"))))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(Halving().draw(range(4), Starved(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))))


def starve(generator: Generator, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let a generator's denoiser run out of memory above so many pictures."""
    denoiser = generator.base.pipeline.unet
    forward = denoiser.forward

    def little(noisy: torch.Tensor, *rest: Any, **more: Any) -> Any:
        if len(noisy) > 2 * most:  # each is asked about twice, for guidance
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(noisy, *rest, **more)

    monkeypatch.setattr(denoiser, "forward", little)


def test_pictures_are_the_same_with_less_memory(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(str(tiny_base))
    usual = [(r, p.image.astype(int)) for r, p in generator.draw_all(REQUESTS, steps=2)]
    starve(generator, monkeypatch, most=2)
    less = [(r, p.image.astype(int)) for r, p in generator.draw_all(REQUESTS, steps=2)]
    assert [r for r, _ in less] == [r for r, _ in usual]
    assert generator.halving.limit == 1 or generator.halving.limit == 2
    assert max(np.abs(a - b).max() for (_, a), (_, b) in zip(usual, less, strict=True)) <= 1


def test_a_service_goes_on_with_fewer_at_a_time(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def began(self, waited: object) -> None: ...
        def drew(self, num: int, seconds: float) -> None: ...

    generator = Generator(str(tiny_base))
    starve(generator, monkeypatch, most=1)
    batcher = Batcher(generator, Silent(), batch_size=4, max_queue=8, wait=1)
    futures = batcher.submit(REQUESTS[:4], Sampling(steps=1, guidance=3.0))
    assert all(future.result(60).image.any() for future in futures)
    assert generator.halving.limit == 1
    batcher.close()
    batcher.join(10)
