"""Tables: any bytes become drafts, refusals, or one message."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vesalius.data.sources.walk import Draft, Reading, Refused, drafts
from vesalius.data.tables.names import ALIASES, check_header, key_of, near
from vesalius.data.tables.table import draft_fields, table_rows
from vesalius.data.tables.text_rows import json_rows

HEAD = "path,text,modality\n"


def read(path: Path) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(path, Reading()))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def table(folder: Path, content: str | bytes, name: str = "cases.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(b"\x89PNG")
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "a.png").write_bytes(b"\x89PNG")
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.mark.parametrize("field", ALIASES)
def test_every_spelling_is_its_own_key(field: str) -> None:
    for name in ALIASES[field]:
        assert key_of(name) == name
        assert key_of(f" {name.title().replace('_', ' ')} ") == name
        assert key_of(name.upper().replace("_", "-")) == name


def test_humps_points_and_numbers_of_rows_are_read() -> None:
    assert [key_of(n) for n in ("imagePath", "Image.Path", "Unnamed: 0", "")] == ["image_path", "image_path", "", ""]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,capton,modality", "column 'capton': did you mean 'caption'?"),
        ("Pth,text,modality", "column 'Pth': did you mean 'path'?"),
        ("path,text,modalty", "column 'modalty': did you mean 'modality'?"),
        ("image_pth,Reprot,modality", "column 'image_pth': did you mean 'image_path'?"),
        ("image_pth,Reprot,modality", "column 'Reprot': did you mean 'report'?"),
        ("path,text,modality,pateint_id", "column 'pateint_id': did you mean 'patient_id'? Rename or delete"),
        ("path,txet,label,modality", "column 'txet': did you mean 'text'? Rename or delete"),
        ("path,Reprot,label,modality", "column 'Reprot': did you mean 'report'? Rename or delete"),
        ("path,text,lable,modality", "column 'lable': did you mean 'label'? Rename or delete"),
        ("path,text,modality,spilt", "column 'spilt': did you mean 'split'? Rename or delete"),
        ("path,Text,text,modality", "column 'text' is there 2 times; rename or delete one"),
        ("", "the header has: none"),
        ("a,b,c", "no column for path"),
    ],
)
def test_header_that_is_nearly_right_is_told_what_is_meant(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(table(tmp_path, header + "\n1,2,3\n"))
    assert str(error.value).startswith(f"{tmp_path}/cases.csv:1: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("names", "has_modality", "hint"),
    [
        ("path,text,modalty", False, "column 'modalty': did you mean 'modality'?"),
        ("path,text,pateint_id", True, "column 'pateint_id': did you mean 'patient_id'?"),
        ("path,Reprot,label", True, "column 'Reprot': did you mean 'report'?"),
        ("path,text,spilt", True, "column 'spilt': did you mean 'split'?"),
    ],
)
def test_json_lines_with_a_misspelt_column_are_told_what_is_meant(
    tmp_path: Path, names: str, has_modality: bool, hint: str
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"path": "a.png", "label": "x"}\n' + json.dumps(dict.fromkeys(names.split(","), "a")))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        table_rows(path, has_modality=has_modality)
    assert str(error.value) == f"{path}: {hint} Rename or delete that column"


def test_header_of_thousands_of_columns_is_refused_in_a_moment(tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="no column for path"):
        read(table(tmp_path, ",".join(f"c{i}" for i in range(20_000)) + "\n1\n"))
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("names", ["report_id,label,split", "text_origin,label,context", "text,class_id,splits_seen"])
def test_columns_of_other_things_are_no_misspellings(names: str) -> None:
    check_header("cases.csv:1", ["path", "modality", *names.split(",")], has_modality=False, remedy="")


def test_right_names_are_near_nothing() -> None:
    assert near("text", ["path", "report", "age", "sex", "view", "date"]) is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("https://x.org/a.png,A.,CT", "'https://x.org/a.png' is a remote address; download the image"),
        ("s3://bucket/a.png,A.,CT", "is a remote address"), ("file:///etc/passwd,A.,CT", "is a remote address"),
        ("//host/a.png,A.,CT", "is a remote address"), ('"data:image/png;base64,AA",A.,CT', "is a remote address"),
        ("/etc/hostname,A.,CT", "the absolute path '/etc/hostname' leads out of"),
        ("C:\\scans\\a.png,A.,CT", "the absolute path 'C:\\scans\\a.png' leads out of"),
        ("\\\\server\\a.png,A.,CT", "the absolute path '\\\\server\\a.png' leads out of"),
        ("~/a.png,A.,CT", "the absolute path '~/a.png' leads out of"),
        ("../../x.png,A.,CT", "the path '../../x.png' leads out of"), ("sub/../../x.png,A.,CT", "leads out of"),
        ("..\\..\\x.png,A.,CT", "leads out of"), ("loop.png,A.,CT", "no image at"), ("out/x.png,A.,CT", "leads out of"),
        ("a\0.png,A.,CT", "holds control characters"), ("a.png\x07,A.,CT", "holds control characters"),
        (f"{'a' * 5000}.png,A.,CT", "no image at"), (f"{'a/' * 3000}a.png,A.,CT", "no image at"),
        ("sub,A.,CT", "no image at"),
        (f"a.png,{'a' * 1_000_001},CT", "column text holds a text of 1.0 MB, at most 1 MB; is a quote left open?"),
        (f"a.png,{'a' * 2_000_001},CT", "not CSV (field larger than field limit"), ("a.png,A.,CT,x", "4 columns where"),
    ],
)  # fmt: skip
def test_bad_row_is_refused_with_its_remedy(tmp_path: Path, row: str, message: str) -> None:
    path = table(tmp_path / "in", f"{HEAD}{row}\na.png,A.,CT\n")
    (tmp_path / "x.png").write_bytes(b"")
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    good, (refused,) = read(path)
    assert refused.reason.startswith(f"{path}:2: ")
    assert message in refused.reason
    assert "\n" not in refused.reason
    assert len(refused.reason) < 600
    assert len(good) == 1


def test_windows_slashes_and_long_texts_are_read(tmp_path: Path) -> None:
    good, bad = read(table(tmp_path, f"{HEAD}sub\\a.png,{'word ' * 100_000},CT\n"))
    assert not bad
    assert good[0].path == tmp_path / "sub" / "a.png"


def test_control_characters_are_removed_and_the_row_says_so(tmp_path: Path) -> None:
    good, _ = read(table(tmp_path, f"{HEAD}a.png,A \x07mass\0 \u202ein\x0cthe lung.,CT\n"))
    assert good[0].record.text == "A mass in\nthe lung."
    assert good[0].record.extra == {"cleaned": "3 control characters removed"}
    row = json.dumps({"path": "a.png", "text": "A \0\ud800mass.", "modality": "CT", "more": [{"k\0": "\ud800\0"}]})
    good, _ = read(table(tmp_path, row, "x.jsonl"))
    assert good[0].record.text == "A ?mass."
    assert good[0].record.extra == {"more": [{"k": "?"}], "cleaned": "2 control characters removed"}


def test_findings_and_impression_in_two_columns_are_one_report(tmp_path: Path) -> None:
    good, _ = read(table(tmp_path, "image,Findings,Impression,modality\na.png,Mass.,Tumour.,CT\na.png,Mass.,,CT\n"))
    assert [d.record.text for d in good] == ["FINDINGS: Mass.\nIMPRESSION: Tumour.", "Mass."]
    good, _ = read(table(tmp_path, 'path,text,findings,modality\na.png,A.,"[{""kind"": ""mass""}]",CT\n'))
    assert good[0].record.findings[0].kind == "mass"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_chinese_table_with_chinese_columns_is_read(tmp_path: Path, encoding: str) -> None:
    text = "影像路径,报告,检查类型\na.png,左肺上叶可见结节，边缘清晰。,磁共振\n"
    (draft,), _ = read(table(tmp_path, text.encode(encoding)))
    assert (draft.record.text, draft.record.modality) == ("左肺上叶可见结节，边缘清晰。", "MRI")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"), ("[1]", "expected one JSON object"), ("[" * 100_000, "not JSON"), ("9" * 5000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"), ("\0", "not JSON"), ("nul", "not JSON"),
        ('"a"', "expected one JSON object"),
    ],
)  # fmt: skip
def test_line_that_is_no_row_is_refused(tmp_path: Path, line: str, message: str) -> None:
    good = ' {"path": "a.png", "text": "' + "A" * 10_000 + '", "modality": "CT"}\n'
    path = table(tmp_path, line + "\n" + good, "x.jsonl")
    (first, told), (second, row) = json_rows(path)
    assert (first, second) == (1, 2)
    assert str(told).startswith(f"{path}:1: ")
    assert message in str(told)
    assert isinstance(row, dict)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"text": 5}, "column text holds int, expected text"), ({"path": ["a"]}, "column path holds list"),
        ({"findings": 5}, "findings or extra"), ({"findings": [{"kind": 5}]}, "'findings'"),
        ({"depth": float("inf")}, "x:1: "), ({"depth": "9" * 5000}, "not a whole number"),
        ({"origin": "fake"}, "origin 'fake'"),
        ({"hounsfield": 7}, "'hounsfield'"), ({"extra": "[["}, "findings or extra"),
        ({"findings": "[" * 99_999}, "findings or extra"),
    ],
)  # fmt: skip
def test_value_of_the_wrong_type_is_refused(more: dict[str, Any], message: str) -> None:
    row = {"path": "a.png", "text": "A.", "modality": "CT", **more}
    if more == {"depth": float("inf")}:  # what is not a number is empty
        assert draft_fields(row, "x:1").record.depth == 0
        return
    with pytest.raises(ValueError) as error:  # noqa: PT011
        draft_fields(row, "x:1")
    assert str(error.value).startswith("x:1: ")
    assert message in str(error.value)


def outcome(path: Path) -> None:
    """Drafts, refusals or one ValueError that names the file, within a second of the processor."""
    begun, told = time.process_time(), str(path)
    try:
        for each in drafts(path, Reading()):
            if isinstance(each, Draft):
                json.dumps(each.record.to_json(), ensure_ascii=False, allow_nan=False).encode()
            else:
                assert each.reason.startswith(str(path))
    except ValueError as error:
        told = str(error)
    assert told.startswith(str(path))
    assert time.process_time() - begun < 1


pieces = st.sampled_from(
    [HEAD, "a.png,A.,CT\n", '"', ",", "\n", "\r", "\t", "\0",  "é", "肺", "../", "http://x/", "ID,Caption\n",
     "[1]", ";", "|",
     "patientid,finding,view,modality,folder,filename\n", "findings", "{", "\x85", "\u2028", "extra"]
)  # fmt: skip
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(content=st.binary(max_size=300), head=st.booleans())
def test_any_bytes_are_drafts_refusals_or_one_message(tmp_path: Path, content: bytes, head: bool) -> None:
    outcome(table(tmp_path, HEAD.encode() * head + content))


@fuzz
@given(
    content=st.lists(pieces | st.text(max_size=9), max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]),
)
def test_any_mixture_of_pieces_is_drafts_refusals_or_one_message(
    tmp_path: Path, content: list[str], encoding: str
) -> None:
    outcome(table(tmp_path, "".join(content).encode(encoding, "replace")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
columns = st.sampled_from(
    [
        "path",
        "text",
        "modality",
        "split",
        "findings",
        "extra",
        "depth",
        "origin",
        "hounsfield",
        "raw16",
        "label",
        "mask",
    ]
)


@fuzz
@given(rows=st.lists(st.dictionaries(columns | st.text(max_size=9), json_values), max_size=4))
def test_any_json_is_drafts_refusals_or_one_message(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    whole = [{"path": "a.png", "text": "A.", "modality": "CT", **row} for row in rows]
    outcome(table(tmp_path, "".join(json.dumps(row) + "\n" for row in (*rows, *whole)), "x.jsonl"))
