"""Errors of a run and of its folders: each says what is wrong and what to give instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vesalius.inference.config import GenerateConfig
from vesalius.inference.generator import Generator, find_device
from vesalius.inference.prompts.pictures import start_of_record
from vesalius.inference.prompts.read import stream_prompts
from vesalius.inference.running import engines
from vesalius.inference.running.run import MAX_TEXT, check_settings, draw_requests, stream_requests
from vesalius.inference.running.work import WORK, Work
from vesalius.inference.sample import stream_samples
from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.request import RequestError, read_order

PROMPT = "Chest CT with a nodule in the left lung."


def run(folder: Path, *prompts: str, **fields: Any) -> GenerateConfig:
    return GenerateConfig(prompt=prompts, out=folder / "out", **fields)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda f: list(stream_requests(run(f))), r"no prompt: give one or more, --prompts FILE, or --grid finding="),
        (lambda f: list(stream_requests(run(f, "CT " * MAX_TEXT))), f"expected at most {MAX_TEXT}: shorten it"),
        (lambda f: list(stream_requests(run(f, "CT \ud800"))), "prompt 1 holds characters that are not Unicode"),
        (lambda f: check_settings(run(f, PROMPT, num=0)), "--num 0 and --batch-size .* must be at least 1"),
        (lambda f: find_device("gpu"), "--device 'gpu' is not known; expected auto, cpu or cuda"),
        (lambda f: find_device("cuda:99"), "--device cuda:99: this machine has no such GPU that PyTorch can use"),
        (lambda f: Generator(precision="fp8"), "precision 'fp8' is not known; expected auto, fp32 or bf16"),
        (lambda f: start_of_record(None, None, "image", "p.csv:2"), "p.csv:2: --start image needs a picture, in"),
        (lambda f: list(stream_samples(f / "begun")), "begun: is unfinished; run its `vesalius generate` line again"),
        (lambda f: list(stream_samples(f / "empty")), "empty: holds no finished sample yet; run its `vesalius gener"),
        (lambda f: list(stream_prompts(f / "latin.txt")), r"latin\.txt: not UTF-8 text from line 1 on; save the prom"),
        (lambda f: list(stream_prompts(f / "half.jsonl")), r"half\.jsonl:1: the text holds characters that are not U"),
        (lambda f: Work.plan_in(f / "begun"), r"plan\.json: damaged, 'num_requests' is missing; give another --out"),
    ],
)
def test_what_a_run_cannot_do_is_told(ask: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    (tmp_path / "begun" / WORK).mkdir(parents=True)
    (tmp_path / "begun" / WORK / "plan.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.jsonl").touch()
    (tmp_path / "latin.txt").write_bytes(b"Chest CT.\nL\xe4sion.\n")
    (tmp_path / "half.jsonl").write_text(json.dumps({"text": "CT \ud800"}) + "\n")
    with pytest.raises(ValueError, match=message):
        ask(tmp_path)


def test_a_launch_of_several_processes_needs_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "num_launched", lambda: 2)
    with pytest.raises(ValueError, match="--engine local: was started 2 times; give --engine accelerate"):
        engines.check_engine(run(tmp_path, PROMPT))


def test_a_model_that_is_not_served_is_named() -> None:
    generator: Any = SimpleNamespace()
    content = json.dumps({"prompt": PROMPT, "model": "dall-e"}).encode()
    with pytest.raises(RequestError, match="The model 'dall-e' does not exist; this service has 'nano'") as caught:
        read_order(content, ServeConfig(), generator, "nano")
    assert (caught.value.code, caught.value.status) == ("model_not_found", 404)


def test_prompts_that_grow_fewer_while_they_are_drawn_are_told(tiny_base: Path, tmp_path: Path) -> None:
    config = run(tmp_path, PROMPT, num=3, base=str(tiny_base), steps=1, workers=1, json=True)
    requests, lengths = list(stream_requests(config)), count(3, -1)
    with pytest.raises(ValueError, match="out: the prompts have changed while they were drawn; change them back, or"):
        draw_requests(config, lambda: requests[: max(2, next(lengths))])
    assert not config.out.exists() or not list(config.out.glob("images/*"))
