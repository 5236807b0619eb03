"""What no text should hold, removed and counted: control characters, and halves of characters."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_TEXT = 1_000_000
"""Most bytes of one text in UTF-8: a report of this length is a table whose quote never closed."""

_BREAKS = re.compile(r"[\x0b\x0c\x85]")
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
"""C0 and C1 but tab and newlines; blanks without width, marks that turn the direction of text, or that begin files."""


def cleaned(value: Any) -> tuple[Any, int]:
    """A value as JSON holds it, and how many control characters were removed from its texts.

    Page and vertical breaks become newlines, lone surrogates question marks, and what is not a number None.
    ValueError, to follow the column's name, where a text is longer than `MAX_TEXT`.
    """
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
        if len(value) * 4 > MAX_TEXT and (size := len(value.encode())) > MAX_TEXT:
            raise ValueError(
                f"holds a text of {size / 1e6:.1f} MB, at most {MAX_TEXT // 1_000_000} MB; is a quote left open? "
                "Shorten it or delete the row"
            )
        return _CONTROL.subn("", _BREAKS.sub("\n", value))
    if isinstance(value, float) and not math.isfinite(value):
        return None, 0
    if isinstance(value, list):
        pairs = [cleaned(each) for each in value]
        return [each for each, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        found = {cleaned(str(key))[0]: cleaned(each) for key, each in value.items()}
        return {key: each for key, (each, _) in found.items()}, sum(count for _, count in found.values())
    return value, 0
