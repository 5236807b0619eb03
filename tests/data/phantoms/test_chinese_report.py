"""Chinese reports from a hospital's table to prompts: decoded, divided, scrubbed, read, split by patient, opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from vesalius.cli.main import main
from vesalius.data.record import Finding, Record, load_records
from vesalius.data.texts.prompt import is_chinese, prompts_of, sections

FINDINGS = (
    "左肺上叶见一枚结节，大小约12mm×9mm，边缘清晰。未见胸腔积液。",
    "右侧胸腔积液。双肺未见结节。",
    "右肺下叶实变，肺炎可能。未见气胸。",
)
READ = (
    {Finding(kind="nodule", side="left", size_mm=12.0), Finding(kind="pleural effusion", present=False)},
    {Finding(kind="pleural effusion", side="right"), Finding(kind="nodule", present=False)},
    {Finding(kind="consolidation", side="right"), Finding(kind="pneumothorax", present=False)},
)
PATIENTS = 6


def report(patient: int, kind: int) -> tuple[str, str]:
    """Findings and impression as they are typed, with what must not leave the hospital."""
    found = f"患者姓名：张伟{'明' * (patient % 2)}，住院号：00{patient}7712。{FINDINGS[kind]}"
    return found, f"请结合临床。报告医师：李建国，联系电话13800138{patient:03d}，2021年3月{patient + 1}日。"


def scan(path: Path, patient: int, accession: str) -> None:
    """A CT of a patient, in Hounsfield units."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = CTImageStorage, generate_uid(), "CT"
    file.StudyInstanceUID = file.SeriesInstanceUID = generate_uid()
    file.AccessionNumber, file.PatientID, file.PatientName = accession, f"P{patient}", "Zhang^Wei"
    file.BodyPartExamined, file.Rows, file.Columns = "CHEST", 16, 16
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 1
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = 1, -1024, "HU"
    file.PixelData = np.random.default_rng(len(accession) + patient).integers(0, 2000, (16, 16)).astype("<i2").tobytes()
    file.save_as(path, enforce_file_format=True)


def source(tmp_path: Path, kind: str) -> list[str]:
    """A folder of two images for each patient and its reports, as a line's words."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows = []
    for number in range(2 * PATIENTS):
        patient, found, concluded = number // 2, *report(number // 2, number % 3)
        name = f"CT{number:04d}"
        if kind == "DICOM":
            scan(folder / f"{name}.dcm", patient, name)
            rows.append((name, found, concluded))
        else:
            pixels = np.random.default_rng(number).integers(0, 255, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            row = (f"{name}.png", found, concluded)
            rows.append(row if kind == "PNG, reports apart" else (*row, "胸部CT", f"P{patient}", "张伟"))
    header: tuple[str, ...] = ("检查号" if kind == "DICOM" else "文件名", "影像所见", "诊断意见")
    if kind == "PNG in a table":
        header = ("影像路径", "影像所见", "诊断意见", "检查类型", "患者编号", "患者姓名")
    text = "".join(",".join(row) + "\r\n" for row in (header, *rows))
    place = tmp_path / "报告.csv" if kind != "PNG in a table" else folder / "报告.csv"
    place.write_bytes(text.encode("gb18030"))
    apart = ["--reports", str(place)] if kind != "PNG in a table" else []
    return [str(folder), *apart, *(["--modality", "CT"] if kind == "PNG, reports apart" else [])]


@pytest.mark.parametrize("kind", ["DICOM", "PNG in a table", "PNG, reports apart"])
def test_chinese_reports_become_a_dataset_of_chinese_prompts(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = ["data", "build", *source(tmp_path, kind), "--out", str(out), "--read-findings", "--json", "--val", "0.3"]
    assert main([*line, "--test", "0.3"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_records"] == 2 * PATIENTS
    assert summary["uncertain"] == {"pneumonia": 4}
    records = load_records(out)
    for record in records:
        check(record, organ="胸部" if kind == "DICOM" else "")
    if kind != "PNG, reports apart":  # which name no patient
        assert_whole(records)
    rows = (out / "train" / "metadata.jsonl").read_text(encoding="utf-8")
    assert "影像所见：" in rows
    assert "\\u" not in rows
    opened(out, tmp_path / "cache", len(records))


def check(record: Record, organ: str) -> None:
    """One row: sections, no identifiers, findings, prompts."""
    parts = sections(record.text)
    assert parts.keys() == {"findings", "impression"}
    kind = next(i for i, text in enumerate(FINDINGS) if text in parts["findings"])
    assert set(record.findings) == READ[kind]
    assert json.loads(record.extra["uncertain"]) == (["pneumonia"] if kind == 2 else [])
    row = json.dumps(record.to_json(), ensure_ascii=False)
    assert not [word for word in ("张伟", "李建国", "7712", "13800138", "2021年", "Zhang") if word in row], row
    prompts = prompts_of(record)
    assert all(map(is_chinese, prompts))
    grey = "" if record.hounsfield else "灰度"
    assert any(p.startswith(f"{grey}{organ}CT检查所见：") and FINDINGS[kind] in p for p in prompts)


def assert_whole(records: list[Record]) -> None:
    """Every patient lies in one split, and not all in the same."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(str(record.patient_id), set()).add(record.split)
    assert len(splits) == PATIENTS
    assert all(len(split) == 1 for split in splits.values())
    assert len(set.union(*splits.values())) > 1


def opened(out: Path, cache: Path, num: int) -> None:
    """The folder opens as Hugging Face's imagefolder, with texts as they are."""
    import datasets

    found: Any = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(cache))
    rows = [row for split in found.values() for row in split]
    assert len(rows) == num
    assert all("影像所见：" in row["text"] and row["image"].size == (16, 16) for row in rows)


def test_an_image_that_no_report_names_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = source(tmp_path, "PNG, reports apart")
    Image.new("L", (16, 16), 9).save(tmp_path / "in" / "more.png")
    assert main(["data", "build", *words, "--out", str(tmp_path / "out")]) == 2
    assert "no report names it; add one for more.png" in capsys.readouterr().err
