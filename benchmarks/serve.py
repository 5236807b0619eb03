"""Images per second of `vesalius serve` with many clients at once, beside the same images in offline batches.

    python -m benchmarks.serve [--clients 16] [--repeats 3] [--json]

Both sides use one generator in one process, in turn, with one batch size; each client is a thread that asks for one
image after another over HTTP on the loopback address. Medians of the repeats, after one that warms up. Start-up is not
counted; encoding as PNG is, on both sides.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import tyro

from vesalius.data.images.image import png_bytes
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.inference.sample import sample_seed
from vesalius.inference.service.app import Service
from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.listening import Server, listen, url_of

PROMPT = "Axial chest CT with a 20 mm nodule in the left lung."


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The service beside offline batches."""

    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: Path | None = None
    """run folder, or an adapter folder"""
    clients: int = 16
    """clients at once"""
    images: int = 4
    """images that each client asks for, one after another"""
    batch_size: int = 8
    """images drawn at once, on both sides"""
    repeats: int = 3
    """runs of each side; medians are printed"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    json: bool = False
    """print one JSON object"""


def main(config: Benchmark) -> dict[str, Any]:
    generator = Generator(config.base, config.adapter, device=config.device)
    serve = ServeConfig(
        base=config.base, adapter=(str(config.adapter),) if config.adapter else (),
        port=0, batch_size=config.batch_size, max_queue=config.clients,
        max_images=1, timeout=3600,
    )  # fmt: skip
    place = listen(serve, None)
    service = Service(generator, serve)
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    num, url = config.clients * config.images, f"{url_of(place)}/v1/images/generations"
    seconds: dict[str, list[float]] = {"offline": [], "served": []}
    latencies: list[float] = []
    try:
        for repeat in range(config.repeats + 1):
            seeds = range(repeat * num, (repeat + 1) * num)
            began = time.perf_counter()
            offline(generator, seeds, config.batch_size)
            middle = time.perf_counter()
            waited = served(url, seeds, config.clients)
            if repeat:
                seconds["offline"].append(middle - began)
                seconds["served"].append(time.perf_counter() - middle)
                latencies += waited
    finally:
        server.stopping = True
        thread.join()
    rates = {side: round(num / statistics.median(each), 3) for side, each in seconds.items()}
    result = {
        "device": generator.device, "clients": config.clients, "batch_size": config.batch_size,
        "images per second": rates, "served / offline": round(rates["served"] / rates["offline"], 3),
        "median seconds of a request": round(statistics.median(latencies), 3),
    }  # fmt: skip
    if config.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:<28} {value}")
    return result


def offline(generator: Generator, seeds: range, batch_size: int) -> None:
    """Draw and encode one image a seed."""
    requests = [Request(prompt=PROMPT, seed=sample_seed(seed, PROMPT, 0)) for seed in seeds]
    for request, picture in generator.draw_all(requests, batch_size=batch_size):
        png_bytes(picture.image, {"text": request.prompt, "seed": request.seed, "synthetic": True})


def served(url: str, seeds: range, clients: int) -> list[float]:
    """Ask for the same images, each client for its share one after another; seconds of each request."""

    def one_client(share: range) -> list[float]:
        seconds = []
        with httpx.Client(timeout=None) as client:
            for seed in share:
                began = time.perf_counter()
                client.post(url, json={"prompt": PROMPT, "seed": seed}).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    with ThreadPoolExecutor(clients) as pool:
        return [s for each in pool.map(one_client, [seeds[i::clients] for i in range(clients)]) for s in each]


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
