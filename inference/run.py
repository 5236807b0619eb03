"""A generation run: all pictures of a prompt list, written with their recipes. A killed run continues by its line."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import lru_cache
from typing import Any

from vesalius.data.progress import Progress
from vesalius.data.prompt import clean
from vesalius.data.record import hold
from vesalius.inference.config import GenerateConfig
from vesalius.inference.generator import Generator, Request, request_modality, usual_sampling
from vesalius.inference.grid import Grid, grid_prompts
from vesalius.inference.memory import MemoryPlan, plan_run, settled
from vesalius.inference.prompts import Prompt, read_prompts
from vesalius.inference.sample import Sample, check_prompts, claim_folder, sample_seed
from vesalius.inference.sinks import check_sink, name_in, open_sink, recipe_settings
from vesalius.models.support import support_of, weak_prompts

MAX_STEPS, MAX_GUIDANCE = 1000, 100.0
PASSING = ("out", "json", "batch_size", "dry_run", "memory", "attention")
"""Settings of a run that change its pictures by no more than rounding does."""


def plan_requests(config: GenerateConfig) -> list[Request]:
    """All pictures of a run in order, each with its seed and file name. ValueError where a prompt names no modality."""
    prompts = [Prompt(text=p) for p in config.prompt]
    prompts += read_prompts(config.prompts, config.split) if config.prompts else []
    prompts += combined.prompts if (combined := combinations_of(config)) else ()
    if not prompts:
        raise ValueError("no prompt: give one or more, --prompts FILE, or --grid finding=...")
    check_settings(config)
    requests: list[Request] = []
    for index, prompt in enumerate(prompts):
        if not any(c.isprintable() and not c.isspace() for c in clean(prompt.text)):
            raise ValueError(f"prompt {index + 1} is empty; say what to draw, or remove it")
        try:
            (prompt.text + config.negative).encode()
        except UnicodeEncodeError:
            raise ValueError(f"prompt {index + 1} holds characters that are not Unicode; write it as UTF-8") from None
        for i in range(config.num):
            name = f"images/{f'{prompt.group}-{prompt.value}' if prompt.group else f'{index:05d}'}-{i:04d}.png"
            seed = sample_seed(config.seed, prompt.group or f"{index}/{prompt.text}", i)
            modality = config.modality or prompt.modality
            requests.append(
                Request(
                    prompt=prompt.text,
                    seed=seed,
                    modality=modality,
                    file_name=name,
                    findings=prompt.findings,
                    size=config.size,
                    group=prompt.group,
                )
            )
    return [dataclasses.replace(r, modality=request_modality(r).name) for r in requests]


def check_settings(config: GenerateConfig) -> None:
    """ValueError where a number is out of its range."""
    steps = 1 if config.steps is None else config.steps
    if config.num < 1 or steps < 1 or config.batch_size < 1:
        raise ValueError(f"--num {config.num}, --steps {steps} and --batch-size {config.batch_size} must be at least 1")
    if steps > MAX_STEPS:
        raise ValueError(f"--steps {steps}: expected at most {MAX_STEPS}, of which the base's schedule is made")
    if config.guidance is not None and not 0 <= config.guidance <= MAX_GUIDANCE:
        raise ValueError(f"--guidance {config.guidance}: expected a number from 0 to {MAX_GUIDANCE:g}")


@lru_cache(maxsize=1)
def combinations_of(config: GenerateConfig) -> Grid | None:
    """The prompts of --grid and --vary; None where a run has none. ValueError as `grid_prompts`."""
    asked = config.grid or config.vary
    return grid_prompts(config.grid, config.vary, seed=config.seed, modality=config.modality) if asked else None


def memory_of(config: GenerateConfig, requests: list[Request]) -> MemoryPlan | None:
    """How a run keeps to --memory; None where it has none. ValueError where it cannot."""
    return plan_run(config, tuple(sorted({r.prompt for r in requests})), len(requests))


def generate(config: GenerateConfig) -> list[Sample]:
    """Draw all samples of a run into `config.out`; those already whole there are kept. Returns them all, in order."""
    requests = plan_requests(config)
    if (combined := combinations_of(config)) and (note := combined.note()):
        print(note, file=sys.stderr)
    check_sink(config, [r.prompt for r in requests])
    requests = [dataclasses.replace(r, file_name=name_in(config.sink, r.file_name)) for r in requests]
    if config.dry_run and (plan := memory_of(config, requests)):
        print(plan.line(), file=sys.stderr)
    return [] if config.dry_run else draw_requests(config, requests)


def draw_requests(config: GenerateConfig, requests: list[Request], **settings: Any) -> list[Sample]:
    """Draw requests into `config.out`; those already whole there are kept. Returns all samples, in order.

    settings: what else settles the folder. ValueError where it was begun by other settings, or from other prompts.
    """
    steps, guidance = config.steps, config.guidance
    if steps is None or guidance is None:  # a base that is not asked need not be there, where all samples are
        usual = usual_sampling(config.base, config.adapter)
        steps, guidance = usual[0] if steps is None else steps, usual[1] if guidance is None else guidance
    with hold(config.out):
        return _draw(config, requests, steps, guidance, settings)


def _draw(
    config: GenerateConfig, requests: list[Request], steps: int, guidance: float, settings: dict[str, Any]
) -> list[Sample]:
    plan = memory_of(config, requests)
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in PASSING}
    fields |= settled(config, plan)
    recipe: dict[str, Any] = json.loads(
        json.dumps({**fields, "steps": steps, "guidance": guidance, **settings}, default=str)
    )
    recipe = recipe_settings(config, recipe)
    claim_folder(config.out, recipe, write=False)
    sink = open_sink(config, [r.file_name for r in requests])
    check_prompts(config.out, sink.whole, {r.file_name: (r.prompt, r.seed) for r in requests})
    num_whole = sum(r.file_name in sink.whole for r in requests)
    if num_whole < len(requests):
        generator = Generator(
            config.base, config.adapter, device=config.device, precision=fields["precision"], memory=plan,
            attention=config.attention,
        )  # fmt: skip
        batch_size = config.batch_size if plan is None else plan.batch_size
        if plan is not None:
            print(plan.line(), file=sys.stderr)
        for size in {r.size for r in requests}:
            generator.check_size(size)
        claim_folder(config.out, recipe)  # only now: what cannot be drawn must not settle the folder's recipe
        sink.begin()
        asked = ((r.prompt, request_modality(r).name, r.findings) for r in requests)
        for line in weak_prompts(support_of(config.base, config.adapter), asked):
            print(f"warning: {line}", file=sys.stderr)
        with Progress("generate", len(requests), start=num_whole, quiet=config.json) as bar:
            drawn = generator.draw_all(
                requests, steps=steps, guidance=guidance, negative=config.negative, batch_size=batch_size,
                kept=sink.whole,
            )  # fmt: skip
            for request, picture in drawn:
                sample = generator.sample_of(
                    request, steps=steps, guidance=guidance, negative=config.negative, base=config.base
                )
                sink.write(sample, picture)
                bar.step()
        if generator.attention is not None:
            print(f"attention: {generator.attention.seen}", file=sys.stderr)
    sink.finish()
    return [sink.whole[r.file_name] for r in requests]
