"""The forms of dates and of ages over 89 in English and Chinese, and what takes their place."""

from __future__ import annotations

import re

from vesalius.data.scrub.words import DATE_LABELS

GAP = "\0"
"""Stands for what was taken out until the seams are mended."""

_YEAR = r"(?:19|2[01])\d\d"
_MM, _DD = r"(?:1[0-2]|0?[1-9])", r"(?:3[01]|[12]\d|0?[1-9])"
_MM2, _DD2 = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_FULL = "January|February|March|April|May|June|July|August|September|October|November|December"
_MONTH = rf"(?:{_FULL}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?![A-Za-z])\.?)"
_DAY = r"(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_UNIT = r"(?:[ -]?(?:mm|cm|ml|cc|mg|kg|%|[xX×*][ ]?\d|HU\b)|\.\d)"
_TIME = (
    r"(?:(?:T|,?[ ]?(?:at|@)?[ ]?)(?:[01]?\d|2[0-3])[:：][0-5]\d(?:[:：][0-5]\d(?:\.\d{1,6})?)?"
    r"(?:[ ]?[AaPp]\.?[Mm]\b\.?)?(?:Z|[ ]?hrs?\b)?)?"
)
_CN = "[〇零○一二三四五六七八九十]"
_ZH_YEAR = rf"(?:{_YEAR}|{_CN}{{4}})[ ]?年"
_ZH_MONTH = rf"(?:1[0-2]|0?[1-9]|{_CN}{{1,2}})[ ]?月"
_ZH_DAY = rf"(?:3[01]|[12]\d|0?[1-9]|{_CN}{{1,3}})[ ]?[日号]"
_ZH_TIME = r"(?:[ ]?(?:上午|下午|凌晨|晚)?[ ]?\d{1,2}(?:[:：][0-5]\d(?:[:：][0-5]\d)?|[时点](?:\d{1,2}分)?))?"
_PREFIX = (
    rf"(?:(?<![A-Za-z\u4e00-\u9fff])(?i:{DATE_LABELS})[ ]{{0,3}}[:：]?[ ]{{0,3}}|"
    r"\b(?i:on|dated|in|at|of|as[ ]of|for)[ ]{1,3}|于|在|"
    r"(?P<kept>\b(?i:since|from|to|with|until|till|after|before|between|and|by|through|versus|vs\.?)[ ]{1,3}|"
    r"自|从|至|到|与|同|较|对比|比较|截至))?(?:the[ ])?"
)
_SOON = r"(?=[ ]{0,2}(?:[.,;:)]|$|\n))"
_NUMBERS = (
    rf"{_YEAR}(?P<a>[-/.]){_MM}(?P=a){_DD}(?!\d){_TIME}",
    rf"(?:{_MM}(?P<b>[-/.]){_DD}(?P=b)|{_DD}(?P<c>[-/.]){_MM}(?P=c)){_YEAR}(?!\d){_TIME}",
    rf"(?:{_MM}/{_DD}|{_DD}/{_MM})/\d\d(?!\d){_TIME}",
    rf"(?:{_MM2}(?P<d>[-.]){_DD2}(?P=d)|{_DD2}(?P<e>[-.]){_MM2}(?P=e))\d\d(?!\d){_TIME}",
    rf"{_YEAR}{_MM2}{_DD2}(?!\d)",
    rf"{_MM}[/-]{_YEAR}(?!\d)|{_MM2}\.{_YEAR}(?!\d)|{_YEAR}[-/.]{_MM2}(?!\d)",
    rf"{_ZH_YEAR}[ ]?{_ZH_MONTH}(?:[ ]?{_ZH_DAY})?{_ZH_TIME}",
    rf"\d\d年{_ZH_MONTH}{_ZH_DAY}{_ZH_TIME}",
    rf"{_ZH_MONTH}[ ]?{_ZH_DAY}(?!龄){_ZH_TIME}",
)
# "may" and "march" are verbs too: in lower case they need a year, and before a word ("lesion 5 May be") a full stop.
_WORDS = (
    rf"{_DAY}(?:[ ](?:of[ ])?|[-/.])?(?i:{_MONTH})(?:(?:,?[ ]|[-/.])?{_YEAR}|[-/]\d\d)(?![\d-]){_TIME}",
    rf"{_DAY}[ ](?:of[ ])?{_MONTH}(?![A-Za-z]){_SOON}",
    rf"\d{{1,2}}(?:st|nd|rd|th)[ ](?:of[ ])?(?:{_FULL})\b",
    rf"(?:{_MONTH}|(?:{_FULL.upper()}|(?i:{_MONTH})(?=[ ]?{_DAY},?[ ]{_YEAR})))"
    rf"[ -]{_DAY}(?![\d-])(?:(?:,?[ ]|-){_YEAR}(?!\d))?{_TIME}",
    rf"(?i:{_MONTH})(?:,?[ ](?:of[ ])?|-){_YEAR}(?!\d)",
)
DATES = re.compile(
    rf"{_PREFIX}(?<![\d.A-Za-z/-])(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,?[ ])?"
    rf"(?:{'|'.join((*_NUMBERS, *_WORDS))})(?!{_UNIT})(?![\d/])",
    re.MULTILINE,
)
# "in March": only behind a word of time, and not before what a month is no time of.
MONTHS = re.compile(
    rf"[ ]?\b(?:in|since|last|during|until|early|late|mid|by)[ -](?:{_FULL}){_SOON}"
    r"|[ ]?\b(?:in|since|last|during|until|early|late|mid)[ -](?:January|February|April|June|July|August|September|"
    r"October|November|December)\b(?![ ](?:fracture|foot|sign))",
    re.MULTILINE,
)
# "on 3/4": a day without its year, where the clause ends behind it.
DAYS = re.compile(rf"[ ]?\b(?:on|dated)[ ](?:{_MM}/{_DD}|{_DD}/{_MM})(?![\d/]){_SOON}", re.MULTILINE)
BIRTHS = re.compile(
    r"(?i)(?<![A-Za-z])(?:dob|d\.o\.b\.|date[ ]of[ ]birth|birthdate)[ ]{0,3}[:：]?[ ]{0,3}[\d/.-]{4,12}"
    r"|(?:出生(?:日期|年月日?)|生日)[ ]{0,3}[:：]?[ ]{0,3}\d{4}年?"
)
_STUDY = re.compile(r"[ ](?:chest|CT|MRI?|PET|scan|study|exam|film|radiograph|x-?ray|ultrasound|images)", re.IGNORECASE)


def date(match: re.Match[str]) -> str:
    """What stands where a date stood: nothing, or "an earlier date" where a preposition asks for one."""
    kept = match["kept"]
    if not kept:
        return GAP
    if not kept.isascii():
        return kept + "此前"
    return kept + ("the earlier" if _STUDY.match(match.string, match.end()) else "an earlier date")


_OLD = r"(?:9\d|1[0-2]\d)"
AGES = re.compile(
    rf"(?P<article>\b[Aa]n?[ ])?(?<![\d.]){_OLD}(?P<years>[ -]?(?:years?|yrs?\.?)(?:[ -]old|[ ]of[ ]age)\b|"
    r"[ -]?(?:y/o|y\.o\.|yo)(?![A-Za-z]))"
    rf"|(?P<aged>\b(?:[Aa]ged?|AGED?)(?:[ ](?:of|is))?[ ]?[:：=]?[ ]?){_OLD}(?![\d.,]?\d)"
    r"(?![ -]?(?:days?|weeks?|months?|hours?|minutes?|%|mm|cm))"
    rf"|(?<![\w.]){_OLD}(?P<sex>[ ]?[MF])(?=[ ](?:with|who|presents|presenting|s/p|hx|c/o)\b)"
    rf"|(?P<zh>年龄[ ]?[:：]?[ ]?)?(?<![\d.]){_OLD}(?P<unit>[ ]?周?岁)"
    rf"|(?P<zh_aged>年龄[ ]?[:：]?[ ]?){_OLD}(?![\d.个月天日周小])"
    r"|(?:九十[一二三四五六七八九]?|一?百(?:零[一二三四五六七八九])?)(?P<cn>周?岁)"
)


def age(match: re.Match[str]) -> str:
    """An age over 89 as no more than that."""
    if match["years"]:
        article = f"{match['article'][0]}n " if match["article"] else ""
        return f"{article}over{'-' if match['years'][0] == '-' else ' '}89{match['years']}"
    if match["aged"]:
        return f"{match['aged']}over 89"
    if match["sex"]:
        return f"over 89{match['sex']}"
    if match["unit"]:
        return f"{match['zh'] or ''}89{match['unit']}以上"
    return f"{match['zh_aged']}89以上" if match["zh_aged"] else f"八十九{match['cn']}以上"
