"""The part `pixels`: noise, intensities, Hounsfield units and stain of the samples beside real images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.data.command.progress import Progress
from vesalius.data.modality import find_modality
from vesalius.eval.context import Context
from vesalius.eval.features import ImageSet, read_chunks
from vesalius.eval.pixels import image_sets
from vesalius.eval.report import Section

SIZE = 128


def measure(context: Context) -> dict[str, Any]:
    """What `image_sets.measure` finds, of pictures of 128 pixels, a few of which are held at once."""
    families = set(context.samples.families) | set(context.real.families)
    windowed = [f for f in families if "," not in f and find_modality(f).windows]
    sets = [
        describe(images, sorted(set(context.samples.families)), windowed, quiet=context.config.json)
        for images in (context.samples, context.real)
    ]
    return image_sets.compare_rows(*sets, seed=context.config.seed)


def describe(
    images: ImageSet, families: list[str], windowed: list[str], *, quiet: bool = False
) -> dict[str, image_sets.Described]:
    """The rows of a set, family by family."""
    found = {}
    with Progress(f"pixels of {images.name}", len(images.cases), quiet=quiet) as bar:
        for family in families:
            made = image_sets.Described(family, windowed=family in windowed)
            for pictures in read_chunks([images.cases[i] for i in images.of_family(family)], SIZE, "model"):
                made.add(pictures)
                bar.step(len(pictures))
            found[family] = made
    return found


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    return image_sets.sections(result)
