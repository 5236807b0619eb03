"""Counts with their nouns."""

from __future__ import annotations

import pytest

from vesalius.data.command.counted import counted


@pytest.mark.parametrize(
    ("count", "words", "told"),
    [(0, ("shard",), "0 shards"), (1, ("shard",), "1 shard"), (2, ("shard",), "2 shards"),
     (1, ("entry", "entries"), "1 entry"), (3, ("entry", "entries"), "3 entries")],
)  # fmt: skip
def test_one_is_told_as_one(count: int, words: tuple[str, ...], told: str) -> None:
    assert counted(count, *words) == told
