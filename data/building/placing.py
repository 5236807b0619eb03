"""Where a build's images go: their split, by patient, and their name, which no two share."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vesalius.data.building.journal import Aside
from vesalius.data.datasets.split import hashed_split, patient_key
from vesalius.data.record import SPLITS, Record, changed
from vesalius.data.sources.draft import Draft, Encoded

Done = tuple[Record, float | None]
"""A finished record, and the number that decided its split, where a number did."""


class Placing:
    """The split and the name of each image in turn; holds a 64-bit hash of every name that is taken.

    named: the split that the sources give to a patient, by the hash of its key; rows that name none follow it.
    """

    def __init__(self, out: Path, *, named: Mapping[int, str], resplit: bool, seed: int, val: float, test: float):
        self.out, self.named, self.resplit = out, named, resplit
        self.seed, self.val, self.test = seed, val, test
        self.used: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.largest = -1.0

    def taken(self, record: Record) -> bool:
        return hash(record.file_name) in self.used

    def split(self, key: str) -> tuple[str, float | None]:
        """The split of a row that names none: that of the patient's other rows, else by hash, with the number."""
        if (named := self.named.get(hash(key))) is not None:
            return named, None
        return hashed_split(key, seed=self.seed, val=self.val, test=self.test)

    def place(self, draft: Draft, image: Encoded) -> Done:
        """Move an image to its name, which holds its digest, so that no two sources collide."""
        split, place = (None if self.resplit else draft.split), None
        if split is None:
            split, place = self.split(patient_key(draft.record) or image.sha256)
        stem = "".join(
            c if c.isalnum() and c.isascii() else "-"
            for c in Path(draft.record.file_name).stem or draft.record.modality
        )
        name = f"{stem.strip('-')[:60].lower() or 'image'}-{image.sha256[:10]}"
        number = 1
        while hash(file_name := f"{split}/images/{name}{f'-{number}' if number > 1 else ''}.png") in self.used:
            number += 1
        os.replace(image.path, self.out / file_name)
        extra = {**draft.record.extra, **({"window": image.window} if image.window else {})}
        record = changed(draft.record, file_name=file_name, split=split, sha256=image.sha256, extra=extra)
        return record, place

    def take(self, done: Done) -> None:
        """Count a record that is in the dataset now."""
        record, place = done
        self.used.add(hash(record.file_name))
        self.counts[record.split] += 1
        self.largest = max(self.largest, -1.0 if place is None else place)

    def fill_train(self, rows: Aside[Done]) -> tuple[Aside[Done], list[str]]:
        """Where no record is in train, move the hashed patient with the largest number, nearest to train's share."""
        if self.counts["train"]:
            return rows, []
        if self.largest < 0:
            raise ValueError(
                f"{self.out}: the sources put every image in {', '.join(s for s in SPLITS if self.counts[s])} and none "
                "in train; correct their splits, or pass --resplit"
            )
        final: Aside[Done] = Aside(self.out)
        for record, place in rows:
            if place == self.largest:
                file_name = "train/" + record.file_name.split("/", 1)[1]
                os.replace(self.out / record.file_name, self.out / file_name)
                self.used.add(hash(file_name))
                record = dataclasses.replace(record, file_name=file_name, split="train")
            final.add((record, place))
        return final, ["so few patients that train was empty; one was moved there"]


def fresh_folder(work: Path) -> Path:
    """A new folder for images that have no name yet; what a killed build left in its own goes."""
    for left in work.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = work / f"new-{os.getpid()}"
    folder.mkdir()
    return folder
