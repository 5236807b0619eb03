"""Samples as a dataset, which `vesalius finetune --data` and `datasets.load_dataset` take as it stands.

OUT/train/images/*.png, OUT/train/metadata.jsonl    a dataset folder, or
OUT/train/00000.parquet (or .tar) ...               shards of as many pictures each
OUT/manifest.json                                   written last
OUT/.generate/                                      what is whole so far; with it a finished folder is known as such
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.datasets.columns import Columns
from vesalius.data.datasets.shards import OpenShard, shard_row, write_manifest
from vesalius.data.record import digest_file, read_state, write_atomic, write_dataset, write_json
from vesalius.inference.sample import WORK, Sample
from vesalius.inference.writing.sinks import Loose, Samples, Write, write_record

_NOTE = "Synthetic: not for diagnosis. Every picture was drawn by `vesalius generate`, whose recipe is in each row."


def _tally(samples: Samples) -> Tally:
    return Tally(sample.to_record() for sample in samples())


def _card(out: Path, tally: Tally) -> str:
    return write_card(out.resolve().name, tally, notes=[_NOTE])


class Folder(Loose):
    """A dataset folder: pictures where they stay, their rows at the end."""

    def __init__(self, out: Path, write: Write = write_record) -> None:
        super().__init__(out, write, out / "train")

    def begin(self) -> None:
        super().begin()
        (self.out / "manifest.json").unlink(missing_ok=True)

    def finish(self, samples: Samples) -> None:
        card = _card(self.out, _tally(samples))
        records = (sample.to_record() for sample in samples())
        write_dataset(self.out, records, card=card, manifest={"origin": "synthetic"})


class Shards(Loose):
    """A file for each shard. A sample waits as a file until those of its shard are whole; `shards/00000.json` says of a
    written one what the manifest will, then the shard is marked, and only then the files go."""

    def __init__(self, out: Path, kind: Literal["parquet", "webdataset"]) -> None:
        super().__init__(out, write_record, out / WORK)
        self._kind = kind

    def begin(self) -> None:
        super().begin()
        (self.out / "manifest.json").unlink(missing_ok=True)
        for left in self.out.glob("train/.*.tmp"):  # by a run that was killed
            left.unlink()

    def whole(self, shard: int, samples: Sequence[Sample]) -> list[Sample]:
        """All of a shard that is as was written of it; otherwise none, and it is drawn again."""
        try:
            facts = read_state(self._facts(shard), "run the `vesalius generate` line again")
            same = digest_file(self.out / str(facts["name"])) == facts["sha256"]
        except (FileNotFoundError, ValueError, KeyError):
            same = False
        return list(samples) if same else []

    def close(self, shard: int, samples: Sequence[Sample]) -> None:
        with ExitStack() as stack:
            packed = OpenShard(self.out, self._kind, "train", shard, masks=False)
            stack.push(packed.abandon)
            for sample in samples:
                row = shard_row(sample.to_record(), flat=False)
                columns = Columns()
                columns.add({**row, "findings": []})  # the same columns in every shard
                packed.add(columns.even(row), (self.folder / sample.file_name).read_bytes(), None)
            facts = {"name": packed.name, **packed.close()}
        write_json(self._facts(shard), facts)

    def tidy(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            (self.folder / sample.file_name).unlink(missing_ok=True)

    def finish(self, samples: Samples) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder / "images")
        tally = _tally(samples)
        write_atomic(self.out / "README.md", _card(self.out, tally).encode())
        done: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("shards/*.json")):
            facts = read_state(path, "delete it, and run the `vesalius generate` line again")
            done[str(facts.pop("name"))] = facts
        write_manifest(self.out, self._kind, {"train": tally.num_records}, done, flat=False)

    def _facts(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard:05d}.json"
