from __future__ import annotations

import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin_min

from vesalius.eval.privacy import nearest as module
from vesalius.eval.privacy.nearest import PixelDetector, crops, flips, nearest


def features(seed: int, num: int, width: int = 16, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed)) + shift


def pictures(seed: int, num: int = 3, size: int = 48) -> torch.Tensor:
    noise = torch.rand(num, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(noise, size=(size, size), mode="bilinear") * 200 + 20).to(torch.uint8)


def test_it_finds_what_scikit_learn_finds_however_small_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = features(0, 70, shift=50.0), features(1, 90, shift=50.0)
    at, far = pairwise_distances_argmin_min(one.double().numpy(), two.double().numpy())
    for rows, columns in ((1024, 4096), (16, 7)):
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(module, "COLUMNS", columns)
        distances, indices = nearest([one], [two])
        assert indices.tolist() == at.tolist()
        assert distances.tolist() == pytest.approx(far.tolist(), rel=1e-6)


def test_an_exact_copy_lies_at_no_distance() -> None:
    references = features(0, 50, 300, shift=100.0)
    distances, indices = nearest([references[[9, 3]]], [references])
    assert indices.tolist() == [9, 3]
    assert distances.tolist() == [0, 0]


def test_the_own_patient_is_passed_over_and_an_unknown_one_is_not() -> None:
    references = torch.tensor([[0.0], [1.0], [5.0]])
    distances, indices = nearest(
        [torch.tensor([[0.0], [0.0], [0.0]])], [references],
        query_patients=["a", None, "b"], reference_patients=["a", None, "b"],
    )  # fmt: skip
    assert indices.tolist() == [1, 0, 0]
    assert distances.tolist() == [1, 0, 0]


def test_where_nothing_is_left_the_distance_is_infinite() -> None:
    only = torch.zeros(1, 2)
    for told in ({"same": True}, {"query_patients": ["a"], "reference_patients": ["a"]}):
        distances, indices = nearest([only], [only], **told)  # type: ignore[arg-type]
        assert distances.isinf().all()
        assert indices.tolist() == [-1]
    assert nearest([only], [torch.zeros(0, 2)])[0].isinf().all()


def test_a_picture_is_not_its_own_neighbour() -> None:
    distances, indices = nearest(
        [torch.tensor([[0.0], [1.0], [9.0]])], [torch.tensor([[0.0], [1.0], [9.0]])], same=True
    )
    assert indices.tolist() == [1, 0, 1]
    assert distances.tolist() == [1, 1, 8]


def test_pixels_do_not_see_brightness_or_contrast_and_blank_pictures_are_alike() -> None:
    images = pictures(0)
    dim = (images.float() * 0.6 + 30).round().to(torch.uint8)
    assert (PixelDetector()(images) - PixelDetector()(dim)).norm(dim=1).max() < 0.02
    blank = PixelDetector()(torch.tensor([0, 90], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 32, 32))
    assert torch.equal(blank, torch.zeros(2, 256))


def test_views_meet_mirrored_and_cropped_copies() -> None:
    images, detect = pictures(1), PixelDetector()
    references = [detect(view) for view in crops(images)]
    cropped = images[:, :, 3:45, 3:45]
    for copy in (images.flip(3), images.flip(2), cropped):
        plain = nearest([detect(copy)], references[:1])[0]
        viewed, at = nearest([detect(view) for view in flips(copy)], references)
        assert at.tolist() == [0, 1, 2]
        assert viewed.max() < 0.5 * plain.min()
