"""The part `usefulness`: classifiers with and without the samples, as `vesalius usefulness` trains them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.eval.context import Context
from vesalius.eval.report import Section
from vesalius.eval.usefulness import page as usefulness_page
from vesalius.eval.usefulness import run as usefulness
from vesalius.eval.usefulness.config import UsefulnessConfig

FOLDER = "usefulness"
"""Below the report's folder: finished trainings, by which a stopped evaluation goes on."""


def measure(context: Context) -> dict[str, Any]:
    """What `run.measure` finds with its usual settings, or {"note": why it was not measured}."""
    config = context.config
    try:
        return usefulness.measure(
            UsefulnessConfig(
                samples=config.samples, real=config.real, train=config.train, out=config.out / FOLDER, json=config.json
            )
        )
    except ValueError as error:
        return {"note": str(error)}


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    if "note" in result:
        return [Section(title="Usefulness", text=[f"Not measured: {result['note']}."])]
    return usefulness_page.sections(dict(result))
