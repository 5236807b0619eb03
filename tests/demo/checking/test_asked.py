"""What prompts ask for, as questions to networks."""

from __future__ import annotations

import pytest

from vesalius.demo.checking.asked import questions


def asked(prompt: str, modality: str) -> list[tuple[str, str, str]]:
    return [(q.attribute, q.words, q.domain) for q in questions(prompt, modality)]


@pytest.mark.parametrize("prompt", [
    "Chest CT with a 22 mm nodule in the left lung. No pneumothorax.", "胸部CT示左肺22毫米结节，未见气胸。",
])  # fmt: skip
def test_finding_side_size_count_and_denial_are_asked_in_both_languages(prompt: str) -> None:
    assert asked(prompt, "CT") == [
        ("modality", "CT", "phantom"), ("organ", "chest", "phantom"), ("finding", "nodule", "phantom"),
        ("side", "nodule, left", "phantom"), ("size", "nodule, 22 mm", "phantom"),
        ("count", "nodule, count 1", "phantom"), ("absence", "no pneumothorax", "phantom"),
    ]  # fmt: skip


def test_a_normal_picture_is_asked_to_show_nothing() -> None:
    assert ("absence", "no finding", "phantom") in asked("Normal brain MRI, FLAIR.", "MRI")
    assert ("finding", "normal", "real") in asked("Pediatric chest X-ray, normal.", "X-ray")


@pytest.mark.parametrize(("prompt", "modality", "kind"), [
    ("Pediatric chest X-ray, bacterial pneumonia.", "X-ray", "bacterial pneumonia"),
    ("儿童胸片，病毒性肺炎", "X-ray", "viral pneumonia"),
    ("H&E section of kidney with a glomerulus", "pathology", "glomerulus"),
    ("Brain MRI with a glioma.", "MRI", "glioma"),
])  # fmt: skip
def test_classes_of_real_images_are_asked_as_such(prompt: str, modality: str, kind: str) -> None:
    assert ("finding", kind, "real") in asked(prompt, modality)


def test_a_phantoms_finding_in_another_organ_is_not_asked_of_phantoms() -> None:
    assert {domain for _, _, domain in asked("Cardiac MRI with infarct", "MRI")} == {"real"}


def test_several_without_a_number_are_not_counted() -> None:
    assert "count" not in [a for a, _, _ in asked("Chest CT with several nodules in the left lung", "CT")]


def test_a_lung_nodule_is_one_finding_not_two() -> None:
    words = [w for _, w, _ in asked("Axial CT of the thorax with a lung nodule (22 mm) on the left.", "CT")]
    assert words == ["CT", "chest", "nodule", "nodule, left", "nodule, 22 mm", "nodule, count 1"]
