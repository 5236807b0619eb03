"""Sources in: every format, and each bad row with one clear message."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.data.modality import MODALITIES
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8)).astype(np.uint8)).save(path)
    return path


def read(source: Path, reading: Reading | None = None) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(source, reading or Reading()))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def one_refusal(source: Path, reading: Reading | None = None) -> str:
    _, refused = read(source, reading)
    assert len(refused) == 1
    return refused[0].reason


def table(folder: Path, text: str, name: str = "cases.csv") -> Path:
    picture(folder / "a.png")
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_minim_csv_is_read_as_it_is(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    text = '\ufeffpath, Text, modality\r\na.png, "A mass, 3 cm,\r\nin the ""left"" lung.", Chest CT\r\n'
    text += "\r\nb.png, Normal., MRI\r\n"
    good, bad = read(table(tmp_path, text))
    assert not bad
    assert [d.record.text for d in good] == ['A mass, 3 cm,\r\nin the "left" lung.', "Normal."]
    assert [d.record.modality for d in good] == ["CT", "MRI"]
    assert [d.where.rpartition(":")[2] for d in good] == ["2", "5"]
    assert good[0].path == tmp_path / "a.png"


@pytest.mark.parametrize(
    "header", ["Image,Caption,MODALITY", "file name;Report;modality", "Image-Path\ttext\tModality"]
)
def test_common_spellings_and_separators_are_known(tmp_path: Path, header: str) -> None:
    mark = next(m for m in ("\t", ";", ",") if m in header)
    good, _ = read(table(tmp_path, header + "\n" + mark.join(("a.png", "Normal.", "xray")) + "\n"))
    assert (good[0].record.text, good[0].record.modality) == ("Normal.", "X-ray")


def test_utf16_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_bytes("path,text,modality\na.png,左肺结节,CT\n".encode("utf-16"))
    assert read(path)[0][0].record.text == "左肺结节"


@pytest.mark.parametrize("header", ["影像,检查报告,设备类型", "图片路径,报告正文,模态", "文件名称,影像所见,检查类型"])
def test_chinese_columns_in_a_chinese_encoding_are_read(tmp_path: Path, header: str) -> None:
    path = table(tmp_path, "")
    path.write_bytes(f"{header}\na.png,右肺上叶见结节，大小约8mm。,CT\n".encode("gb18030"))
    record = read(path)[0][0].record
    assert (record.text, record.modality) == ("右肺上叶见结节，大小约8mm。", "CT")


def test_unknown_modality_names_line_and_nearest_word(tmp_path: Path) -> None:
    path = table(tmp_path, "path, Text, modality\na.png, Normal, CT\na.png, Mass, CTT\n")
    assert one_refusal(path).startswith(f"{path}:3: modality 'CTT' is not known; did you mean 'CT'? (CT, MRI, X-ray")


def test_missing_columns_name_what_was_found_and_wanted(tmp_path: Path) -> None:
    path = table(tmp_path, "id,Notes,modality\n1,Normal,CT\n")
    with pytest.raises(
        ValueError,
        match=r"cases.csv:1: no column for path \(or file_name.*text or label \(or report.*has: id, Notes, modality",
    ):
        read(path)
    path = table(tmp_path, "path,text\na.png,Normal\n")
    with pytest.raises(ValueError, match=r"no column for modality.*or pass --modality"):
        read(path)
    assert read(path, Reading(modality=MODALITIES["MRI"]))[0][0].record.modality == "MRI"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gone.png, Normal, CT", "no image at"),
        ("a.png, , CT", "the text is empty"),
        (", Normal, CT", "the path is empty"),
        ("a.png, Normal,", "says no modality"),
        ("../outside.png, Normal, CT", "leads out of"),
        ("link.png, Normal, CT", "leads out of"),
        ("a.png, Normal, with a comma, CT", "4 columns where the header names 3"),
        ('a.png, "Normal, CT', "2 columns where the header names 3"),
    ],
)
def test_bad_row_is_refused_with_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    folder = tmp_path / "in"
    picture(tmp_path / "outside.png")
    path = table(folder, f"path, Text, modality\na.png, Normal, CT\n{row}\n")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    reason = one_refusal(path)
    assert reason.startswith(f"{path}:3: ")
    assert message in reason
    assert len(read(path)[0]) == 1


def test_absolute_path_is_taken_where_it_lies_beside_the_table(tmp_path: Path) -> None:
    here = tmp_path / "in" / "a.png"
    good, bad = read(table(tmp_path / "in", f"path,text,modality\n{here},Normal,CT\n"))
    assert not bad
    assert good[0].path == here
    outside = picture(tmp_path / "elsewhere" / "x.png")
    reason = one_refusal(table(tmp_path / "in", f"path,text,modality\n{outside},Normal,CT\n"))
    assert "absolute path" in reason
    assert "leads out of" in reason


def test_absolute_path_in_metadata_is_refused(tmp_path: Path) -> None:
    outside = picture(tmp_path / "x.png")
    row = json.dumps({"file_name": str(outside), "text": "Normal", "modality": "CT"})
    table(tmp_path / "in", row, "metadata.jsonl")
    assert "absolute path" in one_refusal(tmp_path / "in")


def test_flat_folder_keeps_its_columns_and_splits(tmp_path: Path) -> None:
    row = {
        "file_name": "a.png",
        "text": "Normal.",
        "modality": "histopathology",
        "split": "validation",
        "license": "CC0-1.0",
        "source": "x",
        "label": "benign",
        "organ": "colon",
        "patient_id": 7,
        "group": "g",
        "magnification": 20,
        "width": 8,
    }
    table(tmp_path, json.dumps(row) + "\n", "metadata.jsonl")
    (draft,), _ = read(tmp_path)
    record = draft.record
    assert draft.split == "val"
    assert (record.modality, record.license, record.source, record.label) == ("pathology", "CC0-1.0", "x", "benign")
    assert (record.organ, record.patient_id) == ("colon", "7")
    assert record.extra == {"group": "g", "magnification": 20}


def test_split_folders_are_read(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        table(tmp_path / name, '{"file_name": "a.png", "text": "Normal.", "modality": "CT"}\n', "metadata.jsonl")
    good, _ = read(tmp_path)
    assert sorted(d.split or "" for d in good) == ["test", "train", "val"]


def test_bad_json_line_does_not_hide_the_others(tmp_path: Path) -> None:
    good = '{"file_name": "a.png", "text": "Normal.", "modality": "CT"}'
    path = table(tmp_path, f"{good}\n\n{{broken\n[1]\n{good}\n", "metadata.jsonl")
    found, refused = read(tmp_path)
    assert len(found) == 2
    assert [r.row for r in refused] == [3, 4]
    assert refused[0].reason.startswith(f"{path}:3: not JSON")


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "path,text,modality,split\na.png,Normal,CT,trian\n")
    assert "split 'trian' is not known (train, val, test)" in one_refusal(path)


def test_dicom_folder_is_read_with_and_without_suffix(tmp_path: Path) -> None:
    for name, to in (("CT_small.dcm", "SMITH_JOHN"), ("MR_small.dcm", "sub/b.dcm"), ("reportsi.dcm", "c.dcm")):
        source = get_testdata_file(name, download=False)
        (tmp_path / to).parent.mkdir(exist_ok=True)
        (tmp_path / to).write_bytes(Path(str(source)).read_bytes())
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    good, bad = read(tmp_path)
    assert sorted(d.record.text for d in good) == ["Axial CT slice.", "Axial MRI slice."]
    assert all(d.record.file_name == "" for d in good)
    assert all(d.record.patient_id and "1CT1" not in d.record.patient_id for d in good)
    assert [r.file for r in bad] == [str(tmp_path / "c.dcm")]


def test_csv_may_name_dicom_files(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes())
    (draft,), _ = read(table(tmp_path, "path,text,modality\nx.dcm,A report.,CT\n"))
    assert (draft.kind, draft.part) == ("dicom", (0,))
    assert draft.record.text == "A report."
    assert draft.record.patient_id
    assert draft.record.extra["plane"] == "Axial"


def test_dicom_of_unknown_modality_asks_for_one() -> None:
    path = Path(str(get_testdata_file("SC_rgb_rle.dcm", download=False)))
    assert "DICOM modality 'OT' has no image type here" in one_refusal(path)
    (draft,), _ = read(path, Reading(modality=MODALITIES["fundus"]))
    assert draft.record.modality == "fundus"


def test_class_folders_need_a_modality(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "pituitary_tumour" / "1.png")
    picture(tmp_path / "test" / "glioma" / "1.png")
    with pytest.raises(ValueError, match=r"do not say their modality; pass --modality \(CT, MRI"):
        read(tmp_path)
    good, _ = read(tmp_path, Reading(modality=MODALITIES["MRI"]))
    assert [(d.record.label, d.split) for d in good] == [("glioma", "test"), ("pituitary_tumour", "train")]
    assert "pituitary" in good[1].record.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "the folder is empty; give a folder with a metadata.jsonl"),
        (["notes.txt"], "no images, no DICOM files and no table"),
        (["a.png"], "images without texts, such as a.png; add a metadata.jsonl or a CSV"),
        (["train/a.png"], "images without texts, such as a.png"),
        (["a.csv", "b.csv"], "holds 2 tables (a.csv, b.csv); name the one to read"),
        (["metadata.jsonl"], "no rows; add one line for each image"),
    ],
)
def test_folder_that_cannot_be_read_says_what_is_needed(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert message in str(error.value)


def test_folder_of_folders_with_tables_names_them(tmp_path: Path) -> None:
    for name in ("ct", "mri"):
        picture(tmp_path / name / "images" / "1.png")
        (tmp_path / name / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(tmp_path)
    assert f"2 folders of it do: name them instead ({tmp_path}/ct {tmp_path}/mri)" in str(error.value)


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"a.png: an image without its text"):
        read(picture(tmp_path / "a.png"))


@pytest.mark.parametrize("text", ["path,text\n{}.dcm,Normal\n", '{{"path": "{}.dcm", "text": "Normal"}}\n'])
def test_a_table_of_dicom_files_needs_no_modality_and_a_flag_or_a_row_decides(tmp_path: Path, text: str) -> None:
    name = "cases.jsonl" if text.startswith("{") else "cases.csv"
    for kind in ("CT", "MR"):
        shutil.copy(get_testdata_file(f"{kind}_small.dcm"), tmp_path / f"{kind}.dcm")
        path = table(tmp_path, text.format(kind), name)
        good, bad = read(path)
        assert not bad
        assert (good[0].record.modality, good[0].record.text) == ("CT" if kind == "CT" else "MRI", "Normal")
    assert read(path, Reading(modality=MODALITIES["X-ray"]))[0][0].record.modality == "X-ray"
    path = table(tmp_path, "path,text,modality\nCT.dcm,Normal,\nCT.dcm,Normal,MRI\na.png,Normal,\n")
    good, bad = read(path)
    assert [d.record.modality for d in good] == ["CT", "MRI"]
    assert "cases.csv:4: says no modality" in bad[0].reason


def test_a_table_without_a_modality_is_refused_where_its_first_file_is_no_dicom(tmp_path: Path) -> None:
    path = table(tmp_path, "path,text\ngone.png,Normal\na.png,Normal\n")
    with pytest.raises(ValueError, match=r"no column for modality.*or pass --modality"):
        read(path)
