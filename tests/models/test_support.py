"""What a base was trained on, and the prompts for which that is too little."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vesalius.data.record import Finding, Record, load_records
from vesalius.finetune.base.support import SupportConfig, count_support, main
from vesalius.inference import GenerateConfig, generate
from vesalius.models.support import FILE, MOST_LINES, WEAK, Shown, Support, weak_prompts


def xray(label: str | None, text: str, **fields: Any) -> Record:
    extra = {"text_origin": "label"}
    return Record(file_name="a.png", modality="X-ray", organ="chest", label=label, text=text, extra=extra, **fields)


REAL = (
    *[xray("viral pneumonia", "Frontal chest X-ray of a child, viral pneumonia.")] * WEAK,
    *[xray("COVID-19", "Chest radiograph, COVID-19.")] * (WEAK - 1),
    *[xray("normal", "Chest X-ray, normal lungs.")] * WEAK,
    *[xray("COVID-19", "Chest radiograph, COVID-19.", origin="synthetic")] * 9,
)


@pytest.fixture(scope="module")
def support(phantoms: Path) -> Support:
    """Real chest X-rays, and phantoms of CT, MRI and pathology, each as often as it takes to be no rarity."""
    return count_support([*REAL, *load_records(phantoms) * WEAK])


def test_real_images_and_phantoms_are_counted_apart_and_synthetic_ones_not(support: Support, phantoms: Path) -> None:
    records = load_records(phantoms)
    assert sum(s.num_real for s in support.shown) == 3 * WEAK - 1
    assert sum(s.num_phantom for s in support.shown) == len(records) * WEAK
    assert support.modalities["X-ray"] == 3 * WEAK - 1


def test_each_question_is_answered_with_a_number_of_images(support: Support, phantoms: Path) -> None:
    records = [r for r in load_records(phantoms) if r.modality == "CT"]
    kind, side = next((f.kind, f.side) for r in records for f in r.findings if f.present and f.side)
    same = [r for r in records if any((f.kind, f.side, f.present) == (kind, side, True) for f in r.findings)]
    assert support.ask("CT") == len(records) * WEAK, "an image with two findings is one image"
    assert support.ask("chest CT", "chest", kind, side) == len(same) * WEAK
    assert support.ask("CT", side=side) >= support.ask("CT", finding=kind, side=side)
    assert support.ask("X-ray", finding="viral pneumonia") == WEAK
    assert support.ask("X-ray", "chest", kind) == support.ask("CT", "brain") == support.ask("OCT") == 0


def test_it_is_read_as_it_was_written(support: Support, tmp_path: Path) -> None:
    support.save(tmp_path)
    assert Support.load(tmp_path) == support
    assert json.loads((tmp_path / FILE).read_text())["format"] == "vesalius-support-1"


def test_a_base_without_the_file_has_none_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert Support.load(tmp_path) is None
    (tmp_path / FILE).write_text('{"shown": [{"modality": "CT"}], "terms": {}, "words": {}}')
    with pytest.raises(ValueError, match="make it again"):
        Support.load(tmp_path)


def test_the_training_texts_themselves_are_never_warned_of(support: Support) -> None:
    weak = [row for row in support.shown if row.num >= WEAK and support.warn(row.example, row.modality)]
    assert weak == []


@pytest.mark.parametrize(
    ("prompt", "modality", "told"),
    [
        ("Fundus photograph with drusen.", "fundus", "hardly seen fundus (no image). It has seen"),
        ("Chest X-ray with a pneumothorax.", "X-ray", "hardly seen pneumothorax in X-ray (no image)"),
        ("Chest X-ray, COVID-19.", "X-ray", f"hardly seen COVID-19 in X-ray ({WEAK - 1} images)"),
        ("Chest X-ray, viral pneumonia on the left.", "X-ray", "viral pneumonia in X-ray, side left (no image)"),
        ("Chest CT with an aneurysm.", "CT", "not read of 'aneurysm' with CT"),
        ("Chest CT with a nodulle.", "CT", "'nodulle' (did you mean 'nodule'?)"),
        ("Brain X-ray, normal.", "X-ray", "not read of 'brain' with X-ray"),
        ("胸部X光片，左侧气胸。", "X-ray", "hardly seen pneumothorax in X-ray"),
    ],
)
def test_a_prompt_for_the_unseen_is_told_with_the_part_that_is_unseen(
    support: Support, prompt: str, modality: str, told: str
) -> None:
    assert told in (support.warn(prompt, modality) or "")


@pytest.mark.parametrize(
    ("prompt", "modality"),
    [
        ("Chest X-ray, no pneumothorax.", "X-ray"),
        ("Chest X-ray without evidence of pneumothorax, nodule or effusion.", "X-ray"),
        ("A frontal chest X-ray. Pneumothorax is absent.", "X-ray"),
        ("胸部X光片，未见气胸。", "X-ray"),
        ("Chest CT with pleural effusions on both sides.", "CT"),
    ],
)
def test_what_is_denied_or_well_known_is_not_warned_of(support: Support, prompt: str, modality: str) -> None:
    assert "hardly seen" not in (support.warn(prompt, modality) or "")


def test_the_nearest_that_is_supported_is_named(support: Support) -> None:
    told = support.warn("Chest X-ray with a pneumothorax.", "X-ray") or ""
    assert "Nearest that it has seen: CT with pneumothorax" in told
    assert "Of X-ray it has seen normal (30), viral pneumonia (30)" in (support.warn("X-ray, rickets", "X-ray") or "")


def test_findings_that_are_known_count_instead_of_the_words(support: Support) -> None:
    asked = (Finding(kind="nodule", side="left"), Finding(kind="mass", present=False))
    assert "nodule in X-ray (no image)" in (support.warn("Chest X-ray.", "X-ray", asked) or "")
    assert support.warn("Chest CT, no mass.", "CT", asked[1:]) is None


def test_many_weak_prompts_become_a_few_lines_and_a_count(support: Support) -> None:
    prompts = [(f"Fundus photograph, number {i}.", "fundus", ()) for i in range(MOST_LINES + 3)]
    lines = weak_prompts(support, [*prompts, *prompts, ("Chest X-ray, normal.", "X-ray", ())])
    assert len(lines) == MOST_LINES + 1
    assert lines[0].startswith("'Fundus photograph, number 0.': the base has hardly seen fundus")
    assert lines[-1] == "and 3 more prompts of which the base has seen little"


def test_a_row_shows_an_example_with_as_little_else_as_there_is() -> None:
    both = (Finding(kind="nodule"), Finding(kind="consolidation"))
    rows = (
        Shown(modality="CT", findings=both, num_real=9, example="Both."),
        Shown(modality="CT", findings=both[:1], num_real=1, example="A nodule."),
    )
    support = Support(shown=rows, terms={}, words={})
    assert support.example("CT", "nodule") == "A nodule."
    assert support.example("CT", "consolidation") == "Both."
    assert support.example("MRI") == ""
    assert support.findings("CT") == {"nodule": 10, "consolidation": 9}


def test_the_command_writes_it_beside_the_base_from_the_training_split_alone(phantoms: Path, tmp_path: Path) -> None:
    main(SupportConfig(data=(phantoms,), out=tmp_path))
    found = Support.load(tmp_path)
    assert found is not None
    assert sum(found.modalities.values()) == len(load_records(phantoms, "train"))


def test_labels_that_may_not_be_told_and_diagnoses_of_cohorts_are_no_findings() -> None:
    lesion = dataclasses.replace(REAL[0], modality="fundus", label="fundus_hard_exudates", source="idrid-codras")
    cohort = dataclasses.replace(
        REAL[0], modality="CT", label="breast cancer", extra={"text_origin": "template-from-DICOM-header"}
    )
    assert [s.findings for s in count_support([lesion, cohort]).shown] == [(), ()]


def test_a_run_says_once_of_which_prompts_the_base_has_seen_little(
    support: Support, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_base, tmp_path / "base")
    prompts = ("Fundus photograph with drusen.", "Chest X-ray, normal.")
    run: dict[str, Any] = {"prompt": prompts, "base": str(tmp_path / "base"), "num": 2, "steps": 1, "json": True}
    generate(GenerateConfig(**run, out=tmp_path / "untold"))
    assert capsys.readouterr().err == ""
    support.save(tmp_path / "base")
    generate(GenerateConfig(**run, out=tmp_path / "told"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 'Fundus photograph with drusen.': the base has hardly seen fundus (no image)")
