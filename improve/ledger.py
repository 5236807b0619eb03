"""The ledger: append-only JSON lines, each chained by hash to the last, so that no line can be changed unseen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from vesalius.data.record import read_rows

START = "0" * 64


class Ledger:
    """Appends entries once: one that is already there under the same key (event, round, name) is left as it is.

    ValueError on opening where the chain is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            content = path.read_bytes()
            if content and not content.endswith(b"\n"):  # a killed run's last line
                with path.open("r+b") as file:
                    file.truncate(content.rfind(b"\n") + 1)
        self.entries: list[dict[str, Any]] = list(read_rows(path)) if path.is_file() else []
        verify(self.entries, path)
        self._known = {_key(e) for e in self.entries}

    def add(self, event: str, round_index: int, name: str = "", **facts: Any) -> None:
        entry = {"event": event, "round": round_index, "name": name, **facts}
        if _key(entry) in self._known:
            return
        entry["previous"] = self.entries[-1]["hash"] if self.entries else START
        entry["hash"] = _hash(entry)
        with self.path.open("ab") as file:
            file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)
        self._known.add(_key(entry))


def verify(entries: list[dict[str, Any]], path: Path) -> None:
    """ValueError naming the first line that does not follow from the one before."""
    previous = START
    for number, entry in enumerate(entries, start=1):
        if entry.get("previous") != previous or entry.get("hash") != _hash(entry):
            raise ValueError(
                f"{path}:{number}: the ledger was changed here; its history can no longer be trusted, start a new loop"
            )
        previous = entry["hash"]


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["event"], entry["round"], entry["name"]


def _hash(entry: dict[str, Any]) -> str:
    body = {k: v for k, v in entry.items() if k != "hash"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
