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
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.record import read_rows, write_atomic, write_json
from vesalius.finetune.config import FinetuneConfig
from vesalius.improve.candidates.drawing import PREFERRED_BASE
from vesalius.improve.candidates.pool import agreement_of, settle_pools
from vesalius.improve.config import ImproveConfig
from vesalius.improve.people.ratings import read_ratings
from vesalius.improve.people.review import review_vetoes, verdicts_of
from vesalius.improve.people.rewards import preferred, vetoes
from vesalius.inference.sample import Sample, stream_samples
from vesalius.models.adapters.config import AdapterFuseConfig

ABOUT_CONTENT = ("modality", "organ", "side", "negation", "exchange", "prompt", "findings", "agreement", "ratings")
"""Gates whose refusals are about what a sample shows of its prompt, by the first word of a reason."""
HARMLESS = ("best", "quota", "duplicate", "stratum")
"""Gates that refuse a sample only beside others."""
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
    from vesalius.models.adapters.fuse import fuse_adapter

    folder = out / PREFERRED_BASE
    if not folder.is_dir():
        fuse_adapter(AdapterFuseConfig(adapter=out / "round-00" / "run", base=config.base, out=folder))
    return folder


def write_pairs(config: ImproveConfig, out: Path, index: int) -> int:
    """Write the pairs that a round learns from, its own and those of all before it; returns how many there are.

    ValueError where there are none, which says why.
    """
    ratings = read_ratings(config.ratings)
    low, pairs = vetoes(ratings), preferred(ratings)
    asked = {digest for pair in pairs for digest in pair}
    compared: dict[str, Judgement] = {}
    told: dict[str, Any] = {"pools": [], "num": 0, "vetoed": {}, **agreement_of(ratings)}
    rows: list[dict[str, Any]] = []
    for number in range(1, index + 1):
        kept_out = low | review_vetoes(out / f"round-{number:02d}")
        for each in judged_samples(out, number, kept_out):
            digest = each.sample.sha256
            told["vetoed"] |= {digest: low[digest]} if digest in low else {}
            compared |= {digest: each} if digest in asked else {}
        rows += gate_pairs(judged_samples(out, number, kept_out), {(worse, better) for better, worse in pairs})
    for first, second in pairs:
        better, worse = compared.get(first), compared.get(second)
        if better and worse and better.asked == worse.asked and not never(better.reason):
            rows.append(_row(better, worse, "ratings"))
    if not rows:
        raise ValueError(nothing(config, out, index, len(asked)))
    unique = list(dict.fromkeys(json.dumps(row, ensure_ascii=False) for row in rows))
    write_json(out / f"round-{index:02d}" / "pool.json", told)
    write_atomic(pairs_file(out, index), "".join(f"{line}\n" for line in unique).encode())
    return len(unique)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A sample with its verdict. path: below the loop's folder. prompt: its place among those of its round."""

    sample: Sample
    path: str
    prompt: int
    reason: str | None
    reward: float

    @property
    def asked(self) -> tuple[str, str]:
        """What it was drawn for."""
        return self.sample.text, self.sample.modality


def gate_pairs(judged: Iterable[Judgement], denied: Collection[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """The accepted sample of each prompt of a round against those that were refused for what they show, the worst of
    them first. denied: digests (better, worse) of pairs that clinicians see the other way round."""
    for _, drawn in groupby(judged, lambda each: each.prompt):
        members = sorted(drawn, key=lambda each: (each.reward, each.path))
        accepted = [m for m in members if m.reason is None]
        refused = [m for m in members if m.reason is not None and m.reason.partition(":")[0] in ABOUT_CONTENT]
        if accepted:
            pairs = [(accepted[-1], worse) for worse in refused[:MOST_WORSE]]
            yield from (_row(a, b, "gates") for a, b in pairs if (a.sample.sha256, b.sample.sha256) not in denied)


def never(reason: str | None) -> bool:
    """Whether a sample is refused for what no clinician can see, such as that it is a copy of a patient: then it is
    never the better one."""
    return reason is not None and reason.partition(":")[0] not in (*ABOUT_CONTENT, *HARMLESS)


def judged_samples(out: Path, number: int, kept_out: Mapping[str, str]) -> Iterator[Judgement]:
    """The samples of a round, those of one prompt together; none before they are judged. kept_out: digest -> reason of
    those that people refuse, whatever the gates say."""
    folder = out / f"round-{number:02d}"
    verdicts = {v["file_name"]: (int(v["prompt"]), v["reason"], float(v["reward"])) for v in verdicts_of(folder)}
    for sample in stream_samples(folder / "samples") if verdicts else ():
        if sample.file_name in verdicts:
            prompt, reason, reward = verdicts[sample.file_name]
            path = f"{folder.name}/samples/{sample.file_name}"
            reason = kept_out.get(sample.sha256, reason)
            yield Judgement(sample=sample, path=path, prompt=prompt, reason=reason, reward=reward)


def nothing(config: ImproveConfig, out: Path, index: int, num_rated: int) -> str:
    """Why a round has no pair to learn from, and what to do."""
    folders = [out / f"round-{number:02d}" for number in range(1, index + 1)]
    passed = [v["reason"] is None for folder in folders for v in verdicts_of(folder)]
    told = f"{out}: round {index} has no pair to learn preferences from: of {counted(len(passed), 'sample')} "
    told += f"{sum(passed)} passed, "
    if config.best_of == 1:
        return told + "one to a prompt (--best-of 1), so none has a rival; give --best-of 4, or compare in pairs"
    if num_rated:
        return told + f"and {num_rated} were compared, of other prompts or loops; compare samples of one prompt"
    return told + "and no other of their prompts was refused for what it shows; give more --num, or compare in pairs"


def _row(better: Judgement, worse: Judgement, origin: str) -> dict[str, Any]:
    return {
        "text": better.sample.text, "modality": better.sample.modality, "better": better.path, "worse": worse.path,
        "depth": max(better.sample.depth, worse.sample.depth), "from": origin,
    }  # fmt: skip


def num_pairs(out: Path, index: int) -> dict[str, int]:
    """How many pairs a round learnt from, by where they come from; empty where it learnt otherwise."""
    path = pairs_file(out, index)
    return dict(Counter(str(row.get("from")) for row in (read_rows(path) if path.is_file() else ())))
