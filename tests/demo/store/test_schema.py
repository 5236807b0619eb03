"""The store's versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vesalius.demo.orders import Ask, Order
from vesalius.demo.store import schema
from vesalius.demo.store.accounts import Account, accounts_of, add_account
from vesalius.demo.store.jobs import add_job, find_job
from vesalius.demo.store.pictures import add_picture, file_of, find_picture
from vesalius.demo.store.schema import STEPS, Store
from vesalius.inference.sample import Sample

LATER = """
    ALTER TABLE pictures ADD COLUMN stars INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE notes (picture TEXT PRIMARY KEY REFERENCES pictures, body TEXT NOT NULL);
    INSERT INTO notes SELECT id, 'from before' FROM pictures;
"""


def filled(folder: Path) -> tuple[Store, str, str]:
    """A store of version 1 with a person, a job and a picture: the names of both."""
    store = Store(folder)
    add_account(store, Account(name="ann"), "correct horse battery")
    order = Order(asks=(Ask(prompt="Chest CT", seed=1),), steps=2, guidance=1.0)
    job = add_job(store, "ann", order, max_jobs=4, max_queue=4)
    sample = Sample(file_name="a.png", text="Chest CT", modality="CT", seed=1, steps=2, guidance=1.0)
    picture = add_picture(store, account="ann", job=job.id, number=0, sample=sample, png=b"png")
    with store.write() as db:
        db.execute(
            "INSERT INTO cases (id, account, title, body, created, updated) VALUES ('c', 'ann', 'A case', '{}', 1, 2)"
        )
    return store, job.id, picture.id


def version(store: Store) -> int:
    with store.read() as db:
        (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


def dump(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_a_store_of_an_older_version_keeps_all_that_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STEPS", STEPS[:1])
    _, job, picture = filled(tmp_path / "store")
    monkeypatch.setattr(schema, "STEPS", (*STEPS, LATER))
    store = Store(tmp_path / "store")
    assert version(store) == len(STEPS) + 1
    assert [a.name for a in accounts_of(store)] == ["ann"]
    assert find_job(store, "ann", job).order.asks[0].prompt == "Chest CT"
    assert file_of(store, find_picture(store, "ann", picture)).read_bytes() == b"png"
    with store.read() as db:
        assert db.execute("SELECT title FROM cases").fetchone()["title"] == "A case"
        assert [tuple(row) for row in db.execute("SELECT * FROM notes")] == [(picture, "from before")]
        assert db.execute("SELECT stars FROM pictures").fetchone()["stars"] == 0
    assert version(Store(tmp_path / "store")) == len(STEPS) + 1


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, job, _ = filled(tmp_path / "store")
    before = dump(old.path)
    monkeypatch.setattr(schema, "STEPS", (*STEPS, LATER, "INSERT INTO notes VALUES ('x'); CREATE nonsense"))
    with pytest.raises(ValueError, match=r"cannot be used as the demo's store .*store another folder"):
        Store(tmp_path / "store")
    assert dump(old.path) == before
    assert version(old) == len(STEPS)
    assert find_job(old, "ann", job).state == "waiting"


def test_a_store_from_the_future_is_refused_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STEPS", (*STEPS, LATER))
    newer, _, _ = filled(tmp_path / "store")
    before = dump(newer.path)
    monkeypatch.setattr(schema, "STEPS", STEPS)
    with pytest.raises(ValueError, match=f"version {len(STEPS) + 1}.*knows {len(STEPS)}; install a newer one"):
        Store(tmp_path / "store")
    assert dump(newer.path) == before


def test_a_file_that_is_no_store_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to be looked at " * 40)
    with pytest.raises(ValueError, match="cannot be used as the demo's store"):
        Store(tmp_path)


def test_an_account_of_an_unknown_role_or_level_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for wrong, told in ({"role": "boss"}, "role 'boss' is not known"), ({"level": "king"}, "level 'king' is not known"):
        with pytest.raises(ValueError, match=told):
            add_account(store, Account(name="ann", **wrong), "correct horse battery")  # type: ignore[arg-type]
    assert accounts_of(store) == []
