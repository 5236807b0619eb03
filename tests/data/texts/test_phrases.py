"""Phrases with slots, and parts that are left out."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.data.texts.phrases import fill, pick, variants


@pytest.mark.parametrize(
    ("phrase", "words", "text"),
    [
        ("{the} is seen[ {where}].", {"the": "a nodule", "where": "on the left"}, "a nodule is seen on the left."),
        ("{the} is seen[ {where}].", {"the": "a nodule", "where": ""}, "a nodule is seen."),
        ("{the} is seen[ {where}].", {"the": "a nodule"}, "a nodule is seen."),
        ("[{a} and {b}]", {"a": "x", "b": ""}, ""),
        ("[一{unit}]{one}", {"unit": "枚", "one": "结节"}, "一枚结节"),
        ("no slot", {}, "no slot"),
    ],
)
def test_a_part_in_brackets_is_left_out_with_its_slot(phrase: str, words: dict[str, str], text: str) -> None:
    assert fill(phrase, words) == text


def test_a_slot_outside_of_brackets_must_be_known() -> None:
    with pytest.raises(KeyError):
        fill("{the} is seen.", {})


def test_every_phrase_is_picked() -> None:
    rng = np.random.default_rng(0)
    assert {pick(rng, ("a", "b", "c")) for _ in range(50)} == {"a", "b", "c"}


def test_one_of_the_words_in_angle_brackets_is_drawn() -> None:
    rng = np.random.default_rng(0)
    phrase = "<|clearly ><seen|noted>[ {where}]"
    drawn = {pick(rng, (phrase,)) for _ in range(80)}
    assert drawn == set(variants(phrase))
    assert drawn == {"seen[ {where}]", "noted[ {where}]", "clearly seen[ {where}]", "clearly noted[ {where}]"}
