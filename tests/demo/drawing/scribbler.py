"""A worker that scribbles: real in everything but the model, and therefore quick to start.

scribbler.py CONFIG NAME, as `vesalius.demo.drawing.worker`. $SCRIBBLE_SECONDS: how long a step takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vesalius.data.images.image import Picture
from vesalius.demo.drawing.model import Model
from vesalius.demo.drawing.worker import work
from vesalius.demo.store.pictures import Check
from vesalius.inference.drawing.watching import Progress, Watch
from vesalius.inference.request import Request, request_modality
from vesalius.inference.sample import Sample

SIZE = 16
MODEL = Model(base="scribbles", base_digest="0", adapter_digest=None, image_size=SIZE, steps=4, guidance=1.0)


class Scribbler:
    """Pictures of noise, each of its seed alone; of CT with Hounsfield units. A prompt with "deadly" kills."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def draw_all(
        self, requests: Sequence[Request], *, steps: int, guidance: float, negative: str, watch: Watch
    ) -> Iterator[tuple[Request, Picture]]:
        for request in requests:
            if "deadly" in request.prompt:
                os._exit(9)
            if "refused" in request.prompt:
                raise ValueError("this base cannot draw it")
            image = np.random.default_rng(request.seed).integers(0, 256, (SIZE, SIZE, 1), np.uint8)
            has_units = request_modality(request).name == "CT"
            picture = Picture(image=image, hu=image[..., 0].astype(np.float32) * 4 - 1000 if has_units else None)
            for number in range(1, steps + 1):
                time.sleep(self.seconds)
                watch(Progress(requests=[request], number=number, steps=steps, look=lambda shown=picture: [shown]))
            yield request, picture

    def sample_of(self, request: Request, *, steps: int, guidance: float, negative: str) -> Sample:
        return Sample(
            file_name=f"{request.seed}.png", text=request.prompt, modality=request_modality(request).name,
            seed=request.seed, steps=steps, guidance=guidance, negative=negative, height=SIZE, width=SIZE,
        )  # fmt: skip


class Blind:
    """Looks at pictures, and can tell nothing."""

    def check(self, sample: Sample, image: Any) -> tuple[Check, ...]:
        return ()


def opened(_: Any) -> tuple[Scribbler, Model]:
    return Scribbler(float(os.environ.get("SCRIBBLE_SECONDS", "0"))), MODEL


if __name__ == "__main__":
    sys.exit(work(sys.argv[1], sys.argv[2], opened, Blind()))
