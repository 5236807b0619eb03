"""Where samples go, each file whole or not at all. A run that was stopped goes on, and ends with the same bytes.

png           OUT/images/*.png with the recipe inside, OUT/raw16/*.png (Hounsfield units), OUT/metadata.jsonl
dicom         OUT/images/*.dcm (`vesalius.inference.writing.secondary_capture`), OUT/metadata.jsonl
imagefolder, parquet, webdataset: datasets (`vesalius.inference.writing.datasets`)
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import Picture, png_bytes, recipe_texts
from vesalius.data.record import open_atomic, write_atomic
from vesalius.inference.config import GenerateConfig
from vesalius.inference.request import Request
from vesalius.inference.sample import WORK, Sample, sample_lines
from vesalius.inference.writing.content_credentials import check_seal, open_seal

Write = Callable[[Path, Sample, Picture], Sample]
"""Writes the files of one sample below a folder; returns it with their digests."""
Samples = Callable[[], Iterator[Sample]]
"""All samples of a run in order, from the first one on, whenever it is called."""
Seal = Callable[[bytes], bytes]
"""What is done to the bytes of a PNG before they are written: `bytes` leaves them as they are."""
SHARDED = ("parquet", "webdataset")
LATER = {"c2pa_cert": None, "c2pa_timestamp": None, "reuse": 1, "scheduler": None, "strength": None, "start": "noise"}
"""Settings that folders of earlier releases do not have, and what they are where nobody uses them."""
READERS = 8
"""Threads that look whether files are whole."""


class Sink(Protocol):
    """Takes the samples of one run, shard by shard, in any number of processes.

    folder: below which a sample's files lie while its shard is drawn.
    """

    folder: Path

    def begin(self) -> None:
        """Once before drawing: make folders, and remove what says that all is whole."""

    def write(self, sample: Sample, picture: Picture) -> Sample:
        """Write the files of a sample, each whole or not at all; returns it with their digests."""
        ...

    def whole(self, shard: int, samples: Sequence[Sample]) -> list[Sample]:
        """Which samples of a shard that is marked are whole."""
        ...

    def close(self, shard: int, samples: Sequence[Sample]) -> None:
        """All samples of a shard are whole, in their order; it will be marked next."""

    def tidy(self, samples: Sequence[Sample]) -> None:
        """It is marked."""

    def finish(self, samples: Samples) -> None:
        """All shards are marked. May be called again."""


class Loose:
    """A file for each sample in `folder`/images; in the end their lines, in order."""

    def __init__(self, out: Path, write: Write, folder: Path | None = None) -> None:
        self.out, self.folder, self._write = out, folder or out, write

    def begin(self) -> None:
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*/.*.tmp"):  # by a run that was killed
            left.unlink()
        (self.out / "metadata.jsonl").unlink(missing_ok=True)

    def write(self, sample: Sample, picture: Picture) -> Sample:
        return self._write(self.folder, sample, picture)

    def whole(self, shard: int, samples: Sequence[Sample]) -> list[Sample]:
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda sample: sample.is_whole(self.folder), samples)
            return [sample for sample, whole in zip(samples, found, strict=True) if whole]

    def close(self, shard: int, samples: Sequence[Sample]) -> None:
        pass

    def tidy(self, samples: Sequence[Sample]) -> None:
        pass

    def finish(self, samples: Samples) -> None:
        with open_atomic(self.out / "metadata.jsonl") as file:
            file.writelines(sample_lines([sample]) for sample in samples())
        shutil.rmtree(self.out / WORK)


def open_sink(config: GenerateConfig) -> Sink:
    """The sink of a run."""
    seal = open_seal(config)
    if config.sink == "png":
        return Loose(config.out, partial(write_sample, seal=seal))
    if config.sink == "dicom":
        return Loose(config.out, write_dicom)
    from vesalius.inference.writing.datasets import Folder, Shards

    if config.sink == "imagefolder":
        return Folder(config.out, partial(write_record, seal=seal))
    return Shards(config.out, config.sink)


def name_in(sink: str, file_name: str) -> str:
    """The name of a sample's file as the sink has it."""
    return str(Path(file_name).with_suffix(".dcm")) if sink == "dicom" else file_name


def check_sink(config: GenerateConfig) -> None:
    """ValueError where the settings of a sink are none."""
    check_seal(config)
    if config.shard_size < 1:
        raise ValueError(f"--shard-size {config.shard_size}: expected at least 1 picture in a shard")


def check_prompt(config: GenerateConfig, request: Request) -> None:
    """ValueError, before anything is drawn, where a sink cannot hold a prompt."""
    if config.sink != "dicom":
        return
    from vesalius.inference.writing.secondary_capture import MAX_PROMPT

    text = request.prompt
    length = len(text) + len(config.negative)
    if length > MAX_PROMPT:
        raise ValueError(
            f"prompt '{text[:60]}': has {length} characters with --negative, of which a DICOM file holds "
            f"{MAX_PROMPT}; shorten it, or give another --sink"
        )


def recipe_settings(config: GenerateConfig, fields: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that settle its files: not the size of shards where there are none, nor where the key lies
    that signs; and what came with a later release as if it were not there where it is not used, so that earlier folders
    go on."""
    unused = {name for name, usual in LATER.items() if fields.get(name) == usual}
    shards = set() if config.sink in SHARDED else {"shard_size"}
    settled = {k: v for k, v in fields.items() if k not in {"c2pa_key", *unused, *shards}}
    if len(adapters := fields.get("adapter", ())) < 2:  # of which there was one once, or none
        settled["adapter"] = adapters[0] if adapters else None
    return settled


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
    from vesalius.inference.writing.secondary_capture import dicom_bytes

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
