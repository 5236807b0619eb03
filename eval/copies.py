"""The part `copies`: how near samples lie to single training images, beside real images that the model never saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vesalius.eval.context import Context
from vesalius.eval.obedience import number_told, share_told
from vesalius.eval.pictures import histogram_svg, image_uri
from vesalius.eval.report import Figure, Section, Table

NUM_SHOWN = 4
"""Samples nearest to a training image that the page shows."""


def measure(context: Context) -> dict[str, Any]:
    """Distances per modality, and the samples that lie nearest to a training image, with it."""
    _, nearest = context.scorer.nearest(context.samples.cases, context.embeddings("samples"))
    closest = sorted(range(len(context.scores)), key=lambda i: context.scores[i]["nearest_train"])[:NUM_SHOWN]
    return {
        "num_train": len(context.train.cases),
        "modalities": {m: copies(context, m) for m in context.modalities},
        "nearest": [
            {
                "sample": context.drawn[i].file_name, "distance": context.scores[i]["nearest_train"], "index": i,
                "training_image": str(context.train.cases[int(nearest[i])].path), "training_index": int(nearest[i]),
            }
            for i in closest
        ],
    }  # fmt: skip


def copies(context: Context, modality: str) -> dict[str, Any]:
    """Distance to the nearest training image, beside that of real images that the model never saw."""
    ours, theirs = (
        [s["nearest_train"] for c, s in zip(images.cases, scores, strict=True) if c.modality == modality]
        for images, scores in ((context.samples, context.scores), (context.real, context.real_scores))
    )
    limit = float(np.percentile(theirs, 1)) if theirs else float("nan")
    return {
        "median": float(np.median(ours)),
        "median_real": float(np.median(theirs)) if theirs else None,
        "limit": limit if theirs else None,
        "share_below_limit": float(np.mean([x < limit for x in ours])) if theirs else None,
    }


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    distances = {
        "samples": [s["nearest_train"] for s in context.scores],
        "unseen real images": [s["nearest_train"] for s in context.real_scores],
    }
    pairs = []
    for pair in result["nearest"]:
        sample, training = context.samples.cases[pair["index"]], context.train.cases[pair["training_index"]]
        note = f"distance {pair['distance']:.3f}"
        pairs += [
            Figure(
                image=image_uri(sample.path), caption=f"sample: {sample.text[:90]}", alt=sample.modality, note=note,
            ),
            Figure(
                image=image_uri(training.path), caption="its nearest training image",
                alt="(training image, real or phantom)",
            ),
        ]  # fmt: skip
    return [
        Section(
            title="Copies", tables=[copies_table(result)],
            plots=[histogram_svg(distances, x="distance to the nearest training image", title="Distance")],
            text=["The four samples nearest to a training image, each beside that image."], figures=pairs,
        )
    ]  # fmt: skip


def copies_table(result: Mapping[str, Any]) -> Table:
    rows = [
        [
            m, number_told(c["median"]), number_told(c["median_real"]), number_told(c["limit"]),
            share_told(c["share_below_limit"]),
        ]
        for m, c in result["modalities"].items()
    ]  # fmt: skip
    head = ("modality", "median distance", "of unseen real images", "limit (their 1st percentile)",
            "nearer than the limit")  # fmt: skip
    return Table(head=head, rows=rows)
