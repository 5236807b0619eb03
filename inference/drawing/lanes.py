"""A batch in parts side by side, on a processor: each core draws pictures of its own.

The operators of a small denoiser are over before all cores have taken up their share of one, so two cores that each
draw half of a batch are a third faster than two that share every operator. Weights are shared; each lane walks with a
scheduler of its own, which has a state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from vesalius.data.images.image import Float32
from vesalius.inference.request import Request

DrawPart = Callable[[Any, Sequence[Request]], Float32]
"""Draws requests by a pipeline: pixels N3HW."""


def draw_side_by_side(pipeline: Any, batch: Sequence[Request], draw: DrawPart, *, most: int) -> Float32:
    """The pixels of a batch, N3HW in its order, drawn in as many parts as there are threads, and at most `most`.

    Raises what the first part raises that fails, when all have ended.
    """
    threads = torch.get_num_threads()
    num = min(threads, most, len(batch))
    if num < 2:
        return draw(pipeline, batch)
    parts = [batch[len(batch) * i // num : len(batch) * (i + 1) // num] for i in range(num)]

    def work(part: Sequence[Request]) -> Float32:
        torch.set_num_threads(max(1, threads // num))  # of this thread alone
        lane = copy.copy(pipeline)
        lane.scheduler = copy.deepcopy(pipeline.scheduler)
        return draw(lane, part)

    try:
        with ThreadPoolExecutor(num, thread_name_prefix="lane") as pool:
            return np.concatenate(list(pool.map(work, parts)))
    finally:
        torch.set_num_threads(threads)  # else threads that begin later have what a lane had
