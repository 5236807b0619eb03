"""The builder's page: one stop of the tab key a group, reasons that screen readers hear, and states from outside."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from vesalius.demo.create.choices import Menu, Wish
from vesalius.demo.tabs.builder import builder_html, first_wish, picked, words_of
from vesalius.models.support import support_of


@pytest.fixture(scope="module")
def menu() -> Menu:
    return Menu(support_of("nano"))


def state(wish: Wish, **change: Any) -> str:
    return json.dumps({"wish": asdict(wish), "text": "before", **change})


def test_what_cannot_be_chosen_can_be_reached_and_says_why(menu: Menu) -> None:
    page = builder_html(menu, first_wish(menu), "en")
    off = re.findall(r'<button type="button" role="radio"[^>]*aria-disabled="true"[^>]*>.*?</button>', page)
    assert off
    assert all("data-why=" in button and "board-unseen" in button for button in off)
    assert not re.search(r"<button[^>]* disabled", page), "which no keyboard could reach"
    assert "ultrasound: no training image is of it." in page
    assert "COVID-19: no training image of CT shows it." in page


def test_each_group_is_one_stop_of_the_tab_key(menu: Menu) -> None:
    page = builder_html(menu, first_wish(menu), "en")
    for group in re.findall(r'role="radiogroup"[^>]*>(.*?)</div>', page):
        assert group.count('tabindex="0"') == group.count('aria-checked="true"') == 1


def test_it_speaks_chinese(menu: Menu) -> None:
    page = builder_html(menu, first_wish(menu), "zh")
    assert "成像方式" in page
    assert "没有显示该病变的CT训练图像" in page
    assert "结节" in words_of(first_wish(menu), "zh")


def test_a_choice_changes_the_state_and_what_depends_on_it(menu: Menu) -> None:
    first = first_wish(menu)
    wish, before, insists = picked(menu, state(first, field="side", value="right"))
    assert (wish.side, wish.finding, before, insists) == ("right", "nodule", "before", False)
    wish, _, _ = picked(menu, state(first, field="modality", value="MRI"))
    assert (wish.modality, wish.organ) == ("MRI", "brain")
    wish, _, _ = picked(menu, state(first, field="size_mm", value="400"))
    assert wish.size_mm == 45
    wish, _, _ = picked(menu, state(first, field="finding", value="pneumothorax"))
    assert (wish.side, wish.size_mm) == ("left", None)
    assert picked(menu, state(first, field="again"))[0].wording == 1
    assert picked(menu, state(first, field="use"))[2] is True


def test_what_cannot_be_chosen_is_not_chosen_by_force_either(menu: Menu) -> None:
    wish, _, _ = picked(menu, state(first_wish(menu), field="modality", value="OCT"))
    assert wish.modality == "CT"


@pytest.mark.parametrize("sent", [
    "", "no json", "[]", "{}", '{"wish": 3}', '{"wish": {"count": "many"}}', '{"wish": {}, "field": "colour"}',
    '{"wish": {}, "field": "size_mm", "value": "NaN"}', '{"wish": {"size_mm": 1e999}}', "x" * 100_000,
])  # fmt: skip
def test_a_state_that_is_none_is_refused_in_a_sentence(menu: Menu, sent: str) -> None:
    with pytest.raises(ValueError, match="reload the page"):
        picked(menu, sent)


def test_states_are_escaped(menu: Menu) -> None:
    page = builder_html(menu, first_wish(menu), "en", text='"><script>', kept=True)
    assert "<script>" not in page
    assert html.escape('"><script>', quote=False) in page.replace("&quot;", '"')
