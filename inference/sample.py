"""Samples: generated images on disk, each with the whole recipe of its making."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.recipe import claim
from vesalius.data.record import Finding, Record, digest_file, numbered_rows, write_atomic

WORK = ".generate"
"""Folder, beside samples, of what a run keeps while it draws."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated image with the recipe of its making: a row of a samples folder's `metadata.jsonl`."""

    file_name: str
    """path of the picture, relative to the samples folder"""
    text: str
    """the prompt"""
    modality: str
    """name of the modality that was drawn"""
    seed: int
    """of this one picture; with the same recipe it draws the same picture in any batch"""
    steps: int
    """denoising steps"""
    guidance: float
    """classifier-free guidance scale; 1 is without"""
    findings: tuple[Finding, ...] = ()
    """what the prompt asks for, where that is known; JSON text on disk"""
    negative: str = ""
    """what the picture should not show"""
    height: int = 0
    """in pixels; 0 where that is not known"""
    width: int = 0
    """in pixels; 0 where that is not known"""
    scheduler: str = ""
    """how the noise was taken away"""
    precision: str = "fp32"
    """fp32 or bf16"""
    reuse: int = 1
    """every how many steps the deep levels of the denoiser ran"""
    base: str = ""
    """name of the base: nano, a hub id, or the last part of a folder's path"""
    base_digest: str = ""
    """sha256 of the base's files"""
    adapter_digest: str | None = None
    """sha256 of the adapter's weights, of several with their shares; null without one"""
    depth: int = 1
    """1 + that of the deepest record that base, adapter or source picture was made from"""
    group: str = ""
    """samples of one group and seed were asked for the same but for one thing (`--vary`); empty where there is none"""
    source: str = ""
    """name of the picture that it was drawn from; empty where from noise alone"""
    source_sha256: str = ""
    """digest of that file"""
    mask_sha256: str = ""
    """digest of the mask within which it was drawn"""
    strength: float = 0.0
    """how far the source was taken back into noise, up to 1; 0 where there is none"""
    sha256: str = ""
    """digest of the picture's bytes, in hex"""
    raw16: str | None = None
    """path of the same picture in Hounsfield units (16-bit PNG), of CT whose model knows them; else null"""
    raw16_sha256: str | None = None
    """digest of that file"""
    synthetic: bool = True
    """always true"""

    def to_json(self) -> dict[str, Any]:
        """The row on disk. Findings are JSON text, since tables want one type per column."""
        row = dataclasses.asdict(self)
        return {**row, "findings": json.dumps(row["findings"]) if row["findings"] else ""}

    def recipe(self) -> dict[str, Any]:
        """What goes into the image file itself: the row without the digests of files, which it cannot know."""
        return {k: v for k, v in self.to_json().items() if k not in ("sha256", "raw16_sha256")}

    def to_record(self) -> Record:
        """The record that a dataset has of it, for training only; its recipe is in further columns."""
        own = {f.name for f in dataclasses.fields(Record)}
        extra = {k: v for k, v in self.to_json().items() if k not in own and not k.startswith("raw16")}
        return Record(
            file_name=f"train/{self.raw16 or self.file_name}", text=self.text, modality=self.modality,
            findings=self.findings, origin="synthetic", depth=self.depth, source="vesalius generate",
            sha256=self.raw16_sha256 or self.sha256, hounsfield=self.raw16 is not None, extra=extra,
        )  # fmt: skip

    @staticmethod
    def from_json(row: dict[str, Any]) -> Sample:
        """The inverse of `to_json`. TypeError or ValueError where a value is not of the declared kind, or lacks."""
        names = {f.name for f in dataclasses.fields(Sample)}
        findings = tuple(Finding(**f) for f in json.loads(row.get("findings") or "[]"))
        row = {"height": row.get("size", 0), "width": row.get("size", 0), **row}  # as it was told of squares once
        sample = Sample(**{k: v for k, v in row.items() if k in names and k != "findings"}, findings=findings)
        for name in ("file_name", "text", "modality", "group", "sha256"):
            if not isinstance(getattr(sample, name), str):
                raise TypeError(f"{name} is no text")
        if type(sample.depth) is not int:
            raise TypeError("depth is no whole number")
        if not (sample.raw16 is sample.raw16_sha256 is None or isinstance(sample.raw16, str)):
            raise TypeError("raw16 is no text")
        return sample

    def picture(self, folder: Path, *, units: bool = True) -> Path:
        """Its PNG in the samples folder; with `units` that of Hounsfield units, where it has one. ValueError where it
        was written as something else, such as DICOM."""
        path = folder / ((units and self.raw16) or self.file_name)
        if path.suffix != ".png":
            raise ValueError(f"{path}: is no PNG, which alone can be looked at here; draw with --sink png")
        return path

    def is_whole(self, folder: Path) -> bool:
        """Whether its files lie in the samples folder just as they were drawn."""
        files = {self.file_name: self.sha256, **({self.raw16: self.raw16_sha256} if self.raw16 else {})}
        return all((folder / n).is_file() and digest_file(folder / n) == digest for n, digest in files.items())


def sample_seed(run_seed: int, prompt: str, index: int) -> int:
    """The seed of the index-th picture of a prompt: a pure function, so that lists may grow, shrink or be sharded."""
    return int.from_bytes(hashlib.blake2b(f"{run_seed}/{index}/{prompt}".encode(), digest_size=6).digest(), "big")


def check_prompts(folder: Path, whole: Mapping[str, Sample], asked: Mapping[str, tuple[str, int]]) -> None:
    """ValueError where a sample that is there was drawn from another prompt or seed than is asked for under its name.

    whole: the samples that are there, by name. asked: prompt and seed by name.
    """
    for name, (prompt, seed) in asked.items():
        there = whole.get(name)
        if there is not None and (there.text, there.seed) != (prompt, seed):
            raise ValueError(
                f"{folder / name}: was drawn from '{there.text[:60]}', and now '{prompt[:60]}' is asked for; "
                "the prompts have changed, so give another --out"
            )


def load_samples(folder: Path | str) -> list[Sample]:
    """The samples of a folder in the order of their prompts. ValueError where it is none, unfinished, or empty."""
    return list(stream_samples(folder))


def stream_samples(folder: Path | str) -> Iterator[Sample]:
    """The samples of a folder one by one, in memory that does not grow.

    ValueError as `load_samples`, on the way.
    """
    path = Path(folder) / "metadata.jsonl"
    if not path.is_file() and (Path(folder) / "manifest.json").is_file():
        raise ValueError(f"{folder}: holds a dataset, not a samples folder; draw with `vesalius generate --sink png`")
    if not path.is_file() and (Path(folder) / WORK).is_dir():
        raise ValueError(f"{folder}: is unfinished; run its `vesalius generate` line again")
    if not path.is_file():
        raise ValueError(
            f"{folder}: no samples there (metadata.jsonl); make some with `vesalius generate ... --out {folder}`"
        )
    empty = True
    for sample in read_samples(path):
        empty = False
        yield sample
    if empty:
        raise ValueError(f"{folder}: holds no finished sample yet; run its `vesalius generate` line again")


def read_samples(path: Path, *, cut: bool = False) -> Iterator[Sample]:
    """The samples of a file of lines. ValueError names a line that is none.

    cut: mend the file first, whose last line a killed run may have left without its end.
    """
    if cut:
        mend(path)
    for number, row in numbered_rows(path):
        try:
            yield Sample.from_json(row)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: not a sample ({error}); delete that line, and run the folder's "
                "`vesalius generate` line again"
            ) from None


def sample_lines(samples: Iterable[Sample]) -> bytes:
    """Samples as the lines of a file."""
    return "".join(json.dumps(s.to_json(), ensure_ascii=False) + "\n" for s in samples).encode()


def mend(path: Path) -> None:
    """Cut a last line that a killed run left without its end."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                file.truncate(start + place + 1)
                return
            end = start
        file.truncate(0)


class Manifest:
    """A growing list of samples. A line is added only after its files are whole on disk below `folder`."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder, self.path = folder, path
        self.whole: dict[str, Sample] = {}
        if path.is_file():
            self.whole = {s.file_name: s for s in read_samples(path, cut=True) if s.is_whole(folder)}
            write_atomic(path, sample_lines(self.whole.values()))

    def add(self, sample: Sample) -> None:
        with self.path.open("ab") as file:
            file.write(sample_lines([sample]))
            file.flush()
            os.fsync(file.fileno())
        self.whole[sample.file_name] = sample


def claim_folder(folder: Path, recipe: dict[str, Any], *, write: bool = True) -> None:
    """Make a samples folder, or take up one of the same recipe. ValueError where it holds something else.

    write False: only look.
    """
    claim(folder, recipe, kind="samples", write=write)
