"""Pictures that were drawn here: files named by their digests, and their samples, jobs, owners and checks."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from vesalius.demo.sentences import Refusal
from vesalius.demo.store.jobs import LeftError, is_mine
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample

Said = Literal["yes", "no", "unsure"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whether a picture shows one thing that was asked for.

    attribute: modality, organ, finding, side, size, count or absence. asked and seen: in words. said: unsure where the
    checker cannot tell. checker: which network looked. error_rate: how often that checker is wrong of this attribute,
    on held-out images whose truth is known; None where that was never measured.
    """

    attribute: str
    asked: str
    seen: str
    said: Said
    checker: str
    error_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class StoredPicture:
    """One picture of the store.

    id: a random name, which tells nothing of what is shown. number: its place in its job. label: what sets it apart in
    its job. checks: None until they are made. spacing: mm a pixel, None where that is not known.
    """

    id: str
    account: str
    job: str
    number: int
    sample: Sample
    label: str = ""
    checks: tuple[Check, ...] | None = None
    spacing: float | None = None
    created: float = 0.0


def add_picture(
    store: Store, *, account: str, job: str, number: int, sample: Sample, png: bytes, hu_png: bytes | None = None,
    label: str = "", checks: Sequence[Check] | None = None, spacing: float | None = None, worker: str | None = None,
) -> StoredPicture:  # fmt: skip
    """Keep a drawn picture; one that the job has already of this number is kept as it is. hu_png: the same in
    Hounsfield units. worker: who drew it; LeftError, and nothing is kept, where the job is no longer that worker's.
    OSError or sqlite3.OperationalError where the disk is full, and then nothing is kept."""
    # Files within the transaction: whoever deletes others of the same bytes waits until this one is in the table.
    with store.write() as db:
        if worker is not None and not is_mine(store, job, worker):
            raise LeftError
        digest, hu_digest = _keep(store, png), None if hu_png is None else _keep(store, hu_png)
        raw16 = None if hu_digest is None else sample.raw16 or "raw16.png"
        sample = replace(sample, sha256=digest, raw16=raw16, raw16_sha256=hu_digest)
        db.execute(
            "INSERT INTO pictures (id, account, job, number, label, sha256, sample, checks, spacing, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job, number) DO NOTHING",
            [
                secrets.token_urlsafe(12), account, job, number, label, digest, json.dumps(sample.to_json()),
                None if checks is None else json.dumps([asdict(c) for c in checks]), spacing, time.time(),
            ],
        )  # fmt: skip
        row = db.execute("SELECT * FROM pictures WHERE job = ? AND number = ?", [job, number]).fetchone()
    return _picture(row)


def set_checks(store: Store, picture: str, checks: Sequence[Check]) -> None:
    """What was found of a picture after it was kept."""
    with store.write() as db:
        db.execute("UPDATE pictures SET checks = ? WHERE id = ?", [json.dumps([asdict(c) for c in checks]), picture])


def find_picture(store: Store, account: str, picture: str) -> StoredPicture:
    """A picture of a person's. ValueError where they have none of that name, whoever else may."""
    with store.read() as db:
        row = db.execute("SELECT * FROM pictures WHERE id = ? AND account = ?", [picture, account]).fetchone()
    if row is None:
        raise Refusal("This picture is no longer here, or is someone else's", "该图像已不在此处，或属于他人")
    return _picture(row)


def pictures_of_job(store: Store, account: str, job: str) -> list[StoredPicture]:
    """What a person's job has drawn so far, in its order."""
    with store.read() as db:
        rows = db.execute("SELECT * FROM pictures WHERE job = ? AND account = ? ORDER BY number", [job, account])
        return [_picture(row) for row in rows]


def pictures_of(store: Store, account: str, *, most: int = 60) -> list[StoredPicture]:
    """A person's newest pictures, the newest first."""
    with store.read() as db:
        rows = db.execute(
            "SELECT * FROM pictures WHERE account = ? ORDER BY created DESC, number LIMIT ?", [account, most]
        )
        return [_picture(row) for row in rows]


def file_of(store: Store, picture: StoredPicture, *, units: bool = False) -> Path:
    """The picture's PNG; with `units` that of Hounsfield units. ValueError where it has none, or the file is gone."""
    digest = picture.sample.raw16_sha256 if units else picture.sample.sha256
    if not digest:
        raise Refusal("This picture has no Hounsfield units", "该图像没有亨氏单位（HU）数据")
    path = path_of(store, digest)
    if not path.is_file():
        raise Refusal(
            "The file of this picture is gone from the store's folder; draw the picture again",
            "该图像的文件已不在存储文件夹中；请重新生成该图像",
        )
    return path


def _keep(store: Store, content: bytes) -> str:
    """Write bytes under their digest, whole or not at all."""
    digest = hashlib.sha256(content).hexdigest()
    path = path_of(store, digest)
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return digest


def path_of(store: Store, digest: str) -> Path:
    """Where the file of a digest lies, if there is one."""
    return store.folder / "pictures" / digest[:2] / f"{digest}.png"


def preview_of(store: Store, job: str) -> Path:
    """Where the picture lies that a job is drawing, as it is predicted by now."""
    return store.folder / "previews" / f"{job}.png"


def _picture(row: sqlite3.Row) -> StoredPicture:
    checks = None if row["checks"] is None else tuple(Check(**c) for c in json.loads(row["checks"]))
    return StoredPicture(
        id=row["id"], account=row["account"], job=row["job"], number=row["number"], label=row["label"],
        sample=Sample.from_json(json.loads(row["sample"])), checks=checks, spacing=row["spacing"],
        created=row["created"],
    )  # fmt: skip
