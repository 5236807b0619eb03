"""Drawing for a loop: its settings as those of `vesalius generate`."""

from __future__ import annotations

from pathlib import Path

from vesalius.improve.config import ImproveConfig
from vesalius.inference.config import GenerateConfig
from vesalius.inference.run import generate


def draw(config: ImproveConfig, prompts: Path, out: Path, run: Path, *, seed: int, num: int = 1) -> None:
    """Draw all prompts of a file, `num` pictures of each, or what is left of them.

    KeyboardInterrupt where it is stopped before all are there.
    """
    drawing = GenerateConfig(
        prompts=prompts, out=out, base=config.base, adapter=(str(run), *config.beside), seed=seed, num=num,
        steps=config.sampling_steps, guidance=config.guidance, device=config.device, engine=config.engine,
        workers=config.workers, json=config.json,
    )  # fmt: skip
    if not generate(drawing).finished:
        raise KeyboardInterrupt
