"""Parts of a batch side by side: the same pictures, each core its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.data.images.image import Float32
from vesalius.inference import Generator
from vesalius.inference.drawing.lanes import draw_side_by_side
from vesalius.inference.request import Request
from vesalius.models.base import open_base

REQUESTS = [Request(prompt="Brain MRI, no mass.", seed=seed) for seed in range(5)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def drawn(base: Path, **fields: Any) -> np.ndarray[Any, Any]:
    pairs = Generator(str(base), **fields).draw_all(REQUESTS, steps=4, batch_size=5)
    return np.array([picture.image.astype(int) for _, picture in pairs])


@pytest.mark.parametrize("scheduler", ["dpm++", "euler-a", "unipc"])
def test_pictures_are_the_same_in_one_lane_or_two(tiny_base: Path, two_threads: None, scheduler: str) -> None:
    two = drawn(tiny_base, scheduler=scheduler)
    torch.set_num_threads(1)
    assert np.abs(two - drawn(tiny_base, scheduler=scheduler)).max() <= 1


def test_features_are_reused_in_each_lane_by_itself(tiny_base: Path, two_threads: None) -> None:
    two, full = drawn(tiny_base, reuse=2), drawn(tiny_base)
    torch.set_num_threads(1)
    assert np.abs(two - drawn(tiny_base, reuse=2)).max() <= 1
    assert not np.array_equal(two, full)


def test_every_part_has_its_own_thread_and_scheduler_and_comes_back_in_order(
    tiny_base: Path, two_threads: None
) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    seen: list[tuple[Any, int, int]] = []
    both = threading.Barrier(2, timeout=20)  # neither part ends before the other began

    def draw(lane: Any, part: Sequence[Request]) -> Float32:
        both.wait()
        seen.append((lane.scheduler, torch.get_num_threads(), threading.get_ident()))
        assert lane.unet is pipeline.unet
        return np.array([request.seed for request in part], dtype=np.float32)

    assert draw_side_by_side(pipeline, REQUESTS, draw, most=8).tolist() == [0, 1, 2, 3, 4]
    assert len({id(scheduler) for scheduler, _, _ in seen} | {id(pipeline.scheduler)}) == 3
    assert len({ident for _, _, ident in seen}) == 2
    assert [threads for _, threads, _ in seen] == [1, 1]
    assert torch.get_num_threads() == 2


def test_what_a_part_raises_is_raised(tiny_base: Path, two_threads: None) -> None:
    def draw(lane: Any, part: Sequence[Request]) -> Float32:
        raise ValueError(f"part of {part[0].seed}")

    with pytest.raises(ValueError, match="part of 0"):
        draw_side_by_side(open_base(str(tiny_base)).pipeline, REQUESTS, draw, most=8)


def test_a_picture_alone_or_one_lane_is_drawn_by_the_pipeline_itself(tiny_base: Path, two_threads: None) -> None:
    pipeline = open_base(str(tiny_base)).pipeline

    def draw(lane: Any, part: Sequence[Request]) -> Float32:
        assert lane is pipeline
        return np.zeros(len(part), dtype=np.float32)

    assert len(draw_side_by_side(pipeline, REQUESTS[:1], draw, most=8)) == 1
    assert len(draw_side_by_side(pipeline, REQUESTS, draw, most=1)) == 5


def test_a_thread_that_begins_later_has_all_cores(tiny_base: Path, two_threads: None) -> None:
    drawn(tiny_base)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]
