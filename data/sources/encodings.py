"""The encoding of a text file, told by rules or not at all, and its lines, none of which fills the memory.

A BOM decides first. Without one a file that is strict UTF-8 is UTF-8, and one with a NUL in every other byte is UTF-16.
Of the older encodings two are known, each where its rule holds for the whole file and the other's does not:

    GB18030  decodes strictly, with no kana; nine tenths of what is not ASCII are the signs of GB 2312, and of its
             ideographs seven tenths are everyday ones, of which one in ten or more lies in the later half of the table
             (Korean and Russian bytes look like ideographs of one end of it)
    CP1252   decodes strictly to letters of western European languages and to usual marks; no mark stands between two
             letters, at most two such bytes stand together, and none of these pairs is UTF-8 (a file of two encodings)

All else is refused, since a guess would fill reports with wrong letters that nobody sees.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MAX_LINE = 16_000_000
"""Most characters of one line; a file with a longer one is no table, and is not read into memory to find out."""
CHUNK = 1 << 20

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_OTHERS = {
    b"PK\x03\x04": "an Excel workbook or a ZIP", b"\xd0\xcf\x11\xe0": "an old Excel workbook", b"PAR1": "Parquet",
    b"\x1f\x8b": "a gzip archive", b"%PDF": "a PDF", b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image",
}  # fmt: skip
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜàáâãäåæçèéêëìíîïñòóôõöøùúûüßŒœÿ"
_MARKS = "\u00a0¡¿«»°ºª±·µ×÷²³¹¼½¾€£§©®‘’“”‚„–—…•‰™"
_JOINTS = "’–—·"
"""Marks that may stand between two letters: l’aorte, T2–FLAIR."""
_ODD = re.compile(f"(?<=[A-Za-z{_LETTERS}])[{''.join(set(_MARKS) - set(_JOINTS))}](?=[A-Za-z{_LETTERS}])")
_WEST = re.compile(f"[\\x00-\\x7f{_LETTERS}{_MARKS}]*")
_HIGH = re.compile(rb"[\x80-\xff]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_KANA = re.compile(r"[\u3040-\u30ff]")


def encoding_of(path: Path) -> str:
    """The encoding of a text file, as Python names it. ValueError where it is no text, or of none that can be told."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    for mark, kind in _OTHERS.items():
        if head.startswith(mark):
            raise ValueError(f"{path}: its content is {kind}, not a text table; save the table as CSV, UTF-8")
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    zeros = (head[::2].count(0), head[1::2].count(0))
    if sum(zeros) * 10 > len(head):
        if max(zeros) * 4 >= len(head) and min(zeros) * 20 <= max(zeros):
            return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        raise ValueError(f"{path}: holds {sum(zeros)} NUL bytes at its head, so it is no text; save it as CSV, UTF-8")
    if _is_utf8(path):
        return "utf-8"
    found = _legacy(path)
    if len(found) != 1:
        raise ValueError(
            f"{path}: not UTF-8 text, and its encoding cannot be told for sure; if it is, say, Latin-2, run "
            f"`iconv -f ISO-8859-2 -t UTF-8 {path.name} > utf8-{path.name}` and read that (`iconv -l` lists the names)"
        )
    return found[0]


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _legacy(path: Path) -> list[str]:
    """Which of the two older encodings the whole file may have, read line by line."""
    counts: Counter[str] = Counter()
    west = chinese = True
    with path.open("rb") as file:
        while (west or chinese) and (line := file.readline(CHUNK)):
            runs = _HIGH.findall(line)
            if runs:
                west = west and _is_west(line, runs)
                chinese = chinese and _count_chinese(line, counts)
    chinese = (
        chinese
        and counts["gb2312"] >= 0.9 * counts["all"]
        and counts["everyday"] >= 0.7 * max(counts["ideographs"], 1)
        and counts["later"] >= 0.1 * max(counts["ideographs"], 1)
    )
    return [name for name, holds in (("cp1252", west), ("gb18030", chinese)) if holds]


def _is_west(line: bytes, runs: list[bytes]) -> bool:
    if max(map(len, runs)) > 2 or any(_decodes(run, "utf-8") for run in runs) or not _decodes(line, "cp1252"):
        return False
    text = line.decode("cp1252")
    return bool(_WEST.fullmatch(text)) and not _ODD.search(text)


def _count_chinese(line: bytes, counts: Counter[str]) -> bool:
    """Count the signs of one line. False where it cannot be Chinese."""
    if not _decodes(line, "gb18030"):
        return False
    text = line.decode("gb18030")
    if _KANA.search(text):
        return False
    for sign in _NOT_ASCII.findall(text):
        pair = sign.encode("gb18030")
        counts["all"] += 1
        if len(pair) == 2 and pair[0] in range(0xA1, 0xF8) and pair[1] >= 0xA1:
            counts["gb2312"] += 1
            counts["ideographs"] += pair[0] >= 0xB0
            counts["everyday"] += 0xB0 <= pair[0] <= 0xD7  # level 1 of GB 2312, in the order of pinyin
            counts["later"] += 0xC9 <= pair[0] <= 0xD7
    return True


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends as they are. ValueError as `encoding_of`, or where a line is endless."""
    encoding, number = encoding_of(path), 0
    with path.open(encoding=encoding, newline="") as file:
        try:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise ValueError(
                        f"{path}:{number}: a line of over {MAX_LINE // 1_000_000} million characters; "
                        "is this a table? Break its lines, or delete that one"
                    )
                yield line
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}:{number + 1}: not valid {encoding} text ({error.reason}); save the table as UTF-8"
            ) from None
