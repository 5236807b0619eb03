"""The queue of what is to be drawn: it outlives tab, server and worker.

A job waits, runs, and is done or failed; it may be paused and told to go on, tried again, and deleted. What it has
drawn stays when it is interrupted, and it goes on with the next picture.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Literal

from vesalius.demo.orders import Order
from vesalius.demo.store.schema import Store

State = Literal["waiting", "running", "paused", "done", "failed"]
MOST_ATTEMPTS = 3
"""Workers that may die of a job before it is given up."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One order in the queue.

    done: pictures drawn of `num`. step: denoising steps of the picture that is being drawn. ahead: jobs that are drawn
    before it, 0 where it runs or does not wait. message: why it failed, in words for a teacher. Times are seconds since
    1970.
    """

    id: str
    account: str
    order: Order
    num: int
    done: int
    state: State
    message: str = ""
    attempts: int = 0
    step: int = 0
    ahead: int = 0
    created: float = 0.0
    started: float | None = None
    ended: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be drawn unless somebody says so."""
        return self.state in ("done", "failed")


_JOB = """SELECT *, (SELECT COUNT(*) FROM pictures p WHERE p.job = jobs.id) AS done,
    CASE state WHEN 'waiting' THEN
        (SELECT COUNT(*) FROM jobs j WHERE j.state IN ('waiting', 'running') AND j.place < jobs.place)
        ELSE 0 END AS ahead FROM jobs"""


def add_job(store: Store, account: str, order: Order, *, max_jobs: int, max_queue: int) -> Job:
    """Put an order at the end of the queue. ValueError where this person's jobs, or all, are too many."""
    job = secrets.token_urlsafe(9)
    with store.write() as db:
        waiting = dict(
            db.execute("SELECT account, COUNT(*) FROM jobs WHERE state IN ('waiting', 'running') GROUP BY account")
        )
        if (mine := waiting.get(account, 0)) >= max_jobs:
            raise ValueError(f"You have {mine} jobs in the queue already; wait for one, or delete one under 'Jobs'")
        if sum(waiting.values()) >= max_queue:
            raise ValueError(f"{sum(waiting.values())} jobs are in the queue, which is full; try again in a minute")
        db.execute(
            "INSERT INTO jobs (id, account, job_order, num, state, created) VALUES (?, ?, ?, ?, 'waiting', ?)",
            [job, account, json.dumps(order.to_json()), len(order.asks), time.time()],
        )
    return find_job(store, account, job)


def find_job(store: Store, account: str, job: str) -> Job:
    """A person's job. ValueError where they have none of that name, whoever else may."""
    with store.read() as db:
        row = db.execute(f"{_JOB} WHERE id = ? AND account = ?", [job, account]).fetchone()
    if row is None:
        raise ValueError("This job is no longer here, or is someone else's")
    return _job(row)


def jobs_of(store: Store, account: str, *, most: int = 100) -> list[Job]:
    """A person's jobs, the newest first."""
    with store.read() as db:
        rows = db.execute(f"{_JOB} WHERE account = ? ORDER BY place DESC LIMIT ?", [account, most])
        return [_job(row) for row in rows]


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"], account=row["account"], order=Order.from_json(json.loads(row["job_order"])), num=row["num"],
        done=row["done"], state=row["state"], message=row["message"], attempts=row["attempts"], step=row["step"],
        ahead=row["ahead"], created=row["created"], started=row["started"], ended=row["ended"],
    )  # fmt: skip


def claim_job(store: Store, worker: str) -> Job | None:
    """The next job, for a worker to draw; None where none waits."""
    with store.write() as db:
        row = db.execute("SELECT id, account FROM jobs WHERE state = 'waiting' ORDER BY place LIMIT 1").fetchone()
        if row is None:
            return None
        db.execute(
            "UPDATE jobs SET state = 'running', worker = ?, started = ?, step = 0 WHERE id = ?",
            [worker, time.time(), row["id"]],
        )
    return find_job(store, row["account"], row["id"])


def end_job(store: Store, job: str, state: State, message: str = "") -> None:
    """A worker's word on the job that it draws; one that was paused or deleted meanwhile stays so."""
    with store.write() as db:
        db.execute(
            "UPDATE jobs SET state = ?, message = ?, ended = ? WHERE id = ? AND state = 'running'",
            [state, message, time.time(), job],
        )
