"""The queue of what is to be drawn: it outlives tab, server and worker.

A job waits, runs, and is done or failed; it may be paused and told to go on, tried again, and deleted. What it has
drawn stays when it is interrupted, and it goes on with the next picture.

Who comes first is served first. Nobody can take all of it: a person has at most so many jobs in the queue, each of at
most `MAX_NUM` pictures. A job that is paused, or whose worker died, keeps its place; one that failed and is tried again
goes to the end.

Several workers may draw for one store: a job belongs to the worker that claimed it, and what any other one has to say
of it no longer counts.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Literal

from vesalius.demo.orders import Order
from vesalius.demo.sentences import Refusal, of_both
from vesalius.demo.store.schema import Store

State = Literal["waiting", "running", "paused", "done", "failed"]
MOST_ATTEMPTS = 3
"""Workers that may die of one picture before its job is given up."""
MOST_KEPT = 500
"""Jobs of a person that are over and listed still; older ones are forgotten once none of their pictures is left."""
RECENT = 20
"""Jobs whose pace tells how long others will take."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One order in the queue.

    done: pictures drawn of `num`. step: denoising steps of the picture that is being drawn. ahead: jobs that are drawn
    before it, 0 where it runs or does not wait. wait: seconds until it begins. left: seconds of drawing that it needs
    itself. Both are estimates from what recent jobs took, None where none was measured yet. said: why it failed or was
    paused, as `vesalius.demo.sentences.both` tells it. Times are seconds since 1970.
    """

    id: str
    account: str
    order: Order
    num: int
    done: int
    state: State
    said: str = ""
    attempts: int = 0
    step: int = 0
    ahead: int = 0
    wait: float | None = None
    left: float | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None

    @property
    def message(self) -> str:
        """Why it failed or was paused, in English words for a teacher; "" where it was not."""
        return of_both(self.said, "en")[0]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be drawn unless somebody says so."""
        return self.state in ("done", "failed")


class LeftError(Exception):
    """A job is no longer this worker's: it was paused, deleted, or given to another one."""


def passes(order: Order) -> int:
    """Runs of the denoiser that one picture of an order takes: with guidance each step is two."""
    return order.steps * (2 if order.guidance > 1 else 1)


# Passes that a job still needs; of the picture that is being drawn only the steps that are left.
_TO_DO = """((j.num - (SELECT COUNT(*) FROM pictures p WHERE p.job = j.id)) * j.passes
    - j.step * j.passes / MAX(1, json_extract(j.job_order, '$.steps')))"""
_JOB = f"""SELECT j.*, (SELECT COUNT(*) FROM pictures p WHERE p.job = j.id) AS done, MAX(0, {_TO_DO}) AS to_do,
    CASE j.state WHEN 'waiting' THEN (SELECT COUNT(*) FROM jobs k
        WHERE k.state = 'running' OR k.state = 'waiting' AND k.place < j.place) ELSE 0 END AS ahead,
    CASE j.state WHEN 'waiting' THEN (SELECT COALESCE(SUM(MAX(0, {_TO_DO.replace("j.", "k.")})), 0) FROM jobs k
        WHERE k.state = 'running' OR k.state = 'waiting' AND k.place < j.place) ELSE 0 END AS to_do_before
    FROM jobs j"""
_PACE = f"""SELECT SUM(seconds) / SUM(passes_drawn) FROM (SELECT seconds, passes_drawn FROM jobs
    WHERE passes_drawn > 0 ORDER BY ended IS NULL, ended DESC LIMIT {RECENT})"""


def add_job(store: Store, account: str, order: Order, *, max_jobs: int, max_queue: int) -> Job:
    """Put an order at the end of the queue. ValueError where this person's jobs, or all, are too many."""
    job = secrets.token_urlsafe(9)
    with store.write() as db:
        _check_room(db, account, max_jobs=max_jobs, max_queue=max_queue)
        db.execute(
            "INSERT INTO jobs (id, account, job_order, num, passes, state, created) "
            "VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
            [job, account, json.dumps(order.to_json()), len(order.asks), passes(order), time.time()],
        )
        db.execute(
            "DELETE FROM jobs WHERE account = ? AND state IN ('done', 'failed') "
            "AND NOT EXISTS (SELECT 1 FROM pictures p WHERE p.job = jobs.id) AND place <= "
            "(SELECT place FROM jobs WHERE account = ? ORDER BY place DESC LIMIT 1 OFFSET ?)",
            [account, account, MOST_KEPT],
        )
    return find_job(store, account, job)


def _check_room(db: sqlite3.Connection, account: str, *, max_jobs: int, max_queue: int) -> None:
    """Paused jobs count among a person's, else pausing would be a way around the limit."""
    count = "SELECT COUNT(*) FROM jobs WHERE state IN "
    (mine,) = db.execute(f"{count} ('waiting', 'running', 'paused') AND account = ?", [account]).fetchone()
    if mine >= max_jobs:
        raise Refusal(
            f"You have {mine} jobs in the queue already, paused ones included; wait for one, or delete one under "
            "'Jobs'",
            f"您已有 {mine} 个任务在队列中（含已暂停的）；请等待，或在“任务”中删除一个",
        )
    (everyone,) = db.execute(f"{count} ('waiting', 'running')").fetchone()
    if everyone >= max_queue:
        raise Refusal(
            f"{everyone} jobs are in the queue, which is full; try again in a minute",
            f"队列中已有 {everyone} 个任务，已满；请一分钟后再试",
        )


def find_job(store: Store, account: str, job: str) -> Job:
    """A person's job. ValueError where they have none of that name, whoever else may."""
    with store.read() as db:
        row = db.execute(f"{_JOB} WHERE j.id = ? AND j.account = ?", [job, account]).fetchone()
        if row is None:
            raise Refusal("This job is no longer here, or is someone else's", "该任务已不在此处，或属于他人")
        return _job(row, _pace(db))


def jobs_of(store: Store, account: str, *, most: int = 100) -> list[Job]:
    """A person's jobs, the newest first."""
    with store.read() as db:
        pace = _pace(db)
        rows = db.execute(f"{_JOB} WHERE j.account = ? ORDER BY j.place DESC LIMIT ?", [account, most])
        return [_job(row, pace) for row in rows]


def pause_job(store: Store, account: str, job: str) -> Job:
    """Let a job rest; the picture that is being drawn is given up within a denoising step. ValueError where it is over
    or not there."""
    remedy = ("Only a job that waits or runs can be paused", "只有等待中或进行中的任务可以暂停")
    return _turn(store, account, job, ("waiting", "running"), "paused", remedy)


def resume_job(store: Store, account: str, job: str) -> Job:
    """Let a paused job go on, at the place that it had. ValueError where it is not paused."""
    return _turn(
        store, account, job, ("paused",), "waiting", ("Only a paused job can go on", "只有已暂停的任务可以继续")
    )


def retry_job(store: Store, account: str, job: str, *, max_jobs: int, max_queue: int) -> Job:
    """Try a failed job again, at the end of the queue, with what it lacks. ValueError where it has not failed, or where
    the queue has no room for it."""
    with store.write() as db:
        row = db.execute("SELECT state FROM jobs WHERE id = ? AND account = ?", [job, account]).fetchone()
        if row is not None and row["state"] == "failed":
            _check_room(db, account, max_jobs=max_jobs, max_queue=max_queue)
            db.execute(
                "UPDATE jobs SET state = 'waiting', place = (SELECT MAX(place) + 1 FROM jobs), message = '', "
                "attempts = 0, step = 0, worker = '', ended = NULL WHERE id = ?",
                [job],
            )
    if row is not None and row["state"] != "failed":
        raise Refusal("Only a job that failed can be tried again", "只有失败的任务可以重试")
    return find_job(store, account, job)


def _turn(
    store: Store, account: str, job: str, states: tuple[State, ...], state: State, remedy: tuple[str, str]
) -> Job:
    marks = ", ".join("?" * len(states))
    with store.write() as db:
        turned = db.execute(
            f"UPDATE jobs SET state = ?, message = '', step = 0, worker = '' "
            f"WHERE id = ? AND account = ? AND state IN ({marks})",
            [state, job, account, *states],
        ).rowcount
    found = find_job(store, account, job)
    if not turned and found.state != state:
        raise Refusal.of(remedy)
    return found


# What a worker says


def claim_job(store: Store, worker: str) -> Job | None:
    """The next job, for a worker to draw; None where none waits."""
    first = "SELECT id, account FROM jobs WHERE state = 'waiting' ORDER BY place LIMIT 1"
    with store.read() as db:  # asked many times a second, and writers wait for each other
        if db.execute(first).fetchone() is None:
            return None
    with store.write() as db:
        row = db.execute(first).fetchone()
        if row is None:
            return None
        db.execute(
            "UPDATE jobs SET state = 'running', worker = ?, started = COALESCE(started, ?), step = 0, message = '' "
            "WHERE id = ?",
            [worker, time.time(), row["id"]],
        )
    return find_job(store, row["account"], row["id"])


def is_mine(store: Store, job: str, worker: str) -> bool:
    """Whether a worker may go on with a job."""
    with store.read() as db:
        return bool(
            db.execute("SELECT 1 FROM jobs WHERE id = ? AND worker = ? AND state = 'running'", [job, worker]).fetchone()
        )


def set_step(store: Store, job: str, worker: str, step: int) -> None:
    """Tell how far the picture is that is being drawn."""
    with store.write() as db:
        db.execute("UPDATE jobs SET step = ? WHERE id = ? AND worker = ? AND state = 'running'", [step, job, worker])


def add_seconds(store: Store, job: str, worker: str, seconds: float) -> None:
    """Tell how long one picture took, whole."""
    with store.write() as db:
        db.execute(
            "UPDATE jobs SET seconds = seconds + ?, passes_drawn = passes_drawn + passes, step = 0, attempts = 0 "
            "WHERE id = ? AND worker = ?",
            [seconds, job, worker],
        )


def end_job(store: Store, job: str, state: State, message: str = "", *, worker: str | None = None) -> None:
    """A worker's last word on its job, which is left as it is where it is another's by now. worker None: whoever draws
    it."""
    with store.write() as db:
        db.execute(
            "UPDATE jobs SET state = ?, message = ?, ended = ?, step = 0, worker = '' "
            "WHERE id = ? AND worker = COALESCE(?, worker) AND state = 'running'",
            [state, message, time.time(), job, worker],
        )


def put_back(store: Store, worker: str | None = None, *, died: bool = True) -> None:
    """Put the jobs of a worker that is no more, or of all, back to their places; at its `MOST_ATTEMPTS`-th death over
    one picture a job fails. died: False where the worker was ended on purpose, which is no fault of the job."""
    mine = "state = 'running'" if worker is None else "state = 'running' AND worker = ?"
    given = [] if worker is None else [worker]
    with store.write() as db:
        db.execute(
            f"UPDATE jobs SET state = 'waiting', attempts = attempts + ?, step = 0, worker = '' WHERE {mine}",
            [int(died), *given],
        )
        db.execute(
            "UPDATE jobs SET state = 'failed', ended = ?, message = ? WHERE state = 'waiting' AND attempts >= ?",
            [
                time.time(),
                f"The drawing process ended {MOST_ATTEMPTS} times over this picture, and the server's log says how. "
                "Ask for fewer steps, or try again later\n"
                f"绘图进程在这幅图像上结束了 {MOST_ATTEMPTS} 次，原因见服务器日志。请减少步数，或稍后重试",
                MOST_ATTEMPTS,
            ],
        )  # fmt: skip


def _pace(db: sqlite3.Connection) -> float | None:
    """Seconds that one run of the denoiser took of late."""
    pace: float | None = db.execute(_PACE).fetchone()[0]
    return pace


def _job(row: sqlite3.Row, pace: float | None) -> Job:
    return Job(
        id=row["id"], account=row["account"], order=Order.from_json(json.loads(row["job_order"])), num=row["num"],
        done=row["done"], state=row["state"], said=row["message"], attempts=row["attempts"], step=row["step"],
        ahead=row["ahead"], wait=None if pace is None else row["to_do_before"] * pace,
        left=None if pace is None else 0.0 if row["state"] in ("done", "failed") else row["to_do"] * pace,
        created=row["created"], started=row["started"], ended=row["ended"],
    )  # fmt: skip
