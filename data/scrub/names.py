"""Names of persons, known by a label, a title, a credential or a common given name beside them; English and Chinese."""

from __future__ import annotations

import re

from vesalius.data.scrub import words as words
from vesalius.data.scrub.dates import GAP

_U, _L = "A-ZÀ-ÖØ-ÞĀ-Ž", "a-zß-öø-ÿĀ-ž"
_WORD = rf"(?:[{_U}]['’])?[{_U}][{_L}{_U}'’-]{{1,24}}(?![{_L}{_U}])"
_TOKEN = rf"(?:{_WORD}|[{_U}]\.(?:[ ]?[{_U}]\.)?|[{_U}](?=[ ][{_U}]))"
_PARTICLE = r"(?:van|von|de|der|den|la|le|di|da|dos|del|bin|al|el|ter)"
_NAME = (
    rf"(?:{_PARTICLE}[ ]){{0,2}}{_TOKEN}(?:[ ](?:{_PARTICLE}[ ]){{0,2}}{_TOKEN}){{0,3}}"
    rf"(?:[ ][{_U}](?=[ ]?(?:[.,;\n]|$)))?"
)
_DR = r"(?:Dr|Prof|Mr|Mrs|Ms)\.?[ ]"
_LISTED = rf"(?:{_DR})?(?:{_WORD},[ ]?[{_U}](?![A-Za-z{_U}{_L}])|(?:{_WORD},[ ]?)?{_NAME})"
_BEFORE = r"(?<![A-Za-z0-9])"
_START = r"(?:(?<=[.;,|\n。；，、(\[])[ ]{0,4}|(?<=[ ][ ])|^[ \t]{0,8})"
_CREDIT = rf"(?:,?[ ](?:{words.CREDENTIALS})(?![A-Za-z]))"
_COLON = r"[ ]{0,3}[:：][ ]{0,4}"
_NO_EPONYM = rf"(?!(?:['’]s)?[ -](?:{words.EPONYMS})\b)"
_H = "\u4e00-\u9fff"
_SURNAME = rf"(?:{words.DOUBLE_SURNAMES}|[{words.SURNAMES}])"
_SURNAME_TOO = rf"(?:{words.DOUBLE_SURNAMES}|[{words.SURNAMES_TOO}])"
_ZH_WHO = "(?P<who>患者|病人|患儿|病员)"
_ZH_END = (
    rf"(?=[^{_H}]|$|性别|年龄|科室|科别|住院|门诊|病历|检查|报告|审核|床号|电话|日期|时间|诊断|临床|申请|"
    "男|女|签|送检|记录)"
)
_CREDITS = re.compile(rf"^{_CREDIT}{{1,3}}")
_ALSO = re.compile(rf"^(?:,| and)[ ](?:{_DR})?{_WORD}")
_TITLE = re.compile(_DR)


def _person(text: str, first: frozenset[str] = words.PLAIN) -> str:
    """The part of a match that is a name: it ends before the first plain word, and before a possessive."""
    end = 0
    for found in re.finditer(r"[^\s,]+", text):
        word = found[0].strip(".,'’-").lower().removesuffix("'s").removesuffix("’s")
        initial = len(word) == 1 and (end or found[0].endswith(".") or first is words.FUNCTION)
        if word in (words.PLAIN if end else first) and not initial:
            break
        end = found.end()
    name = text[:end].rstrip(", ")
    if len(name) < 3 and first is words.PLAIN:
        return ""  # "Patient: M."
    return name[:-2] if name.endswith(("'s", "’s")) else name


def _behind(text: str, name: str) -> str:
    """What a match took beyond the name, but for credentials."""
    return _CREDITS.sub("", text[len(name) :])


def _begins(match: re.Match[str]) -> bool:
    """Whether a sentence begins at the match."""
    before = match.string[max(0, match.start() - 3) : match.start()].rstrip(" ")
    return not before or before[-1] in ".\n!?"


def _titled(match: re.Match[str]) -> str | None:
    """ "Dr. Jane Doe" as "the physician"."""
    title, name = match["title"].rstrip(".").lower(), match["name"]
    if name != GAP:
        worded = title in ("doctor", "nurse", "miss", "professor")
        name = _person(name, words.PLAIN if worded else words.FUNCTION)
        if not name:
            return None
    rest = _behind(match["name"], name)
    rest = _ALSO.sub("", rest) if title == "drs" else rest
    role = "nurse" if title == "nurse" else "patient" if title in words.LAY_TITLES else "physician"
    return f"{'The' if _begins(match) else 'the'} {role}{'s' if title == 'drs' else ''}{rest}"


def _labelled(match: re.Match[str]) -> str | None:
    """ "Referring physician: Jane Doe" as nothing."""
    name = match["name"]
    if name.endswith(GAP):
        return GAP
    title = _TITLE.match(name)
    person = _person(name[title.end() if title else 0 :])
    if not person:
        return None
    kept = (title[0] if title else "") + person
    label, rest = match["label"].strip().lower(), match.string[match.start("name") + len(kept) :][:2]
    if " " not in kept and (label in words.WEAK_LABELS or (label in ("patient", "pt") and rest[1:].islower())):
        return None  # "Father: Diabetes", "Patient: Ambulatory at home"
    return GAP + _behind(name, kept)


def _lower(match: re.Match[str]) -> str | None:
    return None if words.PLAIN & set(match["name"].replace(",", " ").split()) else GAP


def _lower_titled(match: re.Match[str]) -> str | None:
    return None if match["name"] in words.PLAIN else "the physician"


def _by(match: re.Match[str]) -> str | None:
    """ "referred by Jane Doe" as "referred"."""
    name = match["name"]
    kept = name if name == GAP else _person(name)
    return match["verb"] + GAP + _behind(name, kept) if kept else None


def _credited(match: re.Match[str]) -> str | None:
    """ "Jane Doe, MD": the words behind the last plain one, with what follows them."""
    name, start = match["name"], 0
    for word in re.finditer(r"\S+", name):
        if word[0].strip(".,").lower() in words.PLAIN:
            start = word.end()
    head = name[:start]
    return f"{head}{' ' if head else ''}{GAP}" if name[start:].strip() else None


def _given(match: re.Match[str]) -> str | None:
    kept = _person(match["rest"])
    return f"{'The' if _begins(match) else 'the'} patient{_behind(match['rest'], kept)}" if kept else None


def _gone(match: re.Match[str]) -> str:
    return GAP


def _zh_labelled(match: re.Match[str]) -> str | None:
    return None if match["name"] in words.ZH_NOT_NAMES else GAP


def _zh_titled(match: re.Match[str]) -> str | None:
    return None if match["name"] in words.ZH_NOT_BEFORE_TITLES else match["title"]


def _zh_patient(match: re.Match[str]) -> str | None:
    return None if match["name"] in words.ZH_NOT_NAMES else match["who"]


def _zh_hidden(match: re.Match[str]) -> str | None:
    """李某某, 李××: a letter behind a surname hides a name only where 患者 stands before it."""
    who = match["who"] or ""
    return who + GAP if who or not match[0][-1].isascii() else None


NAMES = (
    # DOE^JANE, as in DICOM
    (
        re.compile(rf"{_BEFORE}[A-Za-z{_H}-]{{2,30}}\^[A-Za-z{_H}-]{{2,30}}(?:\^[A-Za-z.]{{0,20}}){{0,3}}"),
        _gone,
    ),
    (
        re.compile(
            rf"(?m)(?P<label>{_START}(?i:{words.NAME_LABELS})){_COLON}"
            rf"(?P<name>(?:{_DR})?{GAP}|{_LISTED}){_CREDIT}{{0,3}}"
        ),
        _labelled,
    ),
    (
        re.compile(
            rf"(?m){_START}(?i:(?:patient|pt|full|first|last)(?:['’]s)?[ ]names?|names?){_COLON}"
            r"(?P<name>[a-z][a-z'-]{1,20}(?:,?[ ][a-z][a-z'-]{1,20}){0,2})(?=[ ]{0,2}(?:[.,;\n|]|$))"
        ),
        _lower,
    ),
    (
        re.compile(
            rf"{_BEFORE}(?P<title>Drs?\.?|DR\.|Prof\.?|PROF\.|Professor|Doctor|Mr\.?|MR\.|Mrs\.?|MRS\.|Ms\.?|MS\.|Miss|"
            rf"Mx\.|Nurse)[ ]{{1,2}}(?P<name>{GAP}|{_NAME}(?:(?:[ ]and|,)[ ](?:Dr\.?[ ])?{_WORD}(?<!Dr))?)"
            rf"{_CREDIT}{{0,3}}"
        ),
        _titled,
    ),
    (
        re.compile(
            rf"(?P<verb>\b(?i:{words.BY_VERBS}))[ ]by[ ]{{1,2}}(?P<name>{GAP}|{_NAME}){_CREDIT}{{0,3}}{_NO_EPONYM}"
        ),
        _by,
    ),
    (
        re.compile(
            r"(?P<verb>\b(?i:discussed|communicated|shared))[ ](?:with|to)[ ]"
            rf"(?P<name>{_TOKEN}[ ]{_NAME}){_CREDIT}{{0,3}}{_NO_EPONYM}"
        ),
        _by,
    ),
    (
        re.compile(rf"{_BEFORE}(?P<name>{_TOKEN}(?:[ ]{_TOKEN}){{1,3}}),?[ ](?:{words.CREDENTIALS})(?![A-Za-z])"),
        _credited,
    ),
    (
        re.compile(
            rf"{_BEFORE}(?:{'|'.join(sorted(words.GIVEN, key=len, reverse=True))})[ ]"
            rf"(?P<rest>(?:[{_U}]\.?[ ])?{_WORD}){_NO_EPONYM}"
        ),
        _given,
    ),
    (re.compile(r"(?<![A-Za-z])dr\.?[ ](?P<name>[a-z][a-z'-]{2,20})(?![a-z])"), _lower_titled),
    (
        re.compile(
            rf"(?<![{_H}])(?:{words.ZH_NAME_LABELS}){_COLON}"
            rf"(?P<name>{GAP}|[{_H}][某×xX*]{{1,3}}|[{_H}]{{2,4}}?)(?:[（(][男女][)）])?{_ZH_END}"
        ),
        _zh_labelled,
    ),
    (
        re.compile(rf"(?<![{_H}])(?:{words.ZH_NAME_LABELS})[ ]{{1,3}}(?P<name>{_SURNAME_TOO}[{_H}]{{1,2}}?){_ZH_END}"),
        _zh_labelled,
    ),
    (
        re.compile(
            rf"{_ZH_WHO}?{_SURNAME_TOO}(?:某某|某[{_H}]?(?=[，,。、；;（(：:\s]|$|男|女|先生|女士|因|于|来)|"
            rf"[×xX*]{{1,3}}(?![A-Za-z])|(?<=[患病][者人儿员].){GAP})"
        ),
        _zh_hidden,
    ),
    (re.compile(rf"{_ZH_WHO}(?P<name>{_SURNAME}[{_H}]{{1,2}}?)(?=[，,、（( ]{{0,2}}[男女])"), _zh_patient),
    (
        re.compile(
            rf"{_ZH_WHO}(?P<name>{_SURNAME}[{_H}]{{1,2}}?)"
            r"(?=因|[，,]\d{1,3}岁|来院|来诊|来我院|入院|主诉|自述|自诉|[于以]\d|\d{1,3}岁)"
        ),
        _zh_patient,
    ),
    (re.compile(rf"(?<![{_H}]){_SURNAME}[{_H}]{{1,2}}?(?=[，,、 ]{{1,2}}[男女](?:性|[，,。、 ]|$))"), _gone),
    (re.compile(rf"(?<![{_H}])(?:审核|报告|审阅|复核|阅片|主任)[:：][ ]?{_SURNAME}[{_H}]{{1,2}}?{_ZH_END}"), _gone),
    (
        re.compile(
            rf"(?:(?<![{_H}])|(?<=[由经请与和及向为是找嘱谢医者]))"
            rf"(?P<name>{_SURNAME}[{_H}]{{0,2}}?)(?P<title>{words.ZH_TITLES})"
        ),
        _zh_titled,
    ),
)
"""(pattern, what to put in its place), in the order in which they are used."""
