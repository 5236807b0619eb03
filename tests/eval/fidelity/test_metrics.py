from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.kid import poly_mmd

from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.eval.fidelity.metrics import bootstrap, kernel_distance, kernel_distance_with_interval, real_floor
from vesalius.models.detectors.detector import TextureDetector


def features(seed: int, num: int = 60, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num, 12, generator=torch.Generator().manual_seed(seed)) + shift


def pictures(modality: str, seeds: range) -> torch.Tensor:
    images = [draw_phantom(s, modality).image for s in seeds]
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in images]))


def test_kernel_distance_agrees_with_torchmetrics_on_sets_of_equal_size() -> None:
    a, b = features(0, 40), features(1, 40, 0.3)
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(a.double(), b.double())), rel=1e-9)


def test_kernel_distance_is_the_formula_at_any_sizes_and_over_several_parts() -> None:
    a, b = features(0, 1300), features(1, 40, 0.3)
    kernels = [polynomial_kernel(x.double(), y.double(), degree=3, coef0=1) for x, y in ((a, a), (b, b), (a, b))]
    own = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    assert kernel_distance(a, b) == pytest.approx(sum(own) - 2 * kernels[2].mean(), rel=1e-9)
    assert kernel_distance_with_interval(a, b).value == pytest.approx(kernel_distance(a, b), rel=1e-9)


def test_kernel_distance_of_unequal_sizes_estimates_the_same_truth() -> None:
    values = [kernel_distance(features(2 * s, 20, 0.5), features(2 * s + 1, 80)) for s in range(40)]
    assert np.mean(values) == pytest.approx(kernel_distance(features(900, 2000, 0.5), features(901, 2000)), rel=0.2)


def test_equal_distributions_lie_within_the_floor_and_shifted_ones_do_not() -> None:
    floor = real_floor(features(2, 120))
    same = kernel_distance_with_interval(features(3, 120), features(4, 120))
    far = kernel_distance_with_interval(features(3, 120, 1.0), features(4, 120))
    assert same.low < 0 < same.high
    assert abs(same.value) < far.low
    assert floor.low < 0 < floor.high < far.low


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = [
        estimate.low <= 0 <= estimate.high
        for seed in range(40)
        for estimate in [kernel_distance_with_interval(features(2 * seed), features(2 * seed + 1), draws=30)]
    ]
    assert np.mean(covered) >= 0.85


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        kernel_distance_with_interval(features(0, 9), features(1, 50))


@pytest.mark.parametrize("modality", ["CT", "MRI", "pathology"])
def test_the_texture_detector_tells_noise_and_blur_from_the_real_set(modality: str) -> None:
    detector = TextureDetector()
    first, second = pictures(modality, range(40)), pictures(modality, range(100, 140))
    same = kernel_distance(detector(first), detector(second))
    noise = torch.randint(-40, 40, second.shape, generator=torch.Generator().manual_seed(0))
    noisy = (second.int() + noise).clamp(0, 255).to(torch.uint8)
    blurred = torch.nn.functional.avg_pool2d(second.float(), 5, 1, 2).to(torch.uint8)
    for worse in (noisy, blurred, 255 - second):
        assert kernel_distance(detector(first), detector(worse)) > 3 * abs(same) + 1e-3


def test_detector_features_are_finite_for_blank_and_saturated_pictures() -> None:
    for level in (0, 255):
        assert torch.isfinite(TextureDetector()(torch.full((2, 3, 64, 64), level, dtype=torch.uint8))).all()


def test_a_bootstrap_draws_the_members_of_a_unit_together_and_says_where_it_has_no_interval() -> None:
    values = np.arange(40.0)
    drawn: list[np.ndarray] = []  # type: ignore[type-arg]

    def mean(at: np.ndarray) -> float:  # type: ignore[type-arg]
        drawn.append(at)
        return float(values[at].mean())

    low, high = bootstrap(mean, 40, draws=400) or (0.0, 0.0)
    half = 1.96 * values.std() / 40**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), rel=0.06)
    wide = bootstrap(mean, [str(i // 10) for i in range(40)], draws=400) or (0.0, 0.0)
    assert wide[1] - wide[0] > 2 * (high - low)
    assert all(set(np.diff(at.reshape(-1, 10)).ravel()) == {1} for at in drawn[400:])
    assert bootstrap(lambda at: mean(at) if len(drawn) % 5 else None, 40, draws=50) is None
