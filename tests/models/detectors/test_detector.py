"""Detectors: one contract, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vesalius.models.detectors.detector import Detector, JudgeDetector, TextureDetector, WitnessDetector
from vesalius.models.networks.witness import Witness, WitnessConfig


def witness_detector() -> WitnessDetector:
    torch.manual_seed(0)
    return WitnessDetector(Witness(WitnessConfig(width=32, depth=1), digest="tiny").eval())


MAKERS: dict[str, Callable[[], Detector]] = {
    "judge": JudgeDetector,
    "texture": TextureDetector,
    "witness": witness_detector,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_detector_gives_a_finite_vector_of_its_own_for_each_picture(make: Callable[[], Detector]) -> None:
    detector = make()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=generator)
    images[2] = 0
    features = detector(images)
    assert features.shape[0] == 3
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert torch.allclose(detector(images[1:2]), features[1:2], atol=1e-4)
    assert not torch.allclose(features[0], features[1], atol=1e-2)


def test_detectors_name_the_weights_that_made_a_number() -> None:
    made = {name: make() for name, make in MAKERS.items()}
    assert all(d.name == name and d.digest for name, d in made.items())
