"""Rows that every reader of a dataset folder agrees on: the same columns with the same types in each split.

`datasets.load_dataset("imagefolder")` infers the types of each split from its first rows and refuses splits that
differ, so a column that is empty or numeric here and textual there would make a folder that does not open.
"""

from __future__ import annotations

import json
from typing import Any

Row = dict[str, Any]


class Columns:
    """Which columns the rows of a dataset have: `add` every row of every split, then `even` each of them.

    Texts that lack become "". Findings become a JSON text. Any other column stays as it is where each row of each split
    fills it with one scalar type; where not, its values move into the column `extra`, a JSON text. `Record.from_json`
    reads all of this back. Memory is that of the columns' names, whatever the number of rows.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}
        self._counts: dict[str, int] = {}
        self._total = 0
        self._plan: tuple[list[str], list[str]] | None = None

    def add(self, row: Row) -> None:
        self._total += 1
        self._plan = None
        for key, value in row.items():
            if value is not None:
                self._kinds.setdefault(key, set()).add(type(value))
                self._counts[key] = self._counts.get(key, 0) + 1

    def even(self, row: Row) -> Row:
        """The row with the columns of all."""
        kept, rest = self._plan = self._plan or self._divide()
        out = {k: row[k] if row.get(k) is not None else "" for k in kept}
        if "findings" in self._kinds:
            out["findings"] = json.dumps(row.get("findings") or [], ensure_ascii=False, default=str)
        if rest:
            more = {k: row[k] for k in rest if row.get(k) is not None}
            out["extra"] = json.dumps(more, ensure_ascii=False, default=str)
        return out

    def _divide(self) -> tuple[list[str], list[str]]:
        """The columns that stay, and those that move into `extra`."""
        kinds = self._kinds
        texts = {k for k, kind in kinds.items() if kind == {str} and not _is_image_column(k)}
        scalars = {
            k for k, kind in kinds.items() if kind in ({int}, {float}, {bool}) and self._counts[k] == self._total
        }
        kept = ["file_name", *(k for k in kinds if k in texts | scalars and k != "file_name")]
        return kept, [k for k in kinds if k not in kept and k != "findings"]


def uniform(splits: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The same rows with one set of columns, as `Columns` has them."""
    columns = Columns()
    for rows in splits.values():
        for row in rows:
            columns.add(row)
    return {name: [columns.even(r) for r in rows] for name, rows in splits.items()}


def _is_image_column(key: str) -> bool:
    """Names that imagefolder takes for further images, or for its own column."""
    return key in ("file_name", "file_names", "image", "images", "extra") or key.endswith(("_file_name", "_file_names"))
