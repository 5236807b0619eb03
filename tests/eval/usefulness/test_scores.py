"""The statistics of a measure of usefulness, each against a second implementation or a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from vesalius.eval.fidelity.metrics import paired_auc
from vesalius.eval.usefulness.scores import (
    MIN_GROUP,
    Difference,
    accuracies,
    auroc,
    auroc_influence,
    brier,
    calibration_error,
    dice,
    dice_influence,
    paired_difference,
    simultaneous,
    verdict_of,
    worst_group,
)

Tables = tuple[np.ndarray, np.ndarray]


def predictions(seed: int, num: int = 300, classes: int = 4, skill: float = 1.0) -> Tables:
    """Probabilities of a classifier that is right now and then, with ties, and the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, num)
    logits = rng.normal(size=(num, classes)) + skill * np.eye(classes)[labels]
    table = np.exp(logits).round(1) + 0.05
    return table / table.sum(1, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_ece_and_brier_are_those_of_the_libraries(classes: int) -> None:
    table, labels = predictions(0, classes=classes)
    truth = np.eye(classes)[labels]
    assert auroc(table, labels) == pytest.approx(roc_auc_score(truth, table, average="macro"))
    ours = calibration_error(table, labels)
    theirs = multiclass_calibration_error(torch.from_numpy(table), torch.from_numpy(labels), classes, n_bins=15)
    assert ours == pytest.approx(float(theirs), abs=1e-5)
    assert brier(table, labels) == pytest.approx(brier_score_loss(truth, table, scale_by_half=False))


def test_the_influence_of_the_images_is_what_a_bootstrap_finds() -> None:
    table, labels = predictions(1, num=400)
    influence = auroc_influence(table, labels)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = [auroc(table[p], labels[p]) for p in (rng.integers(0, 400, 400) for _ in range(200))]
    assert np.sqrt((influence**2).sum()) == pytest.approx(np.std(drawn), rel=0.15)


def test_the_influence_agrees_with_the_area_of_pairs() -> None:
    scores = torch.randn(120, generator=torch.Generator().manual_seed(0)).double()
    positive, negative = scores[:60] + 0.8, scores[60:]
    values = torch.cat([positive, negative]).numpy()
    table = np.stack([1 - values, values], 1)
    labels = np.array([1] * 60 + [0] * 60)
    assert auroc(table, labels) == pytest.approx(paired_auc(positive.float(), negative.float()).value, abs=1e-6)


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says() -> None:
    """Images of one patient lie together, and each training is off by its own luck."""
    rng, covered, narrow = np.random.default_rng(0), [], []
    for _ in range(300):
        patients = np.repeat(np.arange(40), 5)
        gain = 0.02 + np.repeat(rng.normal(0, 0.1, 40), 5)  # of each image, which the mean over images measures
        values = gain.mean() + rng.normal(0, 0.02, 5)
        influence = (gain - gain.mean()) / len(gain)
        names = [str(p) for p in patients]
        found = paired_difference(values, np.zeros(5), influence, names, confidence=0.95)
        covered.append(found.low <= 0.02 <= found.high)
        alone = paired_difference(values, np.zeros(5), np.zeros(200), names, confidence=0.95)
        narrow.append(alone.low <= 0.02 <= alone.high)
        assert (found.num_seeds, found.num_patients) == (5, 40)
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(narrow) < 0.9, "seeds alone do not carry a statement on other patients"


def test_intervals_that_hold_at_once_are_wider() -> None:
    values = [0.1, 0.12, 0.09, 0.11, 0.1]
    one, seven = (
        paired_difference(values, [0.0] * 5, np.zeros(4), list("abcd"), confidence=simultaneous(num)) for num in (1, 7)
    )
    assert one.confidence == 0.95
    assert seven.low < one.low < one.high < seven.high


def test_a_gain_lies_above_real_alone_and_above_the_control() -> None:
    def difference(value: float) -> Difference:
        return paired_difference([value, value + 0.01, value], [0.0] * 3, np.zeros(2), ["a", "b"], confidence=0.95)

    up, none, down = difference(0.1), difference(0.0), difference(-0.1)
    assert verdict_of(up, up) == verdict_of(up, None) == "gain"
    assert verdict_of(up, none) == verdict_of(none, up) == verdict_of(none, None) == "no gain"
    assert verdict_of(down, up) == "harm"


def test_equal_predictions_differ_by_nothing() -> None:
    found = paired_difference([0.7, 0.8], [0.7, 0.8], np.zeros(3), ["a", "b", "c"], confidence=0.95)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_worst_subgroup_is_the_lowest_in_the_mean_and_small_ones_do_not_count() -> None:
    table, labels = np.array([[0.9, 0.1]] * 30), np.array([0] * 10 + [1] * 3 + [0] * 7 + [1] * 10)
    groups = ["a"] * 10 + ["b"] * 10 + ["c"] * (MIN_GROUP - 1) + [""]
    found = accuracies(table, labels, groups)
    assert found == {"a": 1.0, "b": 0.7}
    assert worst_group([found, {"a": 0.2, "b": 0.9}]) == ("a", [1.0, 0.2])
    assert worst_group([{}, {}]) is None


def test_dice_is_the_f1_of_pixels_and_counts_what_a_truth_has() -> None:
    rng = np.random.default_rng(0)
    truth, found = (rng.integers(0, 3, (6, 8, 8)).astype(np.uint8) for _ in range(2))
    truth[0][truth[0] == 2] = 0
    truth[1] = 0
    table = dice(found, truth, 3)
    assert np.isnan(table[1]).all()
    assert np.isnan(table[0, 2])
    for i in (0, 2, 3):
        assert table[i, 1] == pytest.approx(f1_score(truth[i].ravel() == 1, found[i].ravel() == 1))
    assert table[0, 0] == table[0, 1]
    assert table[2, 0] == pytest.approx(table[2, 1:].mean())
    assert dice_influence(table).sum() == pytest.approx(0)
    assert dice_influence(table)[1] == 0
    assert (dice(truth, truth, 3)[2:, 0] == 1).all()
