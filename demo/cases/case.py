"""A teaching case as a sheet, in the shape of RSNA's MIRC: what is asked, and what is the answer. Knows no store."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.findings.zh import CHINESE
from vesalius.data.record import Finding
from vesalius.data.texts.prompt import is_chinese, sections
from vesalius.demo.page import Language, text_within
from vesalius.demo.sentences import Refusal, name_of
from vesalius.inference.sample import Sample

LEVELS = ("student", "resident", "fellow", "attending")
MOST_IMAGES = 24
TEXTS = {
    "title": ("The title", 200), "history": ("The history", 4000), "findings": ("The findings", 6000),
    "diagnosis": ("The diagnosis", 500), "discussion": ("The discussion", 20_000),
}  # fmt: skip
"""Fields of text: what they are called, and how many characters they hold."""
LISTS = {
    "differential": ("The differential", 20, 200), "keywords": ("The keywords", 30, 60),
    "references": ("The references", 30, 500),
}  # fmt: skip
"""Fields of lines: what they are called, how many lines they hold, and how long one may be."""
MOST_CAPTION = 500
MOST_WORDS = 300
"""Characters of a search."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_WORD = re.compile(r"[^\W\d_]{5,}|[\u4e00-\u9fff]{2,}")


@dataclass(frozen=True, kw_only=True)
class CaseImage:
    """A picture of a case. in_answer: whether it is shown with the answer only."""

    picture: str
    caption: str = ""
    in_answer: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One teaching case. id: "" until it is kept. language: of what is written, and so of its exports' headings.
    created and updated: seconds since 1970."""

    id: str = ""
    title: str = ""
    history: str = ""
    images: tuple[CaseImage, ...] = ()
    findings: str = ""
    diagnosis: str = ""
    differential: tuple[str, ...] = ()
    discussion: str = ""
    level: str = ""
    language: Language = "en"
    keywords: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    created: float = 0.0
    updated: float = 0.0

    def body(self) -> dict[str, Any]:
        """What a person wrote, as JSON."""
        row = dataclasses.asdict(self)
        return {k: v for k, v in row.items() if k not in ("id", "created", "updated")}

    @property
    def is_empty(self) -> bool:
        """Whether nobody wrote anything, and no picture is there."""
        return not (self.images or any(getattr(self, name) for name in (*TEXTS, *LISTS)))

    @property
    def written(self) -> str:
        """All its words, for a search."""
        captions = (image.caption for image in self.images)
        lists = (*self.differential, *self.keywords, *self.references)
        return "\n".join((*(getattr(self, name) for name in TEXTS), *lists, *captions, self.level))


def case_of(row: Mapping[str, Any]) -> Case:
    """A case out of what a browser, a script or a file says. ValueError names the field that cannot be kept."""
    texts: dict[str, Any] = {name: plain(row.get(name), most, what) for name, (what, most) in TEXTS.items()}
    lists: dict[str, Any] = {name: _lines(row.get(name), *bounds) for name, bounds in LISTS.items()}
    level, language = row.get("level") or "", row.get("language") or "en"
    if level not in ("", *LEVELS):
        raise Refusal(
            f"The level '{str(level)[:40]}' is not known; expected one of {', '.join(LEVELS)}",
            f"未知的级别“{str(level)[:40]}”；应为 {'、'.join(LEVELS)} 之一",
        )
    if language not in get_args(Language):
        raise Refusal(
            f"The language '{str(language)[:40]}' is not known; expected en or zh",
            f"未知的语言“{str(language)[:40]}”；应为 en 或 zh",
        )
    images = row.get("images") or []
    if not isinstance(images, list | tuple):
        raise Refusal("The images: expected a list", "图像：应为列表")
    if len(images) > MOST_IMAGES:
        raise Refusal(
            f"The case has {len(images)} pictures; at most {MOST_IMAGES} are kept. Remove some",
            f"病例有 {len(images)} 幅图像；最多保存 {MOST_IMAGES} 幅。请移除一些",
        )
    read = {image.picture: image for image in map(_image, images)}  # a picture is in a case once
    return Case(**texts, **lists, level=level, language=cast(Language, language), images=tuple(read.values()))


def plain(value: object, most: int, what: str) -> str:
    """A field's text within its length, without what no file format holds: control characters, half characters."""
    text = text_within(value, most, what).replace("\r\n", "\n").replace("\r", "\n")
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub("", whole).strip()


def _lines(value: object, what: str, most: int, longest: int) -> tuple[str, ...]:
    """Lines of a list, or of one text."""
    if isinstance(value, str):
        value = text_within(value, most * (longest + 1), what).splitlines()
    if not isinstance(value, list | tuple | None):
        raise Refusal(f"{what}: expected lines of text", f"{name_of(what)}：应为文字行")
    lines = [line for each in value or () if (line := " ".join(plain(each, longest, f"A line of {what[4:]}").split()))]
    if len(lines) > most:
        raise Refusal(
            f"{what} has {len(lines)} lines; at most {most} are kept. Shorten it",
            f"{name_of(what)}有 {len(lines)} 行；最多保存 {most} 行。请缩短",
        )
    return tuple(lines)


def _image(row: object) -> CaseImage:
    if not isinstance(row, Mapping) or not isinstance(row.get("picture"), str) or len(row["picture"]) > 100:
        raise Refusal(
            "An image of the case: expected an object with 'picture', 'caption' and 'in_answer'",
            "病例中的图像：应包含 picture、caption 和 in_answer",
        )
    caption = " ".join(plain(row.get("caption"), MOST_CAPTION, "A caption").split())
    return CaseImage(picture=row["picture"], caption=caption, in_answer=row.get("in_answer") is True)


def asked(case: Case) -> Case:
    """The case without its answer: title, findings, diagnosis, differential, discussion, keywords and references are
    empty, and the pictures that belong to the answer are left out."""
    return replace(
        case, title="", findings="", diagnosis="", differential=(), discussion="", keywords=(), references=(),
        images=tuple(image for image in case.images if not image.in_answer),
    )  # fmt: skip


def told_early(case: Case) -> tuple[str, ...]:
    """Words of the diagnosis that history or captions of the question say already."""
    return _shared(case.diagnosis, " ".join((case.history, *(i.caption for i in case.images if not i.in_answer))))


def told_by_title(case: Case) -> tuple[str, ...]:
    """Words of the diagnosis that the title says already."""
    return _shared(case.diagnosis, case.title)


def _shared(diagnosis: str, text: str) -> tuple[str, ...]:
    """Words of a diagnosis that a text says: of Chinese two characters, else five letters or more."""
    question, words = folded(text), list[str]()
    for word in _WORD.findall(folded(diagnosis)):
        words += [word[i : i + 2] for i in range(len(word) - 1)] if is_chinese(word) else [word]
    return tuple(dict.fromkeys(word for word in words if word in question))


def folded(text: str) -> str:
    """Text as it is searched: without case and width."""
    return unicodedata.normalize("NFKC", text).casefold()


def first_draft(samples: Iterable[Sample], language: Language) -> dict[str, Any]:
    """Title, findings, diagnosis and keywords as far as prompts tell them; no history, and no diagnosis that none told.

    The findings are what was asked for; whether a picture shows them, the teacher sees.
    """
    drawn = list(samples)
    found = [f for sample in drawn for f in (sample.findings or as_findings(findings_in(sample.text)))]
    unique = list(dict.fromkeys(found))
    modalities = list(dict.fromkeys(sample.modality for sample in drawn))
    present = [f for f in unique if f.present]
    told = [sections(sample.text).get("impression", "") for sample in drawn]
    named = list(dict.fromkeys(_name(f, language) for f in present))
    between = "、" if language == "zh" else ", "
    title = f"{between.join(modalities)}{'：' if language == 'zh' else ': '}{between.join(named)}" if named else ""
    return {
        "title": title[: TEXTS["title"][1]], "findings": "\n".join(_sentence(f, language) for f in unique),
        "diagnosis": "\n".join(dict.fromkeys(filter(None, told)))[: TEXTS["diagnosis"][1]],
        "keywords": list(dict.fromkeys([*modalities, *named]))[: LISTS["keywords"][1]],
    }  # fmt: skip


def _name(finding: Finding, language: Language) -> str:
    return CHINESE.kinds.get(finding.kind, (finding.kind,))[0] if language == "zh" else finding.kind


def _sentence(finding: Finding, language: Language) -> str:
    """A finding in words: side, count and size as far as they are known."""
    name = _name(finding, language)
    size = "" if finding.size_mm is None else f"{finding.size_mm:g} mm"
    if language == "zh":
        side = {"left": "左侧", "right": "右侧", "bilateral": "双侧"}.get(finding.side or "", "")
        count = f"，共{finding.count}处" if finding.count > 1 else ""
        return f"{side}{name}{count}{f'，约{size}' if size else ''}。" if finding.present else f"未见{name}。"
    if not finding.present:
        return f"No {name}."
    count = f"{finding.count} x " if finding.count > 1 else ""
    side = {"bilateral": ", on both sides"}.get(finding.side or "", f", on the {finding.side}" if finding.side else "")
    text = f"{count}{name}{side}{f', about {size}' if size else ''}."
    return text[0].upper() + text[1:]
