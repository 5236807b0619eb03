"""Counts with their nouns, as messages tell them: 1 shard, 2 shards."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count and its noun. many: the plural, where it is not `one` with an s.

    >>> counted(1, "shard"), counted(0, "image"), counted(2, "entry", "entries")
    ('1 shard', '0 images', '2 entries')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"
