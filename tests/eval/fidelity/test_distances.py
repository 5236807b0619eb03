"""Frechet distance, precision, recall, density, coverage, Vendi score: against second implementations, and controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from vesalius.eval.fidelity.diversity import reach, spread_with_floor, vendi_score
from vesalius.eval.fidelity.frechet import frechet_distance, frechet_endless, frechet_floor
from vesalius.eval.fidelity.part import compare_features, is_worse


def features(seed: int, num: int, size: int = 12, shift: float = 0.0) -> torch.Tensor:
    """Correlated features of unequal variance, so that covariances matter."""
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(99)) / size**0.5
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed)) @ mixing + shift


def test_the_frechet_distance_agrees_with_torchmetrics_on_sets_of_unequal_size() -> None:
    a, b = features(0, 200).double(), features(1, 90, shift=0.3).double()
    theirs = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet_distance(a.float(), b.float()) == pytest.approx(float(theirs), rel=1e-4)
    assert frechet_distance(a.float(), a.float()) == pytest.approx(0, abs=1e-5)


def test_the_frechet_distance_of_two_gaussians_is_the_formula() -> None:
    a, b = (torch.tensor([[-1.0], [1.0]]) * scale + mean for scale, mean in ((1.0, 0.0), (3.0, 2.0)))
    (one, other) = (float(x.std()) for x in (a, b))
    assert frechet_distance(a, b) == pytest.approx(4 + (one - other) ** 2, rel=1e-6)


@pytest.mark.parametrize("num", [60, 200])
def test_extrapolation_takes_away_what_small_sets_add(num: int) -> None:
    found = [frechet_endless(features(2 * s, num), features(2 * s + 1, num), seed=s) for s in range(12)]
    measured, endless = (np.mean([f.measured for f in found]), np.mean([f.endless.value for f in found]))
    assert abs(endless) < measured / 4
    assert np.mean([f.endless.low <= 0 <= f.endless.high for f in found]) >= 0.75


def test_extrapolation_finds_the_truth_of_sets_of_different_size() -> None:
    found = [frechet_endless(features(2 * s, 400, shift=0.3), features(2 * s + 1, 1200), seed=s) for s in range(8)]
    assert np.mean([f.endless.value for f in found]) == pytest.approx(12 * 0.3**2, abs=0.12)
    assert np.mean([f.endless.low <= 12 * 0.3**2 <= f.endless.high for f in found]) >= 0.75


def test_a_shifted_set_is_beyond_the_floor_and_an_equal_one_is_not() -> None:
    real = features(0, 400)
    floor = frechet_floor(real).endless
    assert floor.low < 0.05
    assert floor.high < frechet_endless(features(1, 200, shift=0.4), real).endless.low
    same = frechet_endless(features(1, 200), real).endless
    assert same.low <= floor.high


def test_too_few_images_for_the_frechet_distance_are_counted() -> None:
    with pytest.raises(ValueError, match=r"12 features needs at least 24 images on each side, got 20 and 50"):
        frechet_endless(features(0, 20), features(1, 50))
    with pytest.raises(ValueError, match="needs at least 48 images, got 47"):
        frechet_floor(features(0, 47))


def plain_reach(fake: np.ndarray, real: np.ndarray) -> tuple[float, float, float, float]:
    """The four formulas as their papers write them, over one whole matrix of distances."""

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))

    def radius(x: np.ndarray, k: int) -> np.ndarray:
        return np.sort(distances(x, x), axis=1)[:, k]

    across = distances(real, fake)
    inside = across < radius(real, 3)[:, None]
    dense = across < radius(real, 5)[:, None]
    reached = across < radius(fake, 3)[None]
    return (
        float(inside.any(0).mean()), float(reached.any(1).mean()), float(dense.sum(0).mean() / 5),
        float(dense.any(1).mean()),
    )  # fmt: skip


@pytest.mark.parametrize("shift", [0.0, 0.5, 5.0])
def test_precision_recall_density_and_coverage_are_what_their_papers_say(shift: float) -> None:
    fake, real = features(0, 90, shift=shift), features(1, 130)
    found = reach(fake, real)
    ours = found.precision, found.recall, found.density, found.coverage
    assert ours == pytest.approx(plain_reach(fake.double().numpy(), real.double().numpy()), abs=0.02)
    assert found.covered.mean() == found.coverage


def test_the_vendi_score_counts_unlike_pictures() -> None:
    assert vendi_score(torch.eye(7)) == pytest.approx(7)
    assert vendi_score(torch.ones(9, 4)) == pytest.approx(1)
    assert vendi_score(torch.eye(3).repeat(5, 1)) == pytest.approx(3)
    rows = features(0, 30)
    unit = (rows / rows.norm(dim=1, keepdim=True)).double().numpy()
    values = np.linalg.eigvalsh(unit @ unit.T / 30).clip(1e-300)
    assert vendi_score(rows) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-5)
    assert vendi_score(features(0, 8)) == pytest.approx(vendi_score(features(0, 8).repeat(3, 1)), rel=1e-5)


def test_equal_sets_lie_at_the_floor() -> None:
    found = spread_with_floor(features(0, 160), features(1, 200))
    for name, ours in found.ours.items():
        floor = found.floor[name]
        assert ours.low <= floor.high, name
        assert floor.low <= ours.high, name
        assert ours.num_a == ours.num_b == floor.num_a == 80


def test_the_floor_may_be_that_of_other_real_images() -> None:
    """Halves of a split whose few patients all have many images are nearer to each other than new patients are."""
    patients = [features(i, 1).repeat(20, 1) + 0.1 * features(100 + i, 20) for i in range(24)]
    real, others, samples = (torch.cat(patients[i : i + 8]) for i in (0, 8, 16))
    halves, apart = compare_features(samples, real)[0], compare_features(samples, real, others)[0]
    assert "KID" in halves["halves"]
    assert apart["halves"] == []
    assert is_worse(halves, "distance")
    assert is_worse(halves, "diversity")
    assert not is_worse(apart, "distance")
    assert apart["coverage"]["floor"]["value"] < halves["coverage"]["floor"]["value"] / 2
    with pytest.raises(ValueError, match="floor of 80 images a draw needs as many other real images, got 50"):
        spread_with_floor(samples, real, others[:50])


def test_a_set_of_copies_reaches_less_and_is_less_diverse() -> None:
    few = features(0, 8).repeat(20, 1) + 1e-3 * features(5, 160)
    found = spread_with_floor(few, features(1, 200))
    for name in ("recall", "coverage", "vendi"):
        assert found.ours[name].high < found.floor[name].low, name


def test_a_set_elsewhere_has_no_precision() -> None:
    found = spread_with_floor(features(0, 160, shift=9.0), features(1, 200))
    assert [found.ours[n].value for n in ("precision", "density", "coverage")] == [0, 0, 0]
    assert np.nanmax(found.covered) == 0
    assert np.nanmean(found.covered_floor) == pytest.approx(found.floor["coverage"].value, abs=0.02)


def test_too_few_images_for_reach_are_counted() -> None:
    with pytest.raises(ValueError, match="at least 40 images on each side, got 39 and 200"):
        spread_with_floor(features(0, 39), features(1, 200))
    with pytest.raises(ValueError, match="at least 6 images"):
        reach(features(0, 5), features(1, 200))
