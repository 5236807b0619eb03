"""The part `privacy`: copies of training images by the evaluation's detectors and by pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.eval.context import Context, Which
from vesalius.eval.privacy import limits as privacy
from vesalius.eval.privacy import page as privacy_page
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.eval.privacy.limits import PIXELS
from vesalius.eval.report import Section


def measure(context: Context) -> dict[str, Any]:
    """What `vesalius.eval.privacy.limits.find_copies` finds; CT with Hounsfield units is apart from that without."""
    sets = [set_of(context, which) for which in ("samples", "real", "train")]
    return privacy.find_copies(*sets, seed=context.config.seed)


def set_of(context: Context, which: Which) -> privacy.PictureSet:
    """Pictures as a search for copies sees them, by the evaluation's detectors and by pixels."""
    pixels, images = Original() if which == "train" else Suspect(), context.set_of(which)
    context.read(which, [pixels, *context.detectors])
    features = {PIXELS: context.features(which, pixels)}
    features |= {detector.name: context.features(which, detector) for detector in context.detectors}
    return privacy.PictureSet(
        features=features, modalities=images.families, patients=[c.patient for c in images.cases],
        names=[c.path.name for c in images.cases],
    )  # fmt: skip


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    ours, seen = context.samples.cases, context.train.cases
    return privacy_page.sections(result, [c.path for c in ours], [c.path for c in seen], [c.text for c in ours])
