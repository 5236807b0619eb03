"""Are samples of use: classifiers trained with and without them, tested on real patients whom none of them saw.

`measure` gives numbers, `sections` of `vesalius.eval.usefulness.page` the page, and `usefulness` writes both. Finished
trainings are lines of OUT/trainings.jsonl, found by all that decides their result: a run that is killed loses one.
"""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.building.journal import Journal
from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import claim
from vesalius.data.record import hold, write_atomic, write_json
from vesalius.eval.fidelity.metrics import mean_with_interval
from vesalius.eval.report import write_page
from vesalius.eval.usefulness.classifiers import Classifier, Train, check_masks, check_probabilities, open_classifier
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.data import Pool, read_pool
from vesalius.eval.usefulness.networks import Chosen
from vesalius.eval.usefulness.page import TITLE, markdown, sections
from vesalius.eval.usefulness.plan import Arm, Training, plan_trainings
from vesalius.eval.usefulness.scores import (
    RECALL,
    Difference,
    accuracies,
    auroc_influence,
    dice,
    dice_influence,
    paired_difference,
    recall_influence,
    recalls,
    scores_of,
    simultaneous,
    verdict_of,
    worst_group,
)

JOURNAL = "trainings.jsonl"
KIND, MARK = "measure of usefulness", {"measure": "usefulness"}
"""What its folder is, in words and as its config.json says it."""
METRIC = {"classification": "auroc", "segmentation": "dice", "retrieval": f"recall_{RECALL}"}
"""What verdicts are about."""
TIMED = 6
"""Updates by which a dry run guesses the time of a training."""

Outcome = NDArray[np.float32]
"""Of the test images: probabilities [N, K], Dice [N, K], or ranks [N, 1]."""


def measure_usefulness(config: UsefulnessConfig, train: Train | None = None) -> dict[str, Any]:
    """Train classifiers with and without samples, and write report.html, report.json and report.md; returns what the
    JSON holds.

    train: the user's own classifier, as `vesalius.eval.usefulness.classifiers` has it, in place of --classifier.
    ValueError as `measure`.
    """
    result = measure(config, train)
    if config.dry_run:
        return result
    page = sections(result)
    write_page(config.out / "report.html", TITLE, f"{config.samples.name} for {config.real.name}", page)
    write_atomic(config.out / "report.md", markdown(page).encode())
    write_json(config.out / "report.json", result)
    return result


def measure(config: UsefulnessConfig, train: Train | None = None) -> dict[str, Any]:
    """Train what is not trained yet, and compare; with `dry_run` how many trainings are left, and about how long.

    ValueError where a setting cannot be, nothing is labelled, there is one class only, a test patient is trained on,
    too few samples are there, or `out` holds something else.
    """
    config.check()
    claim(config.out, MARK, kind=KIND, write=False)
    classifier = open_classifier(config, train)
    pool = read_pool(config)
    if len(set(pool.names(pool.of("test")))) < 2:
        raise ValueError(f"{config.real}: the test split has one patient; an interval needs at least two")
    trainings, notes = plan_trainings(config, pool, classifier.told(), stages=classifier.stages)
    if config.dry_run:
        return _foresee(config, pool, classifier, trainings)
    claim(config.out, MARK, kind=KIND)
    with hold(config.out):
        outcomes = _train_all(config, pool, classifier, trainings)
    regimes = [
        _compare(config, pool, [t for t in trainings if t.arm.share == share], outcomes)
        for share in dict.fromkeys(t.arm.share for t in trainings)
    ]
    everything = [pool.pictures[i].sha256 for i in pool.of("real")]
    return {
        "task": config.task,
        "label": config.label,
        "classes": list(pool.classes),
        "metric": METRIC[config.task],
        "classifier": classifier.told(),
        "settings": {name: getattr(config, name) for name in ("size", "updates", "batch_size", "seeds", "subgroup")},
        "num_train": len(everything),
        "num_patients": len(set(pool.names(pool.of("real")))),
        "num_synthetic": len(pool.of("synthetic")),
        "num_test": len(pool.of("test")),
        "num_texts": 0 if pool.tokens is None else len(torch.unique(pool.tokens[pool.of("test")], dim=0)),
        "num_test_patients": len(set(pool.names(pool.of("test")))),
        "seen": {"kind": pool.seen.kind, "num": pool.seen.num},
        "provenance": [*pool.seen.lines, pool.seen.told(everything, pool.origin)],
        "origin": pool.origin,
        "warnings": list(pool.warnings),
        "notes": [*pool.notes, *notes],
        "regimes": regimes,
    }


def _train_all(
    config: UsefulnessConfig, pool: Pool, classifier: Classifier, trainings: Sequence[Training]
) -> dict[str, Outcome]:
    """The outcome of each training by its key: out of the journal, or trained now."""
    outcomes: dict[str, Outcome] = {}
    planned = {t.key: t for t in trainings}
    with Journal(config.out / JOURNAL) as journal:
        for key in planned:
            if (found := _outcome_of(journal.get(key), pool)) is not None:
                outcomes[key] = found
        inputs = classifier.prepare(pool.images) if len(outcomes) < len(planned) else pool.images
        with Progress("training classifiers", len(planned), start=len(outcomes), quiet=config.json) as bar:
            for key, training in planned.items():
                if key in outcomes:
                    continue
                began = time.perf_counter()
                outcomes[key] = outcome = _train_one(pool, inputs, classifier, training)
                told = {
                    "key": key, "arm": training.arm.name, "share": training.arm.share, "seed": training.seed,
                    "real": training.num_real, "synthetic": training.num_synthetic,
                    "seconds": round(time.perf_counter() - began, 2), "shape": list(outcome.shape),
                }  # fmt: skip
                journal.append({**told, "outcome": base64.b64encode(outcome.tobytes()).decode()})
                bar.step(note=f"{training.arm.name}, {training.arm.share:.0%}")
    return outcomes


def _outcome_of(row: dict[str, Any] | None, pool: Pool) -> Outcome | None:
    """What a line of the journal holds; None where there is none, or it is damaged."""
    shape = (len(pool.of("test")), pool.num_classes)
    try:
        if row is None or tuple(row["shape"]) != shape:
            return None
        return np.frombuffer(base64.b64decode(row["outcome"]), dtype=np.float32).reshape(shape)
    except (KeyError, TypeError, ValueError):
        return None


def _train_one(pool: Pool, inputs: torch.Tensor, classifier: Classifier, training: Training) -> Outcome:
    targets, test, val = pool.targets, pool.of("test"), pool.of("val")
    more: dict[str, Any] = {}

    def rows(whole: torch.Tensor, places: NDArray[np.int64]) -> Chosen | torch.Tensor:
        return Chosen(whole, places) if classifier.lazy else whole[places]

    if len(training.first):
        more["first"] = rows(inputs, training.first), rows(targets, training.first)
        if training.arm.kind == "unlabelled":
            more["labelled"] = False
    predict = classifier.fit(
        rows(inputs, training.train), rows(targets, training.train), inputs[val], targets[val], training.seed,
        num_classes=pool.num_classes, **more,
    )  # fmt: skip
    if pool.tokens is not None:
        ranks: Outcome = predict(inputs[test], targets[test]).numpy()
        return ranks
    found = predict(inputs[test])
    if pool.masks is None:
        return check_probabilities(found, len(test), pool.num_classes, classifier.name).numpy()
    truth = pool.masks[test]
    masks = check_masks(found, tuple(truth.shape), classifier.name)
    return dice(masks.numpy(), truth.numpy(), pool.num_classes).astype(np.float32)


def _foresee(
    config: UsefulnessConfig, pool: Pool, classifier: Classifier, trainings: Sequence[Training]
) -> dict[str, Any]:
    """Counts, and seconds: by the mean of finished trainings, else by a short one; None of a user's, not begun yet."""
    keys, seconds, done = dict.fromkeys(t.key for t in trainings), list[float](), 0
    if (config.out / JOURNAL).is_file():
        with Journal(config.out / JOURNAL) as journal:
            rows = [row for key in keys if (row := journal.get(key)) is not None]
        done, seconds = len(rows), [float(row["seconds"]) for row in rows]
    each = float(np.mean(seconds)) if seconds else None
    if each is None and ":" not in classifier.name:
        short = dataclasses.replace(config, updates=TIMED)
        timed = open_classifier(short)
        inputs = timed.prepare(pool.images)
        _train_one(pool, inputs, timed, trainings[0])
        began = time.perf_counter()
        _train_one(pool, inputs, timed, trainings[0])
        each = (time.perf_counter() - began) * (config.updates / TIMED if classifier.stages else 1)
    left = len(keys) - done
    return {
        "trainings": len(keys), "done": done, "seconds": None if each is None else round(each * left, 1),
        "num_train": len(pool.of("real")), "num_synthetic": len(pool.of("synthetic")),
        "num_test": len(pool.of("test")), "origin": pool.origin, "warnings": list(pool.warnings),
    }  # fmt: skip


def _compare(
    config: UsefulnessConfig, pool: Pool, trainings: Sequence[Training], outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    """The arms at one share of the real patients: their scores, differences and verdicts, and the best of them."""
    by_arm: dict[Arm, list[Training]] = {}
    for training in trainings:
        by_arm.setdefault(training.arm, []).append(training)
    judged = {arm: _judge(pool, [outcomes[t.key].astype(np.float64) for t in own]) for arm, own in by_arm.items()}
    real = next(arm for arm in by_arm if arm.kind == "real")
    candidates = [arm for arm in by_arm if arm.kind in ("both", "then", "unlabelled")]
    confidence = simultaneous(len(candidates))
    patients = pool.names(pool.of("test"))

    def against(arm: Arm, other: Arm) -> Difference:
        (mine, moved), (theirs, moved_there) = judged[arm][:2], judged[other][:2]
        return paired_difference(mine, theirs, moved - moved_there, patients, confidence=confidence)

    rows: list[dict[str, Any]] = []
    for arm, own in by_arm.items():
        above_real = None if arm is real else against(arm, real)
        control = Arm(kind="repeated", share=arm.share, ratio=arm.ratio)
        above_repeated = against(arm, control) if arm in candidates else None
        _, _, measured, worst = judged[arm]
        rows.append(
            {
                "arm": arm.name, "kind": arm.kind, "ratio": arm.ratio,
                "num_real": max(t.num_real for t in own), "num_synthetic": max(t.num_synthetic for t in own),
                "num_behind": max(_behind(pool, t) for t in own),
                "metrics": measured, "worst_subgroup": worst,
                "against_real": above_real and asdict(above_real),
                "against_repeated": above_repeated and asdict(above_repeated),
                "verdict": verdict_of(above_real, above_repeated) if above_real and arm in candidates else None,
            }
        )  # fmt: skip
    gains = [row for row in rows if row["verdict"] == "gain"]
    best = max(gains, key=lambda row: row["against_real"]["value"], default=None)
    highest = max((r for r in rows if r["verdict"]), key=lambda row: row["against_real"]["value"])
    chosen = [pool.names(t.train) for t in by_arm[real]]
    return {
        "share": real.share,
        "num_patients": max(len(set(names)) for names in chosen),
        "arms": rows,
        "num_candidates": len(candidates),
        "confidence": confidence,
        "highest": highest["arm"],
        "best": best and best["arm"],
        "best_ratio": best["ratio"] if best and best["kind"] == "both" else None,
        "verdict": "no gain" if best is None else f"gain: {best['arm']}",
        "harm": [row["arm"] for row in rows if row["verdict"] == "harm"],
    }


def _behind(pool: Pool, training: Training) -> int:
    """Real images that an arm rests on, those that the model saw of whom it takes samples included."""
    chosen = {pool.pictures[i].sha256 for i in training.train if pool.pictures[i].role == "real"}
    if not training.num_synthetic:
        return len(chosen)
    return pool.seen.behind(chosen, {pool.pictures[i].sha256 for i in pool.of("real")})


def _judge(
    pool: Pool, outcomes: Sequence[NDArray[np.float64]]
) -> tuple[list[float], NDArray[np.float64], dict[str, Any], dict[str, Any] | None]:
    """An arm's main score by seed, how each image moves its mean, all scores with intervals over seeds, and its worst
    subgroup."""
    test = pool.of("test")
    if pool.tokens is not None:
        shares = [recalls(table[:, 0]) for table in outcomes]
        own = {name: _over([row[name] for row in shares]) for name in shares[0]}
        moved = np.mean([recall_influence(table[:, 0]) for table in outcomes], 0)
        return [row[METRIC["retrieval"]] for row in shares], moved, own, None
    if pool.masks is not None:
        values = [float(np.nanmean(table[:, 0])) for table in outcomes]
        return values, np.mean([dice_influence(t) for t in outcomes], 0), {"dice": _over(values)}, None
    labels, groups = pool.labels[test], [pool.pictures[i].group for i in test]
    scores = [scores_of(table, labels) for table in outcomes]
    measured = {name: _over([row[name] for row in scores], 2 if name == "brier" else 1) for name in scores[0]}
    worst = worst_group([accuracies(table, labels, groups) for table in outcomes])
    told = worst and {"name": worst[0], "accuracy": _over(worst[1])}
    return [row["auroc"] for row in scores], np.mean([auroc_influence(t, labels) for t in outcomes], 0), measured, told


def _over(values: Sequence[float], most: float = 1) -> dict[str, Any]:
    """Mean and interval over seeds, of what lies between 0 and `most`."""
    mean = asdict(mean_with_interval(values))
    return {**mean, "low": max(0.0, mean["low"]), "high": min(most, mean["high"])}
