"""The part `pixels`: noise, intensities, Hounsfield units and stain of the samples beside real images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.data.modality import find_modality
from vesalius.eval import image_sets
from vesalius.eval.context import Context
from vesalius.eval.report import Section
from vesalius.eval.scores import read_images

SIZE = 128


def measure(context: Context) -> dict[str, Any]:
    """What `vesalius.eval.image_sets.measure` finds, of pictures of 128 pixels."""
    sets = (context.samples, context.real)
    stacks = [read_images(s.cases, SIZE, f"reading {s.name}", quiet=context.config.json) for s in sets]
    families = {f for s in sets for f in s.families}
    windowed = [f for f in families if "," not in f and find_modality(f).windows]
    return image_sets.measure(
        stacks[0], sets[0].families, stacks[1], sets[1].families, windowed=windowed, seed=context.config.seed
    )


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    return image_sets.sections(result)
