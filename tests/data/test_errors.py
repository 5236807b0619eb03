"""Errors of records in: each names its file or flag, what is wrong there, and what to do."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.command.recipe import check_place
from vesalius.data.datasets.sample import SampleConfig, sample_dataset
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.datasets.streamed import place_of, shards_of, stream_packed
from vesalius.data.dicom import frames
from vesalius.data.images import burned_in
from vesalius.data.images.encode import encode
from vesalius.data.images.image import read_hu, read_image
from vesalius.data.modality import MODALITIES
from vesalius.data.record import Record, check_types, hold
from vesalius.data.sources import archive, encodings, inside, nifti, reports, slides
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts
from vesalius.data.tables import cells

RECORD = Record(file_name="a.png", text="Nodule.", modality="CT")


def reasons(source: Path, **fields: Any) -> list[str]:
    """Why what a source holds was refused, and the error where all of it was."""
    try:
        return [each.reason for each in drafts(source, Reading(**fields)) if isinstance(each, Refused)]
    except ValueError as error:
        return [str(error)]


def blank(path: Path, edge: int = 8) -> Path:
    Image.fromarray(np.arange(edge * edge, dtype=np.uint8).reshape(edge, edge)).save(path)
    return path


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda f: build_dataset(BuildConfig(sources=(), out=f / "out")),
            "no SOURCE; name at least one folder or file",
        ),
        (lambda f: hold(f / "a.png").__enter__(), "a.png: is a file; choose a folder for --out"),
        (lambda f: check_place(f / "a.png"), "a.png: is a file; choose a folder for --out"),
        (lambda f: read_image(f / "none.png"), "none.png: no such image file"),
        (lambda f: read_hu(f / "a.png"), "a.png: holds 8-bit greys, not Hounsfield units; give a 16-bit PNG"),
    ],
)
def test_a_file_that_cannot_serve_is_named(run: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        run(tmp_path)


def test_a_build_does_not_replace_a_file(tmp_path: Path) -> None:
    blank(tmp_path / "a.png")
    (tmp_path / "cases.csv").write_text("path,text,modality\na.png,Nodule.,CT\n")
    with pytest.raises(ValueError, match=r"a\.png: is a file; choose a folder for --out"):
        build_dataset(BuildConfig(sources=(tmp_path / "cases.csv",), out=tmp_path / "a.png"))


def test_more_records_than_there_are_cannot_be_drawn(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 60 records, 61 are asked; lower --num"):
        sample_dataset(SampleConfig(folder=phantoms, out=tmp_path / "few", num=61))


@pytest.mark.parametrize(
    ("field", "value"), [("text", 3), ("modality", None), ("depth", "1"), ("text", "\ud800"), ("caption", 3)]
)
def test_a_record_of_wrong_types_names_the_column(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"'{field}'"):
        check_types(dataclasses.replace(RECORD, **{field: value}))


def test_damaged_shards_are_named(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = export_shards(ExportConfig(folder=phantoms, out=tmp_path / "tar", shards="webdataset", json=True)).path
    name = next(iter(shards_of(out)))
    record, _, _ = next(iter(stream_packed(out)))
    place: Any = place_of(out, record.file_name)
    with monkeypatch.context() as changed:
        changed.setattr("vesalius.data.datasets.streamed.MAX_FILE", 10)
        with pytest.raises(ValueError, match="holds more than 10 bytes; build again, or remove the row"):
            place.open()
    content = (out / name).read_bytes()
    (out / name).write_bytes(content[:600])
    with pytest.raises(ValueError, match=rf"{name}: damaged or missing \(.*no whole image there\)"):
        place.open()
    with pytest.raises(ValueError, match=f"{name}: damaged or missing"):
        list(stream_packed(out))
    (out / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: damaged or missing \(at .*No such file"):
        place.open()


def dicom(path: Path, name: str = "CT_small.dcm", **values: Any) -> Path:
    """A test file of pydicom with other values."""
    dataset: Dataset = dcmread(str(get_testdata_file(name, download=False)))
    for key, value in values.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    return path


def refusal(path: Path) -> str:
    """The message with which a DICOM file's pixels are refused."""
    (draft,) = drafts(path, Reading())
    assert isinstance(draft, Draft), draft
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        encode(draft)
    return str(caught.value)


def test_a_dicom_file_that_cannot_be_shown_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oblong = dicom(tmp_path / "oblong.dcm", PixelSpacing=["100", "0.1"])
    assert "pixels are" in refusal(oblong)
    retired = dicom(tmp_path / "retired.dcm", "SC_rgb_small_odd.dcm", PhotometricInterpretation="CMYK", Modality="CT")
    assert refusal(retired).endswith("its colours are coded as CMYK, which is retired; export it again as RGB")
    monkeypatch.setattr(frames, "MAX_BYTES", 100)
    (reason,) = reasons(dicom(tmp_path / "big.dcm"))
    assert reason.endswith("big.dcm: holds 39206 bytes, more than 100; export single frames")


def test_a_dicom_file_of_zeros_is_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm")
    content = path.read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")  # of the meta information, whose length stands first in it
    path.write_bytes(content[:end] + bytes(len(content) - end))
    (reason,) = reasons(path)
    assert reason.endswith("a.dcm: holds nothing but zeros after its head; copy it again or leave it out")


def test_a_dicom_file_for_which_memory_lacks_is_named(tmp_path: Path) -> None:
    def read() -> None:
        raise MemoryError

    with pytest.raises(ValueError, match=r"a\.dcm: needs more memory than there is; export single frames"):
        frames._named(tmp_path / "a.dcm", read, "{}")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (subprocess.TimeoutExpired("tesseract", 30), "could not be searched for in 30 s"),
        (subprocess.CalledProcessError(1, "tesseract", stderr=b"no data\n"), r"could not be searched for \(no data\)"),
    ],
)
def test_a_search_for_burned_in_text_that_fails_says_so(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ValueError, match=told):
        burned_in.words_in(np.zeros((8, 8, 1), np.uint8))


def test_what_is_larger_than_any_of_its_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.txt"
    report.write_text("Nodule.\n")
    with monkeypatch.context() as changed:
        changed.setattr(reports, "MAX_BYTES", 3)
        with pytest.raises(ValueError, match=r"report\.txt: a report of more than 3 bytes; shorten it"):
            reports._plain(report)
    with monkeypatch.context() as changed:
        changed.setattr(encodings, "MAX_LINE", 4)
        with pytest.raises(ValueError, match=r"report\.txt:1: a line of over 0 million characters; is this a table"):
            list(encodings.text_lines(report))
    with monkeypatch.context() as changed:
        changed.setattr(inside, "MAX_FILE", 3)
        with pytest.raises(ValueError, match=r"report\.txt: holds 8 bytes, at most 3; build again"):
            inside.own_file(tmp_path, "report.txt")
    with monkeypatch.context() as changed:
        changed.setattr(cells, "MAX_FILE", 3)
        pq.write_table(pa.table({"image": [b"12345"]}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="at most 0; tile it first"):
            cells.Cell(tmp_path / "a.parquet", 0, "image").open()


def test_an_archive_that_says_less_than_it_unpacks_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.dcm", b"12345678")
    monkeypatch.setattr(archive, "MAX_FILE", 5)
    with pytest.raises(ValueError, match=r"a\.dcm: unpacks to more than 5 bytes; unpack the archive"):
        archive._content(archive.Member(tmp_path / "a.zip", "a.dcm"), 0)


def test_text_that_stops_being_of_its_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    path.write_bytes("Nodule.\nMass.\n".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"late\.txt:2: not valid utf-16.* text .*; save the table as UTF-8"):
        list(encodings.text_lines(path))


def test_an_image_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank(tmp_path / "a.png")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match=r"cases\.csv:2: '.*a\.png' may not be read; change its permissions"):
        inside.inside(tmp_path, "a.png", "cases.csv:2")


def test_a_plane_of_thick_voxels_is_refused(tmp_path: Path) -> None:
    import nibabel

    values = np.random.default_rng(0).integers(0, 100, (8, 8, 8)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 60.0, 1.0])), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a\.nii: its voxels are 60 by 1 mm in that plane; choose another --plane"):
        nifti.cut(tmp_path / "a.nii", "sagittal", "all", hounsfield=False)


def test_what_no_table_and_no_report_tells_of_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.xyz").write_text("what is this")
    assert reasons(tmp_path / "notes.xyz")[0].startswith(f"{tmp_path / 'notes.xyz'}: not a known kind of source")
    folder = tmp_path / "images"
    folder.mkdir()
    blank(folder / "a.png")
    blank(folder / "b.png")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.txt").write_text("Nodule.")
    found = reasons(folder, reports=reports.Reports(tmp_path / "reports"), modality=MODALITIES["CT"])
    assert any("b.png: no report names it; add one for b.png, or take the image out" in reason for reason in found)


def test_a_stain_that_cannot_be_brought_to_another_names_the_image(tmp_path: Path) -> None:
    pytest.importorskip("torchstain")
    noise = np.full((64, 64, 3), 255, np.uint8)
    noise[0, 0] = 0
    Image.fromarray(noise).save(tmp_path / "white.png")
    record = dataclasses.replace(RECORD, modality="pathology")
    draft = Draft(where=str(tmp_path / "white.png"), path=tmp_path / "white.png", record=record, stain="macenko")
    with pytest.raises(ValueError, match=r"white\.png: .*stain"):
        encode(draft)


class TestSlides:
    """Slides, where the library for them is there."""

    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("tiffslide")

    def slide(self, path: Path) -> Path:
        import tifffile

        pixels = np.full((512, 512, 3), (180, 90, 150), np.uint8)
        tifffile.imwrite(
            path, pixels, tile=(256, 256), photometric="rgb", compression="zlib",
            resolution=(1e4 / 0.5, 1e4 / 0.5), resolutionunit=3,
        )  # fmt: skip
        return path

    def test_a_slide_that_is_none_or_too_coarse_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "no.svs").write_bytes(b"II*\0nothing of a slide")
        with pytest.raises(ValueError, match=r"no\.svs: "):
            slides.tiles_of(tmp_path / "no.svs", mpp=None, size=64, most=0)
        with pytest.raises(ValueError, match=r"has 0.5 microns per pixel, coarser than --mpp 0.25; ask for 0.5 or"):
            slides.tiles_of(self.slide(tmp_path / "a.svs"), mpp=0.25, size=64, most=0)

    def test_a_slide_of_nothing_of_glass_or_in_one_piece_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(ValueError, match=r"a\.svs: is empty \(0 bytes\); copy it again or leave it out"):
            slides._opened(tmp_path / "a.svs", 0, 0)
        path = self.slide(tmp_path / "b.svs")
        with monkeypatch.context() as changed:
            changed.setattr(slides, "_tissue", lambda *_: np.zeros((8, 8), np.bool_))
            with pytest.raises(ValueError, match=r"b\.svs: no tile of 64 pixels is half tissue; ask for a smaller"):
                slides.tiles_of(path, mpp=0.5, size=64, most=0)
        monkeypatch.setattr(slides, "MAX_PIXELS", 10)
        slides._opened.cache_clear()
        with pytest.raises(ValueError, match=r"b\.svs: 512 x 512 pixels in pieces of \d+; save it as a tiled"):
            slides._opened(path, 1, 1)

    def test_a_slide_without_an_overview_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.slide(tmp_path / "a.svs")
        monkeypatch.setattr(slides, "MAX_PIXELS", 512 * 511)
        with pytest.raises(ValueError, match=r"a\.svs: has no overview level \(512 x 512 is its smallest\)"):
            slides.tiles_of(path, mpp=0.5, size=64, most=0)

    @pytest.mark.parametrize("error", [ValueError("bad tile"), RuntimeError("bad tile")])
    def test_a_slide_whose_pixels_are_damaged_is_named(
        self, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = self.slide(tmp_path / "a.svs")

        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(slides, "_tissue", fail)
        with pytest.raises(ValueError, match=r"a\.svs: .*bad tile"):
            slides.tiles_of(path, mpp=0.5, size=64, most=0)

    def test_a_tile_whose_pixels_are_damaged_is_named(self, tmp_path: Path) -> None:
        path = self.slide(tmp_path / "a.svs")
        content = bytearray(path.read_bytes())
        start = content.find(b"\x78\x9c") if b"\x78\x9c" in content else content.find(b"\x78")
        content[start : start + 200] = bytes(200)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.svs: "):
            slides.read_tile(path, 0, 0, 512, 512)
