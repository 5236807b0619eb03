"""Where samples go, each file whole or not at all. A run that was stopped goes on, and ends with the same bytes.

png           OUT/images/*.png with the recipe inside, OUT/raw16/*.png (Hounsfield units), OUT/metadata.jsonl
dicom         OUT/images/*.dcm (`vesalius.inference.secondary_capture`), OUT/metadata.jsonl
imagefolder, parquet, webdataset: datasets (`vesalius.inference.sink_datasets`)
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vesalius.data.hounsfield import hu_png
from vesalius.data.image import Picture, png_bytes, recipe_texts
from vesalius.data.record import write_atomic
from vesalius.inference.config import GenerateConfig
from vesalius.inference.content_credentials import check_seal, open_seal
from vesalius.inference.sample import Manifest, Sample

Write = Callable[[Path, Sample, Picture], Sample]
"""Writes the files of one sample below a folder; returns it with their digests."""
Seal = Callable[[bytes], bytes]
"""What is done to the bytes of a PNG before they are written: `bytes` leaves them as they are."""
SHARDED = ("parquet", "webdataset")


class Sink(Protocol):
    """Takes the samples of one run, in any order. whole: those that are there, by their `file_name`.

    Only looks, until `begin`. `finish` comes when all are whole; it may be called again.
    """

    whole: dict[str, Sample]

    def begin(self) -> None: ...
    def write(self, sample: Sample, picture: Picture) -> None: ...
    def finish(self) -> None: ...


class Loose:
    """A file for each sample in `folder`/images, and a line in a manifest as soon as it is whole."""

    def __init__(self, folder: Path, write: Write, manifest: Path | None = None) -> None:
        self.folder, self._write = folder, write
        self._manifest = Manifest(folder, manifest)
        self.whole = self._manifest.whole

    def begin(self) -> None:
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        self._manifest.path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*/.*.tmp"):  # by a run that was killed
            left.unlink()

    def write(self, sample: Sample, picture: Picture) -> None:
        self._manifest.add(self._write(self.folder, sample, picture))

    def finish(self) -> None:
        pass


def open_sink(config: GenerateConfig, names: Sequence[str]) -> Sink:
    """The sink of a run whose samples have these names, in this order. ValueError where its lines are damaged."""
    seal = open_seal(config)
    if config.sink == "png":
        return Loose(config.out, partial(write_sample, seal=seal))
    if config.sink == "dicom":
        return Loose(config.out, write_dicom)
    from vesalius.inference.sink_datasets import Folder, Shards

    if config.sink == "imagefolder":
        return Folder(config.out, names, partial(write_record, seal=seal))
    return Shards(config.out, config.sink, names, config.shard_size)


def name_in(sink: str, file_name: str) -> str:
    """The name of a sample's file as the sink has it."""
    return str(Path(file_name).with_suffix(".dcm")) if sink == "dicom" else file_name


def check_sink(config: GenerateConfig, texts: Sequence[str]) -> None:
    """ValueError, before anything is drawn, where a sink cannot hold what is asked. texts: the prompts."""
    check_seal(config)
    if config.sink in SHARDED and config.shard_size < 1:
        raise ValueError(f"--shard-size {config.shard_size}: expected at least 1 picture in a shard")
    if config.sink != "dicom":
        return
    from vesalius.inference.secondary_capture import MAX_PROMPT

    for text in dict.fromkeys(texts):
        length = len(text) + len(config.negative)
        if length > MAX_PROMPT:
            raise ValueError(
                f"prompt '{text[:60]}': has {length} characters with --negative, of which a DICOM file holds "
                f"{MAX_PROMPT}; shorten it, or give another --sink"
            )


def recipe_settings(config: GenerateConfig, fields: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that settle its files: not the size of shards where there are none, nor where the key lies
    that signs, nor what came with a later release and is not used, so that earlier folders go on."""
    unused = {
        name
        for name, usual in (("c2pa_cert", None), ("c2pa_timestamp", None), ("reuse", 1))
        if fields.get(name) == usual
    }
    shards = set() if config.sink in SHARDED else {"shard_size"}
    return {k: v for k, v in fields.items() if k not in {"c2pa_key", *unused, *shards}}


def write_sample(folder: Path, sample: Sample, picture: Picture, seal: Seal = bytes) -> Sample:
    """Write a PNG with the sample's recipe inside, and the Hounsfield units of CT; each whole or not at all."""
    if picture.hu is not None:
        raw16 = f"raw16/{Path(sample.file_name).name}"
        sample = dataclasses.replace(sample, raw16=raw16)
        content = seal(hu_png(picture.hu, recipe_texts(sample.recipe())))
        (folder / "raw16").mkdir(parents=True, exist_ok=True)
        write_atomic(folder / raw16, content)
        sample = dataclasses.replace(sample, raw16_sha256=hashlib.sha256(content).hexdigest())
    return _written(folder, sample, seal(png_bytes(picture.image, sample.recipe())))


def write_dicom(folder: Path, sample: Sample, picture: Picture) -> Sample:
    """Write a DICOM file, Hounsfield units included."""
    from vesalius.inference.secondary_capture import dicom_bytes

    return _written(folder, sample, dicom_bytes(sample, picture))


def write_record(folder: Path, sample: Sample, picture: Picture, seal: Seal = bytes) -> Sample:
    """Write the one PNG that a record has: of Hounsfield units where there are any, which is `raw16` too then."""
    if picture.hu is None:
        return _written(folder, sample, seal(png_bytes(picture.image, sample.recipe())))
    sample = dataclasses.replace(sample, raw16=sample.file_name)
    sample = _written(folder, sample, seal(hu_png(picture.hu, recipe_texts(sample.recipe()))))
    return dataclasses.replace(sample, raw16_sha256=sample.sha256)


def _written(folder: Path, sample: Sample, content: bytes) -> Sample:
    path = folder / sample.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
    return dataclasses.replace(sample, sha256=hashlib.sha256(content).hexdigest())
