"""Where prompts come from: every kind of file and folder, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.record import Finding, load_records
from vesalius.data.texts.prompt import prompts_of
from vesalius.inference.config import GenerateConfig
from vesalius.inference.prompts.read import stream_prompts
from vesalius.inference.running.run import stream_requests


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_has_a_prompt_a_line(tmp_path: Path) -> None:
    assert [p.text for p in stream_prompts(written(tmp_path / "p.txt", "Chest CT\n\nBrain MRI\n"))] == [
        "Chest CT",
        "Brain MRI",
    ]


def test_json_lines_bring_modality_and_findings(tmp_path: Path) -> None:
    rows = '{"text": "a mass", "modality": "MR", "findings": [{"kind": "mass", "side": "left"}]}\n{"caption": "CT"}\n'
    mass, plain = stream_prompts(written(tmp_path / "p.jsonl", rows))
    assert (mass.text, mass.modality, mass.findings) == ("a mass", "MRI", (Finding(kind="mass", side="left"),))
    assert (plain.text, plain.modality, plain.findings) == ("CT", None, ())


@pytest.mark.parametrize(
    ("name", "mark"), [("p.csv", ","), ("p.tsv", "\t"), ("semicolons.csv", ";")], ids=lambda word: repr(word)
)
def test_a_table_has_columns_of_any_usual_name(tmp_path: Path, name: str, mark: str) -> None:
    lines = (("Id", "Imaging Modality", "Prompt"), ("1", "chest ct", '"a nodule, small"'), ("2", "", "Brain MRI"))
    path = written(tmp_path / name, "".join(f"{mark.join(cells)}\n" for cells in lines))
    assert [(p.text, p.modality) for p in stream_prompts(path)] == [("a nodule, small", "CT"), ("Brain MRI", None)]


def test_a_caption_comes_before_a_report_and_a_section_may_be_the_text(tmp_path: Path) -> None:
    both = written(tmp_path / "p.csv", "report,caption,modality\nFINDINGS: x,short,CT\n")
    assert [p.text for p in stream_prompts(both)] == ["short"]
    section = written(tmp_path / "s.csv", "findings,modality\nA nodule in the left lung.,CT\n")
    assert [p.text for p in stream_prompts(section)] == ["A nodule in the left lung."]


def test_a_dataset_and_its_shards_give_the_captions_of_one_split(phantoms: Path, tmp_path: Path) -> None:
    export_shards(ExportConfig(folder=phantoms, out=tmp_path / "shards", json=True))
    for split in ("train", "test"):
        records = load_records(phantoms, split)
        for place in (phantoms, tmp_path / "shards"):
            prompts = list(stream_prompts(place, split))
            assert [p.text for p in prompts] == [prompts_of(r)[0] for r in records]
            assert [p.findings for p in prompts] == [r.findings for r in records]
    usual = list(stream_requests(GenerateConfig(prompts=phantoms, out=tmp_path)))
    assert {r.prompt for r in usual} == {prompts_of(r)[0] for r in load_records(phantoms, "train")}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("p.jsonl", '{"text": "a mass", "modality": "MRI"}\n{"prompt": 1}\n', r"p\.jsonl:2: expected a text.*mend"),
        ("p.jsonl", "{\n", r"p\.jsonl:1: not JSON"),
        ("p.jsonl", '{"text": "a mass", "modality": "MRT"}\n', r"p\.jsonl:1: modality 'MRT'.*did you mean 'MRI'"),
        ("p.csv", "text,modality\nok,CT\nnot ok,CTT\n", r"p\.csv:3: modality 'CTT' is not known; did you mean 'CT'"),
        ("p.csv", "text,modality\nok,CT\na, b,CT\n", r"p\.csv:3: 3 columns where the header names 2.*quotes"),
        ("p.csv", "text,modality\n,CT\n", r"p\.csv:2: expected a text"),
        (
            "p.csv",
            "capton,modality\nx,CT\n",
            r"p\.csv:1: no column.*'capton': did you mean 'caption'",
        ),
        ("p.txt", "\n", "holds no prompt"),
        ("p.json", "[]", r"\.jsonl"),
    ],
)
def test_a_bad_row_is_named_with_its_remedy(tmp_path: Path, name: str, content: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(stream_prompts(written(tmp_path / name, content)))


def test_a_file_that_is_not_there_and_a_split_without_captions_are_told(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such prompts file"):
        list(stream_prompts(tmp_path / "nowhere.txt"))
    with pytest.raises(ValueError, match="--split holdout"):
        list(stream_prompts(phantoms, "holdout"))
    with pytest.raises(ValueError, match=r"no metadata\.jsonl"):
        list(stream_prompts(tmp_path))
