"""`vesalius serve` as a process: what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from vesalius.cli.main import DONE, PARTIAL, USAGE, main

PROMPT = "Chest CT with a nodule in the left lung."
KEY = "a-key-that-is-told-to-nobody"


def start(*words: object, key: str | None = None) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "VESALIUS_API_KEY"}
    line = [sys.executable, "-m", "vesalius.cli.main", "serve", *map(str, words)]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, **({"VESALIUS_API_KEY": key} if key else {})},
    )  # fmt: skip


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the service told, once it answers."""
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.readline())
    until(lambda: answers(told["url"]))
    return told


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_told_to_stop_it_draws_what_it_accepted_and_ends_with_0_and_has_logged_no_key_and_no_prompt(
    tiny_base: Path,
) -> None:
    process = start("--base", tiny_base, "--port", 0, "--json", "--batch-size", 1, key=KEY)
    try:
        told = ready(process)
        assert (told["model"], told["key"]) == (tiny_base.name, True)
        where, bearer = f"{told['url']}/v1/images/generations", {"Authorization": f"Bearer {KEY}"}
        wrong = {"Authorization": f"Bearer {KEY}x"}
        assert httpx.post(where, json={"prompt": PROMPT}, headers=wrong).status_code == 401
        assert httpx.post(where, json={"prompt": PROMPT, "n": 0}, headers=bearer).status_code == 400

        def waiting() -> bool:
            lines = httpx.get(f"{told['url']}/metrics", headers=bearer).text.splitlines()
            (line,) = (line for line in lines if line.startswith("vesalius_queue_images "))
            return float(line.split()[1]) > 0

        client = openai.OpenAI(base_url=f"{told['url']}/v1", api_key=KEY, max_retries=0)
        with client, ThreadPoolExecutor(1) as pool:
            drawing = pool.submit(client.images.generate, prompt=PROMPT, n=8, extra_body={"steps": 30, "seed": 1})
            until(waiting)
            process.send_signal(signal.SIGTERM)
            assert len(drawing.result(timeout=60).data or ()) == 8
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (DONE, "")
    for never in (KEY, PROMPT, "Traceback"):
        assert never not in err


def test_told_to_stop_twice_it_ends_at_once(tiny_base: Path) -> None:
    process = start("--base", tiny_base, "--port", 0, "--json", "--max-steps", 1000)
    try:
        told = ready(process)
        with ThreadPoolExecutor(1) as pool:
            fields = {"prompt": PROMPT, "n": 10, "steps": 1000}
            drawing = pool.submit(httpx.post, f"{told['url']}/v1/images/generations", json=fields, timeout=60)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            until(lambda: httpx.get(f"{told['url']}/health").status_code == 503)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
            assert drawing.exception(timeout=20) or drawing.result().status_code == 500
    finally:
        process.kill()
    assert (process.returncode, out) == (PARTIAL, "")


def test_a_dry_run_checks_base_and_address_and_serves_nothing(
    tiny_base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VESALIUS_API_KEY", raising=False)
    words = ["serve", "--dry-run", "--port", "0"]
    assert main([*words, "--base", str(tiny_base)]) == DONE
    assert capsys.readouterr().out.startswith(f"would serve {tiny_base.name} at http://127.0.0.1:")
    assert main([*words, "--base", str(tiny_base), "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["dry_run"] is True
    drawing = ("--scheduler", "euler", "--memory", "3GB", "--attention", "sdpa", "--precision", "fp32")
    assert main([*words, "--base", str(tiny_base), *drawing]) == DONE
    assert "memory: about" in capsys.readouterr().out
    for bad, remedy in (
        (("--base", "no/such/base"), "no/such/base"),
        (("--base", str(tiny_base), "--adapter", "no/such/run"), "no/such/run"),
        (("--base", str(tiny_base), "--scheduler", "eular"), "did you mean 'euler'"),
        (("--base", str(tiny_base), "--memory", "1MB"), "too little"),
        (("--base", str(tiny_base), "--attention", "xformers"), "xformers"),
        (("--host", "0.0.0.0"), "VESALIUS_API_KEY"),
        (("--host", "no.such.host.invalid"), "--host"),
    ):
        assert main([*words, *bad]) == USAGE
        err = capsys.readouterr().err
        assert remedy in err
        assert "Traceback" not in err
