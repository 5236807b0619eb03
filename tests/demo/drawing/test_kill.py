"""The demo as a whole, killed again and again: every picture comes, none twice, with the bytes of a quiet run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.drawing.scribbler import Blind, Scribbler
from tests.demo.drawing.test_supervisor import digests, is_alive, over, wait_for
from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing.supervisor import Supervisor
from vesalius.demo.drawing.worker import Worker
from vesalius.demo.orders import Ask, Order
from vesalius.demo.store import jobs as jobs_module
from vesalius.demo.store.jobs import Job, add_job, find_job, resume_job
from vesalius.demo.store.pictures import pictures_of_job
from vesalius.demo.store.schema import Store

pytestmark = pytest.mark.slow
PROMPTS = ("Chest CT with a nodule", "Brain MRI with a mass", "H&E tile with necrosis")
NUM = 4


def add_all(store: Store, steps: int = 40) -> list[Job]:
    """Jobs of three people, of `NUM` pictures each."""
    return [
        add_job(
            store, f"person{seed}",
            Order(asks=tuple(Ask(prompt=prompt, seed=100 * seed + n) for n in range(NUM)), steps=steps, guidance=3.0),
            max_jobs=9, max_queue=99,
        )
        for seed, prompt in enumerate(PROMPTS)
    ]  # fmt: skip


def quiet(base: Path, folder: Path) -> list[list[str]]:
    """The digests of a run that nobody disturbs."""
    store = Store(folder)
    jobs = add_all(store)
    with Supervisor(DemoConfig(base=str(base), store=folder, device="cpu")) as supervisor:
        supervisor.ready()
        wait_for(lambda: over(store, *jobs), 300)
    return digests(store, *jobs)


def check(store: Store, jobs: list[Job], wanted: list[list[str]]) -> None:
    found = [find_job(store, job.account, job.id) for job in jobs]
    assert [(job.state, job.message) for job in found] == [("done", "")] * len(jobs)
    assert [[p.number for p in pictures_of_job(store, job.account, job.id)] for job in jobs] == [[*range(NUM)]] * len(
        jobs
    )
    assert digests(store, *jobs) == wanted
    with store.read() as db:
        assert db.execute("SELECT COUNT(*) FROM pictures").fetchone()[0] == NUM * len(jobs)
    assert list(store.folder.rglob("*.part")) == []


def test_twenty_kills_of_the_worker_change_nothing(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "MOST_ATTEMPTS", 99)
    monkeypatch.setattr("vesalius.demo.drawing.supervisor.PAUSES", (0.0,))
    store, rng, kills = Store(tmp_path / "store"), random.Random(1), 0
    jobs = add_all(store)
    with Supervisor(DemoConfig(base=str(tiny_base), store=store.folder, device="cpu")) as supervisor:
        supervisor.ready()
        while kills < 20:
            wait_for(lambda: over(store, *jobs) or any(_runs(store, job) for job in jobs), 120)
            if over(store, *jobs):  # killed so late that all came meanwhile: the rest are deaths of an idle worker
                wait_for(lambda: supervisor.trouble() == "", 120)
            time.sleep(rng.uniform(0, 0.4))
            killed = supervisor.worker_pid
            os.kill(killed, signal.SIGKILL)
            kills += 1
            wait_for(lambda pid=killed: supervisor.worker_pid != pid, 120)  # type: ignore[misc]
        wait_for(lambda: over(store, *jobs), 300)
    check(store, jobs, quiet(tiny_base, tmp_path / "quiet"))


def _runs(store: Store, job: Job) -> bool:
    return find_job(store, job.account, job.id).state == "running"


@contextmanager
def server(base: Path, store: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`vesalius demo` as people start it, once it says its address."""
    code = "from vesalius.cli.main import entry; entry()"
    flags = ("--base", str(base), "--store", str(store), "--port", str(port), "--device", "cpu")
    with subprocess.Popen([sys.executable, "-c", code, "demo", *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://")
        try:
            yield process
        finally:
            process.kill()


def worker_of(server: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(children[0])


def test_a_server_that_is_killed_goes_on_after_its_restart(tiny_base: Path, tmp_path: Path, port: int) -> None:
    store, rng = Store(tmp_path / "store"), random.Random(2)
    jobs = add_all(store)
    for sign in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        with server(tiny_base, store.folder, port) as process:
            wait_for(lambda: over(store, *jobs) or any(_runs(store, job) for job in jobs), 60)
            time.sleep(rng.uniform(0, 0.5))
            worker = worker_of(process)
            process.send_signal(sign)
            assert process.wait(20) == (-sign if sign == signal.SIGKILL else 0)
            wait_for(lambda pid=worker: not is_alive(pid), 10)  # type: ignore[misc]
            if sign != signal.SIGKILL:
                assert not any(_runs(store, job) for job in jobs)
    with server(tiny_base, store.folder, port):
        wait_for(lambda: over(store, *jobs), 300)
    check(store, jobs, quiet(tiny_base, tmp_path / "quiet"))
    assert max(find_job(store, job.account, job.id).attempts for job in jobs) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root, and leave to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


class Filling(Scribbler):
    """Fills the disk while it draws its second picture."""

    def __init__(self, filler: Path) -> None:
        super().__init__()
        self.filler, self.num = filler, 0

    def draw_all(self, *args: Any, **kwargs: Any) -> Any:
        self.num += 1
        if self.num == 2:
            with self.filler.open("wb", buffering=0) as file:
                try:
                    while file.write(b"\0" * 4096):
                        pass
                except OSError:
                    threading.Timer(2.5, self.filler.unlink).start()
        return super().draw_all(*args, **kwargs)


def test_a_real_disk_that_fills_pauses_the_job_and_loses_nothing(small_disk: Path) -> None:
    config = DemoConfig(store=small_disk / "store", device="cpu")
    store = Store(config.store)
    drawer = Filling(small_disk / "filler")
    worker = Worker(config=config, store=store, drawer=drawer, looker=Blind(), name="w")
    order = Order(asks=tuple(Ask(prompt="Chest CT", seed=n) for n in range(3)), steps=4, guidance=1.0)
    job = add_job(store, "ann", order, max_jobs=9, max_queue=9)
    assert worker.step()
    told = find_job(store, "ann", job.id)
    assert (told.state, told.done) == ("paused", 1)
    assert "disk is full" in told.message
    files = [path.suffix for path in (store.folder / "pictures").rglob("*") if path.is_file()]
    assert files == [".png", ".png"]
    resume_job(store, "ann", job.id)
    worker.step()
    assert (find_job(store, "ann", job.id).state, find_job(store, "ann", job.id).done) == ("done", 3)
