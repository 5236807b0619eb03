from __future__ import annotations

import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from vesalius.eval.fidelity.metrics import balanced_share, mean_with_interval, paired_auc, share, share_with_bound


def test_a_share_has_wilsons_interval() -> None:
    measured = share([True] * 9 + [False])
    expected = stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert (measured.low, measured.high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert (measured.value, measured.num) == (0.9, 10)


def test_a_share_of_none_or_all_keeps_a_wide_interval() -> None:
    assert share([False] * 20).low == 0
    assert share([False] * 20).high > 0.1
    assert share([True] * 20).low < 0.9


def test_a_balanced_share_weighs_classes_alike_and_is_the_share_where_they_are_alike() -> None:
    assert balanced_share([True] * 90 + [False] * 10, ["a"] * 90 + ["b"] * 10).value == 0.5
    right, names = [True, True, False, True], ["a", "b", "a", "b"]
    assert balanced_share(right, names) == share(right)


def test_a_small_class_widens_the_interval_of_a_balanced_share() -> None:
    even = balanced_share([True, False] * 50, ["a"] * 50 + ["b"] * 50)
    uneven = balanced_share([True, False] * 50, ["a"] * 96 + ["b"] * 4)
    assert uneven.high - uneven.low > even.high - even.low


def test_of_nothing_in_149_the_upper_bound_is_two_percent() -> None:
    measured = share_with_bound([False] * 149)
    assert (measured.value, measured.low) == (0, 0)
    assert measured.high == pytest.approx(0.02, abs=1e-4)
    assert share_with_bound([True]).high == 1


def test_a_mean_has_students_interval() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    low, high = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values))
    measured = mean_with_interval(values)
    assert (measured.value, measured.low, measured.high) == pytest.approx((3.5, low, high))
    assert mean_with_interval([2.0]).low == 2


def test_the_area_under_the_curve_is_one_apart_and_half_together() -> None:
    scores = torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert paired_auc(scores + 9, scores).value == 1
    assert paired_auc(scores.round(), (scores + 1).round()).value == pytest.approx(
        roc_auc_score([1] * 200 + [0] * 200, torch.cat([scores.round(), (scores + 1).round()]))
    )
    mixed = paired_auc(scores, scores.flip(0))
    assert mixed.low < 0.5 < mixed.high
    assert mixed.high - mixed.low < 0.2


def test_an_empty_set_is_refused() -> None:
    for measure in (share, share_with_bound, mean_with_interval):
        with pytest.raises(ValueError, match="empty"):
            measure([])
    with pytest.raises(ValueError, match="empty"):
        balanced_share([], [])
    with pytest.raises(ValueError, match="at least one pair"):
        paired_auc(torch.empty(0), torch.empty(0))
