"""The part `membership`: the denoiser that drew the samples is attacked, with its base alone as the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.data.record import read_state
from vesalius.eval.context import Context
from vesalius.eval.gates.scores import Case, read_images
from vesalius.eval.privacy import membership
from vesalius.eval.report import Section
from vesalius.inference.generator import Generator

MOST = 300
"""Training images of a modality, and others, that are attacked, at random: the denoiser runs four times for each."""


def measure(context: Context) -> dict[str, Any]:
    """What `vesalius.eval.privacy.membership.infer_membership` finds, or {"note": why it was not measured}."""
    try:
        base, adapter = made_by(context)
        generator = Generator(base, adapter or None, precision="auto")
        fits(context, generator, base)
        reference = Generator(base, precision="auto") if adapter else None
        members, others = (
            group(context, cases, generator.base.image_size) for cases in (context.train.cases, context.real.cases)
        )
        return membership.infer_membership(
            generator, members, others, reference=reference, seed=context.config.seed, quiet=context.config.json
        )
    except ValueError as error:
        return {"note": str(error)}


def made_by(context: Context) -> tuple[str, list[str]]:
    """Base and adapters of the samples: as the configuration has them, else as their own recipe says. ValueError where
    neither does, or not all samples are of one model."""
    if len({(s.base_digest, s.adapter_digest) for s in context.drawn}) > 1:
        raise ValueError("the samples were drawn by several models; evaluate those of each apart")
    first, folder = context.drawn[0], context.config.samples
    base = context.config.base or first.base
    if not base:
        raise ValueError("the samples do not say which base drew them; name it with --base")
    if context.config.adapter or not first.adapter_digest:
        return base, list(context.config.adapter)
    recipe = read_state(folder / "config.json", "draw them again") if (folder / "config.json").is_file() else {}
    told = recipe.get("adapter") or ()
    adapters = [told] if isinstance(told, str) else [str(name) for name in told]
    if not adapters:
        raise ValueError("the samples were drawn with an adapter and do not say where it is; name it with --adapter")
    return base, adapters


def fits(context: Context, generator: Generator, base: str) -> None:
    """ValueError where a model is another than the samples'."""
    first = context.drawn[0]
    for what, ours, theirs, option in (
        (f"base {Path(base).name}", generator.base.digest, first.base_digest, "--base"),
        ("the adapter", generator.adapter_digest, first.adapter_digest, "--adapter"),
    ):
        if theirs and ours != theirs:
            raise ValueError(f"{what} is not what drew the samples (its files have changed); name that with {option}")


def group(context: Context, cases: Sequence[Case], size: int) -> membership.PictureGroup:
    """Pictures of the samples' modalities with captions, at the base's size, at most `MOST` of each modality."""
    rng = np.random.default_rng(context.config.seed)
    chosen: list[int] = []
    for modality in context.modalities:
        mine = [i for i, c in enumerate(cases) if c.modality == modality]
        chosen += rng.permutation(mine)[:MOST].tolist() if mine else []
    kept = [cases[i] for i in sorted(chosen)]
    images = read_images(kept, size, "reading images", quiet=context.config.json)
    return membership.PictureGroup(
        images=images, texts=[c.text for c in kept], modalities=[c.modality for c in kept],
        patients=[c.patient for c in kept],
    )  # fmt: skip


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    if "note" in result:
        return [Section(title="Membership inference", text=[f"Not measured: {result['note']}."])]
    return membership.sections(result)
