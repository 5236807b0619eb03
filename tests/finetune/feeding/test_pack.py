"""The training set in one file: what may travel, what is lost on the way, and that it comes back as a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import load_square, read_hu
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, load_records, write_dataset
from vesalius.finetune.feeding.examples import gather, load_images
from vesalius.finetune.feeding.pack import NEUTRAL, PackConfig, main, pack, unpack, why_left_out

SIZE = 32
TWO = "CC-BY-4.0 (images), CC-BY-SA-4.0 (lesion annotations)"


def record(name: str, modality: str, **fields: Any) -> Record:
    usual = {"text": f"{modality} of {name}.", "license": "CC-BY-4.0", "source": "a hospital", "split": "train"}
    fields = {**usual, **fields}
    return Record(file_name=f"{fields['split']}/images/{name}.png", modality=modality, **fields)


RECORDS = (
    record("liver", "CT", hounsfield=True, extra={"group": "p1", "age": 50}),
    record("liver-2", "CT", hounsfield=True, text="CT of the liver, bone window.", extra={"group": "p1"}),
    record("odd", "CT", license="Apache-2.0"),
    record("glioma", "MRI", label="glioma", organ="brain", patient_id="p2"),
    record("breast", "pathology", license="Free to use and distribute, with or without modification (a test set)"),
    record("normal", "pathology", split="val", license="CC0-1.0"),
    record("exudates-0001", "fundus", license=TWO, label="exudates", caption="Exudates.", extra={"text_origin": "x"}),
    record("share-alike", "X-ray", license="CC-BY-SA-4.0"),
    record("non-commercial", "X-ray", license="CC-BY-NC-4.0"),
    record("unfree-boxes", "X-ray", license=TWO),
    record("unknown", "X-ray", license=None),
    record("held-out", "X-ray", split="test"),
    record("drawn", "CT", origin="phantom"),
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures that are not square, under the licences that there are."""
    folder = tmp_path_factory.mktemp("pack") / "real"
    y, x = np.mgrid[0:40, 0:48].astype(np.float32)
    for i, each in enumerate(RECORDS):
        path = folder / each.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        if each.hounsfield:
            path.write_bytes(hu_png(600 * np.sin(x / 9) + 20 * y - 300))  # both rows the same picture
            continue
        grey = 127 + 90 * np.sin(x / 11 + i) * np.cos(y / 7)
        planes = [grey, grey * 0.6, 255 - grey] if find_modality(each.modality).channels == 3 else [grey] * 3
        Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).save(path)
    write_dataset(folder, RECORDS)
    return folder


@pytest.fixture(scope="module")
def opened(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The unpacked folder, and what packing told."""
    folder = tmp_path_factory.mktemp("unpack")
    told = pack(PackConfig(data=dataset, out=folder / "a.parquet", size=SIZE))
    unpack(PackConfig(unpack=folder / "a.parquet", out=folder / "real"))
    return folder / "real", told


def test_only_what_is_free_but_for_attribution_is_packed(opened: tuple[Path, dict[str, Any]]) -> None:
    folder, told = opened
    assert told["left_out"] == {
        "licence 'CC-BY-NC-4.0' asks for more than attribution": 1,
        "licence 'CC-BY-SA-4.0' asks for more than attribution": 1,
        "licence 'CC-BY-SA-4.0' of the labels asks for more than attribution": 1,
        "licence not named": 1,
        "phantom: made again, not copied": 1,
        "test split": 1,
    }
    assert len(load_records(folder)) == told["num_records"] == len(RECORDS) - 6
    assert not (folder / "test").exists()


def test_an_image_whose_labels_are_not_free_travels_without_them(opened: tuple[Path, dict[str, Any]]) -> None:
    folder, told = opened
    (fundus,) = [r for r in load_records(folder) if r.modality == "fundus"]
    assert told["num_without_labels"] == 1
    assert (fundus.text, fundus.label, fundus.caption) == (NEUTRAL["fundus"], None, None)
    assert fundus.license == "CC-BY-4.0"
    assert "exudates" not in str(fundus).lower()


def test_texts_labels_groups_and_splits_come_back_whole(opened: tuple[Path, dict[str, Any]]) -> None:
    before = {r.file_name: r for r in RECORDS if why_left_out(r) is None and r.license != TWO}
    after = {r.file_name: r for r in load_records(opened[0])}
    assert set(before) < set(after)
    for name, each in before.items():
        assert dataclasses.replace(after[name], sha256=None) == each


def test_hounsfield_units_lose_less_than_a_unit(opened: tuple[Path, dict[str, Any]], dataset: Path) -> None:
    folder, ct = opened[0], find_modality("CT")
    for name in ("train/images/liver.png", "train/images/liver-2.png"):
        assert read_hu(folder / name).shape == (SIZE, SIZE)
        seen, packed = (load_square(f / name, ct, SIZE).astype(int) for f in (dataset, folder))
        assert np.abs(seen - packed).max() <= 1
    assert opened[1]["num_images"] == opened[1]["num_records"] - 1, "one picture with two texts is stored once"


def test_other_images_lose_little_and_keep_their_colours(opened: tuple[Path, dict[str, Any]], dataset: Path) -> None:
    folder, told = opened
    assert min(told["psnr_db"].values()) > 34
    for name, modality in (("glioma", "MRI"), ("breast", "pathology")):
        pair = [load_square(f / f"train/images/{name}.png", find_modality(modality), SIZE) for f in (dataset, folder)]
        assert np.abs(pair[0].astype(int) - pair[1]).mean() < 4
        assert (np.ptp(pair[1], axis=2).max() == 0) == (modality == "MRI")


def test_training_reads_what_was_unpacked(opened: tuple[Path, dict[str, Any]]) -> None:
    members = gather([opened[0]], "train", ["fundus"])
    assert load_images(members, SIZE, quiet=True).shape == (5, 3, SIZE, SIZE)


def test_the_same_data_gives_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    first, second = (pack(PackConfig(data=dataset, out=tmp_path / n, size=SIZE)) for n in ("a.parquet", "b.parquet"))
    assert first["sha256"] == second["sha256"]
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_datasets_opens_the_file_as_it_stands(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    told = pack(PackConfig(data=dataset, out=tmp_path / "a.parquet", size=SIZE))
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), cache_dir=tmp_path / "cache")
    assert rows["train"].num_rows == told["num_records"]
    assert rows["train"][0]["image"].size == (SIZE, SIZE)


def test_the_phantoms_are_named_by_what_makes_them_again(
    dataset: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(PackConfig(data=dataset, out=tmp_path / "a.parquet", size=SIZE, phantoms=phantoms))
    main(PackConfig(unpack=tmp_path / "a.parquet", out=tmp_path / "real"))
    told = capsys.readouterr().out
    assert "vesalius data phantom --num 60 --seed 3 --size 32 --modalities CT MRI pathology" in told
    assert "sha256 " in told


def test_a_file_that_would_be_too_large_is_refused_before_it_is_written(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"over --max-mb 0\.001; lower --quality"):
        pack(PackConfig(data=dataset, out=tmp_path / "a.parquet", size=SIZE, max_mb=0.001))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_and_a_full_folder_are_errors_that_say_so(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(ValueError, match="is no pack of Vesalius, or damaged"):
        unpack(PackConfig(unpack=tmp_path / "bad.parquet", out=tmp_path / "real"))
    assert not (tmp_path / "real").exists()
    with pytest.raises(ValueError, match="no such file"):
        unpack(PackConfig(unpack=tmp_path / "none.parquet", out=tmp_path / "real"))
    pack(PackConfig(data=dataset, out=tmp_path / "a.parquet", size=SIZE))
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[200] ^= 1  # within a picture
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="is no pack of Vesalius, or damaged"):
        unpack(PackConfig(unpack=tmp_path / "bad.parquet", out=tmp_path / "real"))
    with pytest.raises(ValueError, match="choose a new folder"):
        unpack(PackConfig(unpack=tmp_path / "a.parquet", out=tmp_path))


@pytest.mark.parametrize("wrong", [{}, {"data": Path("a"), "unpack": Path("b")}])
def test_packing_and_unpacking_are_not_mixed(wrong: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="either --data DIR"):
        PackConfig(out=Path("x"), **wrong)
