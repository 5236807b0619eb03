"""Words of the field in the reader's language: findings, organs, modalities, sides, measures, and who looked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from vesalius.data.modality import MODALITIES
from vesalius.data.phantoms.terms_zh import TERMS_ZH
from vesalius.data.tables.labels import LABEL_WORDS, bare
from vesalius.data.texts.captions_zh import CHINESE_CAPTIONS

if TYPE_CHECKING:
    from vesalius.demo.page import Language

OWN = {
    "CT": "CT", "MRI": "MRI", "OCT": "OCT", "X-ray": "X线", "ultrasound": "超声", "fundus": "眼底照片",
    "pathology": "病理", "blood smear": "血涂片", "left": "左侧", "right": "右侧", "bilateral": "双侧",
    "normal": "正常", "nothing": "无", "not seen": "未见", "no finding": "无病变", "phantom reader": "体模阅片网络",
    "judge": "评判网络", "witness": "见证网络", "present": "存在", "absent": "不存在",
}  # fmt: skip
"""Chinese for what no text of training says alone."""
REASONS = {
    "no network": (
        "No network here has learnt to recognise this, so that it cannot be checked. Look for yourself.",
        "此处没有能识别该内容的网络，无法检查，请自行判断。",
    ),
    "too often wrong": (
        "The only network that knows this is wrong too often on real images to be asked. Look for yourself.",
        "唯一认识该内容的网络在真实图像上错误过多，不予采用，请自行判断。",
    ),
    "not in sight": (
        "The finding itself is not seen, so that this cannot be measured.",
        "未见该病变，因此无法测量。",
    ),
    "other scale": (
        "The picture has no known scale, so that nothing is measured in it.",
        "该图像没有已知比例尺，无法测量。",
    ),
}  # fmt: skip
"""Why something cannot be checked, by its short name."""
MODALITY_WORDS = {f"modality.{name}": (name, OWN[name]) for name in MODALITIES}
"""What lists of modalities show, by the name of each."""
_MEASURE = re.compile(r"(?P<number>\d+(?:\.\d+)?) mm")
_COUNT = re.compile(r"count (?P<number>\d+)")
_DENIED = re.compile(r"no (?P<kind>.+)")


def term(words: str, language: Language) -> str:
    """One or several words, parted by commas, in a language; what is not known stays as it is."""
    if language == "en":
        return words
    known = chinese()
    if words in known:
        return known[words]
    return "，".join(_one(part.strip(), known) for part in words.split(", "))


def _one(word: str, known: Mapping[str, str]) -> str:
    if word in known:
        return known[word]
    if measure := _MEASURE.fullmatch(word):
        return f"{measure['number']} 毫米"
    if count := _COUNT.fullmatch(word):
        return f"共 {count['number']} 个"
    if denied := _DENIED.fullmatch(word):
        return f"无{known.get(denied['kind'], denied['kind'])}"
    return word


@cache
def chinese() -> Mapping[str, str]:
    """Chinese words by English ones, as training texts have them."""
    english, other = LABEL_WORDS["en"], LABEL_WORDS["zh"]
    labels = {bare(told[0]): bare(other[key][0]) for key, told in english.items() if other.get(key)}
    regions = {name: told[0] for name, told in CHINESE_CAPTIONS.regions.items()}
    findings = {kind: told.absent for kind, told in TERMS_ZH.items()}
    return MappingProxyType({**regions, **CHINESE_CAPTIONS.organs, **labels, **findings, **OWN})
