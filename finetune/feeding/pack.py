"""Pack the real training images into one small file that is easy to copy to a rented GPU, and open it there.

    python -m vesalius.finetune.feeding.pack --data DIR --out FILE.parquet
    python -m vesalius.finetune.feeding.pack --unpack FILE.parquet --out DIR

The file is Parquet: one row an image, the columns of `metadata.jsonl` beside `image`, so `datasets` and dataset hubs
open it as it stands. Images are as the model sees them: square, grey or RGB, as AVIF (lossy, colour at full
resolution), and CT with Hounsfield units as 16-bit lossless JPEG 2000 of whole HU + 1024. The same data gives the same
bytes under the same versions of Pillow and PyArrow. Phantoms are not packed: they are made again from their seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from vesalius.data.command.progress import progress
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.datasets.columns import uniform
from vesalius.data.hounsfield import AIR, encode_windows, hu_png
from vesalius.data.images.image import Float32, Uint8, fit_image, load_square, png_bytes, read_hu, to_uint8
from vesalius.data.modality import Modality, find_modality
from vesalius.data.record import Record, digest_file, hold, load_records, read_state, write_atomic, write_dataset

FORMAT = "vesalius-pack-1"
SPLITS = ("train", "val")
"""What is packed. The test split stays where results are measured."""

FREE = re.compile(
    r"CC0(-1\.0)?|CC[- ]BY[- ]\d\.\d|MIT|Apache-2\.0|BSD-[23]-Clause|public domain|"
    r"Free to use and distribute, with or without modification.*",
    re.IGNORECASE,
)
"""Licences that ask for attribution at most."""

NEUTRAL = {"fundus": "Fundus photograph of a retina."}
"""What is said of an image whose own licence is free while that of its labels is not, by modality."""

_TWO_LICENCES = re.compile(r"(?P<image>[^()]+) \(images\), (?P<labels>[^()]+) \([^()]*(?:annotations|labels)\)")


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Pack a dataset's training images into one file, or unpack such a file into a dataset folder."""

    out: Path
    """the file to write; with --unpack the dataset folder to write"""
    data: Path | None = None
    """dataset folder to pack"""
    unpack: Path | None = None
    """packed file to open"""
    phantoms: Path | None = None
    """folder of the phantoms that belong to the set; only its num, seed and size are noted"""
    size: int = 128
    """pixels along an edge"""
    quality: int = 72
    """AVIF quality, 1 to 100"""
    max_mb: float = 20.0
    """refuse to write more than this, in millions of bytes"""

    def __post_init__(self) -> None:
        """ValueError where the two directions are mixed, or a value cannot be."""
        if (self.data is None) == (self.unpack is None):
            raise ValueError("give either --data DIR to pack it, or --unpack FILE to open it")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"--quality {self.quality}: expected 1 to 100")
        if not 16 <= self.size <= 1024:
            raise ValueError(f"--size {self.size}: expected 16 to 1024 pixels")


# Which rows


def why_left_out(record: Record) -> str | None:
    """Why a record is not packed, or None."""
    if record.origin != "real":
        return f"{record.origin}: made again, not copied"
    if record.split not in SPLITS:
        return f"{record.split} split"
    if not record.license:
        return "licence not named"
    image, labels = licences(record.license)
    if not FREE.fullmatch(image):
        return f"licence '{image}' asks for more than attribution"
    if not _labels_free(record) and record.modality not in NEUTRAL:
        return f"licence '{labels}' of the labels asks for more than attribution"
    return None


def licences(text: str) -> tuple[str, str]:
    """The licences of the image and of its labels: "X (images), Y (lesion annotations)" names two, others one."""
    found = _TWO_LICENCES.fullmatch(text.strip())
    return (found["image"].strip(), found["labels"].strip()) if found else (text.strip(), text.strip())


def _labels_free(record: Record) -> bool:
    return FREE.fullmatch(licences(record.license or "")[1]) is not None


def without_unfree_labels(record: Record) -> Record:
    """The record, or where its labels are not free the image with a neutral text and a name that tells nothing."""
    if _labels_free(record):
        return record
    source = re.sub(r"\W+", "-", record.source or "image").strip("-")
    digest = record.sha256 or hashlib.sha256(record.file_name.encode()).hexdigest()
    return dataclasses.replace(
        record, text=NEUTRAL[record.modality], caption=None, label=None, findings=(),
        license=licences(record.license or "")[0], file_name=f"{record.split}/images/{source}-{digest[:10]}.png",
        extra={k: v for k, v in record.extra.items() if k in ("group", "group_id", "src_file")},
    )  # fmt: skip


# Packing


def pack(config: PackConfig) -> dict[str, Any]:
    """Write the file; returns its manifest, which the file also holds.

    ValueError where nothing may be packed, where an image cannot be read, or where the file would be too large.
    """
    assert config.data is not None
    _check_pillow()
    records = [dataclasses.replace(r, modality=find_modality(r.modality).name) for r in load_records(config.data)]
    reasons = [why_left_out(r) for r in records]
    chosen = [r for r, reason in zip(records, reasons, strict=True) if reason is None]
    if not chosen:
        told = ", ".join(f"{count} {why}" for why, count in Counter(filter(None, reasons)).items())
        raise ValueError(f"{config.data}: no record may be packed ({told or 'it is empty'}); give another dataset")
    if config.phantoms:
        seeds = read_state(config.phantoms / "phantom.json", "give a folder that `vesalius data phantom` made")
    else:
        seeds = {}

    rows: list[tuple[Record, bytes]] = []
    encoded: dict[str, bytes] = {}  # one picture may be several rows, as CT in several windows is
    errors: dict[str, list[float]] = {}
    for record in progress(sorted(chosen, key=lambda r: r.file_name), "pack", len(chosen)):
        path, modality = config.data / record.file_name, find_modality(record.modality)
        key = f"{record.sha256 or digest_file(path)} {modality.name}"
        if key not in encoded:
            encoded[key] = _encode(path, record, modality, config)
            kind = f"{modality.name}, Hounsfield units" if record.hounsfield else modality.name
            lost = _squared_error(load_square(path, modality, config.size), _as_seen(encoded[key], record, modality))
            errors.setdefault(kind, []).append(lost)
        rows.append((without_unfree_labels(record), encoded[key]))

    manifest = {
        "format": FORMAT,
        "size": config.size,
        "quality": config.quality,
        "num_records": len(rows),
        "num_images": len(encoded),
        "num_without_labels": sum(not _labels_free(r) for r in chosen),
        "left_out": dict(sorted(Counter(filter(None, reasons)).items())),
        "psnr_db": {kind: round(_decibels(values), 2) for kind, values in sorted(errors.items())},
        "phantoms": {k: seeds[k] for k in ("num", "seed", "size", "modalities", "val", "test") if k in seeds},
    }
    content = _parquet(rows, manifest)
    if len(content) > config.max_mb * 1e6:
        raise ValueError(
            f"{config.out}: would hold {len(content) / 1e6:.2f} MB, over --max-mb {config.max_mb:g}; "
            f"lower --quality (now {config.quality}) or --size (now {config.size})"
        )
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(config.out, content)
    return {**manifest, "num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _check_pillow() -> None:
    if not (features.check("avif") and features.check("jpg_2000")):
        raise ValueError("this Pillow knows no AVIF or JPEG 2000; install Pillow's own wheel (`pip install pillow`)")


def _encode(path: Path, record: Record, modality: Modality, config: PackConfig) -> bytes:
    """One image as the model sees it, compressed."""
    buffer = BytesIO()
    if record.hounsfield and modality.windows:
        hu = fit_image(read_hu(path)[..., None], modality, (config.size,) * 2, pad=AIR)[..., 0]
        stored = np.clip(np.rint(hu), -1024, 3071) + 1024
        Image.fromarray(stored.astype(np.uint16)).save(buffer, format="JPEG2000", irreversible=False)
        return buffer.getvalue()
    square = load_square(path, modality, config.size)
    picture = Image.fromarray(square[..., 0] if modality.channels == 1 else square)
    # Tuned for structural similarity, libaom also errs less in the mean square at a given size. One thread: the bytes
    # must not depend on the machine.
    picture.save(
        buffer, format="AVIF", quality=config.quality, speed=6, codec="aom", max_threads=1,
        subsampling="4:0:0" if modality.channels == 1 else "4:4:4", advanced={"tune": "ssim"},
    )  # fmt: skip
    return buffer.getvalue()


def _decode(content: bytes, record: Record, modality: Modality) -> Float32 | Uint8:
    """The inverse of `_encode`: HU HW float32, or HWC uint8."""
    with Image.open(BytesIO(content), formats=("AVIF", "JPEG2000")) as image:
        if record.hounsfield and modality.windows:
            return np.asarray(image, dtype=np.float32) - 1024
        array: Uint8 = np.asarray(image.convert("L" if modality.channels == 1 else "RGB"))
    return array[..., None] if array.ndim == 2 else array


def _as_seen(content: bytes, record: Record, modality: Modality) -> Uint8:
    """What a model will see of a packed image, HW3 uint8."""
    array = _decode(content, record, modality)
    if array.ndim == 2:
        return to_uint8(encode_windows(array.astype(np.float32)), 0.0, 1.0)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array.astype(np.uint8)


def _squared_error(a: Uint8, b: Uint8) -> float:
    return float(((a.astype(np.float32) - b.astype(np.float32)) ** 2).mean())


def _decibels(squared_errors: Sequence[float]) -> float:
    """Peak signal-to-noise ratio of a set: of its mean squared error, peak 255."""
    return float(10 * np.log10(255**2 / max(float(np.mean(squared_errors)), 1e-4)))


def _parquet(rows: Sequence[tuple[Record, bytes]], manifest: dict[str, Any]) -> bytes:
    """A Parquet file of the rows with the manifest in its metadata. An image that comes again is stored once."""
    import pyarrow as arrow
    from datasets import Features, Value
    from datasets import Image as ImageColumn
    from pyarrow import parquet

    splits: dict[str, list[dict[str, Any]]] = {}
    for record, _ in rows:
        bare = dataclasses.replace(record, mask=None, sha256=None)  # the digest is of the file that unpacking writes
        splits.setdefault(record.split, []).append(bare.to_json())
    images = {record.file_name: content for record, content in rows}
    table = [
        {"image": {"bytes": images[row["file_name"]], "path": row["file_name"]}, **row}
        for members in uniform(splits).values()
        for row in members
    ]
    names = {str: "string", bool: "bool", int: "int64", float: "float64"}
    columns = {k: Value(names[type(v)]) for k, v in table[0].items() if k != "image"}
    schema = Features({"image": ImageColumn(), **columns}).arrow_schema
    schema = schema.with_metadata({**(schema.metadata or {}), b"vesalius": json.dumps(manifest).encode()})
    buffer = BytesIO()
    parquet.write_table(
        arrow.Table.from_pylist(table, schema=schema), buffer, compression="zstd", compression_level=19,
        row_group_size=len(table), dictionary_pagesize_limit=1 << 30, write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    return buffer.getvalue()


# Unpacking


def unpack(config: PackConfig) -> dict[str, Any]:
    """Write a dataset folder, whole or not at all; returns the pack's manifest.

    ValueError where the file is no pack, or the folder holds something.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    assert config.unpack is not None
    _check_pillow()
    if not config.unpack.is_file():
        raise ValueError(f"{config.unpack}: no such file; make it with --data DIR --out {config.unpack}")
    try:
        table = parquet.read_table(config.unpack, page_checksum_verification=True)
        manifest: dict[str, Any] = json.loads((table.schema.metadata or {})[b"vesalius"])
    except (arrow.ArrowException, OSError, KeyError, ValueError):
        raise ValueError(f"{config.unpack}: is no pack of Vesalius, or damaged; copy it again") from None
    if config.out.exists() and (config.out.is_file() or any(config.out.iterdir())):
        raise ValueError(f"{config.out}: is there already; choose a new folder for --out")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with hold(config.out), tempfile.TemporaryDirectory(dir=config.out.parent, prefix=f".{config.out.name}.") as folder:
        records = [_unpack_one(Path(folder), row) for row in progress(table.to_pylist(), "unpack", table.num_rows)]
        card = write_card(config.out.resolve().name, Tally(records))
        write_dataset(Path(folder), records, card=card, manifest={"pack": manifest})
        for path in sorted(Path(folder).iterdir(), key=lambda p: p.name == "manifest.json"):
            path.rename(config.out / path.name)
    return manifest


def _unpack_one(folder: Path, row: dict[str, Any]) -> Record:
    """Write one image as PNG; returns its record."""
    content = row.pop("image")["bytes"]
    record = Record.from_json(row)
    array = _decode(content, record, find_modality(record.modality))
    png = hu_png(array.astype(np.float32)) if array.ndim == 2 else png_bytes(array.astype(np.uint8))
    name = f"{record.split}/images/{Path(record.file_name).stem}.png"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png)
    return dataclasses.replace(record, file_name=name, sha256=hashlib.sha256(png).hexdigest())


def main(config: PackConfig) -> None:
    """Pack or unpack, and say what was done."""
    if config.unpack:
        manifest = unpack(config)
        print(f"{config.out}: {manifest['num_records']} records of {manifest['size']} px")
        if seeds := manifest["phantoms"]:
            words = " ".join(f"--{k} {' '.join(v) if isinstance(v, list) else v}" for k, v in seeds.items())
            print(f"its phantoms: vesalius data phantom {words} --out DIR")
        return
    told = pack(config)
    print(
        f"{config.out}: {told['num_records']} records, {told['num_images']} images, {told['num_bytes'] / 1e6:.2f} MB; "
        f"{told['num_without_labels']} with a neutral text since their labels are not free"
    )
    print("PSNR in dB: " + ", ".join(f"{k} {v}" for k, v in told["psnr_db"].items()))
    for reason, count in told["left_out"].items():
        print(f"left out, {reason}: {count}")
    print(f"sha256 {told['sha256']}")


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(PackConfig, main)
