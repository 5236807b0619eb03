"""Reports that lie apart: paired by accession number, study UID or file name, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import BasicTextSRStorage, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.dicom.frames import read_report
from vesalius.data.record import load_records
from vesalius.data.sources.reports import Reports


def image(path: Path, accession: str, study: str) -> Path:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = CTImageStorage, generate_uid(), "MR"
    file.AccessionNumber, file.StudyInstanceUID, file.SeriesInstanceUID = accession, study, study + ".1"
    file.PatientID = f"patient of {study}"
    file.Rows = file.Columns = 16
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = np.random.default_rng(len(str(path))).integers(0, 255, (16, 16)).astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def coded(meaning: str) -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", meaning
    return [code]


def content(kind: str, name: str, **attributes: Any) -> Dataset:
    node = Dataset()
    node.ValueType, node.RelationshipType = kind, "CONTAINS"
    node.ConceptNameCodeSequence = coded(name)
    for key, value in attributes.items():
        setattr(node, key, value)
    return node


def structured(path: Path, study: str, *nodes: Dataset) -> Path:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = BasicTextSRStorage, generate_uid(), "SR"
    file.StudyInstanceUID, file.AccessionNumber, file.ContentSequence = study, "", list(nodes)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def nodes() -> list[Dataset]:
    size, unit = Dataset(), Dataset()
    unit.CodeValue = "mm"
    size.NumericValue, size.MeasurementUnitsCodeSequence = 12, [unit]
    findings = content("CONTAINER", "Findings")
    findings.ContentSequence = [
        content("TEXT", "Finding", TextValue="A nodule in the left lung."),
        content("NUM", "Diameter", MeasuredValueSequence=[size]),
        content("CODE", "Severity", ConceptCodeSequence=coded("mild")),
    ]
    return [
        content("PNAME", "Observer", PersonName="Doe^Jane", RelationshipType="HAS OBS CONTEXT"),
        content("DATETIME", "Time", DateTime="20210101"),
        findings,
        content("TEXT", "Conclusion", TextValue="Follow-up in 3 months."),
    ]


def built(tmp_path: Path, reports: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Texts of the records by study (its number), and the notes."""
    for i in range(3):
        image(tmp_path / "in" / f"{i}.dcm", f"ACC-{i}", f"1.2.{i}")
    image(tmp_path / "in" / "0b.dcm", "ACC-0", "1.2.0")
    config = BuildConfig(sources=(tmp_path / "in",), out=tmp_path / "out", reports=reports, json=True, salt="s")
    summary = build_dataset(config)
    from vesalius.data.building.pseudonyms import Pseudonyms

    studies = {Pseudonyms("s").hashed("study", f"1.2.{i}"): str(i) for i in range(3)}
    return {studies[r.extra["study"]]: r.text for r in load_records(tmp_path / "out")}, summary.notes


def test_plain_texts_are_named_for_accession_number_or_study(tmp_path: Path) -> None:
    (tmp_path / "r" / "deep").mkdir(parents=True)
    (tmp_path / "r" / "ACC-0.txt").write_text("\ufeffReport nought.\n", encoding="utf-8")
    (tmp_path / "r" / "deep" / "1.2.1.txt").write_text("左肺结节。", encoding="utf-16")
    (tmp_path / "r" / "ACC-9.txt").write_text("Of nobody.")
    texts, notes = built(tmp_path, tmp_path / "r")
    assert texts == {"0": "Report nought.", "1": "左肺结节。", "2": "MRI slice."}
    assert notes[0] == (
        "2 of 3 reports paired with 3 images; 1 report names none of these images, 1 image has no report"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.csv", 'Accession Number,Report\nACC-0,"One, two."\nACC-2,Three.\n'),
        ("r.tsv", "study_instance_uid\ttext\n1.2.0\tOne, two.\n1.2.2\tThree.\n"),
        ("r.csv", "file_name;impression\n0.dcm;One, two.\n0b.dcm;One, two.\n2;Three.\n"),
        ("r.csv", 'image,text\nexport/0.dcm,"One, two."\nexport\\0b.dcm,"One, two."\n/mnt/a/2.dcm,Three.\n'),
        ("r.jsonl", '{"accession": "ACC-0", "report": "One, two."}\n\n{"study_uid": "1.2.2", "text": "Three."}\n'),
    ],
)
def test_tables_name_images_in_any_of_the_usual_columns(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert built(tmp_path, tmp_path / name)[0] == {"0": "One, two.", "1": "MRI slice.", "2": "Three."}


ROWS = (("ACC-0", "左肺上叶结节，大小约8mm。未见胸腔积液。"), ("ACC-2", "Épanchement pleural à gauche."))


@pytest.mark.parametrize(
    ("encoding", "mark", "rows"),
    [("gb18030", ",", 0), ("gb18030", "\t", 0), ("utf-16", ";", 0), ("utf-8-sig", "|", 0), ("cp1252", ";", 1)],
)
@pytest.mark.parametrize("header", [("accession", "report"), ("AccessionNumber", "Report Text"), ("检查号", "报告")])
def test_tables_of_reports_have_the_encodings_and_marks_of_tables_of_images(
    tmp_path: Path, encoding: str, mark: str, rows: int, header: tuple[str, str]
) -> None:
    header = ("accession", "report") if encoding == "cp1252" else header
    key, text = ROWS[rows]
    content = f"{mark.join(header)}\r\n{key}{mark}{text}\r\n"
    (tmp_path / "r.csv").write_bytes(content.encode(encoding))
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / f"{key}.txt").write_bytes(f"{text}\r\n{text}".encode(encoding))
    assert Reports(tmp_path / "r.csv").find((key,)) == text
    assert Reports(tmp_path / "t").find((key,)) == f"{text}\r\n{text}"


def test_findings_and_impression_in_two_columns_of_reports_are_one(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("检查号,诊断意见,检查所见\n1,左肺结节。,左肺见结节。\n2,,左肺见结节。\n")
    reports = Reports(tmp_path / "r.csv")
    assert reports.find(("1",)) == "检查所见：左肺见结节。\n诊断意见：左肺结节。"
    assert reports.find(("2",)) == "左肺见结节。"
    (tmp_path / "e.csv").write_text("StudyInstanceUID,Impression,Findings\n1.2,A nodule.,Findings: 8 mm.\n")
    assert Reports(tmp_path / "e.csv").find(("1.2",)) == "Findings: 8 mm.\nIMPRESSION: A nodule."


def test_table_of_reports_among_the_images_is_no_table_of_images(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "reports.csv").write_text("accession,report\nACC-0,One.\n")
    assert built(tmp_path, tmp_path / "in" / "reports.csv")[0] == {"0": "One.", "1": "MRI slice.", "2": "MRI slice."}


def test_other_tables_of_a_folder_of_reports_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "doses.csv").write_text("scanner,dose\nA,3\n")
    (tmp_path / "ACC-0.txt").write_text("One.")
    assert Reports(tmp_path).find(("ACC-0",)) == "One."
    with pytest.raises(ValueError, match=r"doses\.csv:2: expected a column such as .*found scanner, dose"):
        Reports(tmp_path / "doses.csv")


def test_structured_report_becomes_sections_without_persons_and_dates(tmp_path: Path) -> None:
    text, keys = read_report(structured(tmp_path / "sr.dcm", "1.2.0", *nodes()))
    assert text == (
        "Findings:\nA nodule in the left lung.\nDiameter: 12 mm\nSeverity: mild\nImpression: Follow-up in 3 months."
    )
    assert keys == ("1.2.0",)


def test_structured_reports_among_the_images_are_paired_and_not_refused(tmp_path: Path) -> None:
    structured(tmp_path / "in" / "sr.dcm", "1.2.1", *nodes())
    texts, notes = built(tmp_path, tmp_path / "in")
    assert "A nodule in the left lung." in texts["1"]
    assert texts["0"] == "MRI slice."
    assert notes[0].startswith("1 of 1 report paired with 1 image")


def test_structured_report_without_its_flag_says_how_to_use_it(tmp_path: Path) -> None:
    path = structured(tmp_path / "sr.dcm", "1.2.1", *nodes())
    with pytest.raises(ValueError, match=r"holds no image \(Basic Text SR Storage\); pass its folder as --reports"):
        build_dataset(BuildConfig(sources=(path,), out=tmp_path / "out"))


def test_real_structured_reports_are_read_or_say_nothing() -> None:
    for name in ("reportsi.dcm", "test-SR.dcm"):
        try:
            text, keys = read_report(Path(str(get_testdata_file(name, download=False))))
        except ValueError as error:
            assert "without a text" in str(error)  # noqa: PT017
        else:
            assert text
            assert keys


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "the report is empty"),
        ("a.txt", "Поражение".encode("koi8-r"), "not UTF-8 text"),
        ("a.csv", b"accession,report\nA,One, two.\n", "a.csv:2: 3 columns where the header names 2"),
        ("a.txt", b"x" * 1_000_001, "more than 1000000 bytes"),
        ("a.txt", b"One\0 report in one line.", "no plain text"),
        ("a.csv", b"accession,report\nA,One.\nA,Two.\n", "a.csv:3: a second, other report for the same images"),
        ("a.csv", b"accession,report\nA,\n", "a.csv:2: the report is empty"),
        ("a.csv", b"name,report\nA,One.\n", "a.csv:2: expected a column such as accession_number"),
        ("a.csv", b"accession,report\n,One.\n", "a.csv:2: names no accession number"),
        ("a.csv", b"accession,report\nA," + b"x" * 2_000_001 + b"\n", "not CSV"),
        ("a.csv", b"accession,report\nA," + b"x" * 1_000_001 + b"\n", "a.csv:2: no plain text of at most"),
        ("a.jsonl", b"{broken\n", "a.jsonl:1: not JSON"),
        ("a.pdf", b"%PDF", "no report; give a .txt"),
    ],
)
def test_bad_reports_are_refused_with_file_and_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Reports(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert reason in str(error.value)


def test_missing_or_empty_folder_of_reports_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder of reports"):
        Reports(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no report; give texts named for an accession number"):
        Reports(tmp_path)


def test_identifiers_used_for_pairing_do_not_reach_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("accession,report\nACC-0,One.\n")
    built(tmp_path, tmp_path / "r.csv")
    blob = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert b"ACC-0" not in blob
    assert b"patient of" not in blob
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["build"]["notes"]
