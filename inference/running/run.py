"""A generation run: all pictures of a prompt list, written with their recipes. A killed run continues by its line.

Requests are a stream that is read as often as it is needed, never a list, so millions need no more memory than a few:

    read all       count and check them, so that errors come before anything is drawn
    (`vesalius.inference.running.work`) look           what is whole already (`vesalius.inference.running.resume`)
    draw           shard by shard, in one process or many (`vesalius.inference.running.engines`)
    finish         the lists of the shards become those of the folder (`vesalius.inference.writing.sinks`)
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.data.record import hold
from vesalius.data.texts.prompt import clean
from vesalius.inference.config import GenerateConfig
from vesalius.inference.drawing.memory import MemoryPlan, plan_run, settled
from vesalius.inference.generator import check_size, find_device, usual_sampling
from vesalius.inference.prompts.read import Prompt, stream_prompts
from vesalius.inference.prompts.starts import StartCheck, check_starts, source_of, start_digests
from vesalius.inference.request import Request, Sampling, request_modality
from vesalius.inference.running.engines import Launch, check_engine, work_launched, work_local, work_ray
from vesalius.inference.running.resume import take_up
from vesalius.inference.running.work import Plan, Requests, Work, make_plan
from vesalius.inference.running.worker import Job
from vesalius.inference.sample import WORK, Sample, claim_folder, sample_seed, stream_samples
from vesalius.inference.writing.sinks import SHARDED, check_prompt, check_sink, name_in, open_sink, recipe_settings
from vesalius.models.adapters.mix import parse_adapters, sampling_of_adapters, told_apart
from vesalius.models.base import drawn_sizes, scheduler_config
from vesalius.models.support import support_of, weak_prompts

if TYPE_CHECKING:
    from vesalius.inference.prompts.grid import Grid

MAX_TEXT = 100_000
"""Most characters of a prompt: of a report of that length each step asks about a hundred contexts."""
UNSETTLED = ("out", "json", "batch_size", "dry_run", "engine", "workers", "memory", "attention", "image", "mask")
"""Fields that do not change what is drawn; the line that goes on may have others. Of pictures the digests count."""


@dataclass(frozen=True, kw_only=True)
class GenerateSummary:
    """What a run did; the samples are in the folder (`load_samples`).

    num_samples: pictures of the whole run, in num_shards shards. num_drawn: those that were drawn now. finished:
    whether all are there; if not, the same line continues. num_started: of the samples, that start from a picture.
    memory: how it keeps to its budget, where it has one.
    """

    path: Path
    """the samples folder"""
    num_prompts: int
    """different prompts"""
    num_samples: int
    num_shards: int
    num_drawn: int = 0
    finished: bool = False
    num_started: int = 0
    memory: MemoryPlan | None = None


def stream_requests(config: GenerateConfig) -> Iterator[Request]:
    """All pictures of a run in order, each with its seed and file name. ValueError, on the way, where a prompt names no
    modality, is empty or is no text."""
    empty = True
    for index, prompt in enumerate(_prompts(config)):
        empty = False
        if not any(c.isprintable() and not c.isspace() for c in clean(prompt.text)):
            raise ValueError(f"prompt {index + 1} is empty; say what to draw, or remove it")
        if max(len(prompt.text), len(config.negative)) > MAX_TEXT:
            raise ValueError(
                f"prompt {index + 1} has {len(prompt.text)} characters and --negative {len(config.negative)}; expected "
                f"at most {MAX_TEXT}: shorten it"
            )
        try:
            (prompt.text + config.negative).encode()
        except UnicodeEncodeError:
            raise ValueError(f"prompt {index + 1} holds characters that are not Unicode; write it as UTF-8") from None
        first = Request(
            prompt=prompt.text, seed=0, modality=config.modality or prompt.modality, findings=prompt.findings,
            size=config.size, group=prompt.group, source=source_of(config, prompt),
        )  # fmt: skip
        modality = request_modality(first).name
        for i in range(config.num):
            name = f"images/{f'{prompt.group}-{prompt.value}' if prompt.group else f'{index:05d}'}-{i:04d}.png"
            seed = sample_seed(config.seed, prompt.group or f"{index}/{prompt.text}", i)
            file_name = name_in(config.sink, name)
            yield dataclasses.replace(first, seed=seed, file_name=file_name, modality=modality)
    if empty:
        raise ValueError("no prompt: give one or more, --prompts FILE, or --grid finding=...")


def _prompts(config: GenerateConfig) -> Iterator[Prompt]:
    yield from (Prompt(text=p) for p in config.prompt)
    if config.prompts:
        yield from stream_prompts(config.prompts, config.split, config.start)
    if combined := combinations_of(config):
        yield from combined.prompts


def check_settings(config: GenerateConfig) -> None:
    """ValueError where a number is out of its range."""
    if config.num < 1 or config.batch_size < 1:
        raise ValueError(f"--num {config.num} and --batch-size {config.batch_size} must be at least 1")
    Sampling(
        steps=1 if config.steps is None else config.steps, guidance=1.0 if config.guidance is None else config.guidance
    )  # says what is wrong with either
    if config.reuse < 1:
        raise ValueError(
            f"--reuse {config.reuse}: expected at least 1, with which the whole denoiser runs at every step"
        )
    check_starts(config)


def check_models(config: GenerateConfig, plan: Plan, memory: MemoryPlan | None) -> None:
    """ValueError where base, adapters, scheduler, sizes or kernel are none that can be drawn with, as far as that shows
    without loading weights."""
    from vesalius.inference.drawing.memory import check_attention
    from vesalius.inference.drawing.schedulers import make_scheduler
    from vesalius.models.fit import check_adapters, check_base

    shares = parse_adapters(config.adapter)
    check_base(config.base)
    check_sizes(config, plan)
    check_adapters(config.base, shares)
    check_attention(config.attention, find_device(config.device))
    if len(shares) > 1 and memory is not None and memory.device == "cpu" and (memory.parts_leave or memory.casts):
        raise ValueError(told_apart(len(shares)))
    told = sampling_of_adapters(shares)
    levels = told.scheduler if told else scheduler_config(config.base)
    if config.scheduler and levels:
        make_scheduler(config.scheduler, levels)


def check_sizes(config: GenerateConfig, plan: Plan) -> None:
    """ValueError where the base cannot draw a size that is asked for."""
    edge, unit = drawn_sizes(config.base)
    for size in plan.sizes:
        check_size(config.base, size, edge, unit)


@lru_cache(maxsize=1)
def combinations_of(config: GenerateConfig) -> Grid | None:
    """The prompts of --grid and --vary; None where a run has none. ValueError as `grid_prompts`."""
    asked = config.grid or config.vary
    if not asked:
        return None
    from vesalius.inference.prompts.grid import grid_prompts  # brings scipy, which a first picture would wait for

    return grid_prompts(config.grid, config.vary, seed=config.seed, modality=config.modality)


def generate(config: GenerateConfig) -> GenerateSummary:
    """Draw all samples of a run into `config.out`; those already whole there are kept."""
    check_settings(config)
    if (combined := combinations_of(config)) and (note := combined.note()) and os.environ.get("RANK", "0") == "0":
        print(note, file=sys.stderr)
    return draw_requests(config, partial(stream_requests, config), **start_digests(config))


def draw_samples(config: GenerateConfig) -> list[Sample]:
    """Draw all samples of a run, and read what was written of them, in order.

    KeyboardInterrupt where the run stopped before all were there: the same line continues.
    """
    if not generate(config).finished:
        raise KeyboardInterrupt
    return list(drawn_samples(config.out))


def draw_requests(config: GenerateConfig, source: Requests, **settings: Any) -> GenerateSummary:
    """Draw requests into `config.out`; those already whole there are kept.

    settings: what else settles the folder. ValueError where it was begun by other settings, or from other prompts.
    """
    check_sink(config)
    check_engine(config)
    if config.engine != "accelerate":
        return _draw(config, source, settings, None)
    with Launch() as launch:
        if launch.rank == 0:
            return _draw(config, source, settings, launch)
        launch.follow()
        return GenerateSummary(path=config.out, num_prompts=0, num_samples=0, num_shards=0, finished=True)


def _draw(config: GenerateConfig, source: Requests, settings: dict[str, Any], launch: Launch | None) -> GenerateSummary:
    @cache
    def usual() -> tuple[int, float]:
        return usual_sampling(config.base, config.adapter, config.scheduler)

    # Read all
    former = Work.plan_in(config.out)
    starts = StartCheck(config, lambda: usual()[0] if config.steps is None else config.steps)
    plan, same = make_plan(
        source, config.shard_size if config.sink in SHARDED else None, most=config.shard_size, former=former,
        checks=(partial(check_prompt, config), starts.look), quiet=config.json,
    )  # fmt: skip
    starts.end()
    summary = GenerateSummary(
        path=config.out, num_prompts=plan.num_requests // config.num, num_samples=plan.num_requests,
        num_shards=plan.num_shards, num_started=starts.num,
    )  # fmt: skip
    memory = plan_run(config, plan.longest, plan.num_requests)
    summary = dataclasses.replace(summary, memory=memory)
    if config.dry_run:
        usual()
    # Where both are told and all samples are there, the base need not be
    steps = usual()[0] if config.steps is None else config.steps
    guidance = usual()[1] if config.guidance is None else config.guidance
    precision, recipe = recipe_of(config, memory, {"steps": steps, "guidance": guidance, **settings})
    claim_folder(config.out, recipe, write=False)
    if config.dry_run:
        check_models(config, plan, memory)
        return summary

    with hold(config.out):
        # Look
        claim_folder(config.out, recipe, write=False)
        fresh = not (config.out / "config.json").exists()
        work, sink = Work(config.out, plan), open_sink(config)
        num_whole = take_up(work, sink, source, quiet=config.json)
        if not same:
            raise ValueError(
                f"{config.out}: was begun with other prompts; the prompts have changed, so give another --out"
            )

        # Draw
        if num_whole < plan.num_requests:
            check_sizes(config, plan)
        job = Job(
            config=config, source=source, plan=plan, steps=steps, guidance=guidance, folder=str(Path.cwd()),
            precision=precision, memory=memory,
        )  # fmt: skip

        def begin() -> None:
            claim_folder(config.out, recipe)
            work.begin()
            sink.begin()
            if num_whole < plan.num_requests:
                say_before(config, source, memory, starts)

        if not work.folder.is_dir() or work.undone():
            try:
                if launch is not None:
                    work_launched(job, begin, num_whole, launch)
                else:
                    {"local": work_local, "ray": work_ray}[config.engine](job, begin, num_whole)
            except ValueError:
                if fresh and not (work.folder.is_dir() and work.count()):
                    _forget(config.out)  # what cannot be drawn must not settle the folder's recipe
                raise
            if work.undone():
                return dataclasses.replace(summary, num_drawn=max(0, work.count() - num_whole))

        # Finish
        for left in config.out.glob(".*.tmp"):  # by a run that was killed while it finished
            left.unlink()
        sink.finish(work.samples)
    return dataclasses.replace(summary, num_drawn=plan.num_requests - num_whole, finished=True)


def recipe_of(
    config: GenerateConfig, memory: MemoryPlan | None, more: dict[str, Any]
) -> tuple[Literal["fp32", "bf16"], dict[str, Any]]:
    """The precision that a run is drawn in, and the settings that decide its pictures, as they stand on disk."""
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in UNSETTLED} | settled(config, memory)
    return fields["precision"], recipe_settings(config, json.loads(json.dumps({**fields, **more}, default=str)))


def say_before(config: GenerateConfig, source: Requests, memory: MemoryPlan | None, starts: StartCheck) -> None:
    """What is said before the first picture: how memory is kept to, and which prompts the base hardly knows."""
    if memory is not None:
        print(memory.line(), file=sys.stderr)
    if note := starts.note():
        print(f"note: {note}", file=sys.stderr)
    asked = ((r.prompt, request_modality(r).name, r.findings) for r in source())
    for line in weak_prompts(support_of(config.base, config.adapter), asked):
        print(f"warning: {line}", file=sys.stderr)


def _forget(out: Path) -> None:
    """Take back the mark of a folder in which nothing was drawn."""
    shutil.rmtree(out / WORK, ignore_errors=True)
    (out / "config.json").unlink(missing_ok=True)
    for folder in ("train/images", "train", "images"):
        with suppress(OSError):
            (out / folder).rmdir()


def drawn_samples(out: Path) -> Iterator[Sample]:
    """The samples of a finished run in order, one by one, of any sink. ValueError where there is none."""
    plan = Work.plan_in(out)
    return stream_samples(out) if plan is None else Work(out, plan).samples()
