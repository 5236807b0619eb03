"""What is drawn is what is said, and what is said is what was asked."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass, label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from vesalius.data.images.image import Uint8, read_image
from vesalius.data.phantoms import brain, chest
from vesalius.data.phantoms.phantom import KINDS, RULES, Phantom, PhantomConfig, draw_phantom, write_phantoms
from vesalius.data.phantoms.report import ENGLISH
from vesalius.data.record import Finding, load_records, read_rows
from vesalius.data.texts.prompt import sections

EVERY_KIND = [(modality, kind) for modality, kinds in KINDS.items() for kind in kinds]
SIDED = [(modality, kind) for modality, kind in EVERY_KIND if RULES[modality][kind].sides]
SIZED = [(modality, kind) for modality, kind in EVERY_KIND if RULES[modality][kind].size_mm]
FIELDS = {"CT": chest.FIELD, "MRI": brain.FIELD}


def region(phantom: Phantom, kind: str) -> Uint8:
    return (phantom.mask == KINDS[phantom.modality].index(kind) + 1).astype(np.uint8)


def diameters_mm(phantom: Phantom, kind: str) -> list[float]:
    """The longest diameter of each component, between the outer edges of its pixels."""
    pieces, num = label(region(phantom, kind))
    pixel = FIELDS[phantom.modality] / phantom.mask.shape[0]
    found = []
    for piece in range(1, num + 1):
        points = np.argwhere(pieces == piece)
        found.append((pdist(points[ConvexHull(points).vertices]).max() + 1) * pixel)
    return found


@pytest.mark.parametrize("modality", KINDS)
def test_a_seed_gives_the_same_phantom_twice_and_another_seed_another(modality: str) -> None:
    first, again, other = (draw_phantom(seed, modality) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert (first.text, first.caption, first.findings) == (again.text, again.caption, again.findings)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("modality", KINDS)
@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_image_and_mask_have_the_promised_shape_at_any_size(modality: str, size: int) -> None:
    phantom = draw_phantom(3, modality, size=size)
    assert phantom.image.shape == (size, size, 3 if modality == "pathology" else 1)
    assert phantom.mask.shape == (size, size)
    assert phantom.image.dtype == phantom.mask.dtype == np.uint8
    assert phantom.image.std() > 15


@pytest.mark.parametrize(("modality", "kind"), EVERY_KIND)
def test_one_scene_at_two_sizes(modality: str, kind: str) -> None:
    small, large = (draw_phantom(5, modality, size=s, findings=(Finding(kind=kind),)) for s in (64, 256))
    assert small.text == large.text
    coarse = large.image.astype(float).reshape(64, 4, 64, 4, -1).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), small.image.astype(float).ravel())[0, 1] > 0.85
    middle = np.array(center_of_mass(region(large, kind))) / 4
    assert np.allclose(center_of_mass(region(small, kind)), middle, atol=1.5)


@pytest.mark.parametrize(("modality", "kind"), SIDED)
@pytest.mark.parametrize("seed", range(12))
def test_the_patients_left_is_on_the_images_right(modality: str, kind: str, seed: int) -> None:
    for side in ("left", "right"):
        phantom = draw_phantom(seed, modality, findings=(Finding(kind=kind, side=side),))  # type: ignore[arg-type]
        column = center_of_mass(region(phantom, kind))[1]
        assert (column > 31.5) == (side == "left")
        assert side in phantom.text.lower()
        assert {"left": "right", "right": "left"}[side] not in phantom.text.lower() + phantom.caption.lower()


@pytest.mark.parametrize(("modality", "kind"), SIZED)
def test_the_diameter_in_the_mask_is_the_stated_one(modality: str, kind: str) -> None:
    low, high = RULES[modality][kind].size_mm or (0, 0)
    for seed, size in enumerate((low, (low + high) // 2, high)):
        phantom = draw_phantom(seed, modality, size=256, findings=(Finding(kind=kind, size_mm=size),))
        assert diameters_mm(phantom, kind) == [pytest.approx(size, rel=0.12)]
        assert re.search(rf"\b{size} mm|\b{size / 10:.1f} cm", phantom.text)
        assert re.search(rf"\b{size} mm|\b{size / 10:.1f} cm", phantom.caption)


@pytest.mark.parametrize("seed", range(8))
def test_the_largest_of_three_nodules_has_the_stated_diameter(seed: int) -> None:
    wanted = Finding(kind="nodule", side="bilateral", size_mm=24, count=3)
    phantom = draw_phantom(seed, "CT", size=256, findings=(wanted,))
    found = diameters_mm(phantom, "nodule")
    assert len(found) == 3
    assert max(found) == pytest.approx(24, rel=0.12)
    assert re.search("three|3", phantom.text.lower())
    columns = center_of_mass(region(phantom, "nodule"), *label(region(phantom, "nodule"))[:1], [1, 2, 3])
    assert {column > 128 for _, column in columns} == {True, False}


@pytest.mark.parametrize(
    ("modality", "kind"), [("pathology", "mitotic figures"), ("pathology", "gland"), ("CT", "nodule")]
)
def test_as_many_are_drawn_as_counted(modality: str, kind: str) -> None:
    for count in range(1, RULES[modality][kind].max_count + 1):
        for seed in range(5):
            small = 16 if modality == "CT" else None
            phantom = draw_phantom(seed, modality, size=128, findings=(Finding(kind=kind, count=count, size_mm=small),))
            assert label(region(phantom, kind))[1] == count


@pytest.mark.parametrize("modality", KINDS)
def test_findings_change_the_lesion_and_not_the_patient(modality: str) -> None:
    healthy = draw_phantom(11, modality, findings=())
    assert not healthy.mask.any()
    for kind in KINDS[modality]:
        ill = draw_phantom(11, modality, findings=(Finding(kind=kind),))
        changed = np.abs(ill.image.astype(int) - healthy.image).mean(axis=2)
        inside = region(ill, kind) > 0
        assert inside.sum() >= 4
        assert changed[inside].mean() > 12 > 2 * np.median(changed[~inside])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000_000), modality=st.sampled_from(sorted(KINDS)))
def test_mask_and_text_tell_the_truth_of_any_seed(seed: int, modality: str) -> None:
    phantom = draw_phantom(seed, modality)
    present = {finding.kind for finding in phantom.findings if finding.present}
    denied = {finding.kind for finding in phantom.findings if not finding.present}
    assert not present & denied
    assert {KINDS[modality][k - 1] for k in np.unique(phantom.mask) if k} == present
    report, caption = phantom.text.lower(), phantom.caption.lower()
    for kind in present:
        term = ENGLISH.terms[kind]
        assert any(noun in report for noun in (*term.one, *term.many))
        assert any(noun in caption for noun in (*term.one, *term.many))
    for kind in denied:
        nouns = "|".join((ENGLISH.terms[kind].absent, *ENGLISH.terms[kind].denied))
        said = rf"\b(no|not|without|free|negative|absence|absent)\b[^.]*\b({nouns})\b"
        said += rf"|\b({nouns})( is|:) (not|no|none|absent|excluded|negative)\b"
        assert re.search(said, report)
    sizes = {f.size_mm for f in phantom.findings if f.size_mm is not None}
    told = {float(n) for n in re.findall(r"(\d+)[ -]?mm", report)} | {
        10 * float(n) for n in re.findall(r"([\d.]+)[ -]?cm", report)
    }
    assert {round(n) for n in told} == {round(n) for n in sizes}
    words = {word for word in ("left", "right") if word in report}
    sides = {s for f in phantom.findings for s in ((f.side,) if f.side in ("left", "right") else ()) if s}
    assert sides <= words
    assert words <= sides | ({"left", "right"} if any(f.side == "bilateral" for f in phantom.findings) else set())
    assert {"findings"} < set(sections(phantom.text)) & {"findings", "impression", "conclusion"}
    assert len(phantom.text) < 700
    assert not re.search(r"[{}]|  | \.|,\.|,,|\bNone\b", phantom.text + phantom.caption)


def test_a_quarter_is_normal_and_the_sides_are_balanced() -> None:
    phantoms = [draw_phantom(seed, "CT", size=32) for seed in range(400)]
    normal = sum(not any(f.present for f in p.findings) for p in phantoms)
    assert 70 <= normal <= 130
    assert all(not p.mask.any() for p in phantoms if not any(f.present for f in p.findings))
    sides = [f.side for p in phantoms for f in p.findings if f.present]
    assert 0.75 < sides.count("left") / sides.count("right") < 1.33


@pytest.mark.parametrize(
    ("modality", "finding", "message"),
    [
        ("CT", Finding(kind="nodul"), "did you mean 'nodule'"),
        ("CT", Finding(kind="mass"), "not drawn in CT"),
        ("CAT", Finding(kind="nodule"), "did you mean 'CT'"),
        ("MRI", Finding(kind="mass", side="bilateral"), "side 'bilateral' cannot be"),
        ("CT", Finding(kind="nodule", side="bilateral"), "count of at least 2"),
        ("CT", Finding(kind="nodule", size_mm=90), "not within 12 and 45"),
        ("CT", Finding(kind="nodule", count=4), "count 4"),
        ("CT", Finding(kind="pneumothorax", size_mm=20), "takes no size_mm"),
        ("pathology", Finding(kind="necrosis", side="left"), "side 'left' cannot be"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(modality: str, finding: Finding, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_phantom(0, modality, findings=(finding,))


def test_a_kind_named_twice_and_an_impossible_size_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        draw_phantom(0, "CT", findings=(Finding(kind="nodule"), Finding(kind="nodule")))
    with pytest.raises(ValueError, match="not within 32 and 512"):
        draw_phantom(0, "CT", size=16)


def test_every_kind_has_its_words() -> None:
    for _, kind in EVERY_KIND:
        term = ENGLISH.terms[kind]
        assert len(term.one) == len(term.many) >= 2


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_folder_opens_with_imagefolder_and_holds_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    config = PhantomConfig(
        out=tmp_path / "set", num=45, size=64, hounsfield=False, val=0.2, test=0.2, json=True
    )  # fmt: skip
    out = write_phantoms(config)
    manifest = json.loads((out / "manifest.json").read_text())
    counts = {split: entry["num_records"] for split, entry in manifest["splits"].items()}
    opened = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    names = {"validation" if split == "val" else split: num for split, num in counts.items()}
    assert {split: len(rows) for split, rows in opened.items()} == names
    assert sum(counts.values()) == 45
    assert opened["train"][0]["image"].size == (64, 64)
    for record in load_records(out):
        assert record.mask is not None
        assert record.origin == "phantom"
        drawn = draw_phantom(record.extra["phantom_seed"], record.modality)
        assert np.array_equal(read_image(out / record.file_name), drawn.image)
        assert np.array_equal(read_image(out / record.mask)[..., 0], drawn.mask)
        assert (record.text, record.caption, record.findings) == (drawn.text, drawn.caption, drawn.findings)
        first = next((f.kind for f in record.findings if f.present), "normal")
        assert record.label == first
    assert "license: cc0-1.0" in (out / "README.md").read_text()


def test_a_killed_run_is_continued_to_the_same_folder(tmp_path: Path) -> None:
    config = PhantomConfig(out=tmp_path / "a", num=12, size=32, json=True)
    whole = snapshot(write_phantoms(config))
    (config.out / "manifest.json").unlink()
    images = sorted(config.out.rglob("images/*.png"))
    images[0].unlink()
    images[1].write_bytes(b"torn")
    next(config.out.rglob("metadata.jsonl")).unlink()
    assert snapshot(write_phantoms(config)) == whole


def test_more_phantoms_move_none_to_another_split(tmp_path: Path) -> None:
    config = PhantomConfig(out=tmp_path / "a", num=10, size=32, json=True)
    write_phantoms(config)
    before = {r.patient_id: r.split for r in load_records(config.out)}
    write_phantoms(dataclasses.replace(config, num=20))
    after = {r.patient_id: r.split for r in load_records(config.out)}
    assert len(after) == 20
    assert before.items() <= after.items()


def test_foreign_folders_and_other_configurations_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds no phantoms"):
        write_phantoms(PhantomConfig(out=tmp_path / "mine", num=2, json=True))
    config = PhantomConfig(out=tmp_path / "a", num=4, size=32, json=True)
    write_phantoms(config)
    for other in ({"seed": 1}, {"size": 48}, {"num": 2}, {"modalities": ("CT",)}):
        with pytest.raises(ValueError, match="another configuration"):
            write_phantoms(dataclasses.replace(config, **other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num": 0},
        {"size": 8},
        {"modalities": ("XT",)},
        {"modalities": ()},
        {"val": 0.6, "test": 0.5},
        {"seed": -1},
        {"val": math.nan},
        {"workers": -1},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(--num|--size|--modalities|phantom modality|--val|--seed|--workers)"):
        write_phantoms(PhantomConfig(out=tmp_path / "a", **wrong))  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    write_phantoms(PhantomConfig(out=tmp_path / "a", dry_run=True))
    assert not (tmp_path / "a").exists()


def test_rows_start_with_file_name_and_text(tmp_path: Path) -> None:
    out = write_phantoms(PhantomConfig(out=tmp_path / "a", num=3, size=32, val=0, test=0, json=True))
    for row in read_rows(out / "train" / "metadata.jsonl"):
        assert list(row)[:2] == ["file_name", "text"]
        assert row["patient_id"].startswith("phantom-")


def test_a_worker_that_dies_is_told_and_the_same_line_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PhantomConfig(out=tmp_path / "a", num=4, size=32, workers=2, json=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")  # as one that the system kills
        with pytest.raises(ValueError, match=r"a process that draws phantoms died .* the same line continues"):
            write_phantoms(config)
    assert len(load_records(write_phantoms(config))) == 4
