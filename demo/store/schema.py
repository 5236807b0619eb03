"""The store's folder and its tables, of this version or brought to it from an older one.

    STORE/store.db           accounts, jobs, pictures' recipes, cases, quizzes, answers (SQLite, write-ahead log)
    STORE/pictures/ab/...    the PNG files, named by their digests
    STORE/ratings.jsonl      what raters said (`vesalius.improve.people.rating_store`), as `improve run --ratings`
    reads it

Several processes may have it open at once. A version is one entry of `STEPS`, and is never changed once it is released.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vesalius.improve.people.rating_store import RatingStore

BUSY_SECONDS = 10.0
"""How long a writer waits for another one."""
ROOM = 4 << 20
"""Bytes that a disk must have left for anything to be drawn."""
STEPS = (
    """
    CREATE TABLE accounts (name TEXT PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL, level TEXT NOT NULL,
        created REAL NOT NULL);
    CREATE TABLE sessions (digest TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
        ends REAL NOT NULL);
    CREATE TABLE jobs (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
        job_order TEXT NOT NULL, num INTEGER NOT NULL, passes INTEGER NOT NULL, state TEXT NOT NULL,
        message TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, worker TEXT NOT NULL DEFAULT '',
        step INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, passes_drawn INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL, started REAL, ended REAL);
    CREATE INDEX jobs_by_state ON jobs (state, place);
    CREATE INDEX jobs_by_account ON jobs (account, place);
    CREATE TABLE pictures (id TEXT PRIMARY KEY, account TEXT NOT NULL, job TEXT NOT NULL DEFAULT '',
        number INTEGER NOT NULL DEFAULT 0, label TEXT NOT NULL DEFAULT '', sha256 TEXT NOT NULL, sample TEXT NOT NULL,
        checks TEXT, spacing REAL, created REAL NOT NULL, UNIQUE (job, number));
    CREATE INDEX pictures_by_account ON pictures (account, created);
    CREATE TABLE cases (id TEXT PRIMARY KEY, account TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
        created REAL NOT NULL, updated REAL NOT NULL, searched TEXT NOT NULL DEFAULT '',
        modalities TEXT NOT NULL DEFAULT '', level TEXT NOT NULL DEFAULT '');
    CREATE INDEX cases_by_account ON cases (account, updated);
    CREATE TABLE quizzes (id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, account TEXT NOT NULL, title TEXT NOT NULL,
        body TEXT NOT NULL, is_open INTEGER NOT NULL DEFAULT 1, created REAL NOT NULL);
    CREATE TABLE sittings (id TEXT PRIMARY KEY, quiz TEXT NOT NULL REFERENCES quizzes ON DELETE CASCADE,
        learner TEXT NOT NULL, started REAL NOT NULL, ended REAL);
    CREATE TABLE answers (sitting TEXT NOT NULL REFERENCES sittings ON DELETE CASCADE, question INTEGER NOT NULL,
        said TEXT NOT NULL, is_right INTEGER NOT NULL, time REAL NOT NULL, PRIMARY KEY (sitting, question));
    CREATE TABLE shown (account TEXT NOT NULL, place INTEGER NOT NULL, ticket TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL, answered REAL, PRIMARY KEY (account, place));
    CREATE TABLE drafts (account TEXT NOT NULL, case_id TEXT NOT NULL, body TEXT NOT NULL, seen REAL NOT NULL,
        kept REAL NOT NULL, PRIMARY KEY (account, case_id));
    CREATE TABLE raters (account TEXT PRIMARY KEY, level TEXT NOT NULL, seed TEXT NOT NULL, used REAL NOT NULL);
    CREATE TABLE to_rate (picture TEXT PRIMARY KEY REFERENCES pictures ON DELETE CASCADE, time REAL NOT NULL);
    CREATE TABLE kept_out (folder TEXT NOT NULL, round INTEGER NOT NULL, sha256 TEXT NOT NULL, account TEXT NOT NULL,
        time REAL NOT NULL, PRIMARY KEY (folder, round, sha256));
    """,
)


class Store:
    """A store's folder, made where there is none.

    >>> store = Store(Path("store"))  # doctest: +SKIP
    >>> with store.write() as db:  # doctest: +SKIP
    ...     db.execute("DELETE FROM cases WHERE account = ?", ["anna"])
    """

    def __init__(self, folder: Path) -> None:
        """ValueError where the folder cannot be written, holds no store, or one of a newer version."""
        self.folder, self.path = folder, folder / "store.db"
        self._own = threading.local()
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            os.chmod(folder, 0o700)
            self.ratings = RatingStore(folder / "ratings.jsonl")
            self._migrate()
        except (OSError, sqlite3.DatabaseError) as error:
            raise ValueError(
                f"{folder}: cannot be used as the demo's store ({error}); give --store another folder"
            ) from None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, to look only."""
        yield self._connection()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection within one transaction, which is undone where an error leaves it."""
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._own, "db", None)
        if db is None:
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # what a page was told is kept is on the disk
            db.execute("PRAGMA foreign_keys = ON")
            self._own.db = db
        return db

    def _migrate(self) -> None:
        with self.write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(STEPS):
                raise ValueError(
                    f"{self.path}: is of version {version}, and this Vesalius knows {len(STEPS)}; install a newer one"
                )
            for number, step in enumerate(STEPS[version:], version + 1):
                for statement in filter(str.strip, step.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
