"""The tab 'Jobs' and its endpoints."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.context import LocalContext

from vesalius.demo.app import build_page
from vesalius.demo.orders import Ask, Order
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.jobs import Job, add_job, claim_job, end_job, find_job
from vesalius.demo.store.pictures import preview_of
from vesalius.demo.tabs import jobs
from vesalius.demo.tabs.jobs import ACTIONS, WORDS, listed


def add(served: Any, account: str = LOCAL, *, prompt: str = "Chest CT <b>&", num: int = 2, steps: int = 4) -> Job:
    asks = tuple(Ask(prompt=prompt, seed=n) for n in range(num))
    order = Order(asks=asks, steps=steps, guidance=1.0)
    return add_job(served.desk.store, account, order, max_jobs=99, max_queue=99)


def wait(served: Any, job: Job, state: str) -> Job:
    end = time.monotonic() + 60
    while (found := find_job(served.desk.store, job.account, job.id)).state != state:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_a_script_follows_pauses_and_deletes_its_jobs(served: Any) -> None:
    client = served.client()
    long = add(served, num=2, steps=100)
    assert client.predict(job=long.id, api_name="/pause")["state"] == "paused"
    assert client.predict(job=long.id, api_name="/resume")["state"] in ("waiting", "running")
    wait(served, long, "done")
    told = client.predict(job=long.id, api_name="/job")
    assert (told["state"], told["done"], told["num"], told["trouble"]) == ("done", 2, 2, "")
    assert [p["number"] for p in told["pictures"]] == [0, 1]
    answer = httpx.get(served.url.rstrip("/") + told["pictures"][0]["url"])
    assert answer.headers["content-type"] == "image/png"
    assert long.id in [job["id"] for job in client.predict(api_name="/jobs")]
    assert client.predict(job=long.id, api_name="/delete_job") == {"id": long.id, "kept": 0}
    assert httpx.get(served.url.rstrip("/") + told["pictures"][0]["url"]).status_code == 404
    with pytest.raises(Exception, match="no longer here"):
        client.predict(job=long.id, api_name="/job")


def test_a_failed_job_is_tried_again_by_a_script_and_a_paused_one_is_not(served: Any) -> None:
    client = served.client()
    job = add(served)
    wait(served, job, "done")
    with served.desk.store.write() as db:
        db.execute("UPDATE jobs SET state = 'failed' WHERE id = ?", [job.id])
    assert client.predict(job=job.id, api_name="/retry")["state"] in ("waiting", "running", "done")
    wait(served, job, "done")
    with pytest.raises(Exception, match="Only a job that failed"):
        client.predict(job=job.id, api_name="/retry")
    client.predict(job=job.id, api_name="/delete_job")


def test_nobody_sees_anothers_jobs_or_previews(served: Any) -> None:
    job = add(served, "someone", steps=1, num=1)
    path = preview_of(served.desk.store, job.id)
    path.parent.mkdir(exist_ok=True)
    wait(served, job, "done")
    path.write_bytes(b"preview")
    for act in ("job", "pause", "resume", "retry", "delete_job"):
        with pytest.raises(Exception, match="someone else's"):
            served.client().predict(job=job.id, api_name=f"/{act}")
    assert httpx.get(f"{served.url}previews/{job.id}.png").status_code == 404
    assert job.id not in httpx.get(f"{served.url}jobs/list").text
    mine = add(served, steps=1, num=1)
    wait(served, mine, "done")
    preview_of(served.desk.store, mine.id).write_bytes(b"mine")
    answer = httpx.get(f"{served.url}previews/{mine.id}.png")
    assert (answer.content, answer.headers["cache-control"]) == (b"mine", "no-store")
    for each in (path, preview_of(served.desk.store, mine.id)):
        each.unlink()
    answer = httpx.get(f"{served.url}previews/{mine.id}.png")
    assert (answer.status_code, answer.content) == (204, b""), "a picture that is ready is no error of its preview"


def test_the_list_is_escaped_and_in_the_readers_language(served: Any) -> None:
    job = add(served, prompt="Chest CT <script>alert(1)</script>")
    wait(served, job, "done")
    for language, word in (("en", "Done"), ("zh-CN", "已完成")):
        told = httpx.get(f"{served.url}jobs/list", headers={"accept-language": language}).json()
        card = next(each for each in told["jobs"] if each["id"] == job.id)
        assert word in card["now"]
        assert "<script" not in "".join(card.values())
        assert "Synthetic: not for diagnosis" in card["pictures"] or "不可用于诊断" in card["pictures"]
        assert card["pictures"].count("<img") == card["pictures"].count('alt="') == 2


def test_each_state_is_told_with_what_can_be_done_about_it(served: Any) -> None:
    store, name = served.desk.store, "states"
    job = add(served, name, steps=1, num=1)
    wait(served, job, "done")
    for state, verbs in ACTIONS.items():
        with store.write() as db:  # the worker sees none of it until it is done with
            db.execute("UPDATE jobs SET state = ?, message = 'why' WHERE id = ?", [state, job.id])
            (found,) = listed(served.desk, name, "en")["jobs"]
            db.execute("UPDATE jobs SET state = 'done', message = '' WHERE id = ?", [job.id])
        assert WORDS[f"jobs.{state}"][0] in found["now"]
        assert [v for v in ("pause", "resume", "retry", "delete") if f'data-act="{v}"' in found["actions"]] == [*verbs]
        assert "why" in found["now"]


def test_trouble_is_told_to_the_page_and_to_scripts(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.desk, "trouble", lambda: "the disk is <full>")
    assert httpx.get(f"{served.url}trouble").json() == {"trouble": "the disk is <full>"}
    job = add(served, num=1)
    assert served.client().predict(job=job.id, api_name="/job")["trouble"] == "the disk is <full>"


def test_wishes_that_are_none_are_refused(served: Any) -> None:
    job = add(served)
    wait(served, job, "done")
    for verb in ("pause", "resume"):
        with pytest.raises(Exception, match="Only a"):
            served.client().predict(job=job.id, api_name=f"/{verb}")
    assert claim_job(served.desk.store, "test") is None
    end_job(served.desk.store, job.id, "failed", worker="test")
    assert find_job(served.desk.store, LOCAL, job.id).state == "done"


def test_a_wish_that_is_none_of_the_page_s_says_what_to_do(served: Any) -> None:
    page = build_page(type(served.desk)(**{**vars(served.desk), "links": {}, "tabs": None}))
    names = {(getattr(f.fn, "__module__", ""), getattr(f.fn, "__name__", "")): f.fn for f in page.fns.values()}
    act: Any = names[jobs.__name__, "act"]
    for language, words in (("en", "done with a job; reload the page"), ("zh", "不能对任务进行此操作；请重新载入页面")):
        asked = gr.Request(headers={"accept-language": language})
        before = LocalContext.request.set(asked)
        try:
            with pytest.raises(gr.Error, match=words):
                act("burn x#1", asked)
        finally:
            LocalContext.request.reset(before)
