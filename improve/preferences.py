"""Learning from preferences: pairs of two samples of one prompt, of which one is better, for Diffusion-DPO.

    {"text": "Chest CT ...", "modality": "CT", "better": "round-01/samples/images/00003-0001.png",
     "worse": "round-01/samples/images/00003-0000.png", "depth": 1, "from": "gates"}

Pairs are of a round's best accepted sample against those of its prompt that a gate refused for what they show, and of
clinicians' comparisons. A copy, a near-duplicate or a full quota says nothing about content, and makes no pair.

Preference tuning starts from what it is to improve and keeps to it (Wallace et al. 2024, Diffusion-DPO), so its base is
the loop's base with the adapter of round 0 in it, which the data alone trained; the adapter is fresh. Pairs of all
rounds are learnt from: they accumulate as accepted samples do.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vesalius.data.counted import counted
from vesalius.data.record import read_rows, write_atomic, write_json
from vesalius.finetune.config import FinetuneConfig
from vesalius.improve.candidates import read_verdicts
from vesalius.improve.config import ImproveConfig
from vesalius.improve.drawing import PREFERRED_BASE
from vesalius.improve.pool import agreement_of, settle_pools
from vesalius.improve.ratings import read_ratings
from vesalius.improve.review import review_vetoes
from vesalius.improve.rewards import preferred, vetoes
from vesalius.inference.sample import Sample, stream_samples
from vesalius.models.adapter_config import AdapterFuseConfig

ABOUT_CONTENT = ("modality", "organ", "side", "findings", "finding", "agreement", "contrast", "prompt", "ratings")
"""Gates whose refusals are about what a sample shows of its prompt, by the first word of a reason."""
MOST_WORSE = 3
"""Refused samples of a prompt that its accepted one is compared with, so that hard prompts do not outnumber others."""


def training_config(config: ImproveConfig, folder: Path) -> FinetuneConfig:
    """The fine-tuning run of a round after its candidates are judged: on the data and what was accepted so far, or on
    preferences. folder: of the round, OUT/round-NN.

    The pools and pairs are settled when this is first asked for. ValueError where there is nothing to learn from.
    """
    out, index, run = folder.parent, int(folder.name.removeprefix("round-")), folder / "run"
    if index == 0:  # the data alone
        return config.finetune(run, ())
    if config.learn != "preferences":
        return config.finetune(run, settle_pools(config, out, index))
    if not pairs_file(out, index).is_file():
        write_pairs(config, out, index)
    base = str(reference(config, out))
    return dataclasses.replace(config.finetune(run, ()), base=base, pairs=(pairs_file(out, index),))


def pairs_file(out: Path, index: int) -> Path:
    """The pairs that a round learns from; at the top of the loop's folder, for they name pictures of all rounds."""
    return out / f"pairs-{index:02d}.jsonl"


def reference(config: ImproveConfig, out: Path) -> Path:
    """The base of preference tuning, OUT/preferred-base: the loop's with the adapter of round 0 in it, made once."""
    from vesalius.models.adapter_fuse import fuse_adapter

    folder = out / PREFERRED_BASE
    if not folder.is_dir():
        fuse_adapter(AdapterFuseConfig(adapter=out / "round-00" / "run", base=config.base, out=folder))
    return folder


def write_pairs(config: ImproveConfig, out: Path, index: int) -> int:
    """Write the pairs that a round learns from, its own and those of all before it; returns how many there are.

    ValueError where there are none, which says why.
    """
    ratings = read_ratings(config.ratings)
    out_of_pool = vetoes(ratings)
    better_by = dict[str, list[str]]()
    for better, worse in preferred(ratings):
        better_by.setdefault(better, []).append(worse)
    asked = {digest for pair in preferred(ratings) for digest in pair}
    compared: dict[str, tuple[str, Sample]] = {}
    told: dict[str, Any] = {"pools": [], "num": 0, "vetoed": {}, **agreement_of(ratings)}
    rows: list[dict[str, Any]] = []
    for number in range(1, index + 1):
        for path, sample, _ in judged_samples(out, number):
            if sample.sha256 in out_of_pool:
                told["vetoed"][sample.sha256] = out_of_pool[sample.sha256]
            if sample.sha256 in asked:
                compared[sample.sha256] = (path, sample)
        rows += gate_pairs(out, number, out_of_pool)
    for better, others in better_by.items():
        for worse in others:
            if better in compared and worse in compared:
                (first, sample), (second, other) = compared[better], compared[worse]
                if sample.text == other.text and sample.modality == other.modality:
                    rows.append(_row(sample, first, second, max(sample.depth, other.depth), "ratings"))
    if not rows:
        raise ValueError(nothing(config, out, index, len(asked)))
    unique = list(dict.fromkeys(json.dumps(row, ensure_ascii=False) for row in rows))
    write_json(out / f"round-{index:02d}" / "pool.json", told)
    write_atomic(pairs_file(out, index), "".join(f"{line}\n" for line in unique).encode())
    return len(unique)


def gate_pairs(out: Path, number: int, vetoed: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The accepted sample of each prompt of a round against those that were refused for what they show, the worst of
    them first. vetoed: digests that ratings refuse, whatever the gates say."""
    prompts: dict[int, list[tuple[str, Sample, dict[str, Any]]]] = defaultdict(list)
    reviewed = review_vetoes(out / f"round-{number:02d}")
    for path, sample, verdict in judged_samples(out, number):
        told = {**verdict, "reason": (vetoed | reviewed).get(sample.sha256, verdict["reason"])}
        if told["reason"] is None or about_content(told["reason"]):
            prompts[int(verdict["prompt"])].append((path, sample, told))
    for _, members in sorted(prompts.items()):
        accepted = [m for m in members if m[2]["reason"] is None]
        refused = [m for m in members if m[2]["reason"] is not None]
        if not accepted:
            continue
        first, sample, _ = max(accepted, key=lambda m: (m[2]["reward"], m[0]))
        for second, other, _ in sorted(refused, key=lambda m: (m[2]["reward"], m[0]))[:MOST_WORSE]:
            yield _row(sample, first, second, max(sample.depth, other.depth), "gates")


def judged_samples(out: Path, number: int) -> Iterator[tuple[str, Sample, dict[str, Any]]]:
    """The samples of a round as (path below the loop's folder, sample, verdict); none before they are judged."""
    folder = out / f"round-{number:02d}"
    verdicts = {v["file_name"]: v for v in read_verdicts(folder)}
    if not verdicts:
        return
    for sample in stream_samples(folder / "samples"):
        if sample.file_name in verdicts:
            yield f"{folder.name}/samples/{sample.file_name}", sample, verdicts[sample.file_name]


def about_content(reason: str) -> bool:
    """Whether a reason to refuse a sample is about what it shows of its prompt."""
    return reason.partition(":")[0] in ABOUT_CONTENT


def nothing(config: ImproveConfig, out: Path, index: int, num_rated: int) -> str:
    """Why a round has no pair to learn from, and what to do."""
    verdicts = [v for number in range(1, index + 1) for v in read_verdicts(out / f"round-{number:02d}")]
    passed = sum(v["reason"] is None for v in verdicts)
    told = f"{out}: round {index} has no pair to learn preferences from: of {counted(len(verdicts), 'sample')} "
    told += f"{passed} passed, "
    if config.best_of == 1:
        return told + "one to a prompt (--best-of 1), so none has a rival; give --best-of 4, or compare in pairs"
    if num_rated:
        return told + f"and {num_rated} were compared, of other prompts or loops; compare samples of one prompt"
    return told + "and no other of their prompts was refused for what it shows; give more --num, or compare in pairs"


def _row(sample: Sample, better: str, worse: str, depth: int, origin: str) -> dict[str, Any]:
    return {
        "text": sample.text, "modality": sample.modality, "better": better, "worse": worse, "depth": depth,
        "from": origin,
    }  # fmt: skip


def num_pairs(out: Path, index: int) -> dict[str, int]:
    """How many pairs a round learnt from, by where they come from; empty where it learnt otherwise."""
    path = pairs_file(out, index)
    return dict(Counter(str(row.get("from")) for row in (read_rows(path) if path.is_file() else ())))
