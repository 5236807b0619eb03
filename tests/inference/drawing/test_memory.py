"""Drawing keeps to its budget, says how, and draws the same pictures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.images.image import Uint8, write_png
from vesalius.inference import GenerateConfig, Generator, generate
from vesalius.inference.drawing import memory
from vesalius.inference.drawing.memory import MemoryPlan, parse_memory, plan_memory
from vesalius.inference.drawing.offload import offload_blocks
from vesalius.inference.request import Request, Source
from vesalius.inference.running.run import draw_samples
from vesalius.models.base import open_base
from vesalius.models.full_size import write_sd15

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")
REQUESTS = [Request(prompt=p, seed=i) for i, p in enumerate(PROMPTS)]
Plans = Callable[..., MemoryPlan]


@pytest.fixture
def plan_for(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Plans:
    """A plan of the tiny base in a process that holds nothing else."""
    monkeypatch.setattr(memory, "held_memory", lambda: 0)
    return lambda **fields: plan_memory(str(tiny_base), **{"device": "cpu", "precision": "fp32", **fields})


def drawn(base: Path, plan: MemoryPlan | None, **fields: Any) -> list[Uint8]:
    generator = Generator(str(base), device="cpu", memory=plan, **fields)
    return [picture.image for _, picture in generator.draw_all(REQUESTS, steps=2)]


@pytest.mark.parametrize(
    ("text", "size"),
    [("6GB", 6 * 10**9), ("6GiB", 6 * 2**30), ("512MB", 512 * 10**6), (" 2.5 gb ", 25 * 10**8), ("auto", None)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int | None) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    ("text", "told"),
    [("6", "did you mean 6GB?"), ("6G", "did you mean 6GB?"), ("much", "expected auto"), ("0GB", "is nothing"),
     ("-3GB", "no size"), ("3KB", "no size"), ("", "no size")],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_what_is_one(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=rf"--memory '{text}'.*{re.escape(told)}"):
        parse_memory(text)


def test_auto_takes_what_is_free_less_a_margin(plan_for: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * 10**9)
    plan = plan_for()
    assert plan.budget == 36 * 10**8
    assert (plan.offload, plan.batch_size, plan.tile, plan.costs) == ("none", 8, None, ("in float32",))


def test_a_budget_beyond_what_is_free_is_told(plan_for: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    assert plan_for(budget=10**10).costs[-1] == "but only 100 MB is free now"


def test_xformers_is_refused_where_it_cannot_run(plan_for: Plans) -> None:
    with pytest.raises(ValueError, match=r"--attention xformers: .*or use sdpa"):
        plan_for(attention="xformers")


def test_smaller_budgets_take_cheaper_remedies_first(plan_for: Plans) -> None:
    plans = [plan_for(budget=10**10)]
    while True:
        try:
            plans.append(plan_for(budget=plans[-1].peak - 1))
        except ValueError as error:
            least = re.search(r"about (\d+MB); give that much", str(error))
            break
    assert least is not None
    assert plan_for(budget=parse_memory(least[1])).peak - plans[-1].peak < 10**6
    assert all(a.peak > b.peak for a, b in itertools.pairwise(plans))
    assert plans[0].batch_size == 8
    assert plans[-1].batch_size == 1
    ways = [(p.tile is not None, ("none", "model", "sequential").index(p.offload)) for p in plans]
    assert ways == sorted(ways)
    assert all(p.costs for p in plans[1:])


@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
@pytest.mark.parametrize("casts", [False, True])
def test_pictures_are_the_same_within_any_budget(offload: Any, casts: bool, tiny_base: Path, plan_for: Plans) -> None:
    plan = dataclasses.replace(plan_for(budget=10**10), offload=offload, casts=casts, slicing=True)
    for ours, theirs in zip(drawn(tiny_base, plan), drawn(tiny_base, None), strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_bfloat16_within_a_budget_is_bfloat16_without(tiny_base: Path, plan_for: Plans) -> None:
    plan = dataclasses.replace(plan_for(budget=10**10, precision="bf16"), offload="model")
    for ours, theirs in zip(drawn(tiny_base, plan), drawn(tiny_base, None, precision="bf16"), strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_a_picture_is_drawn_into_within_any_budget(
    offload: Any, tiny_base: Path, plan_for: Plans, tmp_path: Path
) -> None:
    write_png(tmp_path / "there.png", np.tile(np.arange(0, 256, 8, dtype=np.uint8)[:, None, None], (1, 32, 1)))
    mask = np.zeros((32, 32, 1), np.uint8)
    mask[8:20, 8:20] = 255
    write_png(tmp_path / "mask.png", mask)
    source = Source(image=tmp_path / "there.png", mask=tmp_path / "mask.png", strength=1.0)
    plan = dataclasses.replace(plan_for(budget=10**10), offload=offload)
    ours, theirs = (
        Generator(str(tiny_base), device="cpu", memory=each).draw(PROMPTS[0], steps=3, source=source)[0].astype(int)
        for each in (plan, None)
    )
    assert np.abs(ours - theirs).max() <= 1


def test_a_damaged_base_is_named(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "base")
    weights = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged .*; copy the base's folder again"):
        plan_memory(str(tmp_path / "base"), device="cpu", budget=10**10)


def test_adapters_beside_weights_that_come_and_go_settle_the_folder(plan_for: Plans, tmp_path: Path) -> None:
    config = GenerateConfig(out=tmp_path, precision="fp32", adapter=("run",))
    plan = plan_for(budget=10**10)
    assert memory.settled(config, plan) == memory.settled(config, None)
    leaves = dataclasses.replace(plan, offload="model")
    assert memory.settled(config, leaves) != memory.settled(config, plan)
    assert memory.settled(dataclasses.replace(config, adapter=()), leaves) == {"precision": "fp32"}


def test_tiles_change_a_picture_and_settle_the_folder(tiny_base: Path, plan_for: Plans, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_for(budget=10**10), tile=8)
    ours, theirs = drawn(tiny_base, plan), drawn(tiny_base, None)
    assert all(a.shape == b.shape for a, b in zip(ours, theirs, strict=True))
    config = GenerateConfig(out=tmp_path, precision="fp32")
    assert memory.settled(config, plan) == {"precision": "fp32", "tile": 8}
    assert memory.settled(config, dataclasses.replace(plan, tile=None)) == memory.settled(config, None)


def test_blocks_that_move_one_after_another_draw_the_same(tiny_base: Path) -> None:
    plain, moved = open_base(str(tiny_base)), open_base(str(tiny_base))
    offload_blocks(moved.pipeline, torch.device("cpu"))
    pictures = []
    for base in (plain, moved):
        generator = Generator.around(base, device="cpu", precision="fp32", steps=2)
        pictures.append(np.concatenate([i.ravel() for i in generator.draw(PROMPTS[0], num=2)]).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def run(tiny_base: Path, out: Path, *words: str) -> list[str]:
    return ["generate", *PROMPTS[:2], "--base", str(tiny_base), "--steps", "1", "--out", str(out), *words]


def test_a_dry_run_tells_the_plan_and_a_run_keeps_it(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run(tiny_base, tmp_path / "s", "--memory", "9GB", "--dry-run")) == DONE
    told = capsys.readouterr().out
    assert re.search(r"^memory: about .* of 9\.0 GB on cpu: (bf16|fp32), 2 at once, sdpa", told, re.MULTILINE)
    assert not (tmp_path / "s").exists()
    assert main(run(tiny_base, tmp_path / "s", "--memory", "9GB", "--json")) == DONE
    told = capsys.readouterr()
    assert "attention: sdpa, flash on the CPU" in told.err
    row = json.loads(told.out)
    assert row["memory"]["offload"] == "none"
    assert row["memory"]["peak"] < row["memory"]["budget"] == 9 * 10**9
    assert {sample["precision"] for sample in row["samples"]} == {row["memory"]["precision"]}


def test_a_budget_that_nothing_fits_into_is_refused_with_the_least_that_would_do(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run(tiny_base, tmp_path / "s", "--memory", "100MB")) == USAGE
    told = capsys.readouterr().err
    assert re.search(r"--memory 100 MB is too little for base '.*' on cpu: .* about [\d.]+[MG]B; give that much", told)
    assert not (tmp_path / "s").exists()


def test_another_budget_continues_a_folder_and_another_precision_does_not(tiny_base: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"prompt": PROMPTS, "base": str(tiny_base), "steps": 1, "out": tmp_path, "json": True}
    usual = draw_samples(GenerateConfig(**fields, precision="fp32"))
    assert draw_samples(GenerateConfig(**fields, memory="9GB", precision="fp32", attention="sdpa")) == usual
    with pytest.raises(ValueError, match="precision"):
        generate(GenerateConfig(**fields, memory="9GB", precision="bf16"))


def peaks(base: Path, out: Path, budget: str) -> tuple[int, int]:
    """Measured and estimated peak of a drawing in a process of its own."""
    from benchmarks.memory import MemoryBenchmark, measure

    config = MemoryBenchmark(steps=2, num=2, json=True)
    row = measure(config, base, out, budget)
    return row["peak"], row["estimate"]


@pytest.mark.parametrize("budget", ["650MB", pytest.param("2GB", marks=pytest.mark.slow)])
def test_the_tiny_base_stays_within_its_estimate(budget: str, tiny_base: Path, tmp_path: Path) -> None:
    measured, estimate = peaks(tiny_base, tmp_path / "s", budget)
    assert measured <= estimate <= parse_memory(budget)  # type: ignore[operator]
    assert estimate < 1.5 * measured


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["3GB", "2GB"])
def test_the_shape_of_stable_diffusion_stays_within_its_budget(budget: str, tmp_path: Path) -> None:
    """At 512 pixels, libraries included; weights are written by a process of its own, for the memory it takes."""
    base = tmp_path / "base"
    code = f"from pathlib import Path; from {write_sd15.__module__} import write_sd15; write_sd15(Path('{base}'), 512)"
    subprocess.run([sys.executable, "-c", code], check=True)
    measured, estimate = peaks(base, tmp_path / "s", budget)
    assert measured <= estimate <= parse_memory(budget)  # type: ignore[operator]
    assert estimate < 1.5 * measured
