"""Worker processes: the same results in the same order for any number of them, and a crash costs one image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.draft import Draft
from vesalius.data.record import Record
from vesalius.data.workers import Encoder, Waiting, num_workers


def draft(path: Path, seed: int) -> Draft:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 16)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return Draft(where=str(path), path=path, record=Record(file_name=path.name, text="t", modality="CT"))


def test_a_worker_that_dies_costs_one_image_and_is_replaced(tmp_path: Path) -> None:
    one = draft(tmp_path / "one.png", 1)
    with Encoder(workers=2, size=0, folder=tmp_path) as encoder:
        first = encoder.encode(one, "a.png")
        encoder._processes[0].kill()
        with pytest.raises(ValueError, match=r"one\.png: its decoder crashed \(exit code -9\)"):
            encoder.encode(one, "b.png")
        assert encoder.encode(one, "c.png").sha256 == first.sha256
    assert all(process.poll() is not None for process in encoder._processes)


def test_results_come_in_order_and_few_are_begun_ahead(tmp_path: Path) -> None:
    begun: list[int] = []

    def tasks() -> Iterator[int]:
        for i in range(100):
            begun.append(i)
            yield i

    def slow(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return -i

    with Encoder(workers=3, size=0, folder=tmp_path) as encoder:
        for i, (task, result) in enumerate(encoder.in_order(tasks(), slow)):
            assert (task, result) == (i, -i)
            assert len(begun) <= i + 13


def test_few_images_start_no_worker() -> None:
    assert num_workers(0, 10) == 1
    assert num_workers(5, 10) == 5


def test_workers_begun_ahead_are_used_and_those_left_over_end(tmp_path: Path) -> None:
    one = draft(tmp_path / "one.png", 1)
    with Waiting() as waiting:
        waiting.grow(1, "image")
        assert waiting.take() is None
        waiting.grow(2, "image")
        begun = list(waiting._idle)
        with Encoder(workers=2, size=0, folder=tmp_path, waiting=waiting) as encoder:
            assert encoder.encode(one, "a.png").path.is_file()
            assert encoder._processes == begun[:1]
    assert len(begun) == 2
    assert all(process.poll() is not None for process in begun)
