"""The second pass of a build: drafts put aside -> their images under temporary names, by all cores, in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.building.placing import Done
from vesalius.data.command.workers import Crashed, Workers, batches
from vesalius.data.sources.draft import Draft, Encoded, Refused

BATCH = 8
"""Drafts that a worker gets at a time: enough that it does not wait between them."""

Task = tuple[str, Draft] | Refused
"""What the first pass put aside: a draft with its key, or what is wrong with it."""
Outcome = Done | Encoded | Refused | Exception
"""A record of an earlier run, an image, what the first pass refused, or what is wrong with the image."""


def digest_of(value: Any) -> str:
    """32 hex digits for what can be written as JSON."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def draft_key(draft: Draft) -> str:
    """Names a draft and the state of its file: the same key means that the image need not be made again."""
    row = draft.record.to_json()
    return digest_of([draft.where, str(draft.path), *draft.state(), row, draft.split, draft.kind, draft.part])


@dataclass(frozen=True, kw_only=True)
class EncodingPass:
    """size: longest side of the images. folder: theirs. reused: the record that an earlier run made of a key."""

    workers: Workers
    size: int
    folder: Path
    reused: Callable[[str], Done | None]

    def outcomes(self, aside: Iterable[Task], num_drafts: int) -> Iterator[tuple[Task, Outcome]]:
        """What became of each draft, in their order; num_drafts: how many there are."""
        tasks = batches(enumerate(aside), BATCH)
        for batch, outcomes in self.workers.in_order(tasks, self._batch, num_drafts):
            for (_, each), outcome in zip(batch, outcomes, strict=True):
                yield each, outcome

    def again(self, key: str, draft: Draft) -> Outcome:
        """The image of a draft, whatever an earlier run made of it."""
        return self._encoded([(key, draft, self.folder / "again.png")])[0]

    def _batch(self, batch: list[tuple[int, Task]]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [e if isinstance(e, Refused) else self.reused(e[0]) for _, e in batch]
        todo = [
            (each[0], each[1], self.folder / f"{number}.png")
            for (number, each), outcome in zip(batch, outcomes, strict=True)
            if outcome is None and not isinstance(each, Refused)
        ]
        made = iter(self._encoded(todo) if todo else ())
        return [next(made) if outcome is None else outcome for outcome in outcomes]

    def _encoded(self, todo: list[tuple[str, Draft, Path]]) -> list[Outcome]:
        from vesalius.data.images.encode import encode_to

        made = self.workers.call(encode_to, [(draft, path) for _, draft, path in todo], self.size)
        return [_checked(key, draft, image) for (key, draft, _), image in zip(todo, made, strict=True)]


def _checked(key: str, draft: Draft, image: Encoded | Exception) -> Outcome:
    """The image, or what is wrong with it: also that its file is not as the first pass saw it."""
    if isinstance(image, Crashed):
        return ValueError(f"{draft.where}: its decoder crashed ({image}); the file is damaged, leave it out")
    if isinstance(image, FileNotFoundError | PermissionError):
        changed = image.filename == str(draft.path)
    else:
        try:
            changed = isinstance(image, Encoded) and draft_key(draft) != key
        except OSError:
            changed = True
    if changed:
        return ValueError(
            f"{draft.where}: {draft.path} changed while the build ran, or can no longer be read; build again"
        )
    return image
