"""Compares the errors that tests provoked with those that the code can raise: `python tests/raises/check.py FOLDER`.

Fails (1) where one was never provoked that `known.tsv` does not name, and where `known.tsv` names one that is gone or
was provoked, so that this list only shrinks. Its last column says why a row is there: "debt: ..." until a test is
written, or "needs ..." what another machine has, which may be provoked. With `--rows` it prints the list anew.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import raise_sites
from raise_sites import STAGES, Site

KNOWN = Path(__file__).with_name("known.tsv")
COLUMNS = 4  # path, place, told, reason
MAY_FIRE = "needs "


@cache
def all_sites() -> list[Site]:
    """Every error that the code can raise."""
    return raise_sites.all_sites()


def provoked(folders: list[Path]) -> dict[str, str]:
    """Each site that was recorded, and the message it gave."""
    files = [path for folder in folders for path in sorted(folder.glob("*.jsonl"))]
    lines = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return {told["site"]: told["message"] for told in lines}


def known(path: Path = KNOWN) -> dict[str, str]:
    """The sites that no test provokes, and why."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(len(row) == COLUMNS and row[-1] for row in rows), f"{path}: a row is path, place, told and reason"
    return {"\t".join(row[:-1]): row[-1] for row in rows}


def compare(sites: list[Site], fired: set[str], excused: dict[str, str]) -> list[str]:
    """What is wrong, one line each; nothing where every error is provoked or excused."""
    there = {site.key for site in sites}
    missed = [s for s in sites if s.key not in fired and s.key not in excused]
    ended = [key for key, why in excused.items() if key in fired and not why.startswith(MAY_FIRE)]
    return [
        *(f"{s.path}:{s.line}: no test provokes this error, in {s.place}: {s.told}" for s in missed),
        *(f"{KNOWN.name}: is provoked now, so take its row away: {key}" for key in ended),
        *(f"{KNOWN.name}: is in the code no more, so take its row away: {key}" for key in excused if key not in there),
    ]


def main(folders: list[Path], *, rows: bool = False) -> int:
    """Print what is wrong, and how many there are of each stage. rows: print the list as it would be, with a reason to
    be thought about for what is not in it yet."""
    sites, fired, excused = all_sites(), set(provoked(folders)), known()
    if rows:
        for site in sites:
            if site.key not in fired:
                print(f"{site.key}\t{excused.get(site.key, 'debt: why?')}")
        return 0
    wrong = compare(sites, fired, excused)
    for line in wrong:
        print(line)
    for stage in STAGES:
        own = [s for s in sites if s.path.startswith(f"{stage}/")]
        if own:
            print(f"{stage}: {sum(s.key in fired for s in own)} of {len(own)} errors provoked")
    print(f"{len(excused)} are excused in {KNOWN.name}; wrong: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main([Path(word) for word in words if word != "--rows"], rows="--rows" in words))
