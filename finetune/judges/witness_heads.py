"""Linear heads on the witness's frozen features: fitted on training records, their strength chosen on val, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from vesalius.data.command.progress import Progress
from vesalius.data.record import Record
from vesalius.eval.fidelity.metrics import Measure, balanced_share, share
from vesalius.finetune.feeding.examples import gather, load_images
from vesalius.finetune.judges.attributes import attribute_targets, phantom_attributes
from vesalius.models.networks.witness import FINDINGS, Witness, classes_of, learnable_classes

Float32 = NDArray[np.float32]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse weights of the penalty (C of scikit-learn) that are tried on val."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Records of one split and their pictures, uint8 [N, 3, S, S]."""

    records: list[Record]
    images: torch.Tensor

    @staticmethod
    def load(folders: Sequence[Path], split: str, exclude: Sequence[str], size: int) -> Seen:
        """One split of some datasets. ValueError where it is empty or holds generated images."""
        members = gather(folders, split, exclude)
        if any(r.origin == "synthetic" for _, r in members):
            raise ValueError("the witness never sees generated images; give datasets without synthetic records")
        return Seen(records=[r for _, r in members], images=load_images(members, size))

    def only(self, records: Sequence[Record]) -> Seen:
        """Those of the records that are given, by identity."""
        kept = {id(r) for r in records}
        rows = [i for i, r in enumerate(self.records) if id(r) in kept]
        return Seen(records=[self.records[i] for i in rows], images=self.images[rows])


@torch.no_grad()
def scale_features(witness: Witness, seen: Seen, seed: int, num: int = 4000) -> None:
    """Set the principal axes of the tokens, and the mean and deviation of each feature, over some training images."""
    rows = torch.randperm(len(seen.images), generator=torch.Generator().manual_seed(seed))[:num]
    images = seen.images[rows]
    tokens = torch.cat([witness.look(part) for part in images.split(64)]).flatten(0, 1)
    centre = tokens.mean(0)
    axes = torch.linalg.eigh((tokens - centre).T @ (tokens - centre)).eigenvectors.flip(1)[:, : witness.config.local].T
    witness.axes.weight.copy_(axes)
    witness.axes.bias.copy_(-axes @ centre)
    features = witness.features(images)
    witness.mean.copy_(features.mean(0))
    witness.deviation.copy_(features.std(0).clamp_min(1e-3))


def fit_heads(trunk: Witness, train: Seen, val: Seen) -> tuple[Witness, dict[str, float]]:
    """The witness with its heads, and the strength that val chose for each.

    Heads are those of `learnable_classes`, and "findings/MODALITY" with the attributes of its phantoms.
    """
    heads = learnable_classes(train.records)
    for name in phantom_attributes(train.records):
        modality = name.partition("/")[0]
        heads[FINDINGS + modality] = (*heads.get(FINDINGS + modality, ()), name)
    witness = Witness(replace(trunk.config, heads=heads))
    witness.load_state_dict(trunk.state_dict(), strict=False)
    witness.eval().requires_grad_(False)
    known, unseen = witness.features(train.images).numpy(), witness.features(val.images).numpy()
    chosen: dict[str, float] = {}
    with Progress("heads", len(heads)) as bar:
        for (name, classes), head in zip(heads.items(), witness.heads, strict=True):
            rows, truth = truth_of(train.records, name, classes)
            others, answers = truth_of(val.records, name, classes)
            exclusive = not name.startswith(FINDINGS)
            fitted = {c: fit(known[rows], truth, c, exclusive=exclusive) for c in STRENGTHS}
            merit = {
                c: likelihood(unseen[others] @ w.T + b, answers, exclusive=exclusive) for c, (w, b) in fitted.items()
            }
            chosen[name] = max(STRENGTHS, key=lambda c: merit[c])
            weight, bias = fitted[chosen[name]]
            assert isinstance(head, nn.Linear)
            head.weight.copy_(torch.from_numpy(weight))
            head.bias.copy_(torch.from_numpy(bias))
            bar.step(note=name)
    return witness, chosen


def truth_of(records: Sequence[Record], head: str, classes: Sequence[str]) -> tuple[list[int], Float32]:
    """The rows of records that a head has an answer for, and float32 [rows, classes]: 1 for each class that holds."""
    if head.startswith(FINDINGS):
        truth, known = attribute_targets(records, classes)
        rows = known[:, 0].nonzero()[:, 0].tolist()
        return rows, truth[rows].numpy()
    said = [classes_of(r).get(head) for r in records]
    rows = [i for i, name in enumerate(said) if name in classes]
    return rows, np.array([[said[i] == name for name in classes] for i in rows], np.float32).reshape(-1, len(classes))


def fit(features: Float32, truth: Float32, strength: float, *, exclusive: bool) -> tuple[Float32, Float32]:
    """Weight [K, F] and bias [K] of a logistic regression whose classes count alike, however many images each has."""
    from sklearn.linear_model import LogisticRegression

    def solve(answers: NDArray[np.int64]) -> tuple[Float32, Float32]:
        if (answers == answers[0]).all():  # nothing to tell apart: no slope, and the odds of a rule of succession
            yes = int(answers.sum())
            odds = np.log((yes + 1) / (len(answers) - yes + 1))
            return np.zeros((1, features.shape[1]), np.float32), np.array([odds], np.float32)
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300).fit(features, answers)
        return model.coef_.astype(np.float32), model.intercept_.astype(np.float32)

    if not exclusive:
        parts = [solve(column.astype(np.int64)) for column in truth.T]
        return np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts])
    weight, bias = solve(truth.argmax(1))
    if truth.shape[1] == 2:  # one row there, that of the second class
        half = np.array([[-0.5], [0.5]], np.float32)
        return half * weight, half[:, 0] * bias
    return weight, bias


def likelihood(logits: Float32, truth: Float32, *, exclusive: bool) -> float:
    """Mean log likelihood of the answers, each class (of findings: each class and its absence) counting alike."""
    scores = torch.from_numpy(logits)
    if exclusive:
        right = scores.log_softmax(1).numpy()
        parts = [right[truth[:, k] > 0, k] for k in range(truth.shape[1])]
    else:
        yes, no = (functional.logsigmoid(s).numpy() for s in (scores, -scores))
        columns = range(truth.shape[1])
        parts = [s[truth[:, k] == there, k] for k in columns for s, there in ((yes, 1), (no, 0))]
    return float(np.mean([part.mean() for part in parts if len(part)] or [0.0]))


def measure(witness: Witness, seen: Seen, measurable: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """How often each head is right, by origin and head, over the classes that are measurable; findings are always.

    Each number has Wilson's interval, as if images were independent: those of one patient are not.
    """
    features = witness.features(seen.images)
    told: dict[str, dict[str, Any]] = {}
    for name, classes in witness.config.heads.items():
        rows, truth = truth_of(seen.records, name, classes)
        for origin in sorted({seen.records[i].origin for i in rows}):
            mine = [k for k, i in enumerate(rows) if seen.records[i].origin == origin]
            said = witness.read(features[[rows[k] for k in mine]], name).numpy()
            if name.startswith(FINDINGS):
                row = _measure_findings(classes, said, truth[mine])
            else:
                row = _measure_classes(classes, said, truth[mine], measurable.get(name, ()))
            if row:
                told.setdefault(origin, {})[name] = row
    return told


def _measure_classes(
    classes: Sequence[str], said: Float32, truth: Float32, measurable: Sequence[str]
) -> dict[str, Any]:
    pairs = [(classes[s], classes[t]) for s, t in zip(said.argmax(1), truth.argmax(1), strict=True)]
    pairs = [(s, t) for s, t in pairs if t in measurable]
    if not pairs:
        return {}
    right, names = [s == t for s, t in pairs], [t for _, t in pairs]
    by_class = {n: [r for r, t in zip(right, names, strict=True) if t == n] for n in sorted(set(names))}
    return {
        "chance": round(1 / len(classes), 4),
        "accuracy": _rounded(share(right)),
        "balanced": _rounded(balanced_share(right, names)),
        "classes": {n: _rounded(share(r)) for n, r in by_class.items()},
    }


def _measure_findings(classes: Sequence[str], said: Float32, truth: Float32) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for k, name in enumerate(classes):
        yes, there = said[:, k] > 0.5, truth[:, k] > 0
        if there.any() and not there.all():
            row[name] = {
                "sensitivity": _rounded(share(yes[there].tolist())),
                "specificity": _rounded(share((~yes[~there]).tolist())),
            }
    return row


def _rounded(measure: Measure) -> dict[str, float]:
    return {key: round(value, 4) for key, value in asdict(measure).items()}
