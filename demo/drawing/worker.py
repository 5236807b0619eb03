"""The process that draws: it takes jobs from the store's queue, one picture at a time, and looks at what it drew.

Started by `vesalius.demo.drawing.supervisor`. It tells the model that it opened in one line on its standard output, and
ends when its standard input does, as it does where the server was killed.

A picture is drawn alone rather than in a batch: so the first one comes as early as it can, what is drawn does not
depend on what had been drawn before a worker died, and a job can stop within a step.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing.model import Model
from vesalius.demo.drawing.scale import spacing_of
from vesalius.demo.orders import Ask, Order
from vesalius.demo.sentences import Refusal, both
from vesalius.demo.store.clearing import keep_within
from vesalius.demo.store.jobs import Job, LeftError, add_seconds, claim_job, end_job, is_mine, set_step
from vesalius.demo.store.pictures import (
    Check,
    StoredPicture,
    add_picture,
    file_of,
    pictures_of_job,
    preview_of,
    set_checks,
)  # fmt: skip
from vesalius.demo.store.schema import ROOM, Store
from vesalius.models.support import Support, support_of

if TYPE_CHECKING:
    from vesalius.data.images.image import Picture, Uint8
    from vesalius.inference.drawing.watching import Progress, Watch
    from vesalius.inference.request import Request
    from vesalius.inference.sample import Sample

log = logging.getLogger(__name__)
IDLE_SECONDS = 0.05
TOLD_SECONDS = 0.1
"""Steps are told at most so often: each telling is a write to the disk."""
PREVIEW_SECONDS = 0.7
"""Of drawing, after which a picture is shown as it will be, and again as often."""
PREVIEW_SHARE = 0.15
"""Of the time of drawing that previews may take."""


FULL = (
    "The server's disk is full. Ask its owner to make room, and then let the job go on",
    "服务器磁盘已满。请让管理员腾出空间，然后继续任务",
)


class Drawer(Protocol):
    """What the worker needs of `vesalius.inference.Generator`."""

    def draw_all(
        self, requests: Sequence[Request], *, steps: int, guidance: float, negative: str, watch: Watch
    ) -> Iterator[tuple[Request, Picture]]: ...

    def sample_of(self, request: Request, *, steps: int, guidance: float, negative: str) -> Sample: ...


class Looker(Protocol):
    """What it needs of `vesalius.demo.checking.checks.Checker`."""

    def check(self, sample: Sample, image: Uint8) -> tuple[Check, ...]: ...


@dataclass(kw_only=True)
class Worker:
    """Draws the jobs of a store by one generator.

    name: by which jobs are its own. support: what the base was trained on, where that is known. A looker that breaks
    never makes a job fail: pictures have no checks then.
    """

    config: DemoConfig
    store: Store
    drawer: Drawer
    name: str
    support: Support | None = None
    looker: Looker | None = None

    def __post_init__(self) -> None:
        self._opening, self._is_opened = threading.Lock(), self.looker is not None

    def run(self) -> None:
        """Draw until the process is told to end."""
        threading.Thread(target=self.open_looker, daemon=True).start()  # the first picture need not wait for it
        while True:
            if not self.step():
                time.sleep(IDLE_SECONDS)

    def step(self) -> bool:
        """Draw the next job; False where none waits, or the disk has no room for its pictures."""
        if shutil.disk_usage(self.store.folder).free < ROOM:
            return False
        job = claim_job(self.store, self.name)
        if job is None:
            return False
        try:
            self.draw(job)
        except LeftError:
            pass
        except (ValueError, MemoryError) as error:
            self._end(job, "failed", both(error))
        except (OSError, sqlite3.OperationalError) as error:
            if not _is_full(error):
                raise
            self._end(job, "paused", both(Refusal.of(FULL)))
        else:
            self._end(job, "done")
        finally:
            preview_of(self.store, job.id).unlink(missing_ok=True)
        return True

    def draw(self, job: Job) -> None:
        """Draw what a job lacks still, and look at what nobody looked at. LeftError where the job was paused or deleted
        meanwhile, ValueError where it cannot be drawn."""
        there = {p.number: p for p in pictures_of_job(self.store, job.account, job.id)}
        for number, ask in enumerate(job.order.asks):
            if number not in there:
                there[number] = self._draw_one(job, number, ask)
            if there[number].checks is None:
                self._look_at(job, there[number].id)
        try:
            keep_within(self.store, job.account, self.config.max_pictures)
        except ValueError as error:  # a damaged line among the ratings, of which it is not known then what they use
            log.error("no old pictures of %s were let go: %s", job.account, error)

    def _draw_one(self, job: Job, number: int, ask: Ask) -> Any:
        from vesalius.data.hounsfield import hu_png
        from vesalius.data.images.image import png_bytes, recipe_texts
        from vesalius.inference.request import Request

        started = time.monotonic()
        request = Request(prompt=ask.prompt, seed=ask.seed, modality=ask.modality)
        sampling = _sampling(job.order, ask)
        sample = self.drawer.sample_of(request, **sampling)
        watch = _Watch(worker=self, job=job, sample=sample)
        ((_, picture),) = self.drawer.draw_all([request], **sampling, watch=watch)
        units = None
        if picture.hu is not None:
            sample = replace(sample, raw16=f"raw16/{sample.file_name}")
            units = hu_png(picture.hu, recipe_texts(sample.recipe()))
        stored = add_picture(
            self.store, account=job.account, job=job.id, number=number, sample=sample, label=ask.label,
            png=png_bytes(picture.image, sample.recipe()), hu_png=units, worker=self.name,
            spacing=spacing_of(self.support, ask.prompt, sample.modality, max(picture.image.shape[:2])),
        )  # fmt: skip
        add_seconds(self.store, job.id, self.name, time.monotonic() - started - watch.seconds)
        preview_of(self.store, job.id).unlink(missing_ok=True)
        return stored

    def open_looker(self) -> None:
        """Open what looks at pictures, once; none, where it does not open."""
        with self._opening:
            if self._is_opened:
                return
            self._is_opened = True
            try:
                from vesalius.demo.checking.checks import Checker

                self.looker = Checker(self.config)
            except Exception:
                log.exception("pictures are not looked at: the checker does not open")

    def _as_models_see(self, picture: StoredPicture) -> Uint8:
        """A picture as networks are shown it, HWC uint8: of CT with Hounsfield units its three windows."""
        from vesalius.data.images.image import load_fitted, read_image
        from vesalius.data.modality import find_modality

        if not picture.sample.raw16_sha256:
            return read_image(file_of(self.store, picture))
        size = (picture.sample.height, picture.sample.width)
        return load_fitted(file_of(self.store, picture, units=True), find_modality(picture.sample.modality), size)

    def _look_at(self, job: Job, name: str) -> None:
        """Keep what a picture shows of what was asked for, () where nothing can be told."""
        self.open_looker()
        checks: tuple[Check, ...] = ()
        if self.looker is not None:
            picture = next(p for p in pictures_of_job(self.store, job.account, job.id) if p.id == name)
            try:
                checks = self.looker.check(picture.sample, self._as_models_see(picture))
            except Exception:
                log.exception("picture %s was not looked at: the checker broke", name)
        set_checks(self.store, name, checks)
        if not is_mine(self.store, job.id, self.name):
            raise LeftError

    def _end(self, job: Job, state: Any, message: str = "") -> None:
        """Say how a job ended. On a full disk that is tried until there is room for the word."""
        while True:
            try:
                end_job(self.store, job.id, state, message, worker=self.name)
                return
            except sqlite3.OperationalError as error:
                log.error("job %s: its end is not written yet (%s)", job.id, error)
                time.sleep(1.0)


class _Watch:
    """Tells the store of each step of one picture, and ends the drawing where the job is no longer the worker's.
    seconds: that looks took."""

    def __init__(self, *, worker: Worker, job: Job, sample: Sample) -> None:
        self._worker, self._job, self._sample = worker, job, sample
        self._started = self._told = self._shown = time.monotonic()
        self.seconds = 0.0

    def __call__(self, progress: Progress) -> None:
        store, job, name = self._worker.store, self._job.id, self._worker.name
        if not is_mine(store, job, name):
            raise LeftError
        now = time.monotonic()
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            try:
                set_step(store, job, name, progress.number)
            except sqlite3.OperationalError as error:  # a full disk; the picture itself will tell
                log.warning("job %s: step %d is not told (%s)", job, progress.number, error)
        due = now - self._shown >= PREVIEW_SECONDS and self.seconds <= PREVIEW_SHARE * (now - self._started)
        if due and progress.number < progress.steps:
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        from vesalius.data.images.image import png_bytes
        from vesalius.data.record import write_atomic

        started = time.monotonic()
        path = preview_of(self._worker.store, self._job.id)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, png_bytes(progress.look()[0].image, self._sample.recipe()))
        except (OSError, RuntimeError, MemoryError) as error:  # no preview is no reason not to draw
            log.warning("job %s: no preview (%s)", self._job.id, error)
        self._shown = time.monotonic()
        self.seconds += self._shown - started


def _sampling(order: Order, ask: Ask) -> Any:
    return {"steps": order.steps, "guidance": order.guidance_of(ask), "negative": order.negative}


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "full" in str(error)


def open_drawer(config: DemoConfig) -> tuple[Drawer, Model]:
    """The generator of a configuration. ValueError where base or adapter cannot be opened."""
    from vesalius.inference.generator import Generator
    from vesalius.models.adapters.export import public_name

    generator = Generator(config.base, config.adapter, device=config.device)
    model = Model(
        base=public_name(generator.base.name), base_digest=generator.base.digest,
        adapter_digest=generator.adapter_digest, image_size=generator.base.image_size, steps=generator.steps,
        guidance=generator.guidance,
    )  # fmt: skip
    return generator, model


Opened = Callable[[DemoConfig], tuple[Drawer, Model]]


def work(told: str, name: str, opened: Opened = open_drawer, looker: Looker | None = None) -> int:
    """The whole process: a configuration in JSON, and the worker's name. Returns its exit code. looker: in place of the
    package's own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.set_threshold(100_000, 50, 100)  # the libraries make a million objects that all stay
    try:
        row = json.loads(told)
        config = DemoConfig(**row)
        drawer, model = opened(config)
        support = support_of(config.base, config.adapter)
        store = Store(config.store)
        worker = Worker(config=config, store=store, drawer=drawer, name=name, support=support, looker=looker)
    except ValueError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    print(json.dumps(asdict(model)), flush=True)
    gc.freeze()
    os.dup2(2, 1)  # nobody reads on, and a pipe that is full would block who writes
    worker.run()
    return 0


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(work(sys.argv[1], sys.argv[2]))
