"""A reader study: balanced, shuffled, and with nothing that tells real from synthetic but the pixels."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.image import read_image, write_png
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import Record, digest_file, load_records
from vesalius.eval.readers.choice import Candidate, Strata, arrange, choose
from vesalius.eval.readers.config import ReadersMakeConfig
from vesalius.eval.readers.study import make_study, read_key, shown_of
from vesalius.inference.sample import Sample, sample_lines


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples, which are phantoms of other seeds with recipes in their PNGs, and a dataset: CT with units in both, its
    files larger and of other names."""
    root = tmp_path_factory.mktemp("study")
    real = write_phantoms(
        PhantomConfig(num=90, seed=5, size=64, test=0.6, out=root / "real", hounsfield=True, json=True)
    )
    drawn = write_phantoms(PhantomConfig(num=60, seed=6, size=48, out=root / "drawn", hounsfield=True, json=True))
    samples = []
    for i, record in enumerate(load_records(drawn)):
        image, units = root / "samples" / f"images/{i:05d}.png", f"raw16/{i:05d}.png" if record.hounsfield else None
        image.parent.mkdir(parents=True, exist_ok=True)
        write_png(image, read_image(drawn / record.file_name), {"text": record.text, "synthetic": True})
        if units:
            (root / "samples" / "raw16").mkdir(exist_ok=True)
            (root / "samples" / units).write_bytes((drawn / record.file_name).read_bytes())
        samples.append(
            Sample(
                file_name=f"images/{i:05d}.png", text=record.caption or record.text, modality=record.modality, seed=i,
                steps=1, guidance=1.0, findings=record.findings, sha256=digest_file(image), raw16=units,
                raw16_sha256=record.sha256 if units else None,
            )
        )  # fmt: skip
    (root / "samples" / "metadata.jsonl").write_bytes(sample_lines(samples))
    return root / "samples", real


@pytest.fixture(scope="module")
def study(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "study"
    make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=out, num=24, repeats=0.25))
    return out


def told(study: Path) -> dict[str, Any]:
    """What the page holds."""
    page = (study / "page" / "index.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def picture(item: dict[str, str]) -> bytes:
    assert item["source"].startswith("data:image/png;base64,")
    return base64.b64decode(item["source"].partition(",")[2])


def test_half_are_real_in_every_modality_and_label(study: Path) -> None:
    shown = [s for s in shown_of(read_key(study), study).values() if not s.repeat_of]
    assert len(shown) == 24
    counts = Counter((s.modality, s.label, s.is_synthetic) for s in shown)
    assert all(counts[m, label, True] == counts[m, label, False] for m, label, _ in counts)
    assert {sum(n for (m, _, _), n in counts.items() if m == name) for name in ("CT", "MRI", "pathology")} == {8}
    assert len({label for _, label, _ in counts}) > 6


def test_repeats_are_balanced_and_never_near_their_first_showing(study: Path) -> None:
    shown = shown_of(read_key(study), study)
    places = {item: i for i, item in enumerate(shown)}
    again = [s for s in shown.values() if s.repeat_of]
    assert Counter(s.is_synthetic for s in again) == {True: 3, False: 3}
    for each in again:
        assert places[each.item] - places[each.repeat_of] > 8
        assert shown[each.repeat_of].picture == each.picture


@pytest.mark.parametrize("repeats", [0, 1, 3, 12, 20])
@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_arranged_once_and_repeats_follow(repeats: int, seed: int) -> None:
    chosen = [candidate(f"{i}", "synthetic" if i % 2 else "real") for i in range(20)]
    order = [int(c.path.name) for c in arrange(chosen, repeats, seed)]
    assert len(order) == 20 + repeats
    assert Counter(order).total() == sum(1 + (n > 1) for n in Counter(order).values())
    assert set(order) == set(range(20))


def candidate(name: str, origin: str, label: str = "", patient: str = "", hounsfield: bool = False) -> Candidate:
    return Candidate(
        path=Path(name), origin=origin, modality="CT", label=label, text="", sha256=name, hounsfield=hounsfield,
        patient=patient,
    )  # fmt: skip


def test_bytes_names_and_metadata_are_the_same_for_real_and_synthetic(study: Path) -> None:
    shown, items = shown_of(read_key(study), study), told(study)["items"]
    lengths: dict[str, set[int]] = {}
    for item in items:
        png, truth = picture(item), shown[item["item"]]
        lengths.setdefault(truth.modality, set()).add(len(png))
        with Image.open(io.BytesIO(png)) as image:
            assert image.info == {}
            assert image.size == (48, 48)
            assert image.mode == ("RGB" if truth.modality == "pathology" else "L")
        assert {png[i + 4 : i + 8] for i in chunk_starts(png)} == {b"IHDR", b"IDAT", b"IEND"}
    assert all(len(each) == 1 for each in lengths.values())


def chunk_starts(png: bytes) -> list[int]:
    place, found = 8, []
    while place < len(png):
        found.append(place)
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return found


def test_the_page_holds_neither_the_key_nor_a_name_that_tells(study: Path, folders: tuple[Path, Path]) -> None:
    page = (study / "page" / "index.html").read_text("utf-8")
    shown = shown_of(read_key(study), study)
    assert [p.name for p in (study / "page").rglob("*")] == ["index.html"]
    for each in shown.values():
        assert each.sha256 not in page
        assert Path(each.file).name not in page
    assert [sorted(item) for item in told(study)["items"]] == [["item", "picture", "source", "text"]] * len(shown)
    assert [item["item"] for item in told(study)["items"]] == sorted(shown)
    for word in ("phantom", "origin", str(folders[0]), "Vesalius"):
        assert word not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)
    assert 'alt=""' in page


def test_the_page_asks_no_network(study: Path) -> None:
    page = (study / "page" / "index.html").read_text("utf-8")
    plain = re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)
    assert not re.findall(r"https?:|@import|<link|<iframe|fetch\(|XMLHttp|sendBeacon|WebSocket", plain)
    assert "default-src 'none'; img-src data:;" in plain


def test_the_order_says_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    origins = []
    for seed in range(12):
        out = tmp_path / str(seed)
        make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=out, num=12, repeats=0, seed=seed))
        origins.append([s.is_synthetic for s in shown_of(read_key(out), out).values()])
    at_place = np.array(origins).mean(0)
    assert ((at_place > 0) & (at_place < 1)).all()


def test_ct_in_units_looks_alike_whatever_file_it_came_in(folders: tuple[Path, Path], study: Path) -> None:
    shown, items = shown_of(read_key(study), study), {i["item"]: i for i in told(study)["items"]}
    tones: dict[bool, list[float]] = {True: [], False: []}
    for item, each in shown.items():
        if each.modality == "CT":
            tones[each.is_synthetic].append(float(np.asarray(Image.open(io.BytesIO(picture(items[item])))).mean()))
    assert np.mean(tones[True]) == pytest.approx(np.mean(tones[False]), rel=0.15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chest X-ray of a child.", ("chest", "viral pneumonia")),
        ("Normal chest X-ray.", ("chest", "normal")),
        ("X-ray with bacterial pneumonia", ("chest", "bacterial pneumonia")),
        ("Chest X-ray without bacterial pneumonia, normal.", ("chest", "normal")),
        ("X-ray, fracture of the wrist.", ("wrist", "fracture")),
        ("X-ray, fracture.", ("", "")),
        ("X-ray of a hand.", ("", "")),
    ],
)
def test_a_prompt_has_the_organ_and_label_that_it_names(text: str, expected: tuple[str, str]) -> None:
    rows = [
        ("Chest X-ray of a child.", "chest", "viral pneumonia"), ("a", "chest", "normal"), ("b", "chest", "pneumonia"),
        ("c", "chest", "bacterial pneumonia"), ("d", "wrist", "fracture"), ("e", "ankle", "fracture"),
    ]  # fmt: skip
    records = [Record(file_name="", text=t, modality="X-ray", organ=o, label=n) for t, o, n in rows]
    assert Strata(records).find("X-ray", text, ()) == expected


def test_units_on_one_side_alone_are_told() -> None:
    real = [candidate(f"r{i}", "real") for i in range(4)]
    synthetic = [candidate(f"s{i}", "synthetic", hounsfield=True) for i in range(4)]
    assert any("tones" in note for note in choose(real, synthetic, 8, 0)[1])
    mixed = [*real, *(candidate(f"u{i}", "real", hounsfield=True) for i in range(4))]
    chosen, notes = choose(mixed, synthetic, 8, 0)
    assert all(c.hounsfield for c in chosen)
    assert not any("tones" in note for note in notes)


def test_of_a_patient_one_image_is_shown_where_there_are_others() -> None:
    real = [candidate(f"r{i}", "real", patient=f"p{i // 3}") for i in range(9)]
    synthetic = [candidate(f"s{i}", "synthetic") for i in range(3)]
    chosen, _ = choose(real, synthetic, 6, 0)
    assert len({c.patient for c in chosen if not c.is_synthetic}) == 3


def test_the_same_line_changes_nothing_and_another_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = ReadersMakeConfig(samples=folders[0], real=folders[1], out=tmp_path / "study", num=8)
    assert not make_study(config).unchanged
    before = {p: p.read_bytes() for p in config.out.rglob("*") if p.is_file()}
    assert make_study(config).unchanged
    assert {p: p.read_bytes() for p in config.out.rglob("*") if p.is_file()} == before
    with pytest.raises(ValueError, match="holds another study"):
        make_study(dataclasses.replace(config, seed=1))


def test_a_dry_run_writes_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=out, num=8, dry_run=True)).num == 8
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"num": 7}, "an even number"),
        ({"repeats": 2.0}, "--repeats 2"),
        ({"size": 4}, "--size 4"),
    ],
)
def test_what_cannot_be_is_said(more: dict[str, Any], words: str, folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=tmp_path / "study", **more))
    assert not (tmp_path / "study").exists()


def test_a_folder_with_other_files_is_left_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="choose another --out"):
        make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=tmp_path, num=8))


def test_fewer_images_than_asked_for_are_all_shown_and_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    made = make_study(ReadersMakeConfig(samples=folders[0], real=folders[1], out=tmp_path, num=500, dry_run=True))
    assert 2 <= made.num < 500
    assert made.num_repeats == round(0.2 * made.num)
    assert any(note.startswith(f"{made.num} images are shown in place of --num 500") for note in made.notes)


def test_images_of_other_modalities_make_no_study() -> None:
    with pytest.raises(ValueError, match=r"no real and synthetic images are of the same modality \(0 real and 0 synth"):
        choose([], [], 40, 0)
