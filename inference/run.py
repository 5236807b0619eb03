"""A generation run: all pictures of a prompt list, written with their recipes. A killed run continues by its line."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.modality import find_modality
from vesalius.data.progress import Progress
from vesalius.data.prompt import clean
from vesalius.data.record import Finding, Record, check_types, hold
from vesalius.inference.config import GenerateConfig
from vesalius.inference.generator import Generator, Request, request_modality, usual_sampling
from vesalius.inference.sample import Sample, claim_folder, sample_seed
from vesalius.inference.sinks import check_sink, name_in, open_sink, recipe_settings
from vesalius.models.support import support_of, weak_prompts

MAX_STEPS, MAX_GUIDANCE = 1000, 100.0


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One line of a prompts file."""

    text: str
    modality: str | None = None
    findings: tuple[Finding, ...] = ()


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file: text, one a line, or JSON lines with `text` and, where known, `modality` and `findings`.

    A dataset's metadata.jsonl is such a file: each record's caption is a prompt, or its text where it has none.
    ValueError names file and line.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: no such prompts file (text, one prompt a line, or .jsonl with `text` and `modality`)"
        )
    prompts: list[Prompt] = []
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; save the prompts as UTF-8") from None
    for number, line in enumerate(content.split("\n"), start=1):  # U+2028 and its like may stand within a text
        if not line.strip():
            continue
        if path.suffix != ".jsonl":
            prompts.append(Prompt(text=line.strip()))
            continue
        try:
            row = json.loads(line)
            record = check_types(Record.from_json({"file_name": "-", "modality": "-", **row}))
            modality = None if record.modality == "-" else record.modality
            text = record.caption or record.text
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(
                f"{path}:{number}: expected a JSON object with `text`, and `modality` and `findings` as a dataset "
                "has them; mend or delete that line"
            ) from None
        if modality is not None:
            try:
                find_modality(modality)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from None
        prompts.append(Prompt(text=text, modality=modality, findings=record.findings))
    if not prompts:
        raise ValueError(f"{path}: holds no prompt")
    return prompts


def plan_requests(config: GenerateConfig) -> list[Request]:
    """All pictures of a run in order, each with its seed and file name. ValueError where a prompt names no modality."""
    prompts = [Prompt(text=p) for p in config.prompt] + (read_prompts(config.prompts) if config.prompts else [])
    if not prompts:
        raise ValueError("no prompt: give one or more, or --prompts FILE")
    steps = 1 if config.steps is None else config.steps
    if config.num < 1 or steps < 1 or config.batch_size < 1:
        raise ValueError(f"--num {config.num}, --steps {steps} and --batch-size {config.batch_size} must be at least 1")
    if steps > MAX_STEPS:
        raise ValueError(f"--steps {steps}: expected at most {MAX_STEPS}, of which the base's schedule is made")
    if config.guidance is not None and not 0 <= config.guidance <= MAX_GUIDANCE:
        raise ValueError(f"--guidance {config.guidance}: expected a number from 0 to {MAX_GUIDANCE:g}")
    requests: list[Request] = []
    for index, prompt in enumerate(prompts):
        if not any(c.isprintable() and not c.isspace() for c in clean(prompt.text)):
            raise ValueError(f"prompt {index + 1} is empty; say what to draw, or remove it")
        try:
            (prompt.text + config.negative).encode()
        except UnicodeEncodeError:
            raise ValueError(f"prompt {index + 1} holds characters that are not Unicode; write it as UTF-8") from None
        for i in range(config.num):
            name = f"images/{index:05d}-{i:04d}.png"
            seed = sample_seed(config.seed, f"{index}/{prompt.text}", i)
            modality = config.modality or prompt.modality
            requests.append(
                Request(
                    prompt=prompt.text,
                    seed=seed,
                    modality=modality,
                    file_name=name,
                    findings=prompt.findings,
                    size=config.size,
                )
            )
    return [dataclasses.replace(r, modality=request_modality(r).name) for r in requests]


def generate(config: GenerateConfig) -> list[Sample]:
    """Draw all samples of a run into `config.out`; those already whole there are kept. Returns them all, in order."""
    requests = plan_requests(config)
    check_sink(config, [r.prompt for r in requests])
    requests = [dataclasses.replace(r, file_name=name_in(config.sink, r.file_name)) for r in requests]
    if config.dry_run:
        return []
    steps, guidance = config.steps, config.guidance
    if steps is None or guidance is None:  # a base that is not asked need not be there, where all samples are
        usual = usual_sampling(config.base, config.adapter)
        steps, guidance = usual[0] if steps is None else steps, usual[1] if guidance is None else guidance
    with hold(config.out):
        return _draw(config, requests, steps, guidance)


def _draw(config: GenerateConfig, requests: list[Request], steps: int, guidance: float) -> list[Sample]:
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in ("out", "json", "batch_size", "dry_run")}
    recipe: dict[str, Any] = json.loads(json.dumps({**fields, "steps": steps, "guidance": guidance}, default=str))
    recipe = recipe_settings(config, recipe)
    claim_folder(config.out, recipe, write=False)
    sink = open_sink(config, [r.file_name for r in requests])
    num_whole = sum(r.file_name in sink.whole for r in requests)
    if num_whole < len(requests):
        generator = Generator(config.base, config.adapter, device=config.device, precision=config.precision)
        claim_folder(config.out, recipe)  # only now: a base that does not open must not settle the folder's recipe
        sink.begin()
        asked = ((r.prompt, request_modality(r).name, r.findings) for r in requests)
        for line in weak_prompts(support_of(config.base, config.adapter), asked):
            print(f"warning: {line}", file=sys.stderr)
        with Progress("generate", len(requests), start=num_whole, quiet=config.json) as bar:
            drawn = generator.draw_all(
                requests, steps=steps, guidance=guidance, negative=config.negative, batch_size=config.batch_size,
                kept=sink.whole,
            )  # fmt: skip
            for request, picture in drawn:
                assert request.modality is not None
                height, width = generator.check_size(request.size)
                sample = Sample(
                    file_name=request.file_name, text=request.prompt, modality=request.modality, seed=request.seed,
                    findings=request.findings, steps=steps, guidance=guidance, negative=config.negative,
                    height=height, width=width, scheduler=type(generator.base.pipeline.scheduler).__name__,
                    base=config.base, base_digest=generator.base.digest, adapter_digest=generator.adapter_digest,
                    depth=generator.depth, precision=config.precision,
                )  # fmt: skip
                sink.write(sample, picture)
                bar.step()
    sink.finish()
    return [sink.whole[r.file_name] for r in requests]
