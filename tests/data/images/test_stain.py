"""Stain normalisation: the same tissue from two laboratories looks alike after it, and what is no tissue is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.images.image import Uint8, png_bytes, read_image
from vesalius.data.images.stain import macenko
from vesalius.data.record import load_records

pytest.importorskip("torchstain", reason='stain needs the extra: pip install "vesalius[slides]"')
LABORATORIES = (
    np.array([[0.65, 0.70, 0.29], [0.27, 0.85, 0.45]]),
    np.array([[0.50, 0.74, 0.45], [0.20, 0.75, 0.63]]),
)
"""Optical density of hematoxylin and eosin in red, green and blue."""


def tile(laboratory: int, strength: float = 1.0, seed: int = 0) -> Uint8:
    """Tissue of nuclei in stroma, in the colours of a laboratory."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:96, :96]
    nuclei = np.zeros((96, 96))
    for y, x in rng.integers(0, 96, (30, 2)):
        nuclei = np.maximum(nuclei, np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 20))
    eosin = (1 - nuclei) * rng.uniform(0.3, 0.9, (96, 96))
    amounts = np.stack([nuclei * rng.uniform(0.8, 1.2, (96, 96)), eosin], axis=-1)
    stains = LABORATORIES[laboratory] / np.linalg.norm(LABORATORIES[laboratory], axis=1)[:, None]
    density = strength * amounts @ stains
    return np.rint(240 * np.exp(-1.2 * density)).clip(0, 255).astype(np.uint8)


def distance(one: Uint8, other: Uint8) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("strength", [0.7, 1.0, 1.4])
def test_the_same_tissue_of_two_laboratories_looks_alike(strength: float) -> None:
    one, other = tile(0), tile(1, strength)
    assert distance(macenko(one), macenko(other)) < 0.4 * distance(one, other)


def test_nuclei_stay_where_they_are() -> None:
    one = tile(0)
    inside = one[..., 0] < np.percentile(one[..., 0], 15)
    normalised = macenko(one)[..., 0].astype(float)
    assert normalised[inside].mean() < normalised[~inside].mean() - 40


@pytest.mark.parametrize(
    "image",
    [np.full((64, 64, 3), 250, np.uint8), np.r_[tile(0)[:1], np.full((95, 96, 3), 250, np.uint8)]],
    ids=["glass", "a line of tissue on glass"],
)
def test_glass_has_no_stain(image: Uint8) -> None:
    with pytest.raises(ValueError, match=r"stain cannot be normalised, only \d\.\d% of it is stained"):
        macenko(image)


def test_a_build_normalises_pathology_alone_and_sets_glass_aside(tmp_path: Path) -> None:
    names = {"h.png": ("pathology", tile(0)), "m.png": ("MRI", tile(0)), "g.png": ("pathology", tile(0) // 50 + 245)}
    rows = []
    for name, (modality, image) in names.items():
        Image.fromarray(image).save(tmp_path / name)
        rows.append(json.dumps({"file_name": name, "text": f"{name}.", "modality": modality}) + "\n")
    (tmp_path / "metadata.jsonl").write_text("".join(rows))
    out = tmp_path.parent / "out"
    config = {"sources": (tmp_path / "metadata.jsonl",), "keep_going": True, "json": True}
    summary = build_dataset(BuildConfig(**config, out=out, stain="macenko"))  # type: ignore[arg-type]
    assert [r.reason.partition(": ")[2].partition(",")[0] for r in summary.quarantined] == [
        f"{tmp_path / 'g.png'}: its stain cannot be normalised"
    ]
    found = {r.text: (out / r.file_name).read_bytes() for r in load_records(out)}
    assert found["h.png."] == png_bytes(macenko(names["h.png"][1]))
    assert distance(read_image(tmp_path / "m.png").mean(axis=2, keepdims=True), read_image(
        next(out / r.file_name for r in load_records(out) if r.modality == "MRI"))) < 1  # fmt: skip
