"""What a check finds in a dataset folder that somebody broke."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.cli.main import DONE, main
from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.check.run import CheckConfig, CheckSummary, check_dataset
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.data.record import digest_file, load_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    source.mkdir()
    rows = []
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8)).astype(np.uint8)).save(source / f"{i}.png")
        split = ("train", "train", "val", "test")[i % 4]
        rows.append(
            {"file_name": f"{i}.png", "text": f"Case {i}.", "modality": "CT", "patient_id": f"p{i}", "split": split}
        )
    (source / "metadata.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    build_dataset(BuildConfig(sources=(source,), out=tmp_path / "out", json=True))
    return tmp_path / "out"


def run(folder: Path) -> CheckSummary:
    return check_dataset(CheckConfig(folder=folder, json=True))


def edit(folder: Path, split: str, number: int, **columns: str) -> None:
    path = folder / split / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number].update(columns)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_whole_dataset_has_no_problems(folder: Path) -> None:
    summary = run(folder)
    assert summary.ok
    assert (summary.num_records, summary.num_patients) == (12, 12)
    assert summary.splits == {"train": 6, "val": 3, "test": 3}
    assert summary.modalities == {"CT": 12}


def test_missing_manifest_is_a_problem(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "no manifest.json" in run(folder).problems[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": " "}, "its text is empty"),
        ({"modality": "CTT"}, "modality 'CTT' is not known"),
        ({"sha256": "0" * 64}, "sha256"),
    ],
)
def test_changed_row_is_found_twice(folder: Path, columns: dict[str, str], message: str) -> None:
    edit(folder, "val", 1, **columns)
    problems = run(folder).problems
    assert any("metadata.jsonl: changed since the manifest" in p for p in problems)
    assert any(message in p and ".png" in p for p in problems)


@pytest.mark.parametrize("damage", ["changed", "corrupt", "gone", "blank"])
def test_damaged_image_is_named(folder: Path, damage: str) -> None:
    path = folder / load_records(folder, "train")[0].file_name
    if damage == "changed":
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(path)
    elif damage == "corrupt":
        path.write_bytes(path.read_bytes()[:60])
    elif damage == "gone":
        path.unlink()
    else:
        Image.new("L", (8, 8)).save(path)
    problems = run(folder).problems
    assert problems
    assert all(p.startswith(str(path)) for p in problems)


def test_patient_in_two_splits_is_a_problem(folder: Path) -> None:
    edit(folder, "val", 0, patient_id="p0")
    assert any("patient or group 'p0' is in more than one split" in p for p in run(folder).problems)


def test_same_image_in_two_splits_is_a_problem_even_if_encoded_anew(folder: Path) -> None:
    source, target = (folder / load_records(folder, s)[0].file_name for s in ("train", "test"))
    Image.open(source).save(target, compress_level=0)
    assert any("the same image is in train" in p and "test (" in p for p in run(folder).problems)


def test_same_image_twice_in_one_split_is_a_warning(folder: Path) -> None:
    first, second = load_records(folder, "val")[:2]
    shutil.copy(folder / first.file_name, folder / second.file_name)
    edit(folder, "val", 1, sha256=str(first.sha256))
    summary = run(folder)
    assert any("1 image repeats" in w for w in summary.warnings)
    assert not any("same image" in p for p in summary.problems)


def test_one_text_of_most_records_of_a_modality_is_a_warning_that_names_it(folder: Path) -> None:
    for split, num in (("train", 6), ("val", 1)):  # 7 of 12
        for number in range(num):
            edit(folder, split, number, text="Chest CT slice." if number else "Chest CT slice. ")
    summary = run(folder)
    (line,) = [w for w in summary.warnings if "one text" in w]
    assert line.startswith("7 of 12 CT records have one text, 'Chest CT slice.': ")
    assert not [p for p in summary.problems if "one text" in p]
    edit(folder, "train", 0, text="Another.")  # 6 of 12
    assert not [w for w in run(folder).warnings if "one text" in w]


def test_a_line_is_printed_of_what_is_there_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder), "--base", "none"]) == DONE
    told = capsys.readouterr().out
    assert "  modalities: CT 12" in told
    assert "labels:" not in told


def test_missing_split_and_link_out_are_found(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "val")
    outside = tmp_path / "in" / "0.png"
    path = folder / load_records(folder, "train")[0].file_name
    path.unlink()
    path.symlink_to(outside)
    problems = run(folder).problems
    assert any("val/metadata.jsonl: missing" in p for p in problems)
    assert any("leads out of the dataset folder" in p for p in problems)


def test_no_dataset_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such dataset folder"):
        run(tmp_path / "nothing")


def redraw(folder: Path, split: str, number: int, image: Image.Image) -> str:
    """Put another image into a record; the record says so."""
    record = load_records(folder, split)[number]
    image.save(folder / record.file_name)
    edit(folder, split, number, sha256=digest_file(folder / record.file_name))
    return record.file_name


def test_a_copy_that_was_saved_anew_in_another_split_is_a_problem(folder: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(draw_phantom(4, "MRI", size=128).image[..., 0])
    one = redraw(folder, "train", 0, picture)
    picture.save(tmp_path / "copy.jpg", quality=60)
    with Image.open(tmp_path / "copy.jpg") as copy:
        two = redraw(folder, "test", 0, copy.resize((100, 100)))
    summary = check_dataset(CheckConfig(folder=folder, page=tmp_path / "page.html", json=True))
    assert (summary.num_alike, summary.num_alike_across, summary.num_repeated) == (1, 1, 0)
    assert any(f"{folder / one} (train) looks like {two} (test)" in p for p in summary.problems)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "Alike, in two splits" in page


def test_nearly_blank_and_clipped_images_and_impossible_labels_are_warnings(folder: Path) -> None:
    nearly = np.full((64, 64), 7, np.uint8)
    nearly[0, :5] = 200
    clipped = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    clipped[:20] = 255
    redraw(folder, "train", 0, Image.fromarray(nearly))
    redraw(folder, "train", 1, Image.fromarray(clipped))
    edit(folder, "val", 0, text="Fundus of an eye.")
    summary = run(folder)
    assert (summary.num_flawed, summary.num_implausible) == (2, 1)
    told = "\n".join(summary.warnings)
    assert "nearly blank: 99.9 %" in told
    assert "clipped: 31 %" in told
    assert "its text names fundus" in told


def test_texts_are_measured_in_the_tokens_of_a_tokenizer(folder: Path) -> None:
    from types import SimpleNamespace

    class Letters:
        model_max_length = 8

        def __call__(self, text: str) -> SimpleNamespace:
            return SimpleNamespace(input_ids=list(text))

    texts = check_dataset(CheckConfig(folder=folder, json=True), Letters()).texts
    assert (texts.unit, texts.median, texts.longest) == ("tokens", 7, 8)  # "Case 3." and "Case 11."
    assert texts.share_cut == 0
    edit(folder, "val", 0, text="nine tokens and more")
    assert check_dataset(CheckConfig(folder=folder, json=True), Letters()).texts.share_cut == pytest.approx(1 / 12)
    assert run(folder).texts.unit == "words"


def test_the_page_holds_everything_in_itself_and_escapes_texts(folder: Path, tmp_path: Path) -> None:
    edit(folder, "val", 0, text="<script>alert(1)</script> MRI", label="<b>x</b>")
    check_dataset(CheckConfig(folder=folder, page=tmp_path / "deep" / "page.html", json=True))
    page = (tmp_path / "deep" / "page.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "http" not in page
    assert "Records by split" in page


def test_card_and_croissant_are_written_and_a_dry_run_writes_nothing(folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.rglob("*"))
    check_dataset(CheckConfig(folder=folder, json=True, dry_run=True))
    assert sorted(folder.rglob("*")) == before
    assert run(folder).ok
    card = (folder / "card.md").read_text()
    assert card.startswith("---\npretty_name: out\n")
    assert "## Measured by `vesalius data check`" in card
    assert "0 images repeat another" in card
    assert run(folder).ok, "what a check writes is no part of what it checks"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_croissant_is_valid_and_reads_the_records(folder: Path, tmp_path: Path, kind: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    if kind == "parquet":
        export_shards(ExportConfig(folder=folder, out=tmp_path / "shards", json=True))
        folder = tmp_path / "shards"
    run(folder)
    opened = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not opened.metadata.ctx.issues.errors
    name = "val" if kind == "folder" else "val-00000"
    rows = list(opened.records(record_set=name))
    assert {row[f"{name}/text"].decode() for row in rows} == {f"Case {i}." for i in (2, 6, 10)}


def test_a_folder_that_cannot_be_written_to_is_checked_all_the_same(folder: Path) -> None:
    (folder / "card.md").mkdir()
    summary = run(folder)
    assert summary.ok
    assert any("card.md and croissant.json were not written" in w for w in summary.warnings)
