"""The part `obedience`: contrasts, the heads of judge and witness, and of phantoms the reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.data.record import load_records
from vesalius.eval import obedience, obedience_page
from vesalius.eval.context import Context
from vesalius.eval.report import Section
from vesalius.eval.scores import read_images
from vesalius.models.reader_network import Reader
from vesalius.models.witness_network import Witness


def measure(context: Context) -> dict[str, Any]:
    """What `vesalius.eval.obedience.measure` finds, by networks that did not gate the samples (`--gated-by`)."""
    size, quiet = context.judge.config.image_size, context.config.json
    stacks = [read_images(s.cases, size, f"reading {s.name}", quiet=quiet) for s in (context.samples, context.real)]
    records = load_records(context.config.real, context.config.split)
    return obedience.measure(
        context.samples.cases, stacks[0], context.real.cases, stacks[1],
        obedience.networks(context.judge, Witness.load(context.config.witness), Reader.load()),
        gated_by=context.config.gated_by, phantoms=obedience.phantom_like(records), seed=context.config.seed,
    )  # fmt: skip


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    return obedience_page.sections(result)
