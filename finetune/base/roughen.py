"""Texts as careless people write them: the noise under which a text encoder learns what carries the meaning."""

from __future__ import annotations

import re

import numpy as np

DROPPABLE = frozenset(
    re.findall(r"\w+", "a an the is are was of in on at with and there seen noted shows showing image study")
)
"""Words that carry no finding, side, number or negation."""

FILLER = tuple(
    re.findall(
        r"\w+",
        "please image of patient study today again clearly overall moreover located within appearances consistent this "
        "that these which also likely however otherwise routine quality adequate view obtained interpretation evident "
        "examination suggests suggestive concurrent depicted demonstrates reveals identified considered "
        "图像 显示 提示 考虑 检查 可见 本次 请 所示 符合 表现 清晰",
    )
)
"""Words of real life that say nothing: an encoder learns to pass over them, and over what it does not know."""


def roughened(text: str, rng: np.random.Generator) -> str:
    """A text as careless people write it: function words dropped, stray words put in.

    A pure function of the text and the generator. What carries a finding, a side, a number or a negation stays.
    """
    words = text.split(" ")
    kept = [w for w in words if w.lower().strip(".,;:") not in DROPPABLE or rng.random() > 0.3]
    for _ in range(int(rng.integers(0, 4))):
        kept.insert(int(rng.integers(len(kept) + 1)), FILLER[int(rng.integers(len(FILLER)))])
    return " ".join(kept) or text
