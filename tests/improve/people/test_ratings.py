from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from vesalius.data.record import digest_file
from vesalius.eval.readers.answers import Answer, rating_rows
from vesalius.eval.readers.study import Shown
from vesalius.improve.people.rating_store import RatingStore
from vesalius.improve.people.ratings import Rating, read_ratings

ONE, TWO = "1" * 64, "2" * 64


def table(folder: Path, text: str, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_may_be_called_and_separated_otherwise(tmp_path: Path) -> None:
    usual = f"sha256,rater,level,realism,agreement,artefact,teach\n{ONE},A,resident,4,5,minor,yes\n"
    other = f"Sample;Reader;Experience;Quality;Match;Artifacts;Would teach\n{ONE};A;Registrar;4/5;5.0;Minor;TRUE\n"
    found = read_ratings([table(tmp_path, usual)])
    assert found == [
        Rating(sha256=ONE, rater="A", level="resident", realism=4, agreement=5, artefact="minor", teach=True)
    ]
    assert read_ratings([table(tmp_path, "\ufeff" + other)]) == found


def test_a_table_may_name_pictures_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    (found,) = read_ratings([table(tmp_path, "file,rater,realism\na.png,A,2\n")])
    assert found.sha256 == digest_file(tmp_path / "a.png")


def test_rows_that_nobody_has_filled_in_are_no_ratings(tmp_path: Path) -> None:
    assert read_ratings([table(tmp_path, f"sha256,rater,realism,prompt\n{ONE},,,Chest CT\n{TWO},A,,Chest CT\n")]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"sha256,rater,realism\n{ONE},A,6\n", r"ratings\.csv:2: realism '6' is not 1 to 5"),
        (f"sha256,rater,realism\n{ONE},A,3\n{ONE},,3\n", r"ratings\.csv:3: has no rater"),
        ("sha256,rater,realism\nabc,A,3\n", r"ratings\.csv:2: sha256 'abc' is no digest"),
        (f"sha256,rater,artefact\n{ONE},A,majr\n", "did you mean 'major'"),
        (f"sha256,rater,level,realism\n{ONE},A,residant,3\n", "did you mean 'resident'"),
        (f"sha256,rater,teach\n{ONE},A,perhaps\n", "neither yes nor no"),
        (f"sha256,rater,realsim\n{ONE},A,1\n", r"column 'realsim' is not known; did you mean 'realism'"),
        ("rater,realism\nA,3\n", "needs columns sha256"),
        (f"sha256,rater,reader,realism\n{ONE},A,A,3\n", "two columns for rater"),
        (f"sha256,rater,realism\n{ONE},A,3,4\n", "more cells"),
        (f"sha256,rater,other,preference\n{ONE},A,{ONE},first\n", "with itself"),
        (f"sha256,rater,other,preference\n{ONE},A,,first\n", "other '' is no digest"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_ratings([table(tmp_path, text)])


def test_a_missing_file_is_told_from_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file of ratings"):
        read_ratings([tmp_path / "none.jsonl"])
    (tmp_path / "none.jsonl").touch()
    assert read_ratings([tmp_path / "none.jsonl"]) == []


def test_what_a_reader_study_writes_are_ratings(tmp_path: Path) -> None:
    shown = {
        "1": Shown(
            item="1",
            picture="p",
            file="",
            sha256=ONE,
            origin="synthetic",
            modality="CT",
            label="",
            text="CT",
            repeat_of="",
        )
    }
    said = Answer(
        study="s", item="1", picture="p", reader="A. Reader", answer="synthetic", confidence=4, realism=2, agreement=5,
        artefact="minor", seconds=3.0, time="2026-01-31T09:00:00Z",
    )  # fmt: skip
    path = tmp_path / "ratings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rating_rows({"A. Reader": {"1": said}}, shown)))
    (found,) = read_ratings([path])
    assert (found.sha256, found.rater, found.realism, found.agreement) == (ONE, "A. Reader", 2, 5)
    assert (found.artefact, found.origin, found.repeat) == ("minor", "synthetic", False)


def test_files_and_lines_may_come_in_any_order_and_twice(tmp_path: Path) -> None:
    rows = [Rating(sha256=d, rater=r, realism=3) for d in (ONE, TWO) for r in "AB"]
    lines = [json.dumps(r.to_json()) + "\n" for r in rows]
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("".join(lines))
    second.write_text("".join(lines[::-1] + lines[:1]))
    assert read_ratings([first]) == read_ratings([second, first, second])


def test_what_is_stored_is_read_back_and_can_be_withdrawn_by_its_rater_alone(tmp_path: Path) -> None:
    store = RatingStore(tmp_path / "store" / "ratings.jsonl")
    low = Rating(sha256=ONE, rater="A", realism=1, teach=False, comment="a slip")
    key = store.add(low)
    store.add(Rating(sha256=ONE, rater="B", other=TWO, preference="tie"))
    assert low in store.read()
    with pytest.raises(ValueError, match="B has given no rating"):
        store.withdraw(key, "B")
    store.withdraw(key, "A")
    assert [r.rater for r in store.read()] == ["B"]
    with pytest.raises(ValueError, match="realism '9'"):
        store.add(Rating(sha256=ONE, rater="A", realism=9))
    with pytest.raises(ValueError, match="says nothing"):
        store.add(Rating(sha256=ONE, rater="A"))


def test_a_line_that_a_kill_cut_short_is_not_read_and_the_next_replaces_it(tmp_path: Path) -> None:
    store = RatingStore(tmp_path / "ratings.jsonl")
    store.add(Rating(sha256=ONE, rater="A", realism=1))
    with store.path.open("ab") as file:
        file.write(b'{"format": "vesalius-ratings-1", "sha2')
    assert len(store.read()) == 1
    store.add(Rating(sha256=TWO, rater="A", realism=2))
    assert len(store.read()) == 2


def test_a_last_line_without_its_end_that_is_whole_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    path.write_text(json.dumps(Rating(sha256=ONE, rater="A", realism=1).to_json()))
    assert len(read_ratings([path])) == 1
    RatingStore(path).add(Rating(sha256=TWO, rater="A", realism=2))
    assert len(read_ratings([path])) == 2


def add_many(path: Path, rater: str) -> None:
    store = RatingStore(path)
    for i in range(40):
        store.add(Rating(sha256=f"{i:064x}", rater=rater, realism=1 + i % 5, comment="x" * 3000))


def test_several_processes_may_write_while_another_reads(tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    RatingStore(path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_many, args=(path, rater)) for rater in "ABC"]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        read_ratings([path])
    assert all(each.exitcode == 0 for each in writers)
    assert len(read_ratings([path])) == 120
