from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vesalius.data.phantoms.phantom import KINDS, draw_phantom
from vesalius.data.record import Record
from vesalius.eval.fidelity.metrics import Measure
from vesalius.eval.scorecard.obedience import as_seen, claims
from vesalius.eval.scorecard.prompts import (
    FIRST_PHANTOM,
    caption_prompts,
    class_prompts,
    family_of,
    phantom_prompts,
)
from vesalius.eval.scorecard.table import Bar, Part, Row

TILE = Record(
    file_name="a.png", text="H&E stained histopathology image of oral squamous cell carcinoma, 400x magnification.",
    modality="pathology", organ="oral cavity", label="oral_oscc_400x",
    extra={"magnification": "400x", "text_origin": "label"},
)  # fmt: skip
SLICE = Record(file_name="b.png", text="Chest CT, normal.", modality="CT", organ="lung", label="normal")
CLASSES = {"tissue": [TILE, replace(TILE, file_name="c.png")], "CT/lung": [SLICE]}


def test_lists_of_prompts_grow_at_their_end() -> None:
    assert class_prompts(CLASSES, 20, 3) == class_prompts(CLASSES, 30, 3)[:20]
    assert phantom_prompts(20) == phantom_prompts(30)[:20]
    assert caption_prompts(CLASSES, 20, 3) == caption_prompts(CLASSES, 30, 3)[:20]


def test_classes_are_asked_for_in_turn_and_now_and_then_in_chinese() -> None:
    asked = class_prompts(CLASSES, 16, 3)
    assert [a.modality for a in asked] == ["pathology", "CT"] * 8
    assert [a.language for a in asked] == ["en"] * 6 + ["zh"] * 2 + ["en"] * 6 + ["zh"] * 2


def test_a_prompt_names_the_magnification_that_is_part_of_the_label() -> None:
    assert all("400" in a.text for a in class_prompts({"tissue": [TILE]}, 40, 0))


def test_ct_without_known_units_is_asked_for_and_counted_apart() -> None:
    assert {a.family for a in class_prompts({"CT/lung": [SLICE]}, 4, 0)} == {"CT, greyscale"}
    assert all(a.text.startswith(("Greyscale ", "灰度")) for a in class_prompts({"CT/lung": [SLICE]}, 8, 0))
    assert family_of(replace(SLICE, hounsfield=True)) == "CT"


def test_phantoms_are_asked_for_in_every_modality_language_and_kind_of_text() -> None:
    asked = phantom_prompts(120)
    assert all(a.seed == FIRST_PHANTOM + i for i, a in enumerate(asked))
    reports = [a for a in asked if "\n" in a.text]
    assert len(reports) == 60
    assert {(a.modality, a.language) for a in reports} == {(m, lang) for m in KINDS for lang in ("en", "zh")}
    assert any(not f.present for a in reports for f in a.findings)
    assert all(f.present for a in asked if "\n" not in a.text for f in a.findings)


def test_a_normal_prompt_denies_every_finding() -> None:
    normal = next(a for a in phantom_prompts(200) if not a.findings)
    assert {f.kind for f in claims(normal)} == set(KINDS[normal.modality])
    assert not any(f.present for f in claims(normal))


@pytest.mark.parametrize("modality", list(KINDS))
def test_a_phantom_is_seen_as_the_model_sees_it(modality: str) -> None:
    picture = as_seen(draw_phantom(1, modality, size=32))
    assert picture.shape == (3, 32, 32)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture[0], picture[2]) == (modality == "MRI")


def measure(value: float, high: float = 1.0) -> Measure:
    return Measure(value=value, low=0.0, high=high, num=50)


@pytest.mark.parametrize(
    ("bar", "measured", "beside", "met"),
    [
        (Bar(least=0.75), measure(0.75), None, True),
        (Bar(least=0.75), measure(0.74), measure(0.7), False),
        (Bar(least=0.75, slack=0.05), measure(0.66), measure(0.7), True),
        (Bar(least=0.75, slack=0.05), measure(0.64), measure(0.7), False),
        (Bar(most=0.01, most_high=0.02), measure(0.0, 0.019), None, True),
        (Bar(most=0.01, most_high=0.02), measure(0.0, 0.03), None, False),
        (Bar(most=0.01, most_high=0.02), measure(0.011, 0.02), None, False),
    ],
)
def test_bars_are_met_or_not(bar: Bar, measured: Measure, beside: Measure | None, met: bool) -> None:
    assert Row(what="x", of="y", measured=measured, beside=(beside,), bar=bar).met is met


def test_a_table_tells_value_interval_count_target_and_whether_it_is_met() -> None:
    row = Row(what="side right", of="CT", measured=measure(0.9, 0.95), beside=(None,), bar=Bar(least=0.95))
    told = Part(title="Phantoms", beside=("phantoms",), rows=(row,)).markdown()
    assert "| side right | CT | 90.0 % (0.0 to 95.0) | 50 |  | >= 95.0 % | **no** |" in told
