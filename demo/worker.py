"""The process that draws: it takes jobs from the store's queue, one picture at a time, and looks at what it drew.

Started by `vesalius.demo.supervisor`. It tells the model that it opened in one line on its standard output, and ends
when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from vesalius.demo.config import DemoConfig
from vesalius.demo.page import Model
from vesalius.demo.store.jobs import Job, claim_job, end_job, find_job
from vesalius.demo.store.pictures import add_picture, pictures_of_job
from vesalius.demo.store.schema import Store

IDLE_SECONDS = 0.05


def work(config: DemoConfig) -> None:
    """Draw jobs until the process is told to end."""
    from vesalius.inference.generator import Generator
    from vesalius.models.adapter_export import public_name

    generator = Generator(config.base, config.adapter, device=config.device)
    model = Model(
        base=public_name(generator.base.name), base_digest=generator.base.digest,
        adapter_digest=generator.adapter_digest, image_size=generator.base.image_size, steps=generator.steps,
        guidance=generator.guidance,
    )  # fmt: skip
    print(json.dumps(asdict(model)), flush=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    store = Store(config.store)
    while True:
        job = claim_job(store, str(os.getpid()))
        if job is None:
            time.sleep(IDLE_SECONDS)
            continue
        draw(store, generator, job)


def draw(store: Store, generator: object, job: Job) -> None:
    """Draw what a job lacks still; a job that is paused or deleted meanwhile is left."""
    from vesalius.data.image import png_bytes
    from vesalius.inference.generator import Generator
    from vesalius.inference.request import Request

    assert isinstance(generator, Generator)
    order = job.order
    there = {p.number for p in pictures_of_job(store, job.account, job.id)}
    try:
        for number, ask in enumerate(order.asks):
            if number in there:
                continue
            if find_job(store, job.account, job.id).state != "running":
                return
            sampling = {"steps": order.steps, "guidance": order.guidance_of(ask), "negative": order.negative}
            request = Request(prompt=ask.prompt, seed=ask.seed, modality=ask.modality)
            picture = next(iter(generator.draw_all([request], **sampling)))[1]  # type: ignore[arg-type]
            sample = generator.sample_of(request, **sampling)  # type: ignore[arg-type]
            add_picture(
                store, account=job.account, job=job.id, number=number, sample=sample,
                png=png_bytes(picture.image, sample.recipe()), label=ask.label,
            )  # fmt: skip
    except ValueError as error:
        end_job(store, job.id, "failed", str(error))
    else:
        end_job(store, job.id, "done")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    try:
        work(DemoConfig(**{**told, "store": Path(told["store"])}))
    except ValueError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)
