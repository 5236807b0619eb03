"""Numbers that name a person or a study, phones, e-mail and web addresses, and postal addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

from vesalius.data.scrub import words as words
from vesalius.data.scrub.dates import GAP

_H = "\u4e00-\u9fff"
_BEFORE = r"(?<![A-Za-z0-9])"
_COLON = r"[ ]{0,3}[:：][ ]{0,4}"
_MAYBE_COLON = r"[ ]{0,3}[:：]?[ ]{0,3}"
_VALUE = (
    r"(?=[A-Za-z#-]{0,8}[ ]?\d)[A-Za-z#-]{0,8}[ ]?\d[A-Za-z0-9./_-]{0,40}"
    r"(?:[ ]\d{2,6}(?![A-Za-z0-9.%年月/-]|[ ](?:mm|cm|year))){0,4}(?<![.,/_-])"
)
_IS = r"[ ]{0,3}(?:[:：=]|(?:is|was)\b|为|是)?[ ]{0,3}\#?"
_STREETS = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Court|Way|Place|Pl|Terrace|Square|Highway|Hwy|Parkway|"
    "Pkwy|Crescent|Close"
)
_STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_CITY = r"(?:[A-Z][a-z]{1,20}[ ]){0,2}[A-Z][a-z]{1,20}"
_ZIP = rf",?[ ](?:{_STATES})[ ]\d{{5}}(?:-\d{{4}})?(?!\d)"
_PHONE_END = r"(?:[ ]?(?:ext\.?|x|转)[ ]?\d{1,6})?(?![A-Za-z0-9-]|\.\d|/\d)"
_ROOMS = r"(?:\d{1,5}[ ]?(?:号楼|号院|栋|幢|单元|室|楼|层|弄|号)){1,5}"


def _gone(match: re.Match[str]) -> str:
    return GAP


def _card(match: re.Match[str]) -> str | None:
    """GB 11643: 18 digits, of which the weighted sum of 17 gives the last."""
    digits = match[0].upper()
    total = sum(int(d) * (2 ** (17 - i) % 11) for i, d in enumerate(digits[:17]))
    return GAP if "10X98765432"[total % 11] == digits[17] else None


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]


def _rules(*patterns: str) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern, re.MULTILINE), _gone) for pattern in patterns)


CARDS: tuple[Rule, ...] = (
    (re.compile(rf"{_BEFORE}[1-9]\d{{16}}[\dXx](?![A-Za-z0-9])"), _card),
    *_rules(
        rf"{_BEFORE}[1-9]\d{{7}}{'(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])'}\d{{3}}(?!\d)",
        rf"(?:身份证(?:号码?)?|证件号码?){_MAYBE_COLON}[\dXx*×]{{6,18}}",
        rf"{_BEFORE}\d{{3}}-\d{{2}}-\d{{4}}(?![\d-])",
    ),
)
URLS = _rules(rf"(?i:{_BEFORE}(?:(?:https?|ftp)://|www\.)[^\s<>\"'，。；）)\]{_H}]{{1,2000}}(?<![.,;:]))")
EMAILS = _rules(
    rf"(?:(?i:e-?mail(?:[ ]address)?|电子邮件|电子邮箱|邮箱|邮件){_MAYBE_COLON})?"
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"
)
PHONES = _rules(
    rf"{_BEFORE}(?i:{words.PHONE_LABELS})[ ]{{0,3}}[:：\#]?[ ]{{0,3}}(?:\+?\d{{1,3}}[ -])?"
    rf"(?:\(\d{{1,4}}\)|\d)[\d(). -]{{1,18}}\d{_PHONE_END}",
    rf"{_BEFORE}(?:{words.ZH_PHONE_LABELS}){_MAYBE_COLON}[+\d][\d() -]{{3,18}}\d",
    rf"{_BEFORE}(?<![\d.+-])(?:\+?1[ .-]?)?(?:\(\d{{3}}\)[ ]?|\d{{3}}[.-])\d{{3}}[ .-]\d{{4}}{_PHONE_END}",
    rf"{_BEFORE}\+\d{{1,3}}[ .-]?(?:\(\d{{1,4}}\)[ .-]?)?\d{{1,4}}(?:[ .-]?\d{{2,4}}){{2,4}}{_PHONE_END}",
    r"(?<![\d.])(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)",
    rf"(?<![\d.-])0\d{{2,3}}[ -]\d{{7,8}}{_PHONE_END}",
)
RECORDS = _rules(
    rf"{_BEFORE}(?i:{words.NUMBER_LABELS}){_IS}(?:{GAP}|{_VALUE})",
    rf"{_BEFORE}(?:{words.ZH_NUMBER_LABELS})[ ]{{0,3}}(?:[:：=]|为|是)?[ ]{{0,3}}"
    rf"(?:{GAP}|(?=[A-Za-z-]{{0,6}}[\d*×])[A-Za-z0-9*×-]{{1,30}}床?)",
    # a pathology or accession number by its shape: S20-12345
    rf"{_BEFORE}[A-Z]{{1,3}}\d{{2}}-\d{{4,7}}(?![A-Za-z0-9])",
    # a DICOM UID
    r"(?<![\d.])[0-2](?:\.\d{1,39}){5,20}(?![\d.]\d)",
    # a long bare number without a unit
    r"(?<![\d.,A-Za-z])(?:[A-Z]{1,3})?\d{7,40}[Xx]?(?![\d%A-Za-z]|[.,]\d|[ ]?(?:/|cells|copies|IU|μ|个|ml|U/))",
)
ADDRESSES = _rules(
    rf"(?<![A-Za-z-])(?i:{words.ADDRESS_LABELS}){_COLON}[^\n;；|]{{2,160}}?(?=$|[\n;；|]|\.[ ][A-Z]|\.$)",
    rf"(?:{words.ZH_ADDRESS_LABELS}){_COLON}[^\n。；;，, ]{{2,60}}",
    rf"{_BEFORE}\d{{1,5}}[A-Za-z]?[ ](?:[NSEW]\.?[ ])?(?:(?:[A-Z][a-z]{{1,20}}|\d{{1,3}}(?:st|nd|rd|th))[ ]){{1,3}}"
    rf"(?:{_STREETS})(?![a-z])\.?(?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Floor|\#)\.?[ ]?[A-Z0-9-]{{1,6}})?"
    rf"(?:,[ ]{_CITY}(?:{_ZIP})?)?",
    rf"{_BEFORE}(?:{_CITY}){_ZIP}",
    r"(?i:P\.?[ ]?O\.?[ ]Box[ ]\d{1,8})",
    rf"(?i:(?:zip|postal|post)[ ]?code){_MAYBE_COLON}[A-Z0-9]{{2,5}}[ -]?[A-Z0-9]{{2,5}}(?![A-Za-z0-9])",
    rf"(?:邮编|邮政编码){_MAYBE_COLON}\d{{6}}",
    rf"[{_H}]{{0,24}}[{_H}](?:路|街|大道|大街|巷|胡同|小区|花园|村|里){_ROOMS}",
)
