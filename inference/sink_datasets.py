"""Samples as a dataset, which `vesalius finetune --data` and `datasets.load_dataset` take as it stands.

OUT/train/images/*.png, OUT/train/metadata.jsonl    a dataset folder, or
OUT/train/00000.parquet (or .tar) ...               shards of as many pictures each
OUT/manifest.json                                   written last
OUT/.generate/                                      what is whole so far; with it a finished folder is known as such
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from vesalius.data.card import Tally, write_card
from vesalius.data.columns import Columns
from vesalius.data.image import Picture
from vesalius.data.record import digest_file, numbered_rows, write_atomic, write_dataset
from vesalius.data.shards import OpenShard, shard_row, write_manifest
from vesalius.inference.sample import Sample, mend
from vesalius.inference.sinks import Loose, Write, write_record

WORK = ".generate"
_NOTE = "Synthetic: not for diagnosis. Every picture was drawn by `vesalius generate`, whose recipe is in each row."


def _card(out: Path, samples: Sequence[Sample]) -> str:
    tally = Tally(sample.to_record() for sample in samples)
    return write_card(out.resolve().name, tally, notes=[_NOTE])


class Folder(Loose):
    """A dataset folder: pictures where they stay, their rows at the end."""

    def __init__(self, out: Path, names: Sequence[str], write: Write = write_record) -> None:
        super().__init__(out / "train", write, out / WORK / "metadata.jsonl")
        self._out, self._names = out, names

    def finish(self) -> None:
        samples = [self.whole[name] for name in self._names]
        records = (sample.to_record() for sample in samples)
        write_dataset(self._out, records, card=_card(self._out, samples), manifest={"origin": "synthetic"})


class Shards:
    """Shards of `size` samples in the order of their names. A sample waits as a file until those of its shard are
    whole; a line of `shards.jsonl` follows the shard, and only then the files go."""

    def __init__(self, out: Path, kind: Literal["parquet", "webdataset"], names: Sequence[str], size: int) -> None:
        self._out, self._kind, self._names, self._size = out, kind, names, size
        self._shard_of = {name: index // size for index, name in enumerate(names)}
        self._lines = out / WORK / "shards.jsonl"
        self._waiting = Loose(out / WORK, write_record)
        self.whole = dict(self._waiting.whole)
        self._done: dict[int, dict[str, Any]] = {}
        if self._lines.is_file():
            self._read()
        self._missing = [set(self._members(n)) - self.whole.keys() for n in range(-(-len(names) // size))]

    def _read(self) -> None:
        """What was whole when a run stopped; a shard that is not as its line says is drawn again."""
        mend(self._lines)
        for number, row in numbered_rows(self._lines):
            try:
                shard, facts = int(row["shard"]), {k: row[k] for k in ("name", "num_records", "sha256")}
                samples = [Sample.from_json(each) for each in row["samples"]]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self._lines}:{number}: not a shard's line ({error}); delete that line, and run the "
                    "`vesalius generate` line again"
                ) from None
            path = self._out / facts["name"]
            if path.is_file() and digest_file(path) == facts["sha256"]:
                self._done[shard] = facts
                self.whole |= {sample.file_name: sample for sample in samples}

    def _members(self, shard: int) -> Sequence[str]:
        return self._names[shard * self._size : (shard + 1) * self._size]

    def begin(self) -> None:
        self._waiting.begin()
        for left in self._out.glob("train/.*.tmp"):  # by a run that was killed
            left.unlink()

    def write(self, sample: Sample, picture: Picture) -> None:
        self._waiting.write(sample, picture)
        self.whole[sample.file_name] = self._waiting.whole[sample.file_name]
        shard = self._shard_of[sample.file_name]
        self._missing[shard].discard(sample.file_name)
        if not self._missing[shard]:
            self._pack(shard)

    def finish(self) -> None:
        for shard in range(len(self._missing)):
            if shard not in self._done:  # stopped between its last picture and its line
                self._pack(shard)
        for waiting in ("images", "metadata.jsonl"):
            path = self._out / WORK / waiting
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        card = _card(self._out, [self.whole[name] for name in self._names])
        write_atomic(self._out / "README.md", card.encode())
        done = {facts["name"]: {k: v for k, v in facts.items() if k != "name"} for facts in self._done.values()}
        write_manifest(self._out, self._kind, {"train": len(self._names)}, done, flat=False)

    def _pack(self, number: int) -> None:
        samples = [self.whole[name] for name in self._members(number)]
        with ExitStack() as stack:
            shard = OpenShard(self._out, self._kind, "train", number, masks=False)
            stack.push(shard.abandon)
            for sample in samples:
                row = shard_row(sample.to_record(), flat=False)
                columns = Columns()
                columns.add({**row, "findings": []})  # the same columns in every shard
                shard.add(columns.even(row), (self._out / WORK / sample.file_name).read_bytes(), None)
            facts = {"name": shard.name, **shard.close()}
        line = {"shard": number, **facts, "samples": [sample.to_json() for sample in samples]}
        with self._lines.open("ab") as file:
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._done[number] = facts
        for sample in samples:
            (self._out / WORK / sample.file_name).unlink()
