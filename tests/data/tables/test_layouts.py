"""Published datasets are known by their columns and files, with no flag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.modality import MODALITIES
from vesalius.data.sources.walk import Draft, Reading, Refused, drafts

COVID = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,went_icu,in_icu,"
    "needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,neutrophil_count,lymphocyte_count,"
    "view,modality,date,location,folder,filename,doi,url,license,clinical_notes,other_notes,"
)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)).save(path)


def read(source: Path, modality: str | None = None) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(source, Reading(modality=MODALITIES[modality] if modality else None)))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def covid(root: Path, /, **cells: str) -> Path:
    row = {
        "patientid": "4", "sex": "F", "age": "61", "finding": "Pneumonia/Viral/COVID-19", "view": "PA",
        "modality": "X-ray", "date": "January 2020", "location": "Wuhan, China", "folder": "images",
        "filename": "a.jpg", "license": "CC BY", "doi": "10.1/x", "url": "https://x.org", **cells,
    }  # fmt: skip
    picture(root / "images" / "a.jpg")
    line = ",".join(f'"{row.get(name, "")}"' for name in COVID.split(","))
    (root / "metadata.csv").write_text(f"{COVID}\n{line}\n", encoding="utf-8")
    return root


def test_covid_chestxray_keeps_its_medical_columns_alone(tmp_path: Path) -> None:
    good, bad = read(covid(tmp_path, clinical_notes="Fever, cough.\nGround glass."))
    assert not bad
    (draft,) = good
    assert draft.path == tmp_path / "images" / "a.jpg"
    record = draft.record
    assert (record.text, record.modality, record.patient_id) == ("Fever, cough.\nGround glass.", "X-ray", "4")
    assert (record.label, record.license) == ("Pneumonia/Viral/COVID-19", "CC BY")
    assert record.extra == {
        "text_origin": "clinical notes", "sex": "F", "age": "61", "view": "PA", "doi": "10.1/x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("finding", "view", "modality", "text"),
    [
        ("Pneumonia/Viral/COVID-19", "PA", "X-ray", "Chest X-ray, PA view: COVID-19 viral pneumonia."),
        ("Pneumonia/Fungal/Pneumocystis", "L", "X-ray", "Chest X-ray, lateral view: Pneumocystis fungal pneumonia."),
        ("No Finding", "", "X-ray", "Chest X-ray: no finding."),
        ("Tuberculosis", "Axial", "CT", "Chest CT, axial view: tuberculosis."),
        ("Pneumonia/Viral/MERS-CoV", "AP Supine", "X-ray", "Chest X-ray, AP supine view: MERS-CoV viral pneumonia."),
    ],
)
def test_text_without_notes_is_composed_of_finding_and_view(
    tmp_path: Path, finding: str, view: str, modality: str, text: str
) -> None:
    (draft,), _ = read(covid(tmp_path, finding=finding, view=view, modality=modality))
    assert draft.record.text == text
    assert draft.record.extra["text_origin"] == "label"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"finding": "todo"}, "neither clinical_notes nor finding says anything"),
        ({"finding": ""}, "neither clinical_notes nor finding says anything"),
        ({"filename": ""}, "the path"), ({"filename": "gone.jpg"}, "no image at"),
        ({"filename": "../../etc/passwd"}, "leads out of"), ({"folder": ".."}, "leads out of"),
        ({"filename": "b.nii.gz", "folder": "volumes"}, "no image at"), ({"modality": ""}, "says no modality"),
        ({"modality": "XX"}, "modality 'XX' is not known"), ({"folder": "https://x.org"}, "remote address"),
        ({"filename": "a\0.jpg"}, "control characters"), ({"filename": "a" * 400 + ".jpg"}, "no image at"),
    ],
)  # fmt: skip
def test_bad_row_of_covid_chestxray_is_refused(tmp_path: Path, cells: dict[str, str], message: str) -> None:
    good, (refused,) = read(covid(tmp_path / "in", **cells))
    assert not good
    assert refused.reason.startswith(f"{tmp_path}/in/metadata.csv:2: ")
    assert message in refused.reason


def roco(folder: Path, lines: str = "ROCO_00001\tAxial CT of the chest, mass.\nROCO_00002\t A mass. \n") -> Path:
    picture(folder / "images" / "ROCO_00001.jpg")
    picture(folder / "images" / "ROCO_00002.jpg")
    (folder / "captions.txt").write_text(lines, encoding="utf-8")
    (folder / "keywords.txt").write_text("ROCO_00001\tchest\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("named", ["radiology", ".", "radiology/captions.txt"])
def test_roco_is_known_by_its_captions(tmp_path: Path, named: str) -> None:
    roco(tmp_path / "radiology")
    good, bad = read(tmp_path / named)
    assert [(d.record.text, d.record.modality, d.path.name) for d in good] == [
        ("Axial CT of the chest, mass.", "CT", "ROCO_00001.jpg")
    ]
    assert "captions.txt:2: says no modality; fill the column, or pass --modality" in bad[0].reason
    assert len(read(tmp_path / named, "MRI")[0]) == 2


def test_splits_of_roco_are_its_folders(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        roco(tmp_path / name / "radiology")
    good, _ = read(tmp_path, "CT")
    assert sorted({d.split or "" for d in good}) == ["test", "train", "val"]
    assert [d.split for d in read(tmp_path / "validation", "CT")[0]] == ["val", "val"]
    assert [d.split for d in read(tmp_path / "validation" / "radiology", "CT")[0]] == ["val", "val"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ROCO_00001 no tab", "no tab between identifier and caption"), ("ROCO_00001\t", "no tab between"),
        ("\tA CT.", "no tab between"), ("ROCO_99999\tA CT.", "no image at"), ("../x\tA CT.", "no image at"),
        ("../../../x\tA CT.", "leads out of"), ("/etc/hosts\tA CT.", "no image at"),
        ("a\0b\tA CT.", "control characters"),
    ],
)  # fmt: skip
def test_bad_line_of_roco_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    good, (refused,) = read(roco(tmp_path / "radiology", "ROCO_00001\tA CT.\n" + lines + "\n"))
    assert len(good) == 1
    assert refused.reason.startswith(f"{tmp_path}/radiology/captions.txt:2: ")
    assert message in refused.reason


def beside(root: Path, split: str) -> Path:
    return root / "images"


@pytest.mark.parametrize(
    "place",
    [beside, lambda root, split: root / split, lambda root, split: root / f"{split}_images" / split,
     lambda root, split: root / f"{split}_images"],
)  # fmt: skip
def test_rocov2_is_known_by_its_captions_and_splits(tmp_path: Path, place: Callable[[Path, str], Path]) -> None:
    for split in ("train", "valid", "test"):
        picture(place(tmp_path, split) / f"ROCOv2_2023_{split}_000001.jpg")
        text = f"ID,Caption\nROCOv2_2023_{split}_000001,MRI of the brain.\n"
        (tmp_path / f"{split}_captions.csv").write_text(text, encoding="utf-8")
        (tmp_path / f"{split}_concepts.csv").write_text("ID,CUIs\n", encoding="utf-8")
    good, bad = read(tmp_path)
    assert not bad
    assert sorted((d.split or "", d.record.modality) for d in good) == [
        ("test", "MRI"),
        ("train", "MRI"),
        ("val", "MRI"),
    ]
    (alone,), _ = read(tmp_path / "valid_captions.csv")
    assert alone.record.source == "ROCOv2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,A CT.", "no image at"), (",A CT.", "the path is empty"), ("a,", "the text"),
        ("a,A mass.", "says no modality"),
        ("../../../a,A CT.", "leads out of"), ("http://x/a,A CT.", "no image at"), ("a\0,A CT.", "control characters"),
        ("a,A CT,of", "3 columns where the header names 2"), ('a,"A CT', "no CT"),
    ],
)  # fmt: skip
def test_bad_row_of_rocov2_is_refused(tmp_path: Path, row: str, message: str) -> None:
    picture(tmp_path / "in" / "train" / "a.jpg")
    path = tmp_path / "in" / "train_captions.csv"
    path.write_text(f"ID,Caption\n{row}\n", encoding="utf-8")
    good, bad = read(path)
    if message == "no CT":  # an open quote ends with the file, and its text is whole
        assert good[0].record.text == "A CT"
        return
    assert not good
    assert bad[0].reason.startswith(f"{path}:2: ")
    assert message in bad[0].reason


def test_metadata_beside_other_tables_is_what_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "A.", "modality": "CT"}\n')
    (tmp_path / "train_captions.csv").write_text("ID,Caption\n")
    (tmp_path / "x.parquet").write_bytes(b"")
    assert read(tmp_path)[0][0].record.text == "A."


NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def test_chestxray14_is_read_from_the_folders_of_its_archives(tmp_path: Path) -> None:
    picture(tmp_path / "images_002" / "images" / "00000001_000.png")
    picture(tmp_path / "images" / "00000002_000.png")
    rows = (
        "00000001_000.png,Cardiomegaly|Effusion,0,1,58,M,PA", "00000002_000.png,No Finding,0,2,60,F,AP",
        "3.png,Mass,0,3,60,F,AP",
    )  # fmt: skip
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([NIH, *rows]) + "\n")
    good, (bad,) = read(tmp_path)
    assert [(d.record.modality, d.record.organ, d.record.patient_id) for d in good] == [
        ("X-ray", "chest", "1"), ("X-ray", "chest", "2"),
    ]  # fmt: skip
    assert good[0].record.label == "Cardiomegaly|Effusion"
    assert "cardiomegaly" in good[0].record.text.lower()
    assert "pleural effusion" in good[0].record.text
    assert good[1].record.extra["view"] == "AP"
    assert bad.reason.startswith(f"{tmp_path / 'Data_Entry_2017.csv'}:4: no image at")


CHEX = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def test_chexpert_tells_what_is_there_and_lists_what_is_left_open(tmp_path: Path) -> None:
    root, place = tmp_path / "CheXpert-v1.0-small", "train/patient00001/study1"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(root / place / name)
    lines = (
        f"CheXpert-v1.0-small/{place}/a.jpg,Female,68,Frontal,AP,,,1.0,,,-1.0,0.0,,,,1.0,,,",
        f"CheXpert-v1.0-small/{place}/b.jpg,Male,70,Lateral,,1.0,,,,,,,,,0.0,,,,1.0",
        f"CheXpert-v1.0-small/{place}/c.jpg,Male,70,Frontal,PA,,,,,,,,-1.0,,0.0,,,,",
        f"CheXpert-v1.0-small/{place}/a.jpg,Male,70,Frontal,PA,,,yes,,,,,,,,,,,",
    )
    (root / "train.csv").write_text("\n".join([CHEX, *lines]) + "\n")
    good, (bad,) = read(root)
    assert [d.record.label for d in good] == ["cardiomegaly|pleural effusion", "support devices", None]
    assert [d.record.extra["uncertain"] for d in good] == ['["edema"]', "[]", '["pneumonia"]']
    assert [d.record.extra["view"] for d in good] == ["AP", "lateral", "PA"]
    assert {d.record.patient_id for d in good} == {"patient00001"}
    assert "edema" not in good[0].record.text
    assert good[2].record.text == "Chest X-ray, PA view."
    assert "column cardiomegaly holds 'yes', expected 1, 0, -1 or nothing" in bad.reason
