"""What a language must say for findings to be read from its reports (`findings_en`, `findings_zh`).

A phrase is lower-case words. Hyphens count as spaces, `ae` and `oe` as `e`, and the plural of a kind's last word is
known, so none of these needs a phrase of its own. Of all phrases that begin at a word the longest counts: that is how
"no change in" denies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Cue = Literal[
    "denies", "denied", "denies or denied", "doubts", "doubted", "doubts or doubted", "either", "unasserted",
    "unasserted before", "asserts", "seen", "verb", "with", "end", "or", "and", "prior", "distance", "it", "plain",
]  # fmt: skip
"""What a phrase does to the findings around it.

denies, doubts, unasserted: to those that follow (unasserted: of the past, of relatives, asked for, advised).
denied, doubted, unasserted before: to those before. either: doubts the finding on each of its sides ("versus").
"... or ...": to what follows, and to what stands before where nothing does. end: no scope reaches across.
asserts: after a comma it begins a statement of its own. seen: a verb after which a denial is spent. with: the same,
for what is joined loosely. prior, distance: a size beside it is of another time, or no size at all.
it: begins a sentence about the finding before. plain: nothing, which keeps a shorter phrase from being read.
"""
Where = Literal["left", "right", "bilateral", "middle"]


@dataclass(frozen=True, kw_only=True)
class Words:
    """One language. kinds: names of each kind beside its own. normal: what denies a kind as a whole.

    counts: by number; 0 is several.
    """

    kinds: Mapping[str, tuple[str, ...]]
    normal: Mapping[str, tuple[str, ...]]
    cues: Mapping[Cue, tuple[str, ...]]
    sides: Mapping[Where, tuple[str, ...]]
    counts: Mapping[int, tuple[str, ...]]


UNSIDED = frozenset({
    "cardiomegaly", "pericardial effusion", "pneumomediastinum", "pneumoperitoneum", "ascites", "hepatomegaly",
    "splenomegaly", "hepatic steatosis", "cirrhosis", "gallstones", "cholecystitis", "pancreatitis", "appendicitis",
    "bowel obstruction", "hydrocephalus", "hiatal hernia", "mitotic figures", "aortic aneurysm", "diverticulosis",
    "lymphocytic infiltrate", "necrosis", "carcinoma in situ", "gland", "scoliosis", "pituitary adenoma",
    "splenic lesion", "prostate enlargement", "metaplasia", "dysplasia", "lymphovascular invasion",
    "fibrosis of stroma",
})  # fmt: skip
"""Kinds of which no side is told."""
