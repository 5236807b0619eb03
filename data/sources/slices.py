"""Which slices of a series or volume become images."""

from __future__ import annotations

import re


def check_slices(slices: str) -> None:
    """ValueError where the words are not "middle", "all" or "every:N"."""
    if slices not in ("middle", "all") and not re.fullmatch(r"every:[1-9]\d{0,5}", slices):
        raise ValueError(f"slices '{slices}': expected middle, all, or every:N such as every:5")


def pick(num: int, slices: str) -> range:
    """The places of the chosen among `num` slices in their order; those of "every:N" lie evenly about the middle."""
    if slices == "all":
        return range(num)
    if slices == "middle":
        return range(num // 2, num // 2 + min(num, 1))
    step = int(slices.partition(":")[2])
    return range((num - 1) % step // 2, num, step)
