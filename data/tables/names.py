"""What a table's columns may be called, and which name was nearly right."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

FINDINGS = ("findings", "影像所见", "检查所见", "影像表现", "影像学表现", "超声所见", "镜下所见")
IMPRESSIONS = (
    "impression", "诊断意见", "诊断印象", "影像诊断", "超声提示", "检查结论", "病理诊断", "印象", "结论",
)  # fmt: skip
"""Columns that are one section of a report; where both are there they make the text."""

ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "file_name", "path", "image", "image_path", "img_path", "filename", "file", "file_path", "filepath",
        "image_file", "image_name", "image_filename", "img", "img_file", "dicom_path",
        "图像路径", "影像路径", "图片路径", "文件路径", "路径", "图像文件", "影像文件", "图像文件名", "影像文件名",
        "图片名称", "文件名称", "文件名", "图像", "影像", "图片",
    ),
    "text": (
        "text", "report", "caption", "prompt", "description", "impression", "report_text", "radiology_report",
        "clinical_notes", "captions", "报告", "报告内容", "检查报告", "影像报告", "报告文本", "报告正文", "文本",
        "描述", *FINDINGS[1:], *IMPRESSIONS[1:],
    ),
    "modality": (
        "modality", "modalities", "imaging_modality", "image_modality", "模态", "检查类型", "影像类型", "设备类型",
    ),
    "split": ("split", "subset", "partition", "数据划分", "划分"),
    "patient_id": ("patient_id", "patient", "patientid", "subject_id", "subject", "subjectid", "患者编号", "患者id"),
    "license": ("license", "licence"),
    "label": (
        "label", "labels", "finding_labels", "class", "class_name", "class_label", "标签", "类别", "分类", "疾病类别",
    ),
}  # fmt: skip
"""What a column may be called, in order of preference; compared as `key_of` makes them."""

DIAGNOSES = ("diagnosis", "dx", "disease", "category", "诊断", "疾病", "疾病名称")
"""Columns that are a label where a table has neither a text nor a label."""

_BETWEEN = re.compile(r"[\s\-_.]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_NUMBERED = re.compile(r"unnamed_\d+")
MOST = 300
"""Names of a header that are compared; one of thousands is not worth minutes."""
SURE = 0.8
"""How alike two names must be for one to be a misspelling of the other, from 0 to 1."""

KEPT_QUIETLY = ("text", "label", "split")
"""What a table may lack: misspelt, the texts would be made of the labels, or the split drawn anew, without a word."""


def key_of(name: object) -> str:
    """A column's name in lower case, spaces, hyphens, points and humps as one underscore; "" for a number of rows."""
    key = _BETWEEN.sub("_", _HUMP.sub("_", str(name).strip())).strip("_").lower().replace(":", "")
    return "" if _NUMBERED.fullmatch(key) else key


def is_told(findings: Any) -> bool:
    """Whether a column is a report's section, not a list of findings as JSON."""
    return isinstance(findings, str) and bool(findings.strip()) and not findings.lstrip().startswith(("[", "{"))


def with_other_section(name: str, text: str, columns: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a row from its column `name`, and which other column it took: where the one holds the findings and
    the other the impression, the report of both."""
    others = FINDINGS if name in IMPRESSIONS else IMPRESSIONS if name in FINDINGS else ()
    other = next((n for n in others if is_told(columns.get(n))), None)
    if other is None:
        return text, None
    parts = ((name, text), (other, columns[other].strip()))
    found, concluded = (_headed(*part) for part in (parts if name in FINDINGS else reversed(parts)))
    return f"{found}\n{concluded}", other


def _headed(name: str, text: str) -> str:
    if text.lower().startswith(name):
        return text
    return f"{name.upper()}: {text}" if name.isascii() else f"{name}：{text}"


def near(field: str, names: Sequence[str]) -> str | None:
    """ "column 'capton': did you mean 'caption'?" for the name that is nearest to one of the field's, or None."""
    every = {alias for aliases in ALIASES.values() for alias in aliases}
    unknown = {key: name for name in names[:MOST] if (key := key_of(name)) and key not in every}
    pairs = [(key, alias) for key in unknown for alias in ALIASES[field] if alias.isascii()]
    best = max(pairs, key=lambda pair: _alike(*pair), default=None)
    if best is None or _alike(*best) < SURE:
        return None
    return f"column '{unknown[best[0]]}': did you mean '{best[1]}'?"


def _is_one_word(name: str) -> bool:
    """Whether a column's name is one word: "reprot" is a misspelling, "report_id" another thing."""
    return "_" not in key_of(name)


def _alike(one: str, other: str) -> float:
    if len(one) > 3 and sorted(one) == sorted(other):  # letters that changed places, which the ratio counts twice
        return 0.95
    return difflib.SequenceMatcher(None, one[:60], other).ratio()


def check_unique(where: str, keys: Sequence[str]) -> None:
    """ValueError where two columns have one key, of which one would be lost."""
    twice = sorted((key, count) for key, count in Counter(keys).items() if key and count > 1)
    if twice:
        raise ValueError(f"{where}: column '{twice[0][0]}' is there {twice[0][1]} times; rename or delete one")


def check_spelling(where: str, names: Sequence[str], *, has_modality: bool) -> None:
    """ValueError where a column of rows that may lack some is misspelt: as `check_header`, of rows that name their own
    columns."""
    keys = {key_of(name) for name in names}
    missing = [] if has_modality or keys & set(ALIASES["modality"]) else ["modality"]
    if hints := _hints(names, missing):
        raise ValueError(f"{where}: {hints[0]} Rename or delete that column")


def _hints(header: Sequence[str], missing: Sequence[str]) -> list[str]:
    """What was nearly the name of a field that is missing, of the patients, or of one of `KEPT_QUIETLY`."""
    keys = {key_of(name) for name in header}
    hints = [hint for field in missing if (hint := near(field, header))]
    if not keys & set(ALIASES["patient_id"]) and (hint := near("patient_id", header)):
        hints.append(hint)
    for field in KEPT_QUIETLY:
        there = {*ALIASES[field], *(("findings",) if field == "text" else DIAGNOSES if field == "label" else ())}
        if field not in missing and not keys & there and (hint := near(field, [n for n in header if _is_one_word(n)])):
            hints.append(hint)
    return hints


def check_header(where: str, header: Sequence[str], *, has_modality: bool, remedy: str) -> None:
    """ValueError where the header lacks the path, text and label, or (unless `has_modality`) the modality, or where
    the column of patients is misspelt, since then a patient might be in two splits, or one of `KEPT_QUIETLY` is."""
    keys = {key_of(name) for name in header}
    wanted = ("path", "text") if has_modality else ("path", "text", "modality")
    texts = ("findings", *ALIASES["label"], *DIAGNOSES)
    missing = [w for w in wanted if not keys & {*ALIASES[w], *(texts if w == "text" else ())}]
    hints = _hints(header, missing)
    if not missing:
        if hints:
            raise ValueError(f"{where}: {hints[0]} Rename or delete that column")
        return
    other = {"text": " or label"}
    names = "; ".join(
        f"{w}{other.get(w, '')} (or {', '.join([a for a in ALIASES[w] if a != w][:6])}...)" for w in missing
    )
    flag = ", or pass --modality" if "modality" in missing else ""
    near_miss = f"{' '.join(hints)} " if hints else ""
    shown = ", ".join(name[:40] for name in header[:40]) or "none"
    raise ValueError(f"{where}: {near_miss}no column for {names}; the header has: {shown}. {remedy}{flag}")
