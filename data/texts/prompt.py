"""From records to prompts: the one text path that training and drawing share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vesalius.data.record import Record
from vesalius.data.texts.captions import CAPTIONS, GREY, is_grey

SECTIONS = (
    "indication",
    "clinical history",
    "history",
    "technique",
    "comparison",
    "findings",
    "impression",
    "conclusion",
    "examination",
    "procedure",
    "gross description",
    "immunohistochemistry",
    "recommendation",
    "addendum",
    "note",
)
"""The names of sections."""
_LOOSE = {name: name for name in SECTIONS[:8]}  # may follow any blank; the others only the end of a line or sentence
_STRICT = {
    "reason for exam": "indication", "reason for examination": "indication", "reason for study": "indication",
    "reason for the exam": "indication", "reason for the examination": "indication", "indications": "indication",
    "reason for the study": "indication", "clinical indication": "indication", "clinical indications": "indication",
    "clinical information": "clinical history", "clinical data": "clinical history", "exam": "examination",
    "examination": "examination", "procedure": "procedure", "diagnosis": "impression", "final diagnosis": "impression",
    "opinion": "impression", "summary": "impression", "gross description": "gross description",
    "microscopic description": "findings", "immunohistochemistry": "immunohistochemistry", "addendum": "addendum",
    "recommendation": "recommendation", "recommendations": "recommendation",
}  # fmt: skip
CHINESE_SECTIONS = {
    "检查目的": "indication", "申请原因": "indication", "送检目的": "indication", "送检说明": "indication",
    "适应证": "indication", "临床诊断": "indication", "主诉": "indication", "临床病史": "clinical history",
    "病史": "history", "现病史": "history", "临床资料": "clinical history", "检查方法": "technique",
    "检查技术": "technique", "扫描方法": "technique", "扫描技术": "technique", "染色方法": "technique",
    "制片方法": "technique", "对比": "comparison", "检查部位": "examination", "检查所见": "findings",
    "影像所见": "findings", "影像表现": "findings", "影像学表现": "findings", "影像学所见": "findings",
    "放射学表现": "findings", "超声所见": "findings", "镜下所见": "findings", "显微镜所见": "findings",
    "所见": "findings",
    "诊断印象": "impression", "影像诊断": "impression", "影像学诊断": "impression", "放射学诊断": "impression",
    "诊断意见": "impression", "病理诊断": "impression", "病理意见": "impression", "印象": "impression",
    "超声提示": "impression", "检查结论": "impression", "影像结论": "impression", "诊断结论": "impression",
    "结论": "conclusion", "大体所见": "gross description", "肉眼所见": "gross description",
    "免疫组化": "immunohistochemistry",
    # words of sentences too, so that they are headings only where a line or sentence begins
    "提示": "impression", "建议": "recommendation", "备注": "note",
}  # fmt: skip
"""Chinese headings and the English ones that they stand for."""
_NAMES = {**_LOOSE, **_STRICT, **CHINESE_SECTIONS}


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_ENGLISH = _any([*_LOOSE, *_STRICT])
_PLAIN = _any([*_LOOSE, *(w for w in CHINESE_SECTIONS if w not in ("提示", "建议", "备注"))])
_COLON = r"[ \t]*(?:\*\*)?[:：](?:\*\*)?"
_NUMBER = (
    r"(?:[(（]?(?:\d{1,2}|[一二三四五六七八九十]{1,2}|[IVX]{1,4}|[A-H])[.)、）．][ \t]{0,4}"
    r"|[-•#*]{1,4}[ \t]{0,4})?"
)
_BRACKETED = rf"[【\[［][ \t]*({_any(_NAMES)})[ \t]*[】\]］][:：]?"
# A heading has its colon or its brackets, or is in capitals and alone on its line.
_HEADING = re.compile(
    rf"(?im)(?:(?:^|(?<=[.。；;!?！？】\]]))[ \t]{{0,8}}{_NUMBER}(?:"
    rf"({_any(_NAMES)})(?:[ ]?(?:/|&|and)[ ]?(?:{_ENGLISH}))?{_COLON}|{_BRACKETED})"
    rf"|(?<=\s)(?:({_PLAIN}){_COLON}|{_BRACKETED})"
    rf"|^[ \t]{{0,8}}{_NUMBER}((?-i:{_ENGLISH.upper()}))[ \t]{{0,8}}\r?$)\s*"
)
# A Latin mark ends a sentence only before a space (1.8 cm), a Chinese one anywhere.
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=\S)|(?<=[。！？；])\s*(?=\S)")
_SIDE = r"(?:left|right)(?=(?:wards?|most|sided)?\b)"
# "left and right" names both sides, and so does 左右 (which also says "about"): what is both has no other side.
_SIDES = re.compile(rf"\b{_SIDE}(?: and (?:(?:on|in) )?(?:the )?{_SIDE})*|[左右](?:[、和及与]?[左右])*", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "左": "右", "右": "左"}
_ONE_SIDE = re.compile(r"left|right|[左右]", re.IGNORECASE)
_MARKS = re.compile(r"_{2,}|\[\*\*.*?\*\*\]")


def clean(text: str) -> str:
    """One line of text without the marks (`___`) that de-identification left: models memorise them most."""
    return " ".join(_MARKS.sub(" ", text).split())


def is_chinese(text: str) -> bool:
    """Whether a text has a Chinese character in it."""
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def sections(report: str) -> dict[str, str]:
    """A report's sections by English lower-case heading, those of one name joined; empty where it has no headings."""
    found: dict[str, str] = {}
    for heading, _, start, end in section_spans(report):
        found[heading] = "\n".join(part for part in (found.get(heading), report[start:end].strip()) if part)
    return found


def section_spans(report: str) -> list[tuple[str, int, int, int]]:
    """Each section's English lower-case heading, and where in the report heading, body and end lie, in order."""
    marks = list(_HEADING.finditer(report))
    ends = [*(m.start() for m in marks[1:]), len(report)][: len(marks)]
    heads = [next(group for group in m.groups() if group).lower() for m in marks]
    return [(_NAMES[head], m.start(), m.end(), end) for head, m, end in zip(heads, marks, ends, strict=True)]


def sentences(text: str) -> list[str]:
    """Sentences in order; decimal points (1.8 cm) do not end one."""
    return [s for s in (p.strip() for p in _SENTENCE.split(text)) if s]


def prompts_of(record: Record) -> tuple[str, ...]:
    """Every wording of a record that a model may be trained on, without doubles: caption, report, impression, findings.

    A section alone is preceded by modality and organ, so that no prompt is ambiguous. CT whose Hounsfield units are not
    known is grey, and its prompts begin by saying so.
    """
    parts = sections(record.text)
    wordings = [record.caption or "", record.text]
    for name, chinese in (("impression", "诊断印象"), ("findings", "检查所见")):
        if is_chinese(part := parts.get(name, "")):
            wordings.append(f"{_chinese_subject(record)}{chinese}：{part}")
        elif part:
            organ = f"{record.organ} " if record.organ else ""
            wordings.append(f"{record.modality} {organ}{name}: {part}")
    if is_grey(record):
        wordings = [w and GREY["zh" if is_chinese(w) else "en"] + w for w in map(clean, wordings)]
    return tuple(dict.fromkeys(w for w in map(clean, wordings) if w))


def _chinese_subject(record: Record) -> str:
    """Organ and modality: 胸部CT."""
    names, organ = CAPTIONS["zh"], record.organ or ""
    region = names.regions[organ][0] if organ in names.regions else names.organs.get(organ, organ)
    return region + names.modalities.get(record.modality, record.modality)


def swap_sides(text: str) -> str | None:
    """The text with left and right exchanged, case kept, or None where it names no side: the contrast for a score.

    Where both sides are named as one ("left and right", 左、右) nothing is exchanged.
    """
    swapped = _SIDES.sub(lambda named: _ONE_SIDE.sub(_other, named[0]) if _is_one(named[0]) else named[0], text)
    return None if swapped == text else swapped


def _is_one(named: str) -> bool:
    """Whether a chain of sides names but one."""
    return len({side.lower() for side in _ONE_SIDE.findall(named)}) == 1


def _other(match: re.Match[str]) -> str:
    word = _OTHER[match[0].lower()]
    if match[0].isupper():
        return word.upper()
    return word.capitalize() if match[0][0].isupper() else word
