"""The reader learns from phantoms alone and resumes exactly; its thresholds lie between lesions and specks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vesalius.data.record import Finding, load_records, write_dataset
from vesalius.finetune.judges.reader import (
    Case,
    ReaderTraining,
    choose_threshold,
    class_weights,
    disturb,
    fit_diameter,
    load_masks,
    move,
    phantoms_of,
    segmentation_loss,
    train_reader,
    whole_truth,
)
from vesalius.models.networks.reader import LABELS, RULES, Reader, ReaderConfig, Threshold

ACROSS = np.tile(np.arange(64, dtype=np.float32) - 31.5, (64, 1))


def case(radius: float, *, asked: Finding) -> Case:
    rows, columns = np.mgrid[:64, :64]
    shown = np.clip(radius + 0.5 - np.hypot(columns - 46, rows - 30), 0, 1).astype(np.float32)
    return Case(asked=asked, probability=shown, across=ACROSS)


@pytest.fixture(scope="module")
def run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps at once."""
    out = tmp_path_factory.mktemp("reader")
    train_reader(ReaderTraining(data=(phantoms,), out=out, steps=4, batch_size=4))
    return out


def test_a_run_leaves_a_reader_and_how_well_it_reads(run: Path) -> None:
    quality = json.loads((run / "reader.json").read_text())
    reader = Reader.load(run / "reader")
    assert quality["digest"] == reader.digest
    assert set(quality["all"]) >= {"present", "absent"}
    assert set(quality["all"]["absent"]) == {"value", "low", "high", "num"}
    assert set(reader.config.thresholds) == set(LABELS)


def test_a_run_that_was_stopped_ends_with_the_same_weights(run: Path, phantoms: Path, tmp_path: Path) -> None:
    config = ReaderTraining(data=(phantoms,), out=tmp_path, steps=2, batch_size=4)
    train_reader(config)
    train_reader(dataclasses.replace(config, steps=4))
    straight, resumed = (load_file(f / "reader" / "model.safetensors") for f in (run, tmp_path))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_reader_whose_loss_is_none_stops_with_its_step(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step \d; lower --learning-rate"):
        train_reader(ReaderTraining(data=(phantoms,), out=tmp_path, steps=4, batch_size=4, learning_rate=1e30))


def test_generated_and_real_pictures_are_left_out(phantoms: Path, tmp_path: Path) -> None:
    records = load_records(phantoms, "train")
    mixed = [dataclasses.replace(r, origin="synthetic" if i else "real") for i, r in enumerate(records[:3])]
    write_dataset(tmp_path, mixed)
    assert all(r.origin == "phantom" for _, r in phantoms_of((phantoms, tmp_path), "train"))
    with pytest.raises(ValueError, match=r"no phantoms with masks in split 'train'.*vesalius data phantom"):
        phantoms_of((tmp_path,), "train")


def test_the_targets_of_a_modality_are_its_own_labels(phantoms: Path) -> None:
    members = phantoms_of((phantoms,), "train")
    masks = load_masks(members, ReaderConfig())
    assert masks.shape[1:] == (128, 128)
    for mask, (_, record) in zip(masks, members, strict=True):
        shown = {f"{record.modality}/{f.kind}" for f in record.findings if f.present}
        assert {LABELS[i - 1] for i in mask.unique().tolist() if i} <= shown


def test_the_whole_truth_says_something_of_every_kind(phantoms: Path) -> None:
    for record in load_records(phantoms, "train"):
        truth = whole_truth(record)
        assert {f.kind for f in truth} == set(RULES[record.modality])
        assert [f for f in truth if f.present] == [f for f in record.findings if f.present]


def test_a_perfect_segmentation_costs_nothing_and_a_wrong_one_does() -> None:
    truth = torch.zeros(2, 8, 8, dtype=torch.int64)
    truth[0, 2:5, 2:5], truth[1, 4:, :2] = 1, 2
    perfect = 40.0 * torch.nn.functional.one_hot(truth, 4).permute(0, 3, 1, 2).float()
    weights = class_weights(truth, 4)
    assert segmentation_loss(perfect, truth, weights).item() == pytest.approx(0, abs=1e-4)
    assert segmentation_loss(perfect.roll(1, 1), truth, weights) > 1
    assert segmentation_loss(perfect, torch.zeros_like(truth), weights) > 0


def test_rare_kinds_weigh_more() -> None:
    weights = class_weights(torch.tensor([0] * 800 + [1] * 100), 2)
    torch.testing.assert_close(weights, torch.tensor([1.0, 2.0]))


def test_a_disturbance_is_a_function_of_its_seed_and_stays_in_range() -> None:
    pixels = torch.rand(4, 3, 32, 32) * 2 - 1
    first, again = (disturb(pixels, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == pixels.shape
    assert first.abs().max() <= 1
    assert not torch.equal(first, pixels)


def test_picture_and_mask_move_together() -> None:
    truth = (torch.rand(2, 16, 16) > 0.7).long()
    for seed in range(6):
        pixels, masks = move(truth[:, None].float(), truth, np.random.default_rng(seed))
        assert torch.equal(pixels[:, 0].long(), masks)
        assert masks.sum() == truth.sum()


def test_the_smallest_area_lies_between_specks_and_lesions() -> None:
    shown = [case(9, asked=Finding(kind="nodule", side="left", size_mm=48, count=1)) for _ in range(4)]
    specks = [case(1.6, asked=Finding(kind="nodule", present=False)) for _ in range(4)]
    assert 10 < choose_threshold("CT/nodule", shown + specks).smallest < 250


def test_measured_diameters_are_brought_to_the_true_ones() -> None:
    radii = np.linspace(4, 14, 12)
    cases = [case(r, asked=Finding(kind="mass", side="left", size_mm=3 * r - 2)) for r in radii]
    fitted = fit_diameter(Threshold(), cases, RULES["MRI"]["mass"], 64.0)
    assert fitted.scale == pytest.approx(1.5, abs=0.06)
    assert fitted.offset_mm == pytest.approx(-2, abs=1)


def test_too_few_lesions_leave_the_diameter_as_measured() -> None:
    cases = [case(5, asked=Finding(kind="mass", side="left", size_mm=30))]
    assert fit_diameter(Threshold(), cases, RULES["MRI"]["mass"], 64.0) == Threshold()
