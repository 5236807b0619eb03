"""The worker over a model that scribbles: what it keeps, when it stops, and what does not make a job fail."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.demo.drawing.scribbler import Blind, Scribbler
from vesalius.data.images.image import read_hu
from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing import worker as worker_module
from vesalius.demo.drawing.worker import Worker
from vesalius.demo.orders import Ask, Order
from vesalius.demo.store import pictures as pictures_module
from vesalius.demo.store.clearing import delete_job
from vesalius.demo.store.jobs import Job, add_job, find_job, pause_job, resume_job, retry_job
from vesalius.demo.store.pictures import Check, file_of, pictures_of, pictures_of_job, preview_of
from vesalius.demo.store.schema import Store
from vesalius.models.support import support_of

ROOM = {"max_jobs": 99, "max_queue": 99}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Worker]:
    def make(**changes: Any) -> Worker:
        config = DemoConfig(store=tmp_path / "store", device="cpu", **changes.pop("config", {}))
        changes.setdefault("looker", Blind())
        return Worker(config=config, store=Store(config.store), drawer=Scribbler(), name="w", **changes)

    return make


def add(store: Store, prompt: str = "Chest CT with a nodule", num: int = 2) -> Job:
    asks = tuple(Ask(prompt=prompt, seed=n, label=f"number {n}") for n in range(num))
    return add_job(store, "ann", Order(asks=asks, steps=4, guidance=1.0), **ROOM)


def test_pictures_come_in_order_with_recipe_units_and_scale(make: Callable[..., Worker]) -> None:
    worker = make(support=support_of("nano"))
    job = add(worker.store)
    assert worker.step()
    assert not worker.step()
    told = find_job(worker.store, "ann", job.id)
    assert (told.state, told.done, told.left) == ("done", 2, 0.0)
    first, second = pictures_of_job(worker.store, "ann", job.id)
    assert [(p.number, p.label, p.sample.seed) for p in (first, second)] == [(0, "number 0", 0), (1, "number 1", 1)]
    assert first.spacing == pytest.approx(340 / 16)
    with Image.open(file_of(worker.store, first)) as file:
        assert json.loads(file.text["vesalius"])["text"] == "Chest CT with a nodule"  # type: ignore[attr-defined]
        shown = np.asarray(file)
    units = read_hu(file_of(worker.store, first, units=True))
    assert np.array_equal(units, shown.astype(np.float32) * 4 - 1000)
    assert first.sample.raw16 == "raw16/0.png"


def test_what_has_no_units_or_scale_says_so(make: Callable[..., Worker]) -> None:
    worker = make()
    job = add(worker.store, "Chest X-ray", 1)
    worker.step()
    (picture,) = pictures_of_job(worker.store, "ann", job.id)
    assert (picture.spacing, picture.sample.raw16) == (None, None)
    with pytest.raises(ValueError, match="no Hounsfield units"):
        file_of(worker.store, picture, units=True)


def test_what_cannot_be_drawn_fails_with_its_sentence_and_may_be_tried_again(make: Callable[..., Worker]) -> None:
    worker = make()
    job, after = add(worker.store, "Chest CT, refused"), add(worker.store)
    worker.step()
    told = find_job(worker.store, "ann", job.id)
    assert (told.state, told.message) == ("failed", "this base cannot draw it")
    retry_job(worker.store, "ann", job.id, **ROOM)
    worker.step()
    assert find_job(worker.store, "ann", after.id).state == "done"


class Interrupting(Scribbler):
    """Does something from within a step."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.act, self.seen = at, act, 0

    def draw_all(self, requests: Any, *, watch: Any, **sampling: Any) -> Any:
        def told(progress: Any) -> None:
            self.seen += 1
            if self.seen == self.at:
                self.act()
            watch(progress)

        return super().draw_all(requests, watch=told, **sampling)


def test_a_paused_job_stops_within_a_step_and_goes_on_where_it_was(make: Callable[..., Worker]) -> None:
    worker = make()
    job = add(worker.store)
    worker.drawer = drawer = Interrupting(6, lambda: pause_job(worker.store, "ann", job.id))
    worker.step()
    told = find_job(worker.store, "ann", job.id)
    assert (drawer.seen, told.state, told.done) == (6, "paused", 1)
    resume_job(worker.store, "ann", job.id)
    worker.step()
    assert find_job(worker.store, "ann", job.id).done == 2
    assert drawer.seen == 10


def test_a_deleted_job_stops_within_a_step_and_leaves_nothing(make: Callable[..., Worker]) -> None:
    worker = make()
    job = add(worker.store)
    worker.drawer = drawer = Interrupting(6, lambda: delete_job(worker.store, "ann", job.id))
    worker.step()
    assert drawer.seen == 6
    assert pictures_of(worker.store, "ann") == []
    assert list((worker.store.folder / "pictures").rglob("*.png")) == []


def test_a_slow_picture_is_shown_before_it_is_done(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "TOLD_SECONDS", 0.0)
    worker = make()
    job = add(worker.store, num=1)
    seen: list[tuple[bool, int]] = []

    def look() -> None:
        path = preview_of(worker.store, job.id)
        if path.is_file():
            with Image.open(path) as file:
                assert file.text["Comment"]  # type: ignore[attr-defined]
        seen.append((path.is_file(), find_job(worker.store, "ann", job.id).step))

    worker.drawer = Interrupting(3, look)
    worker.step()
    assert seen == [(True, 2)]
    assert not preview_of(worker.store, job.id).exists()


def test_a_full_disk_pauses_the_job_in_a_sentence_and_leaves_nothing_half_written(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make()
    job = add(worker.store)
    real, written = pictures_module.os.fsync, []

    def fsync(number: int) -> None:
        written.append(number)
        if len(written) == 3:  # the first picture has two files
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(pictures_module.os, "fsync", fsync)
    worker.step()
    told = find_job(worker.store, "ann", job.id)
    assert (told.state, told.done) == ("paused", 1)
    assert "disk is full" in told.message
    assert len(list((worker.store.folder / "pictures").rglob("*.*"))) == 2
    resume_job(worker.store, "ann", job.id)
    worker.step()
    told = find_job(worker.store, "ann", job.id)
    assert (told.state, told.done, told.message) == ("done", 2, "")


def test_nothing_is_begun_on_a_full_disk(make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make()
    job = add(worker.store)
    monkeypatch.setattr(worker_module, "ROOM", 1 << 62)
    assert not worker.step()
    assert find_job(worker.store, "ann", job.id).state == "waiting"


class Checker:
    def check(self, sample: Any, image: Any) -> tuple[Check, ...]:
        assert image.shape == (16, 16, 3)  # of CT with units its windows, as networks see it
        if sample.seed == 1:
            raise RuntimeError("broken")
        return (Check(attribute="modality", asked="CT", seen="CT", said="yes", checker="test", error_rate=0.1),)


def test_pictures_are_looked_at_and_a_broken_look_costs_nothing_but_the_checks(make: Callable[..., Worker]) -> None:
    worker = make(looker=Checker())
    job = add(worker.store)
    worker.step()
    first, second = pictures_of_job(worker.store, "ann", job.id)
    assert first.checks is not None
    assert [c.said for c in first.checks] == ["yes"]
    assert second.checks == ()
    assert find_job(worker.store, "ann", job.id).state == "done"


def test_no_more_pictures_are_kept_than_are_allowed(make: Callable[..., Worker]) -> None:
    worker = make(config={"max_pictures": 3})
    jobs = [add(worker.store) for _ in range(2)]
    worker.step()
    worker.step()
    assert [len(pictures_of_job(worker.store, "ann", job.id)) for job in jobs] == [1, 2]
