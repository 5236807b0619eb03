"""Encodings of tables: told by a rule, or refused; never wrong letters."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.sources.encodings import MAX_LINE, encoding_of, text_lines

CHINESE = "path,text,modality\na.png,左肺上叶可见结节，边缘清晰，大小约3 cm。,CT\n"
FRENCH = "path,text,modality\na.png,Lésion hépatique à 3 cm, œdème de l’aorte,CT\n"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "cases.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"), (CHINESE, "utf-8-sig"), (CHINESE, "utf-16"), (CHINESE, "utf-32"), (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"), (CHINESE, "gb18030"), (CHINESE, "gbk"), (FRENCH, "cp1252"),
        ("path,text\na.png,Größe 5 µm ± 1, Übersicht «T2–FLAIR»\n", "cp1252"), ("path,text\n", "ascii"),
        ("path,text\na.png,Nódulo en el pulmón, 37,5 °C ¿maligno?\n", "cp1252"),
    ],
)  # fmt: skip
def test_known_encodings_are_read_letter_for_letter(tmp_path: Path, text: str, encoding: str) -> None:
    assert "".join(text_lines(written(tmp_path, text.encode(encoding)))) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Узел в левом лёгком, размеры 3 см", "cp1251"), ("Узел в левом лёгком", "koi8-r"),
        ("왼쪽 폐 상엽에 결절이 보인다", "euc-kr"), ("左肺に結節を認める", "cp932"), ("左肺に結節を認める", "euc-jp"),
        ("Guzek w lewym płucu, żebra", "cp1250"), ("左肺上葉可見結節，邊緣清晰", "big5"), ("Sağ akciğer", "cp1254"),
        ("Όζος στον αριστερό πνεύμονα", "cp1253"), ("Lésion à gauche, hépatique", "mac-roman"),
        ("Uzlík vlevo, žebra, příčný řez", "cp1250"),
    ],
)  # fmt: skip
def test_other_encodings_are_refused_with_the_command_that_helps(tmp_path: Path, text: str, encoding: str) -> None:
    path = written(tmp_path, f"path,text,modality\na.png,{text},CT\n".encode(encoding))
    with pytest.raises(ValueError, match=r"cases.csv: not UTF-8 text.*iconv -f .* -t UTF-8"):
        encoding_of(path)


def test_a_file_of_two_encodings_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.png,Lésion\n".encode() + "b.png,Lésion\n".encode("cp1252"))
    with pytest.raises(ValueError, match="not UTF-8 text"):
        encoding_of(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"PK\x03\x04rest", "Excel workbook or a ZIP"), (b"PAR1rest", "Parquet"), (b"\x1f\x8brest", "gzip"),
     (b"a\0\0\0b\0\0", "NUL bytes"), (codecs.BOM_UTF16_LE + b"a\0b", "not valid utf-16")],
)  # fmt: skip
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match=kind):
        list(text_lines(written(tmp_path, content)))


def test_an_endless_line_is_refused_and_not_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path, b"path,text\n")
    with path.open("r+b") as file:
        file.truncate(10)
        file.seek(10)
        file.write(b"a" * (MAX_LINE + 1))
    with pytest.raises(ValueError, match=r"cases.csv:2: a line of over 16 million characters"):
        list(text_lines(path))


@settings(max_examples=200, deadline=1000)
@given(content=st.binary(max_size=400))
def test_any_bytes_are_lines_or_one_message(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("any"), content)
    told = ""
    try:
        list(text_lines(path))
    except ValueError as error:
        told = str(error)
    assert told == "" or told.startswith(str(path))
