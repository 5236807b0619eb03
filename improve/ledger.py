"""The ledger: append-only JSON lines, each chained by hash to the last, so that no line can be changed unseen.

    {"event": "verdict", "round": 1, "name": "images/00003-0000.png", ..., "previous": "<sha256>", "hash": "<sha256>"}

`ledger.head` beside it tells how many lines there are at least, and the hash of that one: lines that are cut off the
end would leave a chain that holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vesalius.data.record import write_json

START = "0" * 64


class Ledger:
    """Writes to a ledger, each entry once: what is there under the same key (event, round, name) is left as it is.

    Of the entries only their keys are held. ValueError on opening where the chain is broken. For the one process that
    runs a loop; others read (`read_ledger`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            _drop_torn_line(path)
        self.num, self.last = 0, START
        self._known: set[int] = set()
        for entry in read_ledger(path):
            self.num, self.last = self.num + 1, entry["hash"]
            self._known.add(_key(entry))

    def add(self, event: str, round_index: int, name: str = "", **facts: Any) -> None:
        """One entry, on the disk when this returns."""
        self.add_all(event, round_index, [(name, facts)])

    def add_all(self, event: str, round_index: int, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Entries of one kind, as (name, facts), on the disk when this returns."""
        before = self.num
        with self.path.open("ab") as file:
            for name, facts in rows:
                entry: dict[str, Any] = {"event": event, "round": round_index, "name": name, **facts}
                if _key(entry) in self._known:
                    continue
                entry["previous"] = self.last
                entry["hash"] = _hash(entry)
                file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
                self.num, self.last = self.num + 1, entry["hash"]
                self._known.add(_key(entry))
            file.flush()
            os.fsync(file.fileno())
        if self.num > before:
            write_json(_head(self.path), {"lines": self.num, "hash": self.last})


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The entries in order, none where there is no ledger; a last line that is being written is left out.

    ValueError names the first line that does not follow from the one before, and tells where lines are missing.
    """
    told: dict[str, Any] = json.loads(_head(path).read_text()) if _head(path).is_file() else {"lines": 0, "hash": START}
    previous, number = START, 0
    if path.is_file():
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    number -= 1
                    break
                entry = _parsed(line)
                changed = entry.get("previous") != previous or entry.get("hash") != _hash(entry)
                previous = str(entry.get("hash"))
                if changed or (number == told["lines"] and previous != told["hash"]):
                    raise ValueError(
                        f"{path}:{number}: the ledger was changed here; its history can no longer be trusted. Put the "
                        "file back as it was, or start a new loop"
                    )
                yield entry
    if number < told["lines"]:
        raise ValueError(
            f"{path}:{number + 1}: lines are missing from here to the end, there were {told['lines']}; put the file "
            "back as it was, or start a new loop"
        )


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _head(path: Path) -> Path:
    return path.with_suffix(".head")


def _drop_torn_line(path: Path) -> None:
    """Cut off the last line of a killed run, where it is not whole."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        size = end = file.tell()
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                if start + place + 1 < size:
                    file.truncate(start + place + 1)
                return
            end = start
        file.truncate(0)


def _key(entry: Mapping[str, Any]) -> int:
    return hash((entry["event"], entry["round"], entry["name"]))


def _hash(entry: Mapping[str, Any]) -> str:
    body = {k: v for k, v in entry.items() if k != "hash"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
