"""What the builder offers and what it greys out, by what the base was trained on; and its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vesalius.data.modality import modality_in
from vesalius.data.record import Finding
from vesalius.demo.create.choices import (
    Choice,
    Menu,
    Wish,
    as_read,
    findings_of,
    settled,
    told,
    unmet,
    wording,
    wordings,
)  # fmt: skip
from vesalius.models.support import Shown, Support, support_of


def shown(modality: str, organ: str, *kinds: tuple[str, Any], num: int = 50, example: str = "") -> Shown:
    findings = tuple(Finding(kind=kind, side=side) for kind, side in kinds)
    return Shown(modality=modality, organ=organ, findings=findings, num_phantom=num, example=example or modality)


SUPPORT = Support(
    shown=(
        shown("CT", "chest", ("nodule", "left"), example="Chest CT, nodule on the left."),
        shown("CT", "chest", ("nodule", "right"), num=12),
        shown("CT", "chest", ("pneumothorax", "left"), num=90),
        shown("CT", "chest", ("nodule", "left"), ("pneumothorax", "left"), num=40),
        shown("X-ray", "chest", ("viral pneumonia", None), num=200, example="Chest X-ray: viral pneumonia."),
        shown("X-ray", "chest", ("COVID-19", None), num=3),
    ),
    terms={"nodule": ("nodule",)}, words={"CT": {"chest": 99, "nodule": 99, "left": 99}},
)  # fmt: skip
MENU = Menu(SUPPORT)
NODULE = Wish(modality="CT", organ="chest", finding="nodule", side="left")


def reasons(choices: list[Choice]) -> dict[str, str]:
    return {c.value: c.reason for c in choices if c.reason}


def offered(choices: list[Choice]) -> list[str]:
    return [c.value for c in choices if not c.reason]


def test_only_what_the_base_has_seen_can_be_chosen_and_the_rest_has_its_reason() -> None:
    assert offered(MENU.modalities) == ["CT", "X-ray"]
    assert reasons(MENU.modalities)["MRI"] == "modality"
    assert offered(MENU.findings(NODULE)) == ["pneumothorax", "nodule"]
    assert reasons(MENU.findings(NODULE)) == {"viral pneumonia": "none"}, "an X-ray of the chest shows it"
    assert reasons(MENU.findings(Wish(modality="X-ray", organ="chest")))["COVID-19"] == "few"
    assert offered(MENU.sides(NODULE)) == ["", "left", "right"]
    assert reasons(MENU.sides(NODULE)) == {"bilateral": "side"}
    assert MENU.sides(Wish(modality="X-ray", organ="chest", finding="viral pneumonia")) == []


def test_numbers_of_images_are_told_and_few_are_weak() -> None:
    left, right = (next(c for c in MENU.sides(NODULE) if c.value == s) for s in ("left", "right"))
    assert (left.num, left.is_weak, right.num, right.is_weak) == (90, False, 12, True)


def test_a_second_finding_is_offered_where_images_show_both() -> None:
    assert offered(MENU.seconds(NODULE)) == ["", "pneumothorax"]
    assert reasons(MENU.seconds(NODULE))["consolidation"] == "together"
    assert MENU.seconds(replace(NODULE, side="right")) == []
    both = replace(NODULE, second="pneumothorax")
    assert offered(MENU.second_sides(both)) == ["", "left"]


def test_sizes_and_counts_are_those_that_phantoms_have() -> None:
    assert MENU.sizes(NODULE) == (12, 45)
    assert MENU.sizes(replace(NODULE, count=2)) == (12, 24)
    assert MENU.sizes(replace(NODULE, second="pneumothorax")) == (12, 26)
    assert MENU.sizes(replace(NODULE, finding="pneumothorax")) is None
    assert offered(MENU.counts(NODULE)) == ["1", "2", "3"]
    assert MENU.sizes(Wish(modality="CT", organ="lung", finding="nodule")) is None


def test_a_wish_that_cannot_be_becomes_the_nearest_that_can() -> None:
    wish = settled(MENU, Wish(modality="MRI", organ="brain", finding="mass", side="left", size_mm=400, count=9))
    assert wish == Wish(modality="CT", organ="chest", finding="pneumothorax", side="left")
    assert settled(MENU, replace(NODULE, size_mm=400, count=9)).size_mm == 24
    assert settled(MENU, replace(NODULE, side="bilateral")).side == ""


def test_what_of_a_wish_cannot_be_had_is_named() -> None:
    assert unmet(MENU, NODULE) == []
    names = {name for name, _, _ in unmet(MENU, replace(NODULE, side="bilateral", size_mm=3))}
    assert names == {"side", "size_mm"}


@pytest.fixture(scope="module")
def nano() -> Menu:
    return Menu(support_of("nano"))


WISHES = [
    NODULE, replace(NODULE, count=3, size_mm=14), replace(NODULE, second="pleural effusion", second_side="right"),
    replace(NODULE, side="bilateral", count=2), replace(NODULE, finding="normal"),
    replace(NODULE, finding="consolidation", side="bilateral"),
    Wish(modality="MRI", organ="brain", finding="hemorrhage", side="right", size_mm=41),
    Wish(modality="MRI", organ="brain", finding="glioma"), Wish(modality="MRI", organ="heart"),
    Wish(modality="pathology", organ="breast", finding="mitotic figures", count=4),
    Wish(modality="pathology", organ="kidney", finding="glomerulus"),
    Wish(modality="X-ray", organ="chest", finding="bacterial pneumonia"), Wish(modality="fundus", organ="retina"),
    Wish(modality="blood smear", organ="blood", finding="thalassemia"), Wish(modality="CT", organ="abdomen"),
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("wish", WISHES, ids=lambda w: f"{w.modality} {w.finding} {w.second}")
def test_words_of_a_wish_are_read_back_as_they_were_meant(nano: Menu, wish: Wish, language: str) -> None:
    wish = settled(nano, wish)
    texts = wordings(wish, language)
    assert texts
    for text in texts:
        found = modality_in(text)
        assert found is not None
        assert found.name == wish.modality
        assert any("\u4e00" <= c <= "\u9fff" for c in text) == (language == "zh")
        if findings_of(wish):
            assert as_read(text) == told(findings_of(wish))


def test_the_base_knows_the_builders_words(nano: Menu) -> None:
    support = support_of("nano")
    assert support is not None
    for wish in WISHES:
        text = wording(settled(nano, wish), "en")
        assert support.warn(text, wish.modality) is None, text


def test_other_words_say_the_same(nano: Menu) -> None:
    wish = settled(nano, NODULE)
    assert wording(wish, "en") != wording(replace(wish, wording=1), "en")


def test_a_base_that_does_not_say_greys_nothing_out() -> None:
    menu = Menu(None)
    assert not menu.is_told
    wish = settled(menu, NODULE)
    assert wish.finding == "nodule"
    choices = [*menu.modalities, *menu.organs(wish), *menu.findings(wish), *menu.sides(wish)]
    assert not any(c.reason or c.num for c in choices)
