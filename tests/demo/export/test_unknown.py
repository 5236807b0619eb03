"""No export of a case whose answer is hidden tells it, in any byte."""

from __future__ import annotations

import base64
import re
import zipfile
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread

from vesalius.demo.cases.routes import KINDS
from vesalius.demo.export.sheet import file_name, sheet_of
from vesalius.demo.page import LABEL


def told(name: str, content: bytes) -> str:
    """All that a file says: its name, its bytes in two encodings, and whatever is packed into it."""
    parts = [name, content.decode("utf-8", "ignore"), content.decode("utf-16-le", "ignore")]
    if content.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts += [told(n, archive.read(n)) for n in archive.namelist()]
    elif content.startswith(b"\x89PNG"):
        with Image.open(BytesIO(content)) as image:
            image.load()
            parts.append(str({**image.info, **image.text}))
    elif content[128:132] == b"DICM":
        parts.append(str(dcmread(BytesIO(content))))
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
        parts.append(told("inside", base64.b64decode(packed)))
    return "\n".join(parts).casefold()


def written(kept: Any, ending: str, *, unknown: bool) -> tuple[str, bytes]:
    sheet = sheet_of(kept.store, "local", kept.case, unknown=unknown)
    return file_name(sheet, ending), KINDS[ending][1](kept.store, sheet)


@pytest.mark.parametrize("ending", KINDS)
def test_an_export_without_the_answer_says_no_word_of_it(kept_case: Any, ending: str) -> None:
    name, content = written(kept_case, ending, unknown=True)
    said = told(name, content)
    for word in (*kept_case.answer, "prompt:", '"seed"', kept_case.case.id):
        assert word.casefold() not in said, word
    assert LABEL.casefold() in said
    assert "sailor" in said


@pytest.mark.parametrize("ending", KINDS)
def test_a_whole_export_says_the_answer(kept_case: Any, ending: str) -> None:
    said = told(*written(kept_case, ending, unknown=False))
    assert "zyxoma" in said
    assert LABEL.casefold() in said


def test_file_names_follow_the_title_only_where_the_answer_may_be_told(kept_case: Any) -> None:
    assert written(kept_case, "pptx", unknown=False)[0] == "Zyxoma-of-the-thumb.pptx"
    assert written(kept_case, "dcm.zip", unknown=True)[0] == "unknown-case.dcm.zip"
