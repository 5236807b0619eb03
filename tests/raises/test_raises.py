"""The check that every error is provoked, itself: what it records, and what it says is wrong."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
SOURCE = """
class Table:
    def read(self, path):
        try:
            raise ValueError(f"{path}: no table; make one")
        except ValueError as error:
            raise TypeError("no") from error
        raise
        raise error
        raise TypeError("no")
"""


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import check as module  # type: ignore[import-not-found, unused-ignore]

    return module


def test_sites_are_the_errors_that_are_made_and_have_names_of_their_own(check: Any) -> None:
    from raise_sites import sites_of  # type: ignore[import-not-found, unused-ignore]

    sites = [site for site, _ in sites_of(ast.parse(SOURCE), "data/table.py")]
    assert [(s.place, s.told) for s in sites] == [
        ("Table.read", "ValueError(f'{path}: no table; make one')"),
        ("Table.read", "TypeError('no')"),
        ("Table.read", "TypeError('no') #2"),
    ]
    moved = [site for site, _ in sites_of(ast.parse("\n\n" + SOURCE), "data/table.py")]
    assert [s.key for s in moved] == [s.key for s in sites]
    assert [s.line for s in moved] == [s.line + 2 for s in sites]


def test_errors_are_recorded_in_this_process_and_in_those_that_it_starts(check: Any, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "VESALIUS_RAISES": str(tmp_path), "PYTHONPATH": paths}
    ask = "from vesalius.data.modality import find_modality\ntry: find_modality('CTT')\nexcept ValueError: pass\n"
    code = f"import subprocess, sys\n{ask}subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    ((site, message),) = check.provoked([tmp_path]).items()
    assert site.startswith("data/modality.py\tfind_modality\tValueError(")
    assert message.startswith("modality 'CTT' is not known; did you mean")
    assert site in {each.key for each in check.all_sites()}


def test_what_is_not_provoked_or_listed_without_need_is_wrong(check: Any) -> None:
    one, two, three, four = check.all_sites()[:4]
    excused = {one.key: "needs a GPU", two.key: "debt", "gone.py\tplace\tValueError('no')": "debt"}
    wrong = check.compare([one, two, three, four], {one.key, two.key, four.key}, excused)
    assert [line.split(": ")[1] for line in wrong] == [
        "no test provokes this error, in " + three.place, "is provoked now, so take its row away",
        "is in the code no more, so take its row away",
    ]  # fmt: skip


def test_what_the_list_excuses_is_in_the_code(check: Any) -> None:
    gone = check.compare(check.all_sites(), {site.key for site in check.all_sites()}, check.known())
    assert not [line for line in gone if "no more" in line]
