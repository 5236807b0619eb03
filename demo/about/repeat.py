"""Draw one picture again, from what its recipe says.

    python -m vesalius.demo.about.repeat "Chest CT with a 22 mm nodule in the left lung." --seed 5 --out again.png
    python -m vesalius.demo.about.repeat --recipe downloaded.png --out again.png

With the same base and adapters it is the same picture, to the last pixel, as long as processor and versions are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from vesalius.data.command.fields import Settled
from vesalius.demo.orders import Ask, Order, recalled


@dataclass(frozen=True, kw_only=True)
class RepeatConfig(Settled):
    """Draw one picture again."""

    prompt: Annotated[str, tyro.conf.Positional] = ""
    """the text that it was drawn from"""
    recipe: Path | None = None
    """the picture itself, as it was downloaded: its own settings are used"""
    out: Path
    """PNG to write"""
    seed: int = 0
    """of this one picture"""
    modality: str | None = None
    """none: the prompt says it"""
    steps: int | None = None
    """none: what suits base and adapter"""
    guidance: float | None = None
    """none: what suits base and adapter"""
    negative: str = ""
    """what was left out"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: tuple[str, ...] = ()
    """as `vesalius generate` takes them"""
    device: str = "auto"
    """cpu, cuda, or auto"""


def repeat(config: RepeatConfig) -> None:
    """Draw and write. ValueError where prompt, picture, base or adapter cannot be had."""
    from vesalius.data.images.image import png_bytes
    from vesalius.data.record import write_atomic
    from vesalius.inference.generator import Generator
    from vesalius.inference.request import Request

    order = recalled(config.recipe)[0] if config.recipe else None
    generator = Generator(config.base, config.adapter, device=config.device)
    if order is None:
        order = Order(
            asks=(Ask(prompt=config.prompt, seed=config.seed, modality=config.modality),),
            steps=config.steps or generator.steps, guidance=config.guidance or generator.guidance,
            negative=config.negative,
        )  # fmt: skip
    ask = order.asks[0]
    request = Request(prompt=ask.prompt, seed=ask.seed, modality=ask.modality)
    ((_, picture),) = generator.draw_all([request], steps=order.steps, guidance=order.guidance, negative=order.negative)
    sample = generator.sample_of(request, steps=order.steps, guidance=order.guidance, negative=order.negative)
    if picture.hu is not None:  # the page keeps the units in a file beside it, and the recipe says so
        sample = replace(sample, raw16=f"raw16/{sample.file_name}")
    write_atomic(config.out, png_bytes(picture.image, sample.recipe()))
    print(f"{config.out}: synthetic, not for diagnosis")


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(RepeatConfig, repeat)
