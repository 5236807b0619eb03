"""Candidates of a round: drawn samples with their scores, and why each was refused.

Pictures are read a chunk at a time and never held; what is kept of each is a row of numbers. Rows of whole chunks are
on disk by the digests of their pictures, so that a killed run goes on where it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vesalius.data.command.progress import Progress
from vesalius.data.images.burned_in import can_search
from vesalius.data.images.image import read_image
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, read_rows
from vesalius.data.texts.prompt import clean
from vesalius.data.texts.wording import reword_record
from vesalius.eval.features import HOUNSFIELD, ImageSet, features_of, open_images
from vesalius.eval.gates.gates import Thresholds, Verdict, calibrate, judge_sample
from vesalius.eval.gates.scorer import Scorer, measures_of
from vesalius.eval.gates.scores import Case, Grain, JudgeReading, Scores, case_of_record, case_of_sample
from vesalius.eval.gates.written import Written
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.eval.strata import patient_of
from vesalius.finetune.feeding.trainset import MAX_DEPTH
from vesalius.improve.asking.plan import RoundPlan
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import Material
from vesalius.inference.sample import Sample, load_samples
from vesalius.models.networks.judge import Judge

CHUNK = 1024
"""Samples that are looked at together: between two chunks nothing of a picture but its row is in memory."""
OF_TEXTS = ("agreement", "other_margin", "side_margin", "negation_margin", "finding_margin")
"""Scores that depend on how a text is worded."""
MODES = ("L", "RGB", "I;16", "I;16" + HOUNSFIELD)
"""Pillow's modes of the pictures that samples are written as."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A sample of a round. prompt: place of its prompt in the plan. reward: what the best of a prompt has most of.
    reason: why it is refused, the gate first, or None. abstained: gates that could not tell."""

    sample: Sample
    prompt: int
    stratum: str
    scores: Scores
    reward: float
    reason: str | None
    abstained: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "file_name": self.sample.file_name, "sha256": self.sample.sha256, "prompt": self.prompt,
            "stratum": self.stratum, "reason": self.reason, "abstained": list(self.abstained), "reward": self.reward,
            **self.scores,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All candidates of a round in the order of their prompts, the gates' network's unit embeddings of them
    (float32 [N, C], zeros of those that do not open), and what they were held to."""

    candidates: list[Candidate]
    embeddings: torch.Tensor
    thresholds: Mapping[str, Thresholds]
    network: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What candidates are held to: the judge beside the training images, and the limits that real images set.

    folder: where rows of numbers are kept. is_read: whether writing in pictures is searched for.
    """

    judge: Judge
    scorer: Scorer
    thresholds: Mapping[str, Thresholds]
    folder: Path
    is_read: bool


def open_bench(material: Material, folder: Path, *, quiet: bool, search: bool = True) -> Bench:
    """Look at training and calibrating images, and set the limits. ValueError where one does not open, or too few do.

    Held-out images of patients who are trained on set no limit. Those of texts rest on each image under its caption,
    its report and a Chinese wording, since prompts may be any of them. search: for writing, where that can be done.
    """
    train = sorted((case_of_record(f, r) for f, r in material.train), key=lambda c: c.modality)
    trained = {c.patient for c in train if c.patient}
    members = [(f, r) for f, r in material.calibrate if patient_of(r) not in trained]
    held_out = [case_of_record(f, r) for f, r in members]
    judge = Judge.load()
    reading, suspect, original = JudgeReading(judge), Suspect(), Original()
    seen, unseen = (
        _all_open(open_images(name, cases, quiet=quiet))
        for name, cases in (("training images", train), ("calibrating images", held_out))
    )
    rows, originals = features_of([reading, original], seen, folder, quiet=quiet)
    scorer = Scorer(judge, seen.cases, reading=rows, originals=originals, quiet=quiet)
    reading_of, suspects, grain = features_of([reading, suspect, Grain()], unseen, folder, quiet=quiet)
    scores = with_grain(scorer.score(unseen.cases, reading_of, suspects), grain)
    is_read = search and can_search()
    if is_read:
        (counts,) = features_of([Written()], unseen, folder, quiet=quiet)
        for row, (count,) in zip(scores, counts.tolist(), strict=True):
            row["words"] = count
    measured = [measures_of(c, row) for c, row in zip(seen.cases, scorer.pixels, strict=True)]
    retold = [
        (i, replace(case, text=text))
        for i, (case, (_, record)) in enumerate(zip(unseen.cases, members, strict=True))
        for text in other_wordings(record, case.text)
    ]
    places = [i for i, _ in retold]
    again = scorer.score([case for _, case in retold], reading_of[places]) if retold else []
    again = [{name: row[name] for name in OF_TEXTS if name in row} for row in again]
    families = unseen.families
    told = [*families, *(families[i] for i in places)]
    thresholds = calibrate(told, [*scores, *again], seen=(seen.families, measured))
    return Bench(judge=judge, scorer=scorer, thresholds=thresholds, folder=folder, is_read=is_read)


def with_grain(scores: Sequence[Scores], grain: torch.Tensor) -> list[Scores]:
    return [{**row, "grain": value} for row, value in zip(scores, grain[:, 0].tolist(), strict=True)]


def other_wordings(record: Record, text: str) -> list[str]:
    """The report of a record and a Chinese wording of it, as far as they are not this text."""
    rng = np.random.default_rng(zlib.crc32(record.file_name.encode()))
    told = [clean(record.text), reword_record(record, rng, "zh")]
    return [t for t in dict.fromkeys(told) if t and t != clean(text)]


def _all_open(images: ImageSet) -> ImageSet:
    if images.unreadable:
        num = len(images.unreadable)
        raise ValueError(f"{images.unreadable[0]} ({num} of the {images.name} do not open; replace them)")
    return images


def judge_folder(
    bench: Bench, folder: Path, samples: Sequence[Sample], *, veto: Collection[str] = (), quiet: bool = False
) -> Iterator[tuple[Verdict, torch.Tensor]]:
    """A verdict and the judge's unit embedding (float32 [C]) of each sample of a folder, in their order.

    What does not open, or is not as it was drawn, is refused with the reason; nothing of it raises.
    """
    with Progress("judging candidates", len(samples), quiet=quiet) as bar:
        for start in range(0, len(samples), CHUNK):
            part = samples[start : start + CHUNK]
            yield from _judge_chunk(bench, folder, part, veto)
            bar.step(len(part))


def _judge_chunk(
    bench: Bench, folder: Path, samples: Sequence[Sample], veto: Collection[str]
) -> Iterator[tuple[Verdict, torch.Tensor]]:
    cases = [case_of_sample(folder, s) for s in samples]
    images, faults = look(cases, samples)
    reading, rows, suspects = JudgeReading(bench.judge), torch.empty(0, 1), torch.empty(0, 1)
    embedded = torch.zeros(len(samples), bench.judge.config.embedding)
    scores: dict[int, Scores] = {}
    if images.cases:
        rows, suspects, grain = features_of([reading, Suspect(), Grain()], images, bench.folder, quiet=True)
        found = with_grain(bench.scorer.score(images.cases, rows, suspects), grain)
        scores = dict(zip(images.kept, found, strict=True))
        embedded[images.kept] = reading.split(rows)[1]
    verdicts = [
        judge_sample(s, scores.get(i, {}), bench.thresholds, fault=faults.get(i), veto=veto)
        for i, s in enumerate(samples)
    ]

    # To search for writing takes longer than all else, so only those are searched that no other gate refuses
    passing = [k for k, i in enumerate(images.kept) if verdicts[i].reason is None] if bench.is_read else []
    if passing:
        (counts,) = features_of([Written()], _part(images, passing), bench.folder, quiet=True)
        for k, (count,) in zip(passing, counts.tolist(), strict=True):
            i = images.kept[k]
            verdicts[i] = judge_sample(samples[i], scores[i] | {"words": count}, bench.thresholds, veto=veto)
    yield from zip(verdicts, embedded, strict=True)


def look(cases: Sequence[Case], samples: Sequence[Sample]) -> tuple[ImageSet, dict[int, str]]:
    """The pictures that open and are as they were drawn, and by place what is wrong with the others."""
    faults: dict[int, str] = {}
    images = open_images("candidates", cases, quiet=True)
    bad = [i for i in range(len(cases)) if i not in set(images.kept)]
    faults |= {i: line.removeprefix(f"{cases[i].path}: ") for i, line in zip(bad, images.unreadable, strict=True)}
    for k, i in enumerate(images.kept):
        if told := _fault(cases[i], samples[i], images.digests[k], images.sizes[k], images.modes[k]):
            faults[i] = told
    return _part(images, [k for k, i in enumerate(images.kept) if i not in faults]), faults


def _fault(case: Case, sample: Sample, digest: str, size: str, mode: str) -> str | None:
    """What is wrong with a file that opens: its bytes, size or mode, or pixels behind sound check sums."""
    drawn = sample.raw16_sha256 if sample.raw16 else sample.sha256
    if drawn and digest != drawn:
        return "was changed since it was drawn"
    if sample.height and sample.width and size != f"{sample.height} x {sample.width}":
        return f"is {size} pixels, and was drawn at {sample.height} x {sample.width}"
    if mode not in MODES:
        return f"is of mode {mode}; expected {', '.join(MODES)}"
    try:
        find_modality(case.modality)
        read_image(case.path)
    except ValueError as error:
        return str(error).removeprefix(f"{case.path}: ")
    return None


def _part(images: ImageSet, places: Sequence[int]) -> ImageSet:
    """Some of the pictures of a set."""
    return replace(
        images, cases=[images.cases[k] for k in places], digests=[images.digests[k] for k in places],
        kept=[images.kept[k] for k in places], sizes=[images.sizes[k] for k in places],
        modes=[images.modes[k] for k in places],
    )  # fmt: skip


def judge_candidates(
    config: ImproveConfig,
    samples: Path,
    plan: RoundPlan,
    material: Material,
    *,
    veto: Collection[str] = (),
) -> Judged:
    """Score every sample of a folder and hold it to the gates, one by one: near-duplicates, quotas and the best of a
    prompt are chosen later (`vesalius.improve.candidates.selection`).

    veto: digests of samples that people refused. Without gates all that opens and is not too deep passes, with scores.
    """
    drawn = load_samples(samples)
    bench = open_bench(material, config.out / "features", quiet=config.json, search=config.search_text)
    embeddings = torch.zeros(len(drawn), bench.judge.config.embedding)
    candidates: list[Candidate] = []
    for verdict, embedding in judge_folder(bench, samples, drawn, veto=veto, quiet=config.json):
        place, sample, reason = len(candidates), verdict.sample, verdict.reason
        if "gates" in config.without and not {"readable", "veto"} & set(verdict.refused_by):
            reason = None
        if sample.depth > MAX_DEPTH:
            reason = f"depth: generation {sample.depth} is over {MAX_DEPTH}"
        embeddings[place] = embedding
        prompt = place // config.best_of
        candidates.append(
            Candidate(
                sample=sample, prompt=prompt, stratum=plan.asks[prompt].stratum, scores=verdict.scores,
                reward=verdict.scores.get("agreement", -1.0), reason=reason, abstained=verdict.abstained,
            )
        )  # fmt: skip
    return Judged(candidates=candidates, embeddings=embeddings, thresholds=bench.thresholds, network=bench.judge.digest)


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """The rows of a round's verdicts; empty before they are there."""
    path = folder / "verdicts.jsonl"
    return list(read_rows(path)) if path.is_file() else []
