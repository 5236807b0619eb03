"""Maps of findings: on phantoms, whose lesions are known, and against random weights."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.data.record import Finding
from vesalius.eval.explanations.finding_maps import (
    METHODS,
    Method,
    Network,
    _Reading,
    as_pixels,
    finding_names,
    gradcam,
    gradcams,
    likeness,
    probabilities,
    random_twin,
)
from vesalius.eval.explanations.map_check import MapCheckConfig, check_maps, localise
from vesalius.eval.scorecard.obedience import as_seen
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.witness import Witness

pytest.importorskip("captum", reason="needs captum")


@pytest.fixture(scope="module", params=["judge", "witness"])
def network(request: pytest.FixtureRequest) -> Network:
    return Judge.load() if request.param == "judge" else Witness.load()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    effusion = Finding(kind="pleural effusion", side="left")
    return torch.from_numpy(as_seen(draw_phantom(1, "CT", size=128, findings=(effusion,))))


@pytest.mark.parametrize("finding", ["CT/pleural effusion", "CT/consolidation", "MRI/infarct", "pathology/gland"])
@pytest.mark.parametrize("method", METHODS)
def test_the_judges_maps_lie_on_the_lesions_of_phantoms(finding: str, method: Method) -> None:
    row = localise(Judge.load(), finding, method=method, num=8, seed=31_000)
    assert row["inside"] > 1.5 * row["chance"]


def test_the_share_inside_of_a_shuffled_map_is_chance(image: torch.Tensor) -> None:
    heat = gradcam(Judge.load(), image, "CT/pleural effusion")
    lesion = draw_phantom(1, "CT", size=128, findings=(Finding(kind="pleural effusion", side="left"),)).mask > 0
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(heat.ravel()).reshape(heat.shape) for _ in range(20)]
    assert np.mean([(s * lesion).sum() / s.sum() for s in shuffled]) == pytest.approx(lesion.mean(), rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_make_another_map(network: Network, image: torch.Tensor, method: Method) -> None:
    """The control of Adebayo et al. 2018."""
    names = ["CT/nodule", "CT/pleural effusion", "CT/consolidation"]
    mine = gradcams(network, image, names, method=method)
    for each, again in zip(mine, gradcams(network, image, names, method=method), strict=True):
        assert np.array_equal(each, again)
    theirs = gradcams(random_twin(network), image, names, method=method)
    assert abs(np.mean([likeness(a, b) for a, b in zip(mine, theirs, strict=True)])) < 0.7


def test_a_twin_has_the_same_weights_in_another_order(network: Network) -> None:
    twin = random_twin(network)
    pairs = list(zip(network.parameters(), twin.parameters(), strict=True))
    assert all(torch.equal(a.flatten().sort().values, b.flatten().sort().values) for a, b in pairs)
    assert sum(not torch.equal(a, b) for a, b in pairs) > len(pairs) / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_of_the_pictures_size_and_from_zero_to_one(network: Network, method: Method) -> None:
    wide = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    heat = gradcam(network, wide, "MRI/mass", method=method)
    assert heat.shape == (40, 60)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() in (0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_explained_is_what_the_network_reads(network: Network, image: torch.Tensor, method: Method) -> None:
    with torch.no_grad():
        logits = _Reading(network, method)(as_pixels(network, image))[0]
    read = probabilities(network, image)
    assert list(read) == list(finding_names(network))
    place = list(read).index("CT/pleural effusion")
    assert float(logits[place].sigmoid()) == pytest.approx(read["CT/pleural effusion"], abs=1e-4)


def test_gradcam_is_its_formula(image: torch.Tensor) -> None:
    """Written out with autograd: channels weighted by their mean gradients, what is positive."""
    judge = Judge.load()
    reading = _Reading(judge, "gradcam")
    pixels, kept = as_pixels(judge, image).requires_grad_(), []
    reading.cells.register_forward_hook(lambda m, i, o: kept.append(o))
    reading(pixels)[0, judge.attribute_index["CT/nodule"]].backward(inputs=[pixels], retain_graph=True)
    (gradient,) = torch.autograd.grad(reading(pixels)[0, judge.attribute_index["CT/nodule"]], kept[-1:])
    heat = (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1, keepdim=True).clamp_min(0).detach()
    heat = torch.nn.functional.interpolate(heat, size=(128, 128), mode="bilinear")[0, 0]
    np.testing.assert_allclose(gradcam(judge, image, "CT/nodule"), (heat / heat.max()).numpy(), atol=1e-5)


def test_a_finding_that_the_network_lacks_is_told_with_the_nearest(network: Network, image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"has no finding 'CT/nodul'; did you mean 'CT/nodule'"):
        gradcam(network, image, "CT/nodul")


def test_without_captum_it_says_how_to_install_it(image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ValueError, match=r"pip install .*vesalius\[explain\]"):
        gradcam(Judge.load(), image, "CT/nodule")


def test_the_table_has_a_row_for_each_finding_and_method() -> None:
    table = check_maps(MapCheckConfig(num=1, networks=("judge",)))
    assert table.count("| judge, gradcam | ") == table.count("| judge, hirescam | ") == 11
    with pytest.raises(ValueError, match="--networks 'jury'"):
        check_maps(MapCheckConfig(networks=("jury",)))
