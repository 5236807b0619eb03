"""Twenty people at once: everyone gets their own pictures in order, and the page answers all the while."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from vesalius.demo.config import DemoConfig
from vesalius.demo.store.accounts import Account, add_account
from vesalius.demo.store.jobs import jobs_of
from vesalius.demo.store.pictures import pictures_of_job
from vesalius.demo.store.schema import Store

pytestmark = pytest.mark.slow
PEOPLE = [f"person{n:02d}" for n in range(20)]
PASSWORD = "correct horse battery"
LONGEST_SECONDS = 300.0


def enter(url: str, name: str) -> str:
    """Log in as a browser does; the session's secret."""
    answer = httpx.post(f"{url}login", data={"name": name, "password": PASSWORD}, timeout=60)
    assert answer.status_code == 303
    return answer.cookies["vesalius_session"]


def ask(url: str, secret: str, person: int) -> Any:
    """Three pictures, waited for."""
    from gradio_client import Client

    client = Client(url, verbose=False, headers={"Authorization": f"Bearer {secret}"}, httpx_kwargs={"timeout": 60})
    job = client.submit(prompt=f"Chest CT with a {10 + person} mm nodule", num=3, seed=1000 * person, api_name="/draw")
    return job.result(timeout=LONGEST_SECONDS)


def test_twenty_people_get_their_own_pictures_in_order_and_the_page_answers(
    tiny_base: Path, tmp_path: Path, port: int, serve: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DemoConfig(base=str(tiny_base), store=tmp_path / "store", port=port, host="0.0.0.0", device="cpu")
    store = Store(config.store)
    for name in PEOPLE:
        add_account(store, Account(name=name), PASSWORD)
    waited: list[float] = []
    ended = threading.Event()

    with serve(config) as served:
        secrets = [enter(served.url, name) for name in PEOPLE]

        def look() -> None:
            cookies = {"vesalius_session": secrets[0]}
            while not ended.wait(0.1):
                started = time.monotonic()
                assert httpx.get(served.url, cookies=cookies, timeout=60).status_code == 200
                waited.append(time.monotonic() - started)

        looking = threading.Thread(target=look)
        looking.start()
        started = time.monotonic()
        with ThreadPoolExecutor(len(PEOPLE)) as pool:
            results = list(pool.map(ask, [served.url] * len(PEOPLE), secrets, range(len(PEOPLE))))
        seconds = time.monotonic() - started
        ended.set()
        looking.join()

        first = [httpx.get(served.url.rstrip("/") + r["pictures"][0]["url"], timeout=60).status_code for r in results]
        assert first == [401] * len(PEOPLE)
        for person, (secret, told) in enumerate(zip(secrets, results, strict=True)):
            other = results[person - 1]["pictures"][0]["url"]
            with httpx.Client(cookies={"vesalius_session": secret}, timeout=60) as browser:
                assert browser.get(served.url.rstrip("/") + told["pictures"][0]["url"]).status_code == 200
                assert browser.get(served.url.rstrip("/") + other).status_code == 404

    for person, (name, told) in enumerate(zip(PEOPLE, results, strict=True)):
        (job,) = jobs_of(store, name)
        assert (job.state, job.id, job.done) == ("done", told["job"], 3)
        pictures = pictures_of_job(store, name, job.id)
        assert [p.number for p in pictures] == [0, 1, 2]
        assert [p.id for p in pictures] == [p["id"] for p in told["pictures"]]
        assert pictures[0].sample.seed == 1000 * person
        assert {p.sample.text for p in pictures} == {f"Chest CT with a {10 + person} mm nodule"}
    with store.read() as db:
        assert db.execute("SELECT COUNT(*), COUNT(DISTINCT job) FROM pictures").fetchone()[:] == (60, 20)
        rows = db.execute("SELECT account FROM jobs ORDER BY place").fetchall()
        begun = db.execute("SELECT account FROM jobs ORDER BY started").fetchall()
    assert [row["account"] for row in rows] == [row["account"] for row in begun]  # first come, first served
    median, worst = statistics.median(waited), max(waited)
    with capsys.disabled():
        print(f"\n20 people, 60 pictures in {seconds:.1f} s; GET /: median {median:.3f} s, worst {worst:.3f} s")
    assert worst < 10
