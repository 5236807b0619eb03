"""How long a teacher waits for the demo: its start, the page's first paint, and the first picture after a click.

    python -m benchmarks.demo [--adapter nano-fast] [--repeats 5] [--json]

A server of its own on a new store, and the system's Chromium, whose own marks tell the first contentful paint of a page
that it has never seen. Medians over repeats, with the worst. Needs chromium, and playwright of the `dev` extra.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
ARRIVED = "n => [...document.querySelectorAll('#create-board figure img')].filter(i => i.complete).length >= n"


@dataclass(frozen=True, kw_only=True)
class DemoCost:
    """Time the demo as a browser meets it."""

    base: str = "nano"
    """base"""
    adapter: str | None = None
    """adapter, such as nano-fast"""
    repeats: int = 5
    """pages opened, and pictures drawn; medians are printed"""
    json: bool = False
    """print one JSON object"""


def main(config: DemoCost) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("benchmarks.demo: needs chromium (apt-get install chromium)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "vesalius.cli.main", "demo", "--base", config.base, "--port", str(port)]
    words += ["--adapter", config.adapter] if config.adapter else []
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        server = subprocess.Popen([*words, "--store", str(Path(folder) / "store")], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            start = time.perf_counter() - begun
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                paints = [_paint(browser, url) for _ in range(config.repeats)]
                pictures = _pictures(browser, url, config.repeats)
                browser.close()
        finally:
            server.terminate()
            server.wait()
    result = {
        "start, s": start, "first paint, s": statistics.median(paints), "worst first paint, s": max(paints),
        "click to picture, s": statistics.median(pictures), "worst click to picture, s": max(pictures),
        "first click to picture, s": pictures[0],
    }  # fmt: skip
    print(json.dumps(result) if config.json else "\n".join(f"{k:<28} {v:.2f}" for k, v in result.items()))
    return result


def _paint(browser: Any, url: str) -> float:
    """Seconds from the request to the first contentful paint, in a context that has nothing cached."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function(f"({PAINT}) !== null")
    milliseconds: float = page.evaluate(PAINT)
    page.close()
    return milliseconds / 1000


def _pictures(browser: Any, url: str, repeats: int) -> list[float]:
    """Seconds from the click to a picture on the page, each of a new seed."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("#create-draw")
    page.locator("#create-prompt textarea").fill("Axial chest CT with a 20 mm nodule in the left lung.")
    found = []
    for seed in range(repeats):
        page.locator("#create-seed input").fill(str(seed))
        page.locator("#create-seed input").press("Tab")
        page.evaluate("document.querySelector('#create-board').querySelectorAll('figure').forEach(f => f.remove())")
        begun = time.perf_counter()
        page.locator("#create-draw").click()
        page.wait_for_function(ARRIVED, arg=1)
        found.append(time.perf_counter() - begun)
        page.wait_for_timeout(3000)
    page.close()
    return found


if __name__ == "__main__":
    main(tyro.cli(DemoCost))
