"""The queue: order, limits, places, and whose word counts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vesalius.demo.orders import Ask, Order
from vesalius.demo.store import jobs
from vesalius.demo.store.jobs import (
    Job,
    LeftError,
    add_job,
    add_seconds,
    claim_job,
    end_job,
    find_job,
    is_mine,
    jobs_of,
    pause_job,
    put_back,
    resume_job,
    retry_job,
    set_step,
)
from vesalius.demo.store.pictures import add_picture
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample

ROOM = {"max_jobs": 4, "max_queue": 64}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def order(num: int = 1, *, steps: int = 10, guidance: float = 1.0) -> Order:
    return Order(asks=tuple(Ask(prompt="Chest CT", seed=n) for n in range(num)), steps=steps, guidance=guidance)


def add(store: Store, account: str = "ann", num: int = 1, **settings: object) -> Job:
    return add_job(store, account, order(num, **settings), **ROOM)  # type: ignore[arg-type]


def keep(store: Store, job: Job, number: int = 0, worker: str | None = None) -> None:
    sample = Sample(file_name="a.png", text="Chest CT", modality="CT", seed=number, steps=1, guidance=1.0)
    add_picture(store, account=job.account, job=job.id, number=number, sample=sample, png=b"%d" % number, worker=worker)


def test_who_comes_first_is_drawn_first_and_knows_how_many_are_before(store: Store) -> None:
    first, second, third = add(store), add(store, "bob"), add(store)
    assert [find_job(store, j.account, j.id).ahead for j in (first, second, third)] == [0, 1, 2]
    claimed = claim_job(store, "w")
    assert claimed is not None
    assert (claimed.id, claimed.state) == (first.id, "running")
    assert [find_job(store, j.account, j.id).ahead for j in (first, second, third)] == [0, 1, 2]
    end_job(store, first.id, "done", worker="w")
    assert [find_job(store, j.account, j.id).ahead for j in (first, second, third)] == [0, 0, 1]
    assert [j.id for j in jobs_of(store, "ann")] == [third.id, first.id]


def test_a_person_has_a_limit_that_pausing_does_not_get_around_and_the_queue_one_of_all(store: Store) -> None:
    mine = [add(store) for _ in range(4)]
    pause_job(store, "ann", mine[0].id)
    with pytest.raises(ValueError, match="You have 4 jobs in the queue already"):
        add(store)
    with pytest.raises(ValueError, match="full"):
        add_job(store, "bob", order(), max_jobs=4, max_queue=3)
    assert len(jobs_of(store, "bob")) == 0


def test_twenty_at_once_cannot_get_past_the_limits(store: Store) -> None:
    refused = []

    def press() -> None:
        try:
            add(store)
        except ValueError as error:
            refused.append(error)

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(jobs_of(store, "ann")), len(refused)) == (4, 16)


def test_two_workers_never_get_one_job(store: Store) -> None:
    wanted = {add(store, f"person{n}").id for n in range(20)}
    got: list[str] = []

    def work(name: str) -> None:
        while (job := claim_job(store, name)) is not None:
            got.append(job.id)
            end_job(store, job.id, "done", worker=name)

    threads = [threading.Thread(target=work, args=[f"w{n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    assert set(got) == wanted


def test_the_wait_comes_from_what_others_took(store: Store) -> None:
    first, second = add(store, num=2, steps=10), add(store, "bob", steps=10, guidance=3.0)
    assert find_job(store, "bob", second.id).wait is None
    claim_job(store, "w")
    keep(store, first, 0, "w")
    add_seconds(store, first.id, "w", 5.0)
    assert find_job(store, "bob", second.id).wait == pytest.approx(5.0)  # one picture of ten passes, half a second each
    set_step(store, first.id, "w", 6)
    told = find_job(store, "bob", second.id)
    assert (told.wait, told.left) == (pytest.approx(2.0), pytest.approx(10.0))  # guidance doubles the passes
    assert find_job(store, "ann", first.id).left == pytest.approx(2.0)


def test_a_paused_job_keeps_its_place_and_one_that_is_tried_again_goes_to_the_end(store: Store) -> None:
    first, second, third = add(store), add(store, "bob"), add(store)
    pause_job(store, "ann", first.id)
    claimed = claim_job(store, "w")
    assert claimed is not None
    assert claimed.id == second.id
    assert resume_job(store, "ann", first.id).ahead == 1
    end_job(store, second.id, "failed", "because", worker="w")
    assert retry_job(store, "bob", second.id, **ROOM).ahead == 2
    order_now = [job.id for _ in range(3) if (job := claim_job(store, "w")) is not None]
    assert order_now == [first.id, third.id, second.id]
    for job, act in ((first, "running"), (third, "running")):
        with pytest.raises(ValueError, match="Only a job that failed"):
            retry_job(store, "ann", job.id, **ROOM)
        assert find_job(store, "ann", job.id).state == act
    end_job(store, first.id, "done")
    with pytest.raises(ValueError, match="Only a paused job"):
        resume_job(store, "ann", first.id)
    with pytest.raises(ValueError, match="waits or runs"):
        pause_job(store, "ann", first.id)


def test_jobs_are_their_persons_alone(store: Store) -> None:
    job = add(store)
    for act in (find_job, pause_job, resume_job):
        with pytest.raises(ValueError, match="someone else's"):
            act(store, "bob", job.id)
    with pytest.raises(ValueError, match="someone else's"):
        retry_job(store, "bob", job.id, **ROOM)
    assert find_job(store, "ann", job.id).state == "waiting"


def test_a_worker_has_no_say_in_a_job_that_it_no_longer_has(store: Store) -> None:
    job = add(store, num=2)
    claim_job(store, "old")
    keep(store, job, 0, "old")
    pause_job(store, "ann", job.id)
    resume_job(store, "ann", job.id)
    claim_job(store, "new")
    assert not is_mine(store, job.id, "old")
    with pytest.raises(LeftError):
        keep(store, job, 1, "old")
    end_job(store, job.id, "failed", "late", worker="old")
    set_step(store, job.id, "old", 9)
    told = find_job(store, "ann", job.id)
    assert (told.state, told.done, told.step) == ("running", 1, 0)
    keep(store, job, 1, "new")
    keep(store, job, 1, "new")
    assert find_job(store, "ann", job.id).done == 2


def test_a_job_whose_worker_died_goes_back_to_its_place_until_it_has_cost_too_many(store: Store) -> None:
    first, second = add(store, num=2), add(store, "bob")
    for death in range(jobs.MOST_ATTEMPTS - 1):
        claimed = claim_job(store, f"w{death}")
        assert claimed is not None
        assert claimed.id == first.id
        put_back(store, "someone else")
        assert find_job(store, "ann", first.id).state == "running"
        put_back(store, f"w{death}")
        assert find_job(store, "ann", first.id).state == "waiting"
    claim_job(store, "w")
    keep(store, first, 0, "w")
    add_seconds(store, first.id, "w", 1.0)
    put_back(store, "w")
    assert find_job(store, "ann", first.id).attempts == 1  # it gets on, so the count began anew
    put_back(store, died=False)
    for death in range(jobs.MOST_ATTEMPTS - 1):
        claim_job(store, f"w{death}")
        put_back(store, f"w{death}")
    told = find_job(store, "ann", first.id)
    assert (told.state, told.done) == ("failed", 1)
    assert "ended 3 times over this picture" in told.message
    assert find_job(store, "bob", second.id).ahead == 0


def test_what_was_ended_on_purpose_is_no_fault_of_the_job(store: Store) -> None:
    job = add(store)
    for _ in range(5):
        claim_job(store, "w")
        put_back(store, died=False)
    assert find_job(store, "ann", job.id).state == "waiting"


def test_the_oldest_jobs_without_pictures_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_KEPT", 3)
    made = []
    for number in range(6):
        made.append(add(store).id)
        if number:
            end_job(store, claim_job(store, "w").id, "done")  # type: ignore[union-attr]
    listed = {job.id for job in jobs_of(store, "ann")}
    assert made[-1] in listed
    assert made[0] not in listed
