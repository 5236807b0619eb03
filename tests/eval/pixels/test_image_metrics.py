from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.eval.pixels.image_metrics import compare_images, measure, sections, ssim_map


def pictures(size: int = 64, num: int = 3) -> torch.Tensor:
    drawn = [draw_phantom(s, "MRI", size=size).image for s in range(num)]
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in drawn]))


def noisy(images: torch.Tensor, most: int) -> torch.Tensor:
    noise = torch.randint(-most, most + 1, images.shape, generator=torch.Generator().manual_seed(0))
    return (images.int() + noise).clamp(0, 255).to(torch.uint8)


def similarity_by_scipy(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Wang et al. 2004 with a Gaussian window, as scikit-image computes it with gaussian_weights."""

    def blur(x: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(x, 1.5, truncate=3.5, mode="mirror"))

    a, b = blur(one), blur(two)
    aa, bb, ab = blur(one * one) - a * a, blur(two * two) - b * b, blur(one * two) - a * b
    return np.asarray((2 * a * b + 1e-4) * (2 * ab + 9e-4) / ((a * a + b * b + 1e-4) * (aa + bb + 9e-4)))


def test_structural_similarity_is_that_of_an_independent_computation() -> None:
    truth = pictures()
    drawn = noisy(truth, 30)
    local = ssim_map(drawn.float() / 255, truth.float() / 255)
    for i in range(3):
        expected = similarity_by_scipy(drawn[i, 0].double().numpy() / 255, truth[i, 0].double().numpy() / 255)
        single = ssim_map(drawn[i : i + 1, :1].float() / 255, truth[i : i + 1, :1].float() / 255)
        assert np.allclose(single[0].numpy(), expected, atol=1e-3)
    assert local.shape == (3, 64, 64)


def test_equal_pictures_are_at_the_top_and_every_corruption_lowers_every_metric() -> None:
    truth = pictures()
    equal = compare_images(truth, truth)
    assert equal["PSNR"].tolist() == pytest.approx([100] * 3)
    assert equal["SSIM"].tolist() == pytest.approx([1] * 3, abs=1e-5)
    assert equal["MS-SSIM"].tolist() == pytest.approx([1] * 3, abs=1e-4)
    little, much = compare_images(noisy(truth, 5), truth), compare_images(noisy(truth, 40), truth)
    blurred = compare_images(torch.nn.functional.avg_pool2d(truth.float(), 5, 1, 2).to(torch.uint8), truth)
    for name in equal:
        assert (much[name] < little[name]).all()
        assert (little[name] < equal[name]).all()
        assert (blurred[name] < equal[name]).all()


def test_of_an_inpainting_the_inside_differs_and_the_outside_does_not() -> None:
    truth = pictures()
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[:, 20:40, 20:40] = True
    drawn = torch.where(masks[:, None], noisy(truth, 60), truth)
    found = compare_images(drawn, truth, masks)
    assert found["PSNR outside"].tolist() == pytest.approx([100] * 3)
    assert found["equal outside"].tolist() == [1, 1, 1]
    assert (found["PSNR inside"] < 30).all()
    assert (found["SSIM inside"] < found["SSIM outside"]).all()
    error = (drawn[0].double() / 255 - truth[0].double() / 255).square()[:, 20:40, 20:40].mean()
    assert float(found["PSNR inside"][0]) == pytest.approx(float(-10 * error.log10()), abs=1e-3)
    spilt = compare_images(noisy(truth, 3), truth, masks)
    assert (spilt["equal outside"] < 0.5).all()
    assert (spilt["PSNR outside"] < 60).all()


def test_pairs_of_several_sizes_are_measured_and_the_page_says_which_scales() -> None:
    small, large = pictures(64, 2), pictures(176, 1)
    everywhere = torch.ones(64, 64, dtype=torch.bool)
    truth = [*small, large[0]]
    found = measure([noisy(t, 9) for t in truth], truth, [everywhere, None, None], names=["a", "b", "c"])
    assert found["metrics"]["PSNR"]["num"] == 3
    assert found["metrics"]["PSNR inside"]["num"] == 1
    assert "PSNR outside" not in found["metrics"]
    (section,) = sections(found)
    assert any("first 3" in line and "161" in line for line in section.text)
    (whole,) = sections(measure([large[0]], [large[0]]))
    assert not any("161" in line for line in whole.text)


def test_pictures_that_cannot_be_compared_are_named() -> None:
    one, two = pictures(64, 1)[0], pictures(32, 1)[0]
    with pytest.raises(ValueError, match=r"first\.png: 3 x 64 x 64 and 3 x 32 x 32"):
        measure([one], [two], names=["first.png"])
    with pytest.raises(ValueError, match="2 pictures, 1 to compare"):
        measure([one, one], [one])
    with pytest.raises(ValueError, match="0 pictures"):
        measure([], [])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        measure([one[:, :8, :8]], [one[:, :8, :8]])
