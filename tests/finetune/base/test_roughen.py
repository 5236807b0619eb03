"""Noise in texts leaves their meaning."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vesalius.finetune.base.roughen import DROPPABLE, FILLER, roughened

TEXT = "Chest CT: there is a 17 mm nodule in the left lung. No pleural effusion is seen."


@given(st.integers(0, 10_000))
def test_what_carries_the_meaning_stays_in_order(seed: int) -> None:
    rough = re.findall(r"\w+", roughened(TEXT, np.random.default_rng(seed)).lower())
    meaning = [w for w in re.findall(r"\w+", TEXT.lower()) if w not in DROPPABLE]
    rest = iter(rough)
    assert all(word in rest for word in meaning)


def test_filler_names_no_finding_side_or_negation() -> None:
    assert not {"left", "right", "no", "not", "without", "nodule", "mass", "左", "右", "无", "未见"} & {
        *FILLER,
        *DROPPABLE,
    }


def test_the_same_chance_roughens_in_the_same_way() -> None:
    assert roughened(TEXT, np.random.default_rng(1)) == roughened(TEXT, np.random.default_rng(1))
