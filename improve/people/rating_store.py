"""The store of ratings: a file of JSON lines to which several processes may add at once, and which others read.

A line is added under the system's lock of the file and is on the disk when `add` returns; one that a killed writer left
without its end is cut off by the next. Readers need no lock: `read_ratings` leaves out a last line without its end. It
is a plain file rather than a database, so that it can be read, copied and handed to `vesalius improve run --ratings` as
it stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vesalius.improve.people.ratings import Rating, Withdrawal, is_whole, parse_rating, read_ratings


class RatingStore:
    """Ratings of one file, which is made where there is none.

    >>> store = RatingStore(Path("ratings.jsonl"))  # doctest: +SKIP
    >>> store.add(Rating(sha256=sample.sha256, rater="A. Reader", realism=4))  # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with path.open("ab"):
            pass

    def add(self, rating: Rating) -> str:
        """Keep a rating; returns its key, by which it can be withdrawn. ValueError where it says nothing, or something
        that is no rating."""
        told = parse_rating(rating.to_json(), str(self.path))  # what cannot be read again is not written
        assert isinstance(told, Rating)
        self._append(told)
        return told.key

    def withdraw(self, key: str, rater: str, time: str = "") -> None:
        """Take a rating back. ValueError where this rater has given none of that key."""
        if not any(r.key == key and r.rater == rater for r in self.read()):
            raise ValueError(f"{self.path}: {rater} has given no rating {key[:12]} that stands; give the key of one")
        self._append(Withdrawal(withdraws=key, rater=rater, time=time))

    def read(self) -> list[Rating]:
        """The ratings that stand by now. ValueError names a line that is none."""
        return read_ratings([self.path])

    def _append(self, entry: Rating | Withdrawal) -> None:
        with self.path.open("r+b") as file, _locked(file):
            end = file.seek(0, os.SEEK_END)
            size = min(end, 1 << 20)
            file.seek(end - size)
            tail = file.read(size)
            last = tail[tail.rfind(b"\n") + 1 :]
            if last and not is_whole(last):  # a killed writer's, which was never promised to be kept
                file.truncate(end - len(last))
            file.seek(0, os.SEEK_END)
            ending = "\n" if is_whole(last) else ""
            file.write((ending + json.dumps(entry.to_json(), ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Hold a file for one writer until it is closed; the system lets go when the process ends, however it ends."""
    import fcntl

    with suppress(OSError):  # a network disk without locks
        fcntl.flock(file, fcntl.LOCK_EX)
    yield
    file.flush()
