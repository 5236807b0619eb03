"""The witness's network, what its heads may learn, and which of their answers can be checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from vesalius.data.record import Finding, Record
from vesalius.models.networks.witness import (
    FINDINGS,
    Layer,
    Witness,
    WitnessConfig,
    classes_of,
    held_out,
    learnable_classes,
    measurable_classes,
    to_patches,
)

TINY = WitnessConfig(
    image_size=32,
    patch=8,
    width=32,
    depth=2,
    attention_heads=2,
    grid=2,
    local=4,
    heads={"modality": ("CT", "MRI", "X-ray"), f"{FINDINGS}CT": ("CT/nodule", "CT/nodule/left")},
)


def pictures(num: int = 5, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def witness() -> Witness:
    torch.manual_seed(0)
    return Witness(TINY).eval().requires_grad_(False)


def some(
    num: int, split: str, label: str | None, *, patients: int, organ: str = "brain", start: int = 0
) -> list[Record]:
    return [
        Record(
            file_name=f"{split}/images/{label}-{i}.png",
            text="",
            modality="MRI",
            organ="brain",
            label=label,
            split=split,
            patient_id=f"{label}-{split}-{i % patients}",
        )
        for i in range(num)
    ]


@pytest.mark.parametrize("patch", [8, 16])
def test_patches_hold_the_pixels_of_one_square_each(patch: int) -> None:
    pixels = torch.arange(2 * 3 * 32 * 32.0).reshape(2, 3, 32, 32)
    patches = to_patches(pixels, patch)
    cells = 32 // patch
    assert patches.shape == (2, cells**2, (patch // 8) ** 2, 4, 48)
    square = pixels[1, :, :patch, patch : 2 * patch]
    assert sorted(patches[1, 1].flatten().tolist()) == sorted(square.flatten().tolist())
    assert torch.equal(patches[1, 1, 0, 1].reshape(3, 4, 4), square[:, :4, 4:8])


def test_hidden_patches_leak_into_no_visible_token(witness: Witness) -> None:
    first, second = torch.randn(2, 1, 3, 32, 32)
    kept = torch.tensor([[3, 9, 0]])
    patches = to_patches(first, 8)
    mixed = to_patches(second, 8)
    mixed[:, kept[0]] = patches[:, kept[0]]
    assert torch.equal(witness.tokens(patches, kept), witness.tokens(mixed, kept))
    assert not torch.allclose(witness.tokens(patches)[:, kept[0]], witness.tokens(mixed)[:, kept[0]], atol=1e-3)


def test_attention_is_that_of_the_fused_kernel() -> None:
    torch.manual_seed(0)
    layer, tokens = Layer(32, 4), torch.randn(2, 7, 32)
    query, key, value = (
        part.unflatten(2, (4, 8)).transpose(1, 2)
        for part in layer.query_key_value(layer.first(tokens)).split(32, dim=2)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    after = tokens + layer.out(mixed)
    assert torch.allclose(layer(tokens), after + layer.hidden(layer.second(after)), atol=1e-5)


def test_a_picture_has_the_same_features_in_any_batch(witness: Witness) -> None:
    images = pictures(70)
    assert torch.allclose(witness.features(images)[69:], witness.features(images[69:]), atol=1e-5)


def test_features_are_one_vector_a_picture_whatever_its_size(witness: Witness) -> None:
    assert witness.embed(pictures(3, 48)).shape == (3, witness.num_global)
    assert witness.features(pictures(3)).shape == (3, witness.num_features)
    assert torch.isfinite(witness.features(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))).all()


def test_classes_exclude_one_another_and_findings_do_not(witness: Witness) -> None:
    probabilities, names = witness.classify(pictures(), "modality")
    assert names == ("CT", "MRI", "X-ray")
    assert torch.allclose(probabilities.sum(1), torch.ones(5))
    probabilities, names = witness.classify(pictures(), "findings/CT")
    assert probabilities.shape == (5, len(names))
    assert not torch.allclose(probabilities.sum(1), torch.ones(5), atol=1e-4)


def test_an_unknown_head_is_refused_with_the_nearest_name(witness: Witness) -> None:
    with pytest.raises(ValueError, match="did you mean 'modality'"):
        witness.classify(pictures(), "modalities")


def test_a_saved_witness_says_the_same_after_loading(witness: Witness, tmp_path: Path) -> None:
    witness.save(tmp_path / "witness")
    loaded = Witness.load(tmp_path / "witness")
    assert loaded.config == TINY
    assert torch.allclose(loaded.features(pictures()), witness.features(pictures()), atol=0.05)
    assert len(loaded.digest) == 64


def test_a_folder_without_a_witness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no witness there"):
        Witness.load(tmp_path)


def test_the_default_fits_in_the_wheel() -> None:
    assert 2 * sum(p.numel() for p in Witness(WitnessConfig()).parameters()) < 3e6


def test_a_record_answers_to_its_modality_organ_task_and_tissue() -> None:
    record = some(1, "train", "glioma", patients=1)[0]
    assert classes_of(record) == {"modality": "MRI", "organ": "MRI/brain", "MRI/brain": "glioma"}
    tile = Record(file_name="a.png", text="", modality="pathology", organ="kidney", label="kidney_glomerulus")
    assert classes_of(tile)["tissue"] == "kidney/kidney_glomerulus"


def test_labels_that_may_not_be_learnt_are_not_read() -> None:
    record = Record(
        file_name="a.png", text="", modality="fundus", organ="retina", label="fundus_haemorrhages",
        source="idrid-codras",
    )  # fmt: skip
    assert classes_of(record) == {"modality": "fundus", "organ": "fundus/retina"}


def test_a_phantom_has_a_modality_alone() -> None:
    finding = Finding(kind="nodule", side="left")
    record = Record(
        file_name="a.png", text="", modality="CT", organ="chest", label="nodule", findings=(finding,), origin="phantom"
    )
    assert classes_of(record) == {"modality": "CT"}


def test_classes_need_thirty_training_images_of_two_patients() -> None:
    glioma, meningioma = (some(30, "train", name, patients=2) for name in ("glioma", "meningioma"))
    assert learnable_classes([*glioma, *meningioma])["MRI/brain"] == ("glioma", "meningioma")
    assert "MRI/brain" not in learnable_classes([*glioma, *meningioma[:29]])
    assert "MRI/brain" not in learnable_classes([*glioma, *some(30, "train", "meningioma", patients=1)])


def test_classes_are_measured_on_ten_test_images_of_two_patients_of_no_other_split() -> None:
    train = [r for name in ("glioma", "meningioma") for r in some(30, "train", name, patients=2)]
    tests = some(10, "test", "glioma", patients=2)
    assert measurable_classes([*train, *tests])["MRI/brain"] == ("glioma",)
    assert "MRI/brain" not in measurable_classes([*train, *tests[:9]])
    assert "MRI/brain" not in measurable_classes([*train, *some(10, "test", "glioma", patients=1)])
    known = some(1, "val", "glioma", patients=1)[0]
    shared = Record(**{**vars(known), "patient_id": tests[0].patient_id})
    assert "MRI/brain" not in measurable_classes([*train, *tests, shared])
    assert held_out([*train, *tests, shared]) == tests[1::2]
