"""Taking things out of the store: a job with its pictures, the oldest pictures of who has too many, and what killed
processes left.

What a case, a quiz or a rating uses stays: such a picture outlives its job. Rows go first, and files after them, so
that a process which is killed in between leaves files that nobody needs, and never a picture without its file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress

from vesalius.demo.store.jobs import find_job
from vesalius.demo.store.pictures import path_of, preview_of
from vesalius.demo.store.schema import Store

OLD_SECONDS = 3600.0
"""Files without a picture that are younger may be another process's that is about to tell of them."""
# Names of pictures and digests are random, so where one occurs in a text it is meant.
_USED = " OR ".join(
    [
        "EXISTS (SELECT 1 FROM to_rate t WHERE t.picture = p.id)",
        *(
            f"EXISTS (SELECT 1 FROM {table} t WHERE instr(t.body, p.id) OR instr(t.body, p.sha256))"
            for table in ("cases", "drafts", "quizzes", "shown")
        ),
    ]
)


def delete_job(store: Store, account: str, job: str) -> int:
    """Take a person's job away with its pictures; one that is being drawn is given up within a denoising step. Returns
    the number of pictures that stay, since a case, a quiz or a rating uses them. ValueError where there is no such
    job."""
    find_job(store, account, job)
    rated = _rated(store)
    with store.write() as db:
        rows = db.execute(f"SELECT p.*, {_USED} AS used FROM pictures p WHERE job = ? AND account = ?", [job, account])
        found = [(r["id"], r["sha256"], r["sample"], r["used"] or r["sha256"] in rated) for r in rows]
        db.execute("DELETE FROM jobs WHERE id = ? AND account = ?", [job, account])
        free = [(name, digest, sample) for name, digest, sample, used in found if not used]
        db.executemany("DELETE FROM pictures WHERE id = ?", [[name] for name, _, _ in free])
    preview_of(store, job).unlink(missing_ok=True)
    _unlink(store, (_digests(digest, sample) for _, digest, sample in free))
    return len(found) - len(free)


def keep_within(store: Store, account: str, most: int) -> int:
    """Let a person's oldest pictures go until `most` are left, of jobs that are over and used by nothing. Returns how
    many went."""
    with store.read() as db:
        (count,) = db.execute("SELECT COUNT(*) FROM pictures WHERE account = ?", [account]).fetchone()
    if count <= most:
        return 0
    rated = _rated(store)
    with store.write() as db:
        rows = db.execute(
            f"SELECT p.id, p.sha256, p.sample FROM pictures p WHERE p.account = ? AND NOT ({_USED}) AND NOT EXISTS "
            "(SELECT 1 FROM jobs j WHERE j.id = p.job AND j.state NOT IN ('done', 'failed')) "
            "ORDER BY p.created, p.number",
            [account],
        )
        free = [(r["id"], r["sha256"], r["sample"]) for r in rows if r["sha256"] not in rated][: count - most]
        db.executemany("DELETE FROM pictures WHERE id = ?", [[name] for name, _, _ in free])
    _unlink(store, (_digests(digest, sample) for _, digest, sample in free))
    return len(free)


def sweep(store: Store) -> None:
    """Remove what killed processes left: parts of files, previews, and files that no picture has any more. To be called
    where nobody draws."""
    folder = store.folder / "pictures"
    for left in [*folder.glob("*/*.part"), *(store.folder / "previews").glob("*")]:
        left.unlink(missing_ok=True)
    with store.read() as db:
        rows = db.execute("SELECT sha256, sample FROM pictures").fetchall()
    there = {digest for row in rows for digest in _digests(row["sha256"], row["sample"])}
    for path in folder.glob("*/*.png"):
        with suppress(FileNotFoundError):
            if path.stem not in there and time.time() - path.stat().st_mtime > OLD_SECONDS:
                path.unlink()


def _rated(store: Store) -> set[str]:
    """Digests of all that was rated."""
    return {digest for rating in store.ratings.read() for digest in (rating.sha256, rating.other) if digest}


def _digests(digest: str, sample: str) -> list[str]:
    """Digests of all files of a picture."""
    units = json.loads(sample).get("raw16_sha256")
    return [digest, *([units] if units else [])]


def _unlink(store: Store, digests: Iterable[list[str]]) -> None:
    """Remove files that no picture has any more. Within a transaction, see `add_picture`."""
    gone = sorted({each for group in digests for each in group})
    for start in range(0, len(gone), 100):
        with store.write() as db:
            for digest in gone[start : start + 100]:
                kept = db.execute(
                    "SELECT 1 FROM pictures WHERE sha256 = ? OR instr(sample, ?) LIMIT 1", [digest, digest]
                )
                if kept.fetchone() is None:
                    path_of(store, digest).unlink(missing_ok=True)
