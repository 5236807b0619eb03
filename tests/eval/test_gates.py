from __future__ import annotations

import pytest

from vesalius.eval.gates import GATES, Thresholds, calibrate, judge_sample
from vesalius.inference.sample import Sample

LIMITS = {"CT": Thresholds(agreement=0.2, nearest_low=0.1, nearest_high=0.9, num=50)}
GOOD = {"contrast": 40.0, "modality": 0.99, "agreement": 0.5, "nearest_train": 0.4, "side_margin": 0.1, "findings": 0.9}


def sample(modality: str = "CT") -> Sample:
    return Sample(file_name="images/0.png", text="Chest CT", modality=modality, seed=0, steps=1, guidance=1.0)


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"contrast": 1.0}, "readable"),
        ({"modality": 0.1}, "modality"),
        ({"side_margin": -0.01}, "side"),
        ({"findings": 0.3}, "findings"),
        ({"agreement": 0.1}, "agreement"),
        ({"nearest_train": 0.05}, "copy"),
        ({"nearest_train": 0.95}, "typical"),
        ({"nearest_sample": 0.01}, "duplicate"),
    ],
)
def test_each_gate_refuses_what_it_is_for_and_gives_its_name(change: dict[str, float], gate: str) -> None:
    assert judge_sample(sample(), GOOD, LIMITS).reason is None
    reason = judge_sample(sample(), {**GOOD, **change}, LIMITS).reason
    assert reason is not None
    assert reason.startswith(f"{gate}: ")


def test_every_gate_is_tested_above() -> None:
    assert set(GATES) == {"readable", "modality", "side", "findings", "agreement", "copy", "typical", "duplicate"}


def test_a_modality_without_held_out_images_is_refused() -> None:
    assert "no held-out real MRI" in str(judge_sample(sample("MRI"), GOOD, LIMITS).reason)


def test_a_prompt_without_a_side_is_not_refused_for_its_side() -> None:
    assert judge_sample(sample(), {k: v for k, v in GOOD.items() if k != "side_margin"}, LIMITS).reason is None


def test_thresholds_come_from_held_out_real_images() -> None:
    scores = [{**GOOD, "agreement": i / 100, "nearest_train": i / 100} for i in range(101)]
    limits = calibrate(["CT"] * 101, scores)["CT"]
    assert (limits.agreement, limits.nearest_low, limits.nearest_high) == pytest.approx((0.05, 0.01, 0.99))
    with pytest.raises(ValueError, match="at least 5"):
        calibrate(["CT"] * 4, scores[:4])
