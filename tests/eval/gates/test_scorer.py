from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.hounsfield import encode_windows
from vesalius.data.record import Finding
from vesalius.eval.gates.scorer import Scorer, asked_of_findings, measures_of
from vesalius.eval.gates.scores import MEASURES, Case, Grain, JudgeReading, measure_pixels
from vesalius.eval.privacy.copies import Original
from vesalius.models.networks.judge import Judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


def pictures(num: int, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures, uint8 [N, 3, 128, 128]."""
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (num, 3, 12, 12)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, size=128, mode="bicubic").clamp(0, 255).to(torch.uint8)


def case(modality: str = "CT", **changes: object) -> Case:
    return dataclasses.replace(Case(path=Path("a.png"), text="Chest CT.", modality=modality), **changes)  # type: ignore[arg-type]


def test_measures_tell_blank_clipped_noisy_and_coloured_pictures_apart() -> None:
    smooth = pictures(1)
    grey = torch.full_like(smooth, 90)
    noise = torch.randint(0, 256, smooth.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    white = torch.full_like(smooth, 255)
    rows = measure_pixels(torch.cat([smooth, grey, noise, white]))
    found = {name: rows[:, i].tolist() for i, name in enumerate(MEASURES)}
    assert found["contrast"][1] == found["colour"][1] == 0
    assert found["white"] == pytest.approx([0, 0, 0, 1], abs=0.06)
    assert found["roughness"][0] < 0.3 < 0.8 < found["roughness"][2]
    assert measure_pixels(torch.empty(0, 3, 8, 8)).shape == (0, len(MEASURES))


def test_the_borders_of_a_padded_picture_lend_it_no_contrast() -> None:
    blank = torch.full((1, 3, 128, 128), 90, dtype=torch.uint8)
    blank[:, :, ::2, ::3] = 91
    padded = blank.clone()
    padded[:, :, :, :30] = padded[:, :, :, 98:] = padded[:, :, :8] = 0
    assert float(measure_pixels(padded)[0, MEASURES.index("contrast")]) < 1
    assert float(measure_pixels(padded)[0, MEASURES.index("black")]) == 0


def test_air_without_noise_is_as_black_as_that_of_a_scanner() -> None:
    head = pictures(1)[:, :, :64, :64].clamp(min=60)
    noise = torch.randint(0, 7, (1, 1, 128, 128), generator=torch.Generator().manual_seed(0)).expand(1, 3, 128, 128)
    scanned, drawn = noise.to(torch.uint8).clone(), torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    for each in (scanned, drawn):
        each[:, :, 40:104, 30:94] = head
        each[:, :, ::127, ::127] = 60  # the corners, so that no border is even
    shares = [float(measure_pixels(each)[0, MEASURES.index("black")]) for each in (scanned, drawn)]
    assert shares[0] == pytest.approx(shares[1], abs=0.001)
    assert 0.6 < shares[1] < 0.8


def test_noise_of_a_large_picture_is_seen_in_its_grain() -> None:
    smooth = torch.nn.functional.interpolate(pictures(1).float(), size=256, mode="bilinear")
    noise = 45 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    grains = [float(Grain()(each.clamp(0, 255).to(torch.uint8))) for each in (smooth, smooth + noise)]
    assert grains[0] < 0.1 < 0.3 < grains[1]


def test_hounsfield_units_are_measured_out_of_the_three_windows() -> None:
    hu = np.linspace(-1024, 1200, 128 * 128).reshape(128, 128).astype(np.float32)
    image = torch.from_numpy((encode_windows(hu) * 255).round().transpose(2, 0, 1)[None].astype(np.uint8))
    row = measures_of(case(), measure_pixels(image)[0])
    assert row["hu_low"] == pytest.approx(-1013, abs=10)
    assert row["hu_high"] == pytest.approx(1189, abs=10)
    assert "hu_low" not in measures_of(case("MRI"), measure_pixels(image)[0])
    assert "colour" not in row
    grey = pictures(1)[:, :1].expand(1, 3, 128, 128)
    assert "hu_low" not in measures_of(case(), measure_pixels(grey)[0])


def test_findings_are_asked_for_one_by_one(judge: Judge) -> None:
    index = judge.attribute_index
    said = torch.full((len(index),), 0.1)
    for name, value in {"CT/nodule": 0.9, "CT/nodule/left": 0.8, "CT/nodule/right": 0.3}.items():
        said[index[name]] = value
    left = (Finding(kind="nodule", side="left"), Finding(kind="pneumothorax", present=False), Finding(kind="unknown"))
    found = asked_of_findings(judge, case(findings=left), said)
    assert found == pytest.approx(
        {"shows CT/nodule": 0.9, "lacks CT/pneumothorax": 0.9, "side CT/nodule": 0.5, "findings": 0.7}
    )
    both = asked_of_findings(judge, case(findings=(Finding(kind="nodule", side="bilateral"),)), said)
    assert both["both sides CT/nodule"] == pytest.approx(-0.2)
    label = asked_of_findings(judge, case("MRI", organ="brain", label="glioma"), said)
    assert label == pytest.approx({"label_margin": 0.0})


def test_organ_and_label_come_from_references_of_that_text_and_the_organ_from_its_name(judge: Judge) -> None:
    images = pictures(20)
    organs = ["kidney", "bone"] * 10
    references = [
        case("pathology", text=f"Tissue of the {organ}, number {i}.", organ=organ, label=organ)
        for i, organ in enumerate(organs)
    ]
    scorer = Scorer(judge, references, reading=JudgeReading(judge)(images))
    known = scorer.known(case("pathology", text="Tissue of the bone, number 1."))
    assert (known.organ, known.label) == ("bone", "bone")
    assert scorer.known(case("pathology", text="A kidney biopsy.")).organ == "kidney"
    assert scorer.known(case("pathology", text="From kidney or bone.")).organ is None
    rows = scorer([case("pathology", text="A kidney biopsy."), case("pathology", text="Something.")], images[:2])
    assert "organ_margin" in rows[0]
    assert "organ_margin" not in rows[1]


def test_a_score_depends_on_its_picture_and_text_alone(judge: Judge) -> None:
    images = pictures(9)
    cases = [case(text=f"CT of the chest, nodule on the left, {i} mm.") for i in range(9)]
    scorer = Scorer(judge, cases, reading=JudgeReading(judge)(images), originals=Original()(images))
    together = scorer(cases, images)
    for i in (0, 4, 8):
        assert scorer([cases[i]], images[i : i + 1])[0] == pytest.approx(together[i], abs=1e-4)
    assert all(row["nearest_train"] < 1e-3 and row["nearest_pixels"] < 1e-3 for row in together)
    assert all(row["typical_distance"] > row["nearest_train"] for row in together)
