"""Are drawings of use: a classifier trained on them and tested on real images, beside one trained on real images.

The classifier is a logistic regression on the witness's features. They were learnt without labels, so no label but the
training set's own enters; and at some tens of images a class, a network trained from scratch would measure its own
luck rather than the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.data.record import Record
from vesalius.eval.fidelity.metrics import Measure, balanced_share
from vesalius.eval.scorecard.material import Material, Missing
from vesalius.eval.scorecard.table import Part, Row
from vesalius.eval.usefulness.classifiers import linear_head

DRAWS = 5
"""Random choices of as many real images, over which that control is averaged."""


def measure_utility(material: Material) -> Part:
    """Accuracy on real test images, mean over classes, of classifiers trained on drawings, on real images, on both."""
    tasks: dict[str, list[str]] = {}
    for name in material.classes:
        tasks.setdefault(name.partition(": ")[0], []).append(name)
    alone = [task for task, classes in tasks.items() if len(classes) < 2]
    if len(alone) == len(tasks):
        raise Missing(
            f"{material.config.real}: no task has two classes that can be measured; add test images of a second class"
        )
    witness, drawn = material.witness, material.drawn_classes()
    names = [name for _, name in zip(drawn.asked, list(material.classes) * len(drawn.asked), strict=False)]
    rows = []
    for task, classes in tasks.items():
        if task in alone:
            continue
        mine = [i for i, name in enumerate(names) if name in classes]
        ours = witness.features(drawn.images[mine]).numpy(), [names[i] for i in mine]
        real, test = (
            _features(material, {c: members[c] for c in classes}) for members in (material.classes, material.tested)
        )
        controls = [_right(*_as_many(*real, ours[1], seed), *test) for seed in range(DRAWS)]
        equal = _measure(np.mean(controls, axis=0), test[1])
        whole = _measure(_right(*real, *test), test[1])
        alone_right = _measure(_right(*ours, *test), test[1])
        both = np.concatenate([real[0], ours[0]]), [*real[1], *ours[1]]
        rows += [
            Row(what="drawings alone", of=task, measured=alone_right, beside=(equal, whole)),
            Row(
                what="drawings and all real",
                of=task,
                measured=_measure(_right(*both, *test), test[1]),
                beside=(None, whole),
            ),
        ]
    return Part(
        title="Utility",
        text=(
            f"Accuracy on real test images, mean over classes, of a logistic regression on the witness's features "
            f"(learnt without labels), trained on about {len(names) // len(material.classes)} drawings of each class; "
            f"beside it trained on as many real training images (mean of {DRAWS} random choices) and on all of them. "
            "n counts the test images.",
            *([f"One class only, nothing to tell apart: {', '.join(alone)}."] if alone else []),
        ),
        beside=("as many real", "all real"),
        rows=tuple(rows),
    )


Features = NDArray[np.float32]  # NC


def _features(material: Material, members: dict[str, list[Record]]) -> tuple[Features, list[str]]:
    records = [r for of_class in members.values() for r in of_class]
    names = [name for name, of_class in members.items() for _ in of_class]
    array: Features = material.witness.features(material.read(records)).numpy()
    return array, names


def _as_many(features: Features, names: Sequence[str], like: Sequence[str], seed: int) -> tuple[Features, list[str]]:
    """A random choice of as many of each class as `like` has, or of all where there are fewer."""
    rng, kept = np.random.default_rng(seed), list[int]()
    for name in dict.fromkeys(names):
        order = rng.permutation([i for i, n in enumerate(names) if n == name])
        kept += order[: list(like).count(name)].tolist()
    return features[kept], [names[i] for i in kept]


def _right(
    features: Features, names: Sequence[str], test_features: Features, test_names: Sequence[str]
) -> NDArray[np.float64]:
    """Whether a classifier trained on the first set names each of the second rightly, 0 or 1, [N]."""
    model = linear_head(features, names, penalty=10, balanced=True)
    right: NDArray[np.float64] = (model.predict(test_features) == np.array(test_names)).astype(np.float64)
    return right


def _measure(right: NDArray[np.float64], names: Sequence[str]) -> Measure:
    return balanced_share(right.tolist(), names)
