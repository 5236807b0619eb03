"""The part `obedience`: contrasts, the heads of judge and witness, and of phantoms the reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.data.phantoms.phantom import KINDS
from vesalius.eval.context import Context, Which
from vesalius.eval.obedience import page as obedience_page
from vesalius.eval.obedience import questions as obedience
from vesalius.eval.obedience.seen import Seen, places_of, seen_in
from vesalius.eval.obedience.told import told_by_text
from vesalius.eval.report import Section


def measure(context: Context) -> dict[str, Any]:
    """What `measure_obedience` finds, by networks that did not gate the samples (`--gated-by`).

    Prompts and captions without findings of their own are asked for those that their text states (`told_by_text`).
    """
    ours, theirs = _seen(context, "samples"), _seen(context, "real")
    known = {name for heads in ours.findings.values() for name in places_of(heads.names)}
    known |= {f"{m}/{kind}" for m in context.phantoms for kind in KINDS[m]} if ours.measured else set()
    samples, real = (told_by_text(s.cases, known) for s in (context.samples, context.real))
    made = context.readings
    net = obedience.networks(
        context.judge if "judge" in made else None, context.witness if "witness" in made else None,
        context.reader if "reader" in made else None,
    )  # fmt: skip
    found = obedience.measure_seen(
        samples.cases, ours, real.cases, theirs, net, phantoms=context.phantoms, uncounted=samples.uncounted,
        seed=context.config.seed,
    )  # fmt: skip
    told = {"samples": len(samples.by_text), "real": len(real.by_text)}
    return {**found, "gated_by": sorted(context.config.gated_by), "told_by_text": told, "bfloat16": context.half}


def _seen(context: Context, which: Which) -> Seen:
    """What the networks that may measure make of a set; the reader looks at samples alone."""
    readings = {n: r for n, r in context.readings.items() if n != "reader" or which == "samples"}
    rows = {name: context.rows(which, reading) for name, reading in readings.items()}
    return seen_in(readings, rows, context.set_of(which).cases)


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    return obedience_page.sections(result)
