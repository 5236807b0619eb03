"""The evaluation of a round: samples under the same captions and seeds in every round, beside held-out real images.

    ROUND/eval-prompts/ eval-samples/ eval/     what was drawn, and the page of its evaluation
    ROUND/hard-prompts/ hard-samples/           the same for hard prompts, where the data has any
    ROUND/usefulness/                           classifiers, where they are asked for
    ROUND/facts.json                            all numbers, which a promotion is decided by

Rounds before the last one look at the half of val that decides, on which no threshold was fitted; never at test.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vesalius.data.record import Record
from vesalius.eval.config import EvalConfig
from vesalius.eval.context import open_context, open_folders
from vesalius.eval.gates.scores import case_of_sample, read_images
from vesalius.eval.obedience import questions as obedience
from vesalius.eval.run import PARTS, evaluate
from vesalius.improve.asking.aim import Right
from vesalius.improve.asking.hard import hard_prompts
from vesalius.improve.asking.plan import RoundPlan, ask_of_record, pick, write_plan
from vesalius.improve.candidates.drawing import base_of, draw
from vesalius.improve.config import REFERENCE, ImproveConfig
from vesalius.improve.deciding import measures
from vesalius.improve.deciding.facts import MIN_PROMPTS, NAME, Fact, Facts, halves_of, read_facts
from vesalius.improve.deciding.use import usefulness_facts
from vesalius.improve.material import Material, Member
from vesalius.inference.generator import Generator
from vesalius.inference.sample import load_samples
from vesalius.models.detectors.detector import Detector, JudgeDetector, WitnessDetector
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness

GATED_BY = ("judge",)
"""What filters; it measures no obedience, so that none is promoted for agreeing with what chose its training images."""
EVAL_PARTS = ("fidelity", "obedience", "privacy")
MOST_HARD = 400
"""Hard prompts of an evaluation, as each modality has 450 and more."""


def evaluate_round(config: ImproveConfig, folder: Path, material: Material) -> None:
    """Draw with a round's adapter under captions of the deciding half of val, and measure; nothing where it is done."""
    if (folder / NAME).is_file():
        return
    facts = evaluate_at(config, folder, folder / "run", material.decide, config.out / REFERENCE, "val")
    hard, notes = hard_facts(config, folder, material)
    facts = dataclasses.replace(facts, facts=(*facts.facts, *hard), notes=(*facts.notes, *notes))
    if config.usefulness and (folder / "accepted").is_dir():
        used = usefulness_facts(config, folder, material)
        facts = dataclasses.replace(facts, facts=(*facts.facts, *used[0]), notes=(*facts.notes, *used[1]))
    facts.write(folder)


def hard_facts(config: ImproveConfig, folder: Path, material: Material) -> tuple[list[Fact], list[str]]:
    """Obedience on hard prompts, the same in every round, by the reader, which knows what phantoms look like.

    Nothing, and a note, where the data has no phantoms.
    """
    phantoms = obedience.phantom_like([r for _, r in material.decide])
    if not phantoms:
        return [], ["hard prompts: the data has no modality of phantoms alone, of which the truth would be known"]
    asks = hard_prompts(min(config.num_eval, MOST_HARD), seed=config.seed, modalities=phantoms)
    (folder / "hard-prompts").mkdir(parents=True, exist_ok=True)
    prompts = write_plan(folder / "hard-prompts", RoundPlan(asks=asks, quotas={}))
    draw(config, prompts, folder / "hard-samples", folder / "run", seed=config.seed + 2)
    cases = [case_of_sample(folder / "hard-samples", s) for s in load_samples(folder / "hard-samples")]
    reader = Reader.load()
    images = read_images(cases, reader.config.image_size, "reading hard samples", quiet=config.json)
    asked = measures.ask(cases, images, None, reader, phantoms)
    sources = {a.text: a.source.removeprefix("hard: ") for a in asks}
    halves = halves_of([c.text for c in cases], [c.modality for c in cases], config.seed + 3)
    return measures.hard_facts(asked, [sources[c.text] for c in cases], halves), []


def evaluate_at(
    config: ImproveConfig,
    folder: Path,
    run: Path,
    members: Sequence[Member],
    reference: Path,
    split: Literal["val", "test"],
) -> Facts:
    """Draw with a run's adapter under captions of some records and hold that against them: a page, and the facts.

    reference: dataset folder whose `split` these records are. What is there already is taken up.
    """
    seed = config.seed + 1
    asks = [ask_of_record(r) for r in pick(members, config.num_eval, seed)]
    (folder / "eval-prompts").mkdir(parents=True, exist_ok=True)
    prompts = write_plan(folder / "eval-prompts", RoundPlan(asks=asks, quotas={}))
    draw(config, prompts, folder / "eval-samples", run, seed=seed)
    settings = EvalConfig(
        samples=folder / "eval-samples", real=reference, split=split, out=folder / "eval",
        cache=config.out / "features", shared_patients="leave-out", gated_by=GATED_BY, parts=EVAL_PARTS,
        seed=config.seed, json=config.json,
    )  # fmt: skip
    witness = Witness.load(config.witness)
    detectors: list[Detector] = [JudgeDetector(), WitnessDetector(witness)]
    if not (folder / "eval" / "report.json").is_file():
        evaluate(dataclasses.replace(settings, witness=config.witness), detectors)
    return facts_at(config, settings, detectors, witness, run, [r for _, r in members])


def facts_at(
    config: ImproveConfig,
    settings: EvalConfig,
    detectors: Sequence[Detector],
    witness: Witness,
    run: Path,
    records: Sequence[Record],
) -> Facts:
    """All facts but usefulness. ValueError where a picture does not open: rounds could not be compared then."""
    context = open_context(settings, open_folders(settings, PARTS, needs_train=True), detectors)
    if context.unreadable:
        raise ValueError(
            f"{context.unreadable[0]}; a round is decided by all of its pictures and of the real ones: mend or remove "
            "it in the dataset (and start a new loop), or delete the samples folder, which is drawn anew"
        )
    reader, notes = Reader.load(), list[str]()
    sets = measures.open_sets(context, detectors[-1], config.seed)
    cases, phantoms = context.samples.cases, obedience.phantom_like(records)
    images = read_images(cases, witness.config.image_size, "reading samples", quiet=config.json)
    asked = measures.ask(cases, images, witness, reader, phantoms)
    worst, strata = measures.stratum_facts(asked, cases, sets.ours)
    generator = Generator(base_of(run, config.base), str(run), device=config.device, precision="auto")
    facts = [
        *measures.obedience_facts(asked, sets.ours), *worst, *measures.validation_facts(sets, generator),
        *measures.distance_facts(sets, notes), *measures.copy_facts(sets, notes), *measures.gates_facts(sets),
    ]  # fmt: skip
    if not worst:
        notes.append(
            f"worst stratum: needs two strata of {MIN_PROMPTS} prompts whose findings are known (--num-eval gives more)"
        )
    return Facts(
        paired=measures.pairing(context, [witness.digest, reader.digest]), facts=tuple(facts), strata=tuple(strata),
        notes=tuple(notes),
    )  # fmt: skip


def found_by_stratum(folder: Path) -> dict[str, Right]:
    """Stratum, narrow or wide, -> share that was right in a round's evaluation, and the prompts that it rests on."""
    if not (folder / NAME).is_file():
        return {}
    return {s.name: Right(s.value, s.num_prompts) for s in read_facts(folder).strata}


def validation_of(run: Path) -> float:
    """The last validation loss of a finished run, over all of val."""
    return float(json.loads((run / "validation.json").read_text())[-1]["loss"])
