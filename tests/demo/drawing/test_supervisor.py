"""The supervisor over workers that scribble: deaths, files that vanish, and a second server on one store."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing import supervisor as supervisor_module
from vesalius.demo.drawing.supervisor import Supervisor
from vesalius.demo.orders import Ask, Order
from vesalius.demo.store import jobs as jobs_module
from vesalius.demo.store.jobs import Job, add_job, find_job, jobs_of
from vesalius.demo.store.pictures import file_of, pictures_of_job
from vesalius.demo.store.schema import Store

SCRIBBLER = (sys.executable, str(Path(__file__).with_name("scribbler.py")))


def add(store: Store, account: str = "ann", prompt: str = "Chest CT", num: int = 4, seed: int = 0) -> Job:
    asks = tuple(Ask(prompt=prompt, seed=seed + n) for n in range(num))
    return add_job(store, account, Order(asks=asks, steps=4, guidance=1.0), max_jobs=99, max_queue=99)


def wait_for(what: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def over(store: Store, *jobs: Job) -> bool:
    return all(find_job(store, job.account, job.id).is_over for job in jobs)


def digests(store: Store, *jobs: Job) -> list[list[str]]:
    """sha256 of each picture's file, by job in the order of pictures."""
    return [
        [hashlib.sha256(file_of(store, p).read_bytes()).hexdigest() for p in pictures_of_job(store, j.account, j.id)]
        for j in jobs
    ]


@pytest.fixture
def config(tmp_path: Path) -> DemoConfig:
    """A demo whose base is a folder that looks like one."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "model_index.json").write_text("{}")
    return DemoConfig(base=str(base), store=tmp_path / "store", device="cpu")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor_module, "PAUSES", (0.0, 0.1))


@pytest.mark.usefixtures("quick")
def test_workers_that_are_killed_at_random_lose_and_double_nothing(
    config: DemoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIBBLE_SECONDS", "0.02")
    monkeypatch.setattr(jobs_module, "MOST_ATTEMPTS", 99)
    store, rng = Store(config.store), random.Random(0)
    jobs = [add(store, person, num=8, seed=seed) for seed, person in enumerate(("ann", "bob"))]
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        for _ in range(3):
            wait_for(lambda: any(find_job(store, j.account, j.id).state == "running" for j in jobs))
            time.sleep(rng.uniform(0, 0.3))
            killed = supervisor.worker_pid
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda pid=killed: supervisor.worker_pid != pid)  # type: ignore[misc]
        wait_for(lambda: over(store, *jobs))
        wait_for(lambda: supervisor.trouble() == "")
    assert [find_job(store, j.account, j.id).state for j in jobs] == ["done", "done"]
    assert [[p.number for p in pictures_of_job(store, j.account, j.id)] for j in jobs] == [[*range(8)]] * 2
    undisturbed = Store(config.store.with_name("other"))
    again = [add(undisturbed, person, num=8, seed=seed) for seed, person in enumerate(("ann", "bob"))]
    monkeypatch.setenv("SCRIBBLE_SECONDS", "0")
    with Supervisor(DemoConfig(base=config.base, store=undisturbed.folder, device="cpu"), SCRIBBLER) as supervisor:
        supervisor.ready()
        wait_for(lambda: over(undisturbed, *again))
    assert digests(store, *jobs) == digests(undisturbed, *again)
    assert list(config.store.rglob("*.part")) == []


@pytest.mark.usefixtures("quick")
def test_a_job_that_kills_its_workers_is_given_up_and_the_next_is_drawn(config: DemoConfig) -> None:
    store = Store(config.store)
    deadly, after = add(store, prompt="deadly CT", num=1), add(store, num=1)
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        wait_for(lambda: supervisor.trouble())
        assert "nothing is lost" in supervisor.trouble()
        assert "不会丢失" in supervisor.trouble()
        wait_for(lambda: over(store, deadly, after))
    told = find_job(store, "ann", deadly.id)
    assert (told.state, find_job(store, "ann", after.id).state) == ("failed", "done")
    assert "ended 3 times" in told.message


@pytest.mark.usefixtures("quick")
def test_jobs_wait_while_the_files_of_the_base_are_gone_and_go_on_when_they_are_back(config: DemoConfig) -> None:
    store = Store(config.store)
    base = Path(config.base)
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        base.rename(base.with_name("elsewhere"))
        wait_for(supervisor.trouble)
        assert "model_index.json" in supervisor.trouble()
        job = add(store)
        time.sleep(0.3)
        assert find_job(store, "ann", job.id).state == "waiting"
        base.with_name("elsewhere").rename(base)
        wait_for(lambda: over(store, job))
        wait_for(lambda: supervisor.trouble() == "")
    assert find_job(store, "ann", job.id).done == 4


def test_a_second_server_on_one_store_is_refused_in_a_sentence(config: DemoConfig) -> None:
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        with (
            pytest.raises(ValueError, match=r"another `vesalius demo` is open on this store; .*--store"),
            Supervisor(config, SCRIBBLER),
        ):
            pass
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ('{"error": "base: holds no model; choose another --base"}', "base: holds no model; choose another --base"),
        ("", "the drawing process ended before it could draw; see above"),
    ],
)
def test_a_worker_that_opens_no_model_says_why_and_its_store_is_free_again(
    config: DemoConfig, says: str, told: str
) -> None:
    silent = (sys.executable, "-I", "-S", "-c", f"print({says!r}, end='')")
    for _ in range(2):
        with Supervisor(config, silent) as supervisor, pytest.raises(ValueError, match=f"^{told}$"):
            supervisor.ready()


def test_a_server_that_ends_leaves_its_job_to_be_continued(config: DemoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBBLE_SECONDS", "0.1")
    store = Store(config.store)
    job = add(store)
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        wait_for(lambda: find_job(store, "ann", job.id).done == 1)
        pid = supervisor.worker_pid
    assert not is_alive(pid)
    told = find_job(store, "ann", job.id)
    assert (told.state, told.attempts, told.done < 4) == ("waiting", 0, True)
    monkeypatch.setenv("SCRIBBLE_SECONDS", "0")
    with Supervisor(config, SCRIBBLER) as supervisor:
        supervisor.ready()
        wait_for(lambda: over(store, job))
    assert [p.number for p in pictures_of_job(store, "ann", job.id)] == [0, 1, 2, 3]


def test_a_worker_whose_server_was_killed_ends_by_itself(config: DemoConfig) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom vesalius.demo.config import DemoConfig\n"
        "from vesalius.demo.drawing.supervisor import Supervisor\n"
        "config = DemoConfig(base=sys.argv[1], store=Path(sys.argv[2]), device='cpu')\n"
        "with Supervisor(config, sys.argv[3:]) as supervisor:\n    supervisor.ready()\n"
        "    print(supervisor.worker_pid, flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, config.base, str(config.store), *SCRIBBLER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        assert is_alive(worker)
        server.kill()
    wait_for(lambda: not is_alive(worker), 10)
    with Supervisor(config, SCRIBBLER) as supervisor:  # and its lock is gone with it
        supervisor.ready()
    assert jobs_of(Store(config.store), "ann") == []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
