"""What `vesalius plan` says: a short table, and what to change where a run does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vesalius.cli.main import CHECK, DONE, print_json
from vesalius.cli.runs import size
from vesalius.data.command.counted import counted

if TYPE_CHECKING:
    from vesalius.finetune.planning.config import PlanConfig
    from vesalius.finetune.planning.plan import Plan


def plan(config: PlanConfig) -> int:
    """Print the plan; 3 where the run does not fit."""
    from vesalius.finetune.planning.plan import plan

    found = plan(config)
    if config.json:
        print_json(dataclasses.asdict(found))
    else:
        for name, value in lines(found):
            print(f"{name:<16} {value}".rstrip())
    return DONE if found.fits else CHECK


def lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """The table, line by line."""
    images = counted(plan.num_train, "image") if plan.num_train else "images not counted (no --data)"
    yield "run", f"{counted(plan.steps, 'step')} of {plan.batch_size} on {images}, base {plan.base}, rank {plan.rank}"
    yield "card", f"{plan.card}, {plan.precision}"
    yield "memory", f"{size(plan.peak)} of {size(plan.room)}: {'fits' if plan.fits else 'DOES NOT FIT'}"
    for name, held in sorted(plan.memory.items(), key=lambda part: -part[1]):
        yield "", f"{size(held):>8} {name}"
    kinds = ", ".join(f"{name} {flops / sum(plan.flops.values()):.0%}" for name, flops in plan.flops.items())
    yield "work of a step", f"{amount(sum(plan.flops.values()))} ({kinds})"
    if plan.seconds_per_step is None:
        yield "time", "not known: it was not measured, for it does not fit"
    else:
        yield (
            "a step",
            f"{plan.seconds_per_step:.3g} s, {'measured here' if plan.measured else 'not measured on this card'}",
        )
        yield "time", span(sum(plan.seconds.values()))
        yield "", ", ".join(f"{name} {span(seconds)}" for name, seconds in plan.seconds.items())
    if plan.money is not None:
        yield "money", f"${plan.money:.2f} at ${plan.price:g} an hour"
    yield "checkpoint", f"{size(plan.checkpoint)}; the run folder {size(plan.disk)}"
    for told in plan.assumptions:
        yield "note", told
    if not plan.fits:
        yield (
            "to fit",
            "; or ".join(plan.remedies) or "no batch, rank or card that is known makes it fit; take a smaller base",
        )


def span(seconds: float) -> str:
    """A span of time for people."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.3g} s"


def amount(flops: float) -> str:
    """FLOPs for people."""
    return f"{flops / 1e12:.3g} TFLOP" if flops >= 1e11 else f"{flops / 1e9:.3g} GFLOP"
