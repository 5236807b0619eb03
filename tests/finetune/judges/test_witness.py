"""The witness's training: resumable, without labels, and heads that find what is there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vesalius.data.images.image import write_png
from vesalius.data.record import Finding, Record, load_records, write_dataset
from vesalius.finetune.judges.witness import Pretraining, WitnessTraining, train_witness, view, view_contrast
from vesalius.finetune.judges.witness_heads import Seen, fit, likelihood, measure, truth_of
from vesalius.models.networks.witness import Witness, WitnessConfig

TINY = WitnessConfig(image_size=32, patch=8, width=32, depth=1, attention_heads=2, grid=2, local=4)
LABELS = ("glioma", "meningioma")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real records of two classes, told apart by the side that is bright."""
    folder = tmp_path_factory.mktemp("scans")
    rng, records = np.random.default_rng(0), []
    for split, num in (("train", 30), ("val", 4), ("test", 10)):
        for i in range(2 * num):
            image = rng.integers(0, 60, (32, 32, 1), dtype=np.uint8)
            image[:, 16 * (i % 2) : 16 * (i % 2) + 16] += 150
            record = Record(
                file_name=f"{split}/images/{i}.png", text="A brain.", modality="MRI", organ="brain",
                label=LABELS[i % 2], patient_id=f"{split}-{i // 2 % 3}", split=split,
            )  # fmt: skip
            (folder / split / "images").mkdir(parents=True, exist_ok=True)
            write_png(folder / record.file_name, image)
            records.append(record)
    write_dataset(folder, records)
    return folder


@pytest.fixture
def config(scans: Path, phantoms: Path, tmp_path: Path) -> WitnessTraining:
    return WitnessTraining(
        data=(scans, phantoms), out=tmp_path / "run", steps=4, batch_size=8, save_every=2, sizes=TINY
    )


def test_a_run_leaves_a_witness_with_heads_and_what_they_get_right(config: WitnessTraining) -> None:
    folder = train_witness(config)
    witness = Witness.load(folder)
    assert witness.config.heads["MRI/brain"] == LABELS
    assert "CT/nodule/left" in witness.config.heads["findings/CT"]
    told = json.loads((config.out / "witness.json").read_text())
    assert told["digest"] == witness.digest
    with safe_open(folder / "model.safetensors", "pt") as file:
        origin = file.metadata()
    assert origin["init"] == "random"
    assert len(origin["run"]) == 64
    assert told["measurable"]["MRI/brain"] == list(LABELS)
    row = told["test"]["real"]["MRI/brain"]
    assert row["accuracy"]["num"] == 20
    assert row["accuracy"]["value"] == 1.0
    assert set(row["classes"]) == set(LABELS)
    assert told["val"]["phantom"]


def test_a_run_that_was_stopped_ends_with_the_same_weights(config: WitnessTraining, tmp_path: Path) -> None:
    whole = train_witness(config)
    halves = dataclasses.replace(config, out=tmp_path / "again")
    stopped = {p.name for p in (config.out / "checkpoints").iterdir()}
    assert stopped == {"step-00000002", "step-00000004"}
    (halves.out / "checkpoints").mkdir(parents=True)
    (config.out / "checkpoints" / "step-00000002").rename(halves.out / "checkpoints" / "step-00000002")
    first, second = (load_file(f / "model.safetensors") for f in (whole, train_witness(halves)))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_generated_images_are_refused(config: WitnessTraining, scans: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    records = [dataclasses.replace(r, origin="synthetic") for r in load_records(scans)]
    for record in records:
        (drawn / record.file_name).parent.mkdir(parents=True, exist_ok=True)
        (drawn / record.file_name).write_bytes((scans / record.file_name).read_bytes())
    write_dataset(drawn, records)
    with pytest.raises(ValueError, match="never sees generated images"):
        train_witness(dataclasses.replace(config, data=(drawn,)))


def test_training_lowers_both_losses() -> None:
    torch.manual_seed(0)
    model = Pretraining(TINY)
    pixels = torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), size=(32, 32)).clamp(-1, 1).repeat(2, 1, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for step in range(60):
        order = torch.rand(16, 16, generator=torch.Generator().manual_seed(step)).argsort(1)
        rebuilding, contrast = model(pixels, order, 8)
        losses.append((rebuilding.item(), contrast.item()))
        (rebuilding + contrast).backward()
        optimizer.step()
        optimizer.zero_grad()
    first, last = np.mean(losses[:5], axis=0), np.mean(losses[-5:], axis=0)
    assert (last < 0.9 * first).all()


def test_views_keep_the_sides() -> None:
    pixels = torch.linspace(-0.5, 0.5, 32).expand(64, 3, 32, 32)
    seen = view(pixels, torch.Generator().manual_seed(0))
    assert (seen[..., -1] > seen[..., 0]).all()
    assert seen.abs().max() <= 1
    assert len({round(float(v), 4) for v in seen[:, 0, 0, 0]}) > 50


def test_the_contrast_is_lowest_where_views_of_one_image_agree() -> None:
    rows = torch.eye(6)
    assert view_contrast(torch.cat([rows, rows])) < 0.01
    assert view_contrast(torch.cat([rows, rows.roll(1, 0)])) > 5


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_head_of_classes_finds_those_that_features_tell(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(num_classes, dtype=np.float32)[rng.integers(0, num_classes, 90)]
    features = (truth @ rng.normal(size=(num_classes, 5)) + 0.05 * rng.normal(size=(90, 5))).astype(np.float32)
    weight, bias = fit(features, truth, 1.0, exclusive=True)
    logits = features @ weight.T + bias
    assert weight.shape == (num_classes, 5)
    assert (logits.argmax(1) == truth.argmax(1)).all()
    shuffled = np.roll(truth, 1, axis=0)
    assert likelihood(logits, truth, exclusive=True) > likelihood(logits, shuffled, exclusive=True)


def test_two_classes_have_the_odds_of_one_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 3)).astype(np.float32)
    answers = (features[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(int)
    weight, bias = fit(features, np.eye(2, dtype=np.float32)[answers], 0.1, exclusive=True)
    expected = LogisticRegression(C=0.1, class_weight="balanced", max_iter=300).fit(features, answers)
    logits = torch.from_numpy(features @ weight.T + bias)
    assert np.allclose(logits.softmax(1), expected.predict_proba(features), atol=1e-5)


def test_a_finding_that_no_training_image_has_is_answered_with_no() -> None:
    features = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    truth = np.stack([features[:, 0] > 0, np.zeros(20)], 1).astype(np.float32)
    weight, bias = fit(features, truth, 1.0, exclusive=False)
    logits = features @ weight.T + bias
    assert ((logits[:, 0] > 0) == (truth[:, 0] > 0)).mean() > 0.9
    assert (logits[:, 1] < -2).all()
    assert likelihood(logits, truth, exclusive=False) > likelihood(-logits, truth, exclusive=False)


def test_findings_are_asked_of_phantoms_of_their_modality_alone() -> None:
    phantom = Record(
        file_name="a.png", text="", modality="CT", origin="phantom",
        findings=(Finding(kind="nodule", side="left"), Finding(kind="consolidation", present=False)),
    )  # fmt: skip
    others = dataclasses.replace(phantom, modality="MRI"), dataclasses.replace(phantom, origin="real")
    classes = ("CT/nodule", "CT/nodule/left", "CT/nodule/right", "CT/consolidation")
    rows, truth = truth_of([others[0], phantom, others[1]], "findings/CT", classes)
    assert rows == [1]
    assert truth.tolist() == [[1, 1, 0, 0]]


def test_only_measurable_classes_are_measured(scans: Path) -> None:
    seen = Seen.load((scans,), "test", (), 32)
    torch.manual_seed(0)
    witness = Witness(dataclasses.replace(TINY, heads={"MRI/brain": LABELS})).eval()
    told = measure(witness, seen, {"MRI/brain": ("glioma",)})
    assert list(told["real"]["MRI/brain"]["classes"]) == ["glioma"]
    assert told["real"]["MRI/brain"]["accuracy"]["num"] == 10
    assert measure(witness, seen, {}) == {}
