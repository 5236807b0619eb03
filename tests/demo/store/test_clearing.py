"""What goes with a job, and what stays because somebody uses it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vesalius.demo.orders import Ask, Order
from vesalius.demo.store.clearing import delete_job, keep_within, sweep
from vesalius.demo.store.jobs import LeftError, add_job, claim_job, end_job, find_job
from vesalius.demo.store.pictures import StoredPicture, add_picture, file_of, find_picture, pictures_of, preview_of
from vesalius.demo.store.schema import Store
from vesalius.improve.people.ratings import Rating
from vesalius.inference.sample import Sample


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def drawn(store: Store, account: str, contents: list[bytes], *, over: bool = True) -> list[StoredPicture]:
    """The pictures of a job."""
    asks = tuple(Ask(prompt="Chest CT", seed=n) for n in range(len(contents)))
    order = Order(asks=asks, steps=1, guidance=1.0)
    job = add_job(store, account, order, max_jobs=99, max_queue=99)
    assert claim_job(store, "w") is not None
    sample = Sample(file_name="a.png", text="Chest CT", modality="CT", seed=1, steps=1, guidance=1.0)
    pictures = [
        add_picture(
            store, account=account, job=job.id, number=n, sample=sample, png=content, hu_png=b"units of " + content,
            worker="w",
        )
        for n, content in enumerate(contents)
    ]  # fmt: skip
    if over:
        end_job(store, job.id, "done", worker="w")
    return pictures


def files(store: Store) -> set[bytes]:
    return {path.read_bytes() for path in (store.folder / "pictures").rglob("*") if path.is_file()}


def test_a_job_goes_with_its_pictures_and_their_files(store: Store) -> None:
    (mine, _), (other,) = drawn(store, "ann", [b"one", b"two"]), drawn(store, "bob", [b"three"])
    preview_of(store, mine.job).parent.mkdir()
    preview_of(store, mine.job).write_bytes(b"preview")
    with pytest.raises(ValueError, match="someone else's"):
        delete_job(store, "bob", mine.job)
    assert delete_job(store, "ann", mine.job) == 0
    assert files(store) == {b"three", b"units of three"}
    assert not preview_of(store, mine.job).exists()
    assert pictures_of(store, "ann") == []
    assert find_picture(store, "bob", other.id) == other
    with pytest.raises(ValueError, match="no longer here"):
        find_job(store, "ann", mine.job)


def test_bytes_that_two_people_drew_stay_for_the_other(store: Store) -> None:
    (mine,), (other,) = drawn(store, "ann", [b"same"]), drawn(store, "bob", [b"same"])
    delete_job(store, "ann", mine.job)
    assert file_of(store, other).read_bytes() == b"same"
    assert file_of(store, other, units=True).read_bytes() == b"units of same"
    delete_job(store, "bob", other.job)
    assert files(store) == set()


def test_what_a_case_a_quiz_or_a_rating_uses_stays(store: Store) -> None:
    pictures = drawn(store, "ann", [b"%d" % n for n in range(8)])
    free, cased, quizzed, rated, shown, paired, drafted, asked = pictures
    with store.write() as db:
        db.execute(
            "INSERT INTO cases (id, account, title, body, created, updated) VALUES ('c', 'ann', '', ?, 0, 0)",
            [f'{{"pictures": ["{cased.id}"]}}'],
        )
        db.execute("INSERT INTO quizzes VALUES ('q', 't', 'ann', '', ?, 1, 0)", [f'["{quizzed.sample.sha256}"]'])
        db.execute("INSERT INTO shown VALUES ('bob', 1, 't', ?, NULL)", [f'{{"picture": "{shown.id}"}}'])
        db.execute("INSERT INTO drafts VALUES ('ann', 'new', ?, 0, 0)", [f'{{"pictures": ["{drafted.id}"]}}'])
        db.execute("INSERT INTO to_rate VALUES (?, 0)", [asked.id])
    store.ratings.add(Rating(sha256=rated.sample.sha256, rater="bob", realism=3))
    store.ratings.add(Rating(sha256="0" * 64, other=paired.sample.sha256, rater="bob", preference="tie"))
    assert delete_job(store, "ann", free.job) == 7
    assert {p.id for p in pictures_of(store, "ann")} == {p.id for p in pictures} - {free.id}
    assert b"0" not in files(store)
    assert file_of(store, cased).read_bytes() == b"1"


def test_the_oldest_pictures_go_first_but_none_of_a_job_that_still_runs(store: Store) -> None:
    running = drawn(store, "ann", [b"r1", b"r2"], over=False)
    old, new = drawn(store, "ann", [b"o1", b"o2"]), drawn(store, "ann", [b"n1", b"n2"])
    drawn(store, "bob", [b"b"])
    assert keep_within(store, "ann", 6) == 0
    assert keep_within(store, "ann", 5) == 1
    assert keep_within(store, "ann", 1) == 3
    assert {p.id for p in pictures_of(store, "ann")} == {p.id for p in running}
    assert files(store) == {b"r1", b"r2", b"b", b"units of r1", b"units of r2", b"units of b"}
    for picture in (*old, *new):
        with pytest.raises(ValueError, match="no longer here"):
            find_picture(store, "ann", picture.id)


def test_a_picture_of_a_job_that_was_deleted_meanwhile_is_not_kept(store: Store) -> None:
    (picture,) = drawn(store, "ann", [b"one"], over=False)
    delete_job(store, "ann", picture.job)
    with pytest.raises(LeftError):
        add_picture(store, account="ann", job=picture.job, number=1, sample=picture.sample, png=b"2", worker="w")
    assert files(store) == set()


def test_what_a_killed_process_left_is_swept_and_what_is_needed_stays(store: Store) -> None:
    (picture,) = drawn(store, "ann", [b"one"])
    folder = file_of(store, picture).parent
    (folder / "x.part").write_bytes(b"half")
    lost, young = folder / f"{'a' * 64}.png", folder / f"{'b' * 64}.png"
    for path in (lost, young):
        path.write_bytes(b"whose")
    long_ago = time.time() - 7200
    for path in (lost, file_of(store, picture), file_of(store, picture, units=True)):
        os.utime(path, (long_ago, long_ago))
    preview_of(store, "j").parent.mkdir()
    preview_of(store, "j").write_bytes(b"preview")
    sweep(store)
    assert files(store) == {b"one", b"units of one", b"whose"}
    assert young.exists()
    assert not preview_of(store, "j").exists()
