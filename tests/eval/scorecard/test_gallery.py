"""The gallery: prompts that nobody chose, sheets without a patient's picture, and the failures among them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.record import Record, load_records, write_dataset
from vesalius.eval.scorecard.gallery import GalleryConfig, choose_prompts, make_gallery
from vesalius.eval.scorecard.gallery_page import CELL, FAILURES, LABEL, Shot, draw_sheet
from vesalius.models.support import Shown, Support


def real(name: str, label: str, text: str, split: str = "train") -> Record:
    return Record(
        file_name=f"{split}/images/{name}.png", text=text, modality="X-ray", organ="chest", label=label, split=split,
        source="a hospital", license="CC0-1.0",
    )  # fmt: skip


RECORDS = [
    *[real(f"v{i}", "viral pneumonia", "Chest X-ray, viral pneumonia.") for i in range(3)],
    *[real(f"n{i}", "normal", "Normal chest X-ray.") for i in range(2)],
    real("n2", "normal", "Chest radiograph, normal."),
    real("n3", "normal", "Normal chest X-ray.", "val"),
    real("b0", "bacterial pneumonia", "Chest X-ray, bacterial pneumonia."),
]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of "real" X-rays: pictures of one grey, by which a sheet that showed one would be known."""
    folder = tmp_path_factory.mktemp("gallery") / "real"
    for record in RECORDS:
        path = folder / record.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 77, np.uint8)).save(path)
    write_dataset(folder, RECORDS)
    return folder


@pytest.fixture(scope="module")
def gallery(
    hospital: Path, phantoms: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Shot]]:
    """The gallery's folder and its samples."""
    out = tmp_path_factory.mktemp("docs") / "gallery"
    config = GalleryConfig(
        real=hospital, phantoms=phantoms, base=str(tiny_base), out=out, num=2, num_prompts=2, num_failures=3,
        samples=out.parent / "drawn", device="cpu",
    )  # fmt: skip
    return out, make_gallery(config)


def test_there_is_a_sheet_for_each_modality_and_one_for_the_failures(gallery: tuple[Path, list[Shot]]) -> None:
    out, shots = gallery
    assert {p.name for p in out.iterdir()} == {"ct.webp", "mri.webp", "pathology.webp", "x-ray.webp", "failures.webp"}
    assert len(shots) == 4 * 2 * 2
    page = out.with_suffix(".md").read_text()
    assert LABEL in page
    for path in out.iterdir():
        assert f"gallery/{path.name})" in page
    assert sum(p.stat().st_size for p in out.iterdir()) < 1_000_000


def test_real_images_are_named_and_never_shown(gallery: tuple[Path, list[Shot]]) -> None:
    out, shots = gallery
    mine = [s for s in shots if s.case.modality == "X-ray"]
    assert {s.record.origin for s in mine} == {"real"}
    assert re.search(r"a hospital, [vnb]\d\.png", out.with_suffix(".md").read_text())
    sheet = np.asarray(draw_sheet("X-ray", mine, 2)).astype(int)
    panel = sheet[60 : 60 + CELL // 2, 10 + CELL + 4 : 10 + 2 * CELL - 4]
    assert (np.abs(panel - 77) <= 2).all(axis=2).mean() < 0.02


def test_phantoms_are_shown(gallery: tuple[Path, list[Shot]]) -> None:
    mine = [s for s in gallery[1] if s.case.modality == "pathology"]
    assert {s.record.origin for s in mine} == {"phantom"}
    sheet = np.asarray(draw_sheet("pathology", mine, 2)).astype(int)
    panel = sheet[52 : 52 + CELL, 10 + CELL : 10 + 2 * CELL]
    assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 100


def test_the_failures_are_those_that_agree_least(gallery: tuple[Path, list[Shot]]) -> None:
    out, shots = gallery
    worst = sorted(shots, key=lambda s: s.agreement)[:3]
    section = out.with_suffix(".md").read_text().split(f"## {FAILURES.capitalize()}")[1]
    assert all(str(s.sample.seed) in section for s in worst)
    assert section.count("| a hospital") + section.count("| vesalius phantom") == 3


def test_prompts_are_the_commonest_captions_of_the_commonest_labels() -> None:
    train = [r for r in RECORDS if r.split == "train"]
    assert [text for text, _ in choose_prompts(train, None, 2)] == [
        "Normal chest X-ray.",
        "Chest X-ray, viral pneumonia.",
    ]


def test_phantoms_have_half_of_the_prompts_where_both_are_there(phantoms: Path) -> None:
    ct = [dataclasses.replace(r, modality="CT", hounsfield=True) for r in RECORDS]
    drawn = [r for r in load_records(phantoms, "train") if r.modality == "CT"]
    origins = [r.origin for _, r in choose_prompts([*ct, *drawn], None, 4)]
    assert origins == ["real", "real", "phantom", "phantom"]


def test_what_the_base_says_it_has_not_seen_is_not_asked_for(phantoms: Path) -> None:
    support = Support(shown=(Shown(modality="X-ray", organ="chest", num_real=9),), terms={}, words={})
    chosen = choose_prompts([*RECORDS, *load_records(phantoms, "train")], support, 3)
    assert {r.modality for _, r in chosen} == {"X-ray"}


def test_texts_that_may_not_be_told_are_no_prompts() -> None:
    lesions = [dataclasses.replace(RECORDS[0], modality="fundus", source="idrid-codras")]
    assert choose_prompts(lesions, None, 3) == []


def test_a_folder_with_other_files_is_left_alone(hospital: Path, tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(ValueError, match="choose another --out"):
        make_gallery(GalleryConfig(real=hospital, base=str(tiny_base), out=tmp_path))


def test_a_dataset_whose_texts_may_not_be_told_has_no_gallery(hospital: Path, tiny_base: Path, tmp_path: Path) -> None:
    lesions = [dataclasses.replace(r, modality="fundus", source="idrid-codras") for r in RECORDS]
    write_dataset(tmp_path / "set", lesions)
    with pytest.raises(ValueError, match="set: no training record whose caption could be a prompt; give another data"):
        make_gallery(GalleryConfig(real=tmp_path / "set", base=str(tiny_base), out=tmp_path / "gallery"))
