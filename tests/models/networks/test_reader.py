"""The reader measures what a picture shows; a perfect segmentation is measured as it was drawn."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vesalius.data.hounsfield import encode_windows
from vesalius.data.images.image import to_uint8
from vesalius.data.phantoms.canvas import FindingRule
from vesalius.data.phantoms.phantom import KINDS, RULES, Phantom, draw_phantom
from vesalius.data.record import Finding, Side
from vesalius.models.networks.reader import (
    FIELDS,
    LABELS,
    Reader,
    ReaderConfig,
    Threshold,
    compare_findings,
    components,
    finding_of,
    longest_diameter,
    offset_from_midline,
)

AREA = FindingRule(sides=("left", "right", "bilateral"))
LESION = FindingRule(sides=("left", "right", "bilateral"), size_mm=(12, 45), max_count=3)
CENTRED = np.tile(np.arange(64, dtype=np.float32) - 31.5, (64, 1))


def as_seen(phantom: Phantom) -> NDArray[np.uint8]:
    """A phantom as the model sees it, CHW uint8."""
    if phantom.hu is not None:
        return to_uint8(encode_windows(phantom.hu), 0.0, 1.0).transpose(2, 0, 1)
    return np.broadcast_to(phantom.image, (*phantom.mask.shape, 3)).transpose(2, 0, 1).copy()


def disc(x: float, y: float, radius: float, size: int = 64) -> NDArray[np.float32]:
    """Coverage of a disc, HW in [0, 1]."""
    rows, columns = np.mgrid[:size, :size]
    return np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def reader() -> Reader:
    torch.manual_seed(0)
    return Reader(ReaderConfig()).eval().requires_grad_(False)


@pytest.mark.parametrize("modality", KINDS)
def test_a_true_mask_is_measured_as_the_phantom_was_drawn(modality: str) -> None:
    for seed in range(12):
        phantom = draw_phantom(seed, modality, size=128)
        across = offset_from_midline(as_seen(phantom)[0] / np.float32(255), modality)
        unit, seen = FIELDS[modality] / 128, []
        for number, (kind, rule) in enumerate(RULES[modality].items(), start=1):
            truth = (phantom.mask == number).astype(np.float32)
            found = components(truth, 0.5, across, rule, smallest=4 if rule.size_mm else 60)
            if found:
                size = longest_diameter(truth, found, 0.5) * unit - unit if rule.size_mm else None
                seen.append(finding_of(kind, rule, found, size))
        wrong = [
            (kind, question)
            for kind, question, right in compare_findings(phantom.findings, seen, modality)
            if not right
        ]
        assert wrong == [], f"seed {seed}"


@pytest.mark.parametrize("modality", ["CT", "MRI"])
@pytest.mark.parametrize("seed", range(3))
def test_the_midline_is_found_in_a_patient_who_lies_off_centre(modality: str, seed: int) -> None:
    grey = as_seen(draw_phantom(seed, modality, size=128, findings=()))[0] / np.float32(255)
    across = offset_from_midline(grey, modality)
    moved = offset_from_midline(np.roll(grey, 4, axis=1), modality)
    assert abs(across[64, 64]) < 3.5, "phantoms lie at most 7 mm, 2.6 pixels, off the centre"
    np.testing.assert_allclose(moved[:, 64], across[:, 60], atol=0.6)
    np.testing.assert_allclose(offset_from_midline(grey[:, ::-1], modality), -across[:, ::-1], atol=0.6)


def test_the_midline_follows_a_tilted_body_and_is_the_middle_where_there_is_none() -> None:
    rows, columns = np.mgrid[:64, :64] - 31.5
    tilt = math.radians(6)
    along, down = columns * math.cos(tilt) + rows * math.sin(tilt), rows * math.cos(tilt) - columns * math.sin(tilt)
    body = ((along / 28) ** 2 + (down / 20) ** 2 < 1).astype(np.float32)
    np.testing.assert_allclose(offset_from_midline(body, "CT"), along, atol=0.5)
    np.testing.assert_allclose(offset_from_midline(np.zeros((64, 64), np.float32), "CT"), CENTRED, atol=1e-4)


def test_the_patients_left_is_the_images_right() -> None:
    for x, side in ((50, "left"), (14, "right")):
        assert finding_of("nodule", LESION, components(disc(x, 30, 5), 0.5, CENTRED, LESION)).side == side


def test_an_area_over_the_midline_is_on_both_sides_and_a_lesion_on_one() -> None:
    wide = np.zeros((64, 64), np.float32)
    wide[30:34, 8:60] = 1
    assert finding_of("effusion", AREA, components(wide, 0.5, CENTRED, AREA)).side == "bilateral"
    assert finding_of("effusion", AREA, components(wide, 0.5, CENTRED, AREA)).count == 1
    assert finding_of("nodule", LESION, components(wide, 0.5, CENTRED, LESION)).side == "left"


def test_lesions_a_pixel_apart_are_two() -> None:
    found = components(disc(40, 20, 5) + disc(40, 32, 5), 0.5, CENTRED, LESION)
    assert finding_of("nodule", LESION, found).count == 2


@pytest.mark.parametrize("radius", [2.5, 5.0, 12.0])
def test_the_longest_diameter_of_a_disc_is_its_diameter(radius: float) -> None:
    shown = disc(30.3, 31.6, radius)
    assert longest_diameter(shown, components(shown, 0.5, CENTRED, LESION), 0.5) == pytest.approx(2 * radius, abs=0.6)


def test_the_largest_of_several_lesions_gives_the_size() -> None:
    shown = np.maximum(disc(16, 20, 4), disc(44, 36, 9))
    assert longest_diameter(shown, components(shown, 0.5, CENTRED, LESION), 0.5) == pytest.approx(18, abs=0.8)


def test_each_question_is_asked_once_and_of_what_was_seen() -> None:
    asked = (
        Finding(kind="nodule", side="left", size_mm=20, count=2),
        Finding(kind="consolidation", side="right"),
        Finding(kind="pneumothorax", present=False),
    )
    seen = (Finding(kind="nodule", side="left", size_mm=26, count=2), Finding(kind="pneumothorax", side="left"))
    assert compare_findings(asked, seen, "CT") == [
        ("nodule", "present", True),
        ("nodule", "side", True),
        ("nodule", "size", False),
        ("nodule", "count", True),
        ("consolidation", "present", False),
        ("pneumothorax", "absent", False),
    ]


@given(
    shown=st.lists(st.sampled_from(KINDS["CT"]), unique=True),
    size_mm=st.integers(5, 40),
    count=st.integers(1, 3),
    side=st.sampled_from(["left", "right"]),
)
def test_pictures_of_one_prompt_answer_as_many_questions_where_unseen_is_wrong(
    shown: list[str], size_mm: int, count: int, side: Side
) -> None:
    asked = (
        Finding(kind="nodule", side="left", size_mm=20, count=2),
        Finding(kind="consolidation", side="right"),
        Finding(kind="pneumothorax", present=False),
    )
    seen = [
        Finding(kind=kind, side=side, size_mm=float(size_mm) if kind == "nodule" else None, count=count)
        for kind in shown
    ]
    answers = compare_findings(asked, seen, "CT", unseen_is_wrong=True)
    assert [a[:2] for a in answers] == [
        ("nodule", "present"), ("nodule", "side"), ("nodule", "size"), ("nodule", "count"),
        ("consolidation", "present"), ("consolidation", "side"), ("pneumothorax", "absent"),
    ]  # fmt: skip
    # To show one more of what was asked for is never worse than to hide it.
    without = [f for f in seen if f.kind != "nodule"]
    hidden = compare_findings(asked, without, "CT", unseen_is_wrong=True)
    assert sum(right for *_, right in answers) >= sum(right for *_, right in hidden)
    assert not any(right for kind, _, right in hidden if kind == "nodule")


def test_the_network_is_light_and_gives_a_modality_only_its_own_kinds(reader: Reader) -> None:
    assert sum(p.numel() for p in reader.parameters()) <= 600_000
    images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    maps = reader.probabilities(images, list(KINDS))
    assert maps.shape == (3, 1 + len(LABELS), 128, 128)
    torch.testing.assert_close(maps.sum(1), torch.ones(3, 128, 128))
    for row, modality in enumerate(KINDS):
        own = [0, *(1 + i for i, label in enumerate(LABELS) if label.startswith(f"{modality}/"))]
        assert set(maps[row].amax((1, 2)).nonzero().flatten().tolist()) == set(own)


def test_pictures_of_any_size_and_any_name_of_a_modality_are_read(reader: Reader) -> None:
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    readings = reader.read(images, ["chest CT", "H&E"])
    assert [r.modality for r in readings] == ["CT", "pathology"]
    assert all(r.mask.shape == (128, 128) for r in readings)
    with pytest.raises(ValueError, match=r"modality 'X-ray': the reader knows phantoms only \(CT, MRI, pathology\)"):
        reader.read(images, ["CT", "X-ray"])


def test_a_reading_does_not_depend_on_what_is_read_beside_it(reader: Reader) -> None:
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    together, alone = reader.read(images, ["CT", "MRI"])[1], reader.read(images[1:], ["MRI"])[0]
    assert together.findings == alone.findings
    assert (together.mask == alone.mask).all()


def test_what_lies_below_the_thresholds_is_absent(reader: Reader) -> None:
    images = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    strict = {label: Threshold(level=0.9999) for label in LABELS}
    deaf = Reader(dataclasses.replace(reader.config, thresholds=strict)).eval()
    deaf.load_state_dict(reader.state_dict())
    reading = deaf.read(images, ["MRI"])[0]
    assert reading.findings == ()
    assert not reading.mask.any()


def test_a_saved_reader_is_small_and_reads_the_same(reader: Reader, tmp_path: Path) -> None:
    half = {k: v.half().float() for k, v in reader.state_dict().items()}
    reader.load_state_dict(half)
    reader.save(tmp_path)
    again = Reader.load(tmp_path)
    assert again.config == reader.config
    assert len(again.digest) == 64
    assert (tmp_path / "model.safetensors").stat().st_size <= 1.2 * 2**20
    images = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    torch.testing.assert_close(again.probabilities(images, ["CT"]), reader.probabilities(images, ["CT"]))
    assert set(json.loads((tmp_path / "config.json").read_text())["thresholds"]) == set(LABELS)


def test_a_folder_without_a_reader_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no reader there \(config.json, model.safetensors\)"):
        Reader.load(tmp_path)


def test_the_embedded_reader_reads_phantoms() -> None:
    if not importlib.resources.files("vesalius.models").joinpath("reader", "model.safetensors").is_file():
        pytest.skip("no embedded reader in this checkout")
    cases = [draw_phantom(9_000_000 + i, modality, size=128) for i in range(10) for modality in KINDS]
    images = torch.from_numpy(np.stack([as_seen(c) for c in cases]))
    readings = Reader.load().read(images, [c.modality for c in cases])
    answers = [
        right
        for case, reading in zip(cases, readings, strict=True)
        for _, _, right in compare_findings(case.findings, reading.findings, case.modality)
    ]
    assert np.mean(answers) >= 0.95
