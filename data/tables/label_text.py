"""Texts for images that come with labels alone: a caption made of the label and what else the row states.

Which of the wordings an image gets is a function of its name and label, so a build is the same whenever it is repeated,
and training tells it anew in either language (`vesalius.data.texts.wording`).
"""

from __future__ import annotations

import dataclasses
import re

from vesalius.data.datasets.split import place_of
from vesalius.data.record import Record
from vesalius.data.texts.captions import caption_of
from vesalius.data.texts.prompt import is_chinese

_ORGANS = {
    "chest": r"\bchest|\bthora|\blung|\bcxr\b|胸|肺",
    "brain": r"\bbrain|\bhead\b|颅|脑",
    "breast": r"\bbreast|\bmammo|乳",
    "heart": r"\bcardiac|\bheart|心脏",
    "abdomen": r"\babdom|腹",
    "spine": r"\bspin|脊柱",
}


def organ_in(modality: str) -> str | None:
    """The part of the body that a word for a modality names ("chest X-ray", 胸部CT), or None."""
    return next((o for o, words in _ORGANS.items() if re.search(words, modality, re.IGNORECASE)), None)


def told_by_label(record: Record, name: str) -> Record:
    """A record without a text, told by its label: in Chinese where the label is Chinese, else in English.

    name: the image's own, which picks the wording.
    """
    import numpy as np

    language = "zh" if is_chinese(record.label or "") else "en"
    seed = int(place_of(f"{record.label}/{name}") * 2**53)
    text = caption_of(record, np.random.default_rng(seed), language, marked=False)
    return dataclasses.replace(record, text=text, extra={**record.extra, "text_origin": "label"})
