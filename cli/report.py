"""What each verb says when it is done: a few lines for people, one object for machines, and the exit code."""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import TYPE_CHECKING

from vesalius.cli.main import CHECK, DONE, PARTIAL, RESUMABLE, print_json
from vesalius.data.command.counted import counted

if TYPE_CHECKING:
    from vesalius.data.building.config import BuildConfig
    from vesalius.data.check.run import CheckConfig
    from vesalius.data.datasets.filter import FilterConfig
    from vesalius.data.datasets.merge import MergeConfig
    from vesalius.data.datasets.sample import SampleConfig
    from vesalius.data.datasets.shards import ExportConfig
    from vesalius.data.phantoms.phantom import PhantomConfig
    from vesalius.eval.config import EvalConfig
    from vesalius.eval.pixels.config import CompareConfig
    from vesalius.finetune.cloud.config import CloudConfig
    from vesalius.finetune.config import FinetuneConfig
    from vesalius.improve.config import ImproveConfig, StatusConfig
    from vesalius.inference.augmentation.config import AugmentConfig
    from vesalius.inference.config import GenerateConfig

MOST_SAMPLES = 1000
"""Samples of a run that `--json` lists; the folder has them all."""


def counts(table: dict[str, int], most: int = 1000) -> str:
    rest = [f"{len(table) - most} more"] if len(table) > most else []
    return ", ".join([*(f"{name} {count}" for name, count in list(table.items())[:most]), *rest])


def _records(
    config: FilterConfig | ExportConfig | MergeConfig | SampleConfig,
    verb: str,
    past: str,
    splits: dict[str, int],
    more: str = "",
) -> str:
    """What a dry run would do, or what was done, with how many records, and where."""
    done = f"would {verb}" if config.dry_run else past
    return f"{done} {counted(sum(splits.values()), 'record')} ({counts(splits)}){more}: {config.out}"


def build(config: BuildConfig) -> int:
    from vesalius.data.building.run import build_dataset

    summary = build_dataset(config)
    if config.json:
        print_json(summary)
    else:
        verb = "would read" if config.dry_run else "unchanged:" if summary.unchanged else "wrote"
        print(
            f"{verb} {counted(summary.num_records, 'record')} ({counts(summary.splits)}; {counts(summary.modalities)})"
        )
        for note in summary.notes:
            print(f"note: {note}")
        for refused in summary.quarantined[:5]:
            print(f"quarantined: {refused.reason}")
        if summary.quarantined:
            print(f"{counted(summary.num_quarantined, 'bad row')} in {config.out / 'quarantine.jsonl'}")
        print(f"dataset: {summary.path}")
    return PARTIAL if summary.quarantined else DONE


def check(config: CheckConfig) -> int:
    from vesalius.data.check.run import check_dataset, measured

    tokenizer = None
    if config.base is not None:
        from vesalius.models.text import open_tokenizer

        tokenizer = open_tokenizer(config.base)
    summary = check_dataset(config, tokenizer)
    if config.json:
        print_json({**dataclasses.asdict(summary), "ok": summary.ok})
    else:
        records = counted(summary.num_records, "record")
        print(f"{summary.folder}: {records} of {counted(summary.num_patients, 'patient')}")
        for name in ("splits", "modalities", "labels", "origins"):
            if found := getattr(summary, name):
                print(f"  {name}: {counts(found, most=20)}")
        for line in measured(summary):
            print(f"  {line}")
        for kind in ("warnings", "problems"):
            for line in getattr(summary, kind):
                print(f"  {kind[:-1]}: {line}")
        if config.page:
            print(f"page: {config.page}")
        num = len(summary.problems)
        print("no problem found" if not num else counted(num, "problem"))
    return DONE if summary.ok else CHECK


def filter_records(config: FilterConfig) -> int:
    from vesalius.data.datasets.filter import filter_dataset

    found = filter_dataset(config)
    if config.json:
        print_json({"path": config.out, "splits": found})
    else:
        print(_records(config, "keep", "kept", found))
    return DONE


def export(config: ExportConfig) -> int:
    from vesalius.data.datasets.shards import export_shards

    summary = export_shards(config)
    if config.json:
        print_json(summary)
    else:
        files = "" if config.dry_run else f" in {counted(summary.num_shards, 'file')}"
        print(_records(config, "write", "wrote", summary.splits, files))
    return DONE


def merge(config: MergeConfig) -> int:
    from vesalius.data.datasets.merge import merge_datasets

    summary = merge_datasets(config)
    if config.json:
        print_json(summary)
    else:
        print(_records(config, "merge", "merged", summary.splits))
        if summary.num_repeated or summary.num_moved:
            print(f"  {summary.num_repeated} were in several and are taken once, {summary.num_moved} moved to another")
    return DONE


def sample(config: SampleConfig) -> int:
    from vesalius.data.datasets.sample import sample_dataset

    summary = sample_dataset(config)
    if config.json:
        print_json(summary)
    else:
        print(_records(config, "draw", "drew", summary.splits))
        print(f"  {', '.join(config.balance)}: {counts(summary.values, most=20)}")
    return DONE


def phantom(config: PhantomConfig) -> int:
    from vesalius.data.phantoms.phantom import write_phantoms

    folder = write_phantoms(config)
    if config.json:
        print_json({"path": folder, "num": config.num})
    else:
        print(f"{'would write' if config.dry_run else 'wrote'} {counted(config.num, 'phantom')}: {folder}")
    return DONE


def finetune(config: FinetuneConfig) -> int:
    config.check()
    from accelerate import PartialState

    from vesalius.finetune.lora import finetune

    try:
        summary = finetune(config)
    finally:
        PartialState().destroy_process_group()
    if os.environ.get("RANK", "0") != "0":
        pass  # of several processes one speaks
    elif config.json:
        print_json(summary)
    elif config.dry_run:
        print(f"nothing trained; {counted(config.steps, 'step')} would be run into {config.out}")
    else:
        if summary.validation:
            (first, before), (last, after) = summary.validation[0], summary.validation[-1]
            print(f"validation loss {before:.4f} at step {first}, {after:.4f} at step {last}")
        print(
            f"adapter: {summary.out}"
            if summary.finished
            else f"stopped at step {summary.step}; the same line continues"
        )
    return DONE if summary.finished or config.dry_run else RESUMABLE


def cloud_render(config: CloudConfig) -> int:
    from vesalius.finetune.cloud.task import render_task

    task = render_task(config)
    if config.json:
        print_json(task)
    elif config.dry_run:
        print(task.text, end="")
    else:
        print(f"{'unchanged:' if task.unchanged else 'wrote'} {task.out}\nstart it with: {task.start}")
    return DONE


def generate(config: GenerateConfig) -> int:
    from vesalius.inference.drawing.memory import plan_row
    from vesalius.inference.running.run import drawn_samples, generate

    summary = generate(config)
    num = summary.num_samples
    if os.environ.get("RANK", "0") != "0":
        pass  # of several processes one speaks
    elif config.json:
        rows = itertools.islice(drawn_samples(config.out), MOST_SAMPLES) if summary.finished else ()
        facts = {k: v for k, v in vars(summary).items() if k not in ("path", "num_samples", "memory")}
        facts |= {} if summary.memory is None else {"memory": plan_row(summary.memory)}
        print_json({"out": config.out, "num": num, **facts, "samples": [s.to_json() for s in rows]})
    elif config.dry_run:
        if summary.memory is not None:
            print(summary.memory.line())
        started = f", {summary.num_started} of them from pictures" if summary.num_started else ""
        images, prompts = counted(num, "image"), counted(summary.num_prompts, "prompt")
        print(f"would draw {images} of {prompts} in {counted(summary.num_shards, 'shard')}{started}")
    elif summary.finished:
        print(f"{counted(num, 'image')}: {config.out}")
    else:
        print(f"stopped before all of {counted(num, 'image')} were there; the same line continues: {config.out}")
    return DONE if summary.finished or config.dry_run else RESUMABLE


def augment(config: AugmentConfig) -> int:
    from vesalius.inference.augmentation.run import augment_dataset
    from vesalius.inference.drawing.memory import plan_row

    summary = augment_dataset(config)
    if config.json:
        row = {k: v for k, v in vars(summary).items() if k != "memory"}
        print_json({**row, **({} if summary.memory is None else {"memory": plan_row(summary.memory)})})
    else:
        drawn = sum(summary.drawn.values())
        if config.dry_run and summary.memory is not None:
            print(summary.memory.line())
        print(f"{'would add' if config.dry_run else 'added'} {drawn} synthetic to {summary.splits['train'] - drawn}")
        for value, there in list(summary.there.items())[:20]:
            print(f"  {config.balance} {value}: {there} + {summary.drawn[value]}")
        if len(summary.there) > 20:
            print(f"  and {len(summary.there) - 20} more")
        if summary.num_without:
            print(f"  without {config.balance}: {summary.num_without} + 0")
        print(f"dataset: {config.out} ({counts(summary.splits)}); drawings with their recipes: {summary.samples}")
    return DONE


def evaluate(config: EvalConfig) -> int:
    from vesalius.eval.run import evaluate

    result = evaluate(config)
    if config.json:
        print_json(result)
    else:
        for line in result.get("unreadable", [])[:5]:
            print(f"left out: {line}")
        print("nothing computed" if config.dry_run else f"report: {config.out / 'report.html'}")
    return PARTIAL if result.get("unreadable") else DONE


def compare(config: CompareConfig) -> int:
    from vesalius.eval.pixels.compare import compare
    from vesalius.eval.pixels.image_metrics import UNITS, told

    result = compare(config)
    if config.json:
        print_json(result)
    elif config.dry_run:
        print(f"would compare {result['pairs']} pairs, {result['masks']} with masks")
    else:
        for name, row in result["metrics"].items():
            print(f"{name:<14} {told(row, UNITS.get(name, ''))}")
        print(f"report: {config.out / 'report.html'}")
    return DONE


def improve(config: ImproveConfig) -> int:
    from vesalius.improve.loop import improve

    state = improve(config)
    if config.json:
        print_json(state)
    elif config.dry_run:
        counts = ", ".join(f"{n} {what}" for what, n in state["records"].items())
        print(f"nothing run: {counts} records; {state['rounds']} rounds of {state['candidates']} candidates")
    elif state.get("waiting") is not None:
        from vesalius.improve.people.review import notice

        print(notice(config.out / f"round-{state['waiting']:02d}"))
    else:
        print(f"look at {config.out / 'report.html'}")
    return RESUMABLE if state.get("waiting") is not None else DONE


def status(config: StatusConfig) -> int:
    from vesalius.improve.telling.status import read_status

    state = read_status(config.folder)
    if config.json:
        print_json(state)
    else:
        for line in state["lines"]:
            print(line)
    return DONE
