"""Deep features of the denoiser, reused between steps (DeepCache: Ma, Fang and Wang 2024, CVPR, arXiv 2312.00858).

From one step to the next the deep levels of a U-Net change little. So they are computed at the first steps, in which
layout and brightness settle, and at every N-th one from there; at those between, the outermost down and up blocks run,
over the new latents and timestep, with what came out of the deep levels last. That is faster, and the picture is
another one: `measure_reuse` says how far off, on a run's own prompts.

With `nano` at 12 steps and N = 2, four pictures came to 19 to 31 dB of full computation without such first steps, to
33 to 38 with two, and to 35 to 40 with three, which cost the same. To go on in a line from the last two full steps was
worse than to keep the last one.

Why not a library: the authors' package (DeepCache 0.1.1 on PyPI) was last released in December 2023. As its source
stands, it keeps what every layer of every block gives, finds the step by looking the timestep up in the scheduler (of
which some repeat timesteps), treats step 50 apart, and does not take its wrappers off whole blocks again. The caches of
diffusers itself (`diffusers.hooks`) are for transformers. Here one tensor is kept, and only for as long as one batch is
drawn.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vesalius.data.command.counted import counted

if TYPE_CHECKING:
    import torch

    from vesalius.inference.generator import Generator
    from vesalius.inference.request import Request

NUM_FIRST = 3
"""Evaluations that are full at the beginning of a drawing."""
NUM_MEASURED = 2
"""Pictures that are drawn both ways to tell what reuse costs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReuseCost:
    """What reuse does to pictures. psnr: dB, over all pixels of the pictures, inf where none differs; mean_difference:
    in grey levels; seconds: for each picture, full and with reuse, by the clock, and of processors alone where they do
    the drawing, so that what else a machine does has no say."""

    every: int
    num: int
    psnr: float
    mean_difference: float
    full_seconds: float
    seconds: float

    def __str__(self) -> str:
        pictures = counted(self.num, "picture")
        if self.psnr == float("inf"):
            return f"reuse of features every {self.every} steps: in so few steps there is nothing to reuse"
        return (
            f"reuse of features every {self.every} steps: {self.psnr:.1f} dB PSNR against full computation over "
            f"{pictures}, {self.full_seconds / self.seconds:.1f} times as fast"
        )


class _Features(threading.local):
    """What the deep levels gave last, and which evaluation of the denoiser this is; for each thread that draws its own,
    since several may draw with one denoiser."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.evaluations = 0
        self.shape: tuple[int, ...] | None = None
        self.deep: torch.Tensor | None = None

    @property
    def fresh(self) -> bool:
        """Whether the deep levels run in this evaluation."""
        return self.deep is None

    def begin(self, sample: torch.Tensor) -> None:
        """An evaluation of the denoiser begins: forget what is too old, or of another batch or size."""
        if tuple(sample.shape) != self.shape:
            self.shape, self.evaluations = tuple(sample.shape), 0
        since_first = self.evaluations - (NUM_FIRST - 1)
        if since_first <= 0 or since_first % self.every == 0:
            self.deep = None
        self.evaluations += 1


@contextmanager
def reuse_features(denoiser: Any, every: int) -> Iterator[None]:
    """Compute the deep levels of a `UNet2DConditionModel` at every `every`-th evaluation alone, within the block.

    One block is for the drawing of one batch; should its size change, all begins anew. Both halves of guidance are in
    the same evaluation. every 1 changes nothing at all. Afterwards the denoiser is as it was. ValueError where the
    denoiser has one level only.
    """
    if every == 1:
        yield
        return
    assert every > 1, every
    if len(denoiser.up_blocks) < 2:
        raise ValueError("--reuse: the denoiser of this base has one level, so there is nothing deep to reuse; give 1")
    features = _Features(every)
    whole = denoiser.forward

    def forward(sample: torch.Tensor, *args: Any, **settings: Any) -> Any:
        features.begin(sample)
        return whole(sample, *args, **settings)

    *deep_up, last, _ = denoiser.up_blocks
    passed = [*(denoiser.down_blocks[0].downsamplers or ()), *deep_up]
    passed += [denoiser.mid_block] if denoiser.mid_block is not None else []
    replaced: list[tuple[Any, Callable[..., Any]]] = [(denoiser, forward), (last, _kept(last, features))]
    replaced += [(block, _down(block, features)) for block in denoiser.down_blocks[1:]]
    replaced += [(module, _passed(module, features)) for module in passed]
    before = [(module, module.__dict__.get("forward")) for module, _ in replaced]
    try:
        for module, function in replaced:
            module.forward = function
        yield
    finally:
        for module, function in before:
            if function is None:
                del module.forward
            else:  # another library's wrapper, such as accelerate's
                module.forward = function


def _down(block: Any, features: _Features) -> Callable[..., Any]:
    """A deep down block. Between full evaluations its outputs are looked at by nobody: only their number counts."""
    whole = block.forward
    num_outputs = len(block.resnets) + bool(block.downsamplers)

    def forward(hidden_states: torch.Tensor, *args: Any, **settings: Any) -> Any:
        if features.fresh:
            return whole(hidden_states, *args, **settings)
        return hidden_states, (hidden_states,) * num_outputs

    return forward


def _passed(block: Any, features: _Features) -> Callable[..., Any]:
    """The way down to the deep levels, their middle, or one of their up blocks but the last: left out between full
    evaluations."""
    whole = block.forward

    def forward(hidden_states: torch.Tensor, *args: Any, **settings: Any) -> Any:
        return whole(hidden_states, *args, **settings) if features.fresh else hidden_states

    return forward


def _kept(block: Any, features: _Features) -> Callable[..., Any]:
    """The last deep up block, whose output is what the outermost one is given beside its skip connections."""
    whole = block.forward

    def forward(*args: Any, **settings: Any) -> Any:
        if features.deep is None:
            features.deep = whole(*args, **settings)
        return features.deep

    return forward


def measure_reuse(
    generator: Generator,
    requests: Sequence[Request],
    *,
    steps: int,
    guidance: float,
    negative: str = "",
    num: int = NUM_MEASURED,
) -> ReuseCost:
    """Draw a few of a run's pictures both ways, of different prompts where there are: what its `reuse` costs."""
    chosen = list({request.prompt: request for request in reversed(requests)}.values())[::-1]
    chosen = (chosen + [request for request in requests if request not in chosen])[:num]
    every = generator.reuse
    now = time.process_time if generator.device == "cpu" else time.perf_counter

    def draw(each: int, num_steps: int) -> tuple[list[Any], float]:
        generator.reuse = each
        began = now()
        drawn = list(generator.draw_all(chosen, steps=num_steps, guidance=guidance, negative=negative))
        seconds = (now() - began) / len(chosen)
        images = {request.seed: picture.image.astype(np.float32) for request, picture in drawn}
        return [images[request.seed] for request in chosen], seconds

    try:
        draw(1, 1)  # the first drawing of a process takes longer
        full, full_seconds = draw(1, steps)
        reused, seconds = draw(every, steps)
    finally:
        generator.reuse = every
    differences = np.concatenate([(a - b).ravel() for a, b in zip(full, reused, strict=True)])
    return ReuseCost(
        every=every, num=len(chosen), psnr=psnr(float(np.square(differences).mean())),
        mean_difference=float(np.abs(differences).mean()), full_seconds=full_seconds, seconds=seconds,
    )  # fmt: skip


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit pictures with this mean squared difference."""
    return float(10 * np.log10(255**2 / mean_square)) if mean_square else float("inf")
