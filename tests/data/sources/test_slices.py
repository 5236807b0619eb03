"""Which slices are chosen."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.sources.slices import check_slices, pick


@given(num=st.integers(0, 500), step=st.integers(1, 60))
def test_every_nth_lies_evenly_about_the_middle(num: int, step: int) -> None:
    chosen = list(pick(num, f"every:{step}"))
    assert all(b - a == step for a, b in itertools.pairwise(chosen))
    assert len(chosen) == -(-num // step)
    if chosen:
        assert 0 <= chosen[0] <= chosen[-1] < num
        assert abs(chosen[0] - (num - 1 - chosen[-1])) <= 1


def test_middle_is_one_slice_and_all_are_all() -> None:
    assert list(pick(7, "middle")) == [3]
    assert list(pick(1, "middle")) == [0]
    assert list(pick(0, "middle")) == []
    assert list(pick(4, "all")) == [0, 1, 2, 3]


@pytest.mark.parametrize("words", ["", "every", "every:0", "every:-1", "every:1.5", "Middle", "every:9999999"])
def test_other_words_are_refused_with_the_right_ones(words: str) -> None:
    with pytest.raises(ValueError, match=rf"slices '{words}': expected middle, all, or every:N"):
        check_slices(words)
