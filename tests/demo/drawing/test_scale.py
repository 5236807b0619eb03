"""Millimetres of a drawn picture: only where phantoms alone taught what is asked for."""

from __future__ import annotations

import pytest

from vesalius.demo.drawing.scale import spacing_of
from vesalius.models.support import support_of


@pytest.mark.parametrize(
    ("prompt", "modality", "spacing"),
    [
        ("Axial chest CT with a 20 mm nodule in the left lung.", "CT", 340 / 128),
        ("胸部CT，左肺结节", "CT", 340 / 128),
        ("Brain MRI with a mass on the right.", "MRI", 212 / 128),
        ("H&E tile with mitotic figures.", "pathology", 0.12 / 128),
        ("Chest CT with lung cancer.", "CT", None),  # real images alone
        ("Brain MRI with a glioma.", "MRI", None),
        ("Abdominal CT.", "CT", None),  # no finding that is known
        ("Chest X-ray with pleural effusion.", "X-ray", None),  # no phantom of X-rays
    ],
)
def test_the_scale_of_nano_is_known_of_what_phantoms_taught_it(
    prompt: str, modality: str, spacing: float | None
) -> None:
    found = spacing_of(support_of("nano"), prompt, modality, 128)
    assert found == (None if spacing is None else pytest.approx(spacing))


def test_the_scale_of_a_base_that_tells_no_support_is_not_known() -> None:
    assert spacing_of(None, "Chest CT with a nodule", "CT", 128) is None
