"""Slides in: tiles of tissue at a stated scale, and every file of the suite."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.encode import encode
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.slides import is_slide, read_tile, tiles_of
from vesalius.data.sources.walk import drafts

pytest.importorskip("tiffslide", reason='slides need the extra: pip install "vesalius[slides]"')
ROOT = Path(os.environ.get("VESALIUS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")).parent
SLIDES = ROOT / "slides"
MPP = 0.5


def slide(path: Path, *, mpp: float | None = MPP, edge: int = 1024) -> Path:
    """Glass with stained tissue in the left half, and a black square of 64 pixels at (128, 128)."""
    import tifffile

    rng = np.random.default_rng(0)
    pixels = np.full((edge, edge, 3), 240, np.uint8)
    pixels[:, : edge // 2] = (180, 90, 150)
    pixels[:, : edge // 2] += rng.integers(0, 20, (edge, edge // 2, 3)).astype(np.uint8)
    pixels[128:192, 128:192] = 0
    scale: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression=None, **scale)
    return path


def read(path: Path, **fields: Any) -> list[Draft | Refused]:
    return list(drafts(path, Reading(**fields)))


def test_tiles_are_tissue_alone_and_at_the_scale_asked_for(tmp_path: Path) -> None:
    tiles = tiles_of(slide(tmp_path / "a.svs"), mpp=1.0, size=128, most=0)
    assert tiles.edge == 256
    assert sorted(tiles.corners) == [(x, y) for x in (0, 256) for y in (0, 256, 512, 768)]
    assert tiles.mpp == 1.0
    tile = read_tile(tmp_path / "a.svs", 0, 0, 256, 128)
    assert tile.shape == (128, 128, 3)
    black = (tile.max(axis=2) < 20).sum()
    assert abs(black - 32 * 32) < 150  # the square of 64 pixels at half the scale
    assert np.abs(tile[:50, :50].reshape(-1, 3).mean(axis=0) - (189.5, 99.5, 159.5)).max() < 2  # the stain as it is


def test_a_few_tiles_are_spread_over_the_slide(tmp_path: Path) -> None:
    tiles = tiles_of(slide(tmp_path / "a.svs"), mpp=0.5, size=128, most=4)
    assert len(tiles.corners) == 4
    assert tiles.num_tissue == 32
    assert max(y for _, y in tiles.corners) - min(y for _, y in tiles.corners) >= 512


def test_tiles_of_a_slide_share_a_group_and_its_name_stays_behind(tmp_path: Path) -> None:
    for name in ("SMITH.svs", "TCGA-AB-1234-01Z.svs", "TCGA-AB-1234-02Z.svs"):
        slide(tmp_path / name)
    found = [d for d in read(tmp_path, size=128) if isinstance(d, Draft)]
    assert len(found) == 24
    assert {d.record.modality for d in found} == {"pathology"}
    assert len({d.record.extra.get("group") for d in found} - {None}) == 1
    assert len({d.record.patient_id for d in found} - {None}) == 1
    assert "SMITH" not in str([d.record.to_json() for d in found])
    assert found[0].record.extra["mpp"] == 1.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mpp": 0.1}, "has 0.5 microns per pixel, coarser than --mpp 0.1"),
        ({"mpp": 100.0}, "smaller than one tile of 51200; ask for a smaller"),
    ],
)
def test_a_scale_that_cannot_be_had_is_refused(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    (refused,) = read(slide(tmp_path / "a.svs"), **fields)
    assert isinstance(refused, Refused)
    assert reason in refused.reason


def test_scale_must_be_stated_or_waived(tmp_path: Path) -> None:
    (refused,) = read(slide(tmp_path / "a.svs", mpp=None))
    assert isinstance(refused, Refused)
    assert "does not state its microns per pixel; pass --mpp none" in refused.reason
    found = read(tmp_path / "a.svs", mpp=None)
    assert len(found) == 8
    assert all(isinstance(d, Draft) and "mpp" not in d.record.extra for d in found)


def test_glass_alone_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1024, 1024), (240, 240, 242)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.svs")
    (refused,) = read(tmp_path / "a.svs", mpp=None)
    assert isinstance(refused, Refused)
    assert "shows no stained tissue" in refused.reason


@pytest.mark.parametrize("content", [b"", b"II*\0garbage that is no directory", b"\x89PNG\r\n"])
def test_what_is_no_slide_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.svs").write_bytes(content)
    (refused,) = read(tmp_path / "in")
    assert isinstance(refused, Refused)
    assert refused.reason.startswith(f"{tmp_path / 'in' / 'a.svs'}: ")


def test_large_tiff_is_a_slide_and_a_small_one_an_image(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("L", (5000, 8)).save(buffer, "TIFF")
    (tmp_path / "a.tif").write_bytes(buffer.getvalue())
    Image.new("L", (50, 8)).save(tmp_path / "b.tif")
    (tmp_path / "c.tif").write_bytes(b"nothing")
    assert [is_slide(tmp_path / name) for name in ("a.tif", "b.tif", "c.tif", "d.svs")] == [True, False, False, True]


def suite() -> list[Path]:
    return sorted(p for p in SLIDES.iterdir() if p.suffix != ".md") if SLIDES.is_dir() else []


@pytest.mark.parametrize("path", suite() or [None], ids=lambda p: p.name if p else "none")
def test_every_slide_of_the_suite_gives_tiles_or_its_reason(path: Path | None) -> None:
    if path is None:
        pytest.skip("the slides are not on this machine; set VESALIUS_REAL_DATA")
    found = read(path, mpp=0.5, size=256, tiles=4)
    reasons = {
        "broken.svs": "cannot be read as a slide",
        "sm_image.dcm": "no frame is half tissue",
        "sm_image_jpegls.dcm": "no frame is half tissue",
        "sm_image_grayscale.dcm": "no frame is half tissue",
    }
    if path.name in reasons:
        assert [isinstance(f, Refused) and reasons[path.name] in f.reason for f in found] == [True]
        return
    assert 1 <= len(found) <= 4
    for draft in found:
        assert isinstance(draft, Draft), draft
        image = np.asarray(Image.open(BytesIO(encode(draft)[0])))
        assert image.shape == (256, 256, 3)
        assert (np.ptp(image.astype(int), axis=2) >= 10).mean() > 0.2
