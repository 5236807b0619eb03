"""Copies of training images are met again, however they were turned, cropped, brightened or blurred."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from vesalius.eval.privacy.copies import FEW, Original, Suspect, copy_distances, thumbnails


def pictures(num: int, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures, uint8 [N, 3, 128, 128]."""
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (num, 3, 12, 12)).astype(np.float32))
    return functional.interpolate(coarse, size=128, mode="bicubic").clamp(0, 255).to(torch.uint8)


def cropped(images: torch.Tensor, share: float, top: float, left: float) -> torch.Tensor:
    """A window of so much of each edge, enlarged to 128; top and left: where in the room that it leaves, 0 to 1."""
    inner = round(128 * share)
    y, x = round(top * (128 - inner)), round(left * (128 - inner))
    window = images[:, :, y : y + inner, x : x + inner].float()
    return functional.interpolate(window, size=128, mode="bicubic").clamp(0, 255).to(torch.uint8)


def flips(images: torch.Tensor) -> list[torch.Tensor]:
    """The pictures, mirrored, upside down, and both."""
    return [images, images.flip(3), images.flip(2), images.flip((2, 3))]


def distances(suspects: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    return copy_distances(Suspect()(suspects), Original()(originals))[0]


ORIGINALS = pictures(80)
OTHERS = float(distances(pictures(40, seed=1), ORIGINALS).min())
"""The least distance of pictures that are no copies."""


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_cropped_from_anywhere_and_turned_is_nearer_than_any_other_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = [
        flips(cropped(ORIGINALS[i : i + 1], rng.uniform(0.8, 1), rng.random(), rng.random()))[i % 4] for i in range(80)
    ]
    near, at = copy_distances(Suspect()(torch.cat(copies)), Original()(ORIGINALS))
    assert float(near.max()) < 0.75 * OTHERS
    assert at.tolist() == list(range(80))


@pytest.mark.parametrize("turn", range(4))
def test_an_exact_copy_has_no_distance_however_it_is_turned(turn: int) -> None:
    copies = flips(ORIGINALS[:6])[turn]
    assert float(distances(copies, ORIGINALS).max()) < 1e-3


def test_brightness_and_contrast_have_no_say_and_noise_has_little() -> None:
    noise = torch.randn(6, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 8
    copies = (ORIGINALS[:6].float() * 0.6 + 40 + noise).clamp(0, 255).to(torch.uint8)
    assert float(distances(copies, ORIGINALS).max()) < 0.1 * OTHERS


def test_a_distance_depends_on_its_picture_alone() -> None:
    rows, originals = Suspect()(cropped(ORIGINALS[:3], 0.9, 0.2, 0.9)), Original()(ORIGINALS)
    alone = torch.cat([copy_distances(row[None], originals)[0] for row in rows])
    assert torch.allclose(alone, copy_distances(rows, originals)[0], atol=1e-4)


def test_fewer_originals_than_are_asked_for_none_and_no_suspects() -> None:
    few = Original()(ORIGINALS[:2])
    assert len(few) < FEW
    assert float(copy_distances(Suspect()(ORIGINALS[:1]), few)[0]) < 1e-3
    near, at = copy_distances(Suspect()(ORIGINALS[:2]), few[:0])
    assert (near.tolist(), at.tolist()) == ([float("inf")] * 2, [-1] * 2)
    assert [each.shape for each in copy_distances(Suspect()(ORIGINALS[:0]), few)] == [(0,), (0,)]


def test_a_blank_picture_is_no_copy_of_one_that_shows_something() -> None:
    blank = torch.full((1, 3, 128, 128), 90, dtype=torch.uint8)
    assert float(distances(blank, ORIGINALS)) == pytest.approx(1, abs=0.01)


def test_the_own_patient_and_a_picture_itself_are_passed_over() -> None:
    twice = Suspect()(torch.cat([ORIGINALS[:3], ORIGINALS[:1].flip(3)]))
    near, at = copy_distances(twice, twice, same=True)
    assert at[[0, 3]].tolist() == [3, 0]
    assert float(near[[0, 3]].max()) < 1e-3
    assert float(near[[1, 2]].min()) > 0.5 * OTHERS
    people = ["a", "b", "b", "a"]
    told = {"query_patients": people, "reference_patients": people}
    near, at = copy_distances(twice, twice, **told)
    assert at[0] in (1, 2)
    assert float(near[0]) > 0.5 * OTHERS
    near, at = copy_distances(twice[1:3], twice[1:3], query_patients=["b"] * 2, reference_patients=["b"] * 2)
    assert near.isinf().all()
    assert at.tolist() == [-1, -1]


def test_thumbnails_do_not_see_brightness_or_contrast_and_blank_pictures_are_alike() -> None:
    images = ORIGINALS[:3]
    dim = (images.float() * 0.6 + 30).round().to(torch.uint8)
    assert (thumbnails(images) - thumbnails(dim)).norm(dim=1).max() < 0.02
    blank = thumbnails(torch.tensor([0, 90], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 32, 32))
    assert torch.equal(blank, torch.zeros(2, 256))
