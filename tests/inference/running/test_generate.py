from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vesalius.data.images.image import read_image, read_recipe
from vesalius.inference import GenerateConfig, Generator, generate
from vesalius.inference.request import Request
from vesalius.inference.running.run import draw_samples, stream_requests
from vesalius.inference.sample import load_samples, sample_seed
from vesalius.models.adapters.adapter import AdapterCard, Sampling, write_adapter
from vesalius.models.base import open_base

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")


def config(tiny_base: Path, out: Path, **changes: object) -> GenerateConfig:
    usual = GenerateConfig(prompt=PROMPTS, out=out, base=str(tiny_base), num=3, steps=2, seed=5, json=True)
    return dataclasses.replace(usual, **changes)


def test_a_picture_does_not_depend_on_its_batch(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base))
    requests = [Request(prompt=p, seed=sample_seed(1, p, i)) for p in PROMPTS for i in range(3)]
    by_batch = {
        n: {(r.prompt, r.seed): p.image for r, p in generator.draw_all(requests, steps=3, batch_size=n)}
        for n in (1, 2, 8)
    }
    for key, alone in by_batch[1].items():
        for batch in (2, 8):
            assert np.abs(alone.astype(int) - by_batch[batch][key].astype(int)).max() <= 1, (key, batch)


def test_in_bfloat16_a_picture_is_nearly_the_same(tiny_base: Path, tmp_path: Path) -> None:
    requests = [Request(prompt=p, seed=i) for i, p in enumerate(PROMPTS)]
    exact, half = (
        [p.image.astype(int) for _, p in Generator(str(tiny_base), precision=which).draw_all(requests, steps=3)]
        for which in ("fp32", "bf16")
    )
    differences = np.concatenate([np.abs(a - b).ravel() for a, b in zip(exact, half, strict=True)])
    assert 0 < differences.mean() < 3
    (sample,) = draw_samples(config(tiny_base, tmp_path / "s", num=1, prompt=("Chest CT",), precision="bf16"))
    assert sample.precision == "bf16"


def test_a_long_report_does_not_change_its_neighbours(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base))
    short = Request(prompt=PROMPTS[0], seed=1)
    long = Request(prompt="Chest CT. " + "There is a nodule in the left lung, measuring 12 mm. " * 20, seed=2)
    alone = {r.seed: p.image for r, p in generator.draw_all([short], steps=2)}[1]
    beside = {r.seed: p.image for r, p in generator.draw_all([short, long], steps=2)}
    assert generator.num_chunks(long.prompt) > 1
    assert np.abs(alone.astype(int) - beside[1].astype(int)).max() <= 1


def test_grey_modalities_come_out_in_one_channel_and_pathology_in_three(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base))
    assert [generator.draw(p, steps=1)[0].shape[2] for p in PROMPTS] == [1, 1, 3]


def test_samples_carry_their_whole_recipe(tiny_base: Path, tmp_path: Path) -> None:
    samples = draw_samples(config(tiny_base, tmp_path / "s"))
    assert len(samples) == 9
    for sample in samples:
        recipe = read_recipe(tmp_path / "s" / sample.file_name)
        assert recipe["text"] == sample.text
        assert recipe["seed"] == sample.seed
        assert recipe["synthetic"] is True
        assert len(recipe["base_digest"]) == 64
    rows = [json.loads(line) for line in (tmp_path / "s" / "metadata.jsonl").read_text().splitlines()]
    needed = {"file_name", "text", "seed", "steps", "guidance", "base_digest", "adapter_digest", "synthetic"}
    assert needed <= set(rows[0])


def test_a_samples_folder_opens_as_an_imagefolder(tiny_base: Path, tmp_path: Path) -> None:
    import datasets

    draw_samples(config(tiny_base, tmp_path / "s", num=1))
    places = {"data_dir": str(tmp_path / "s"), "cache_dir": str(tmp_path / "cache")}
    opened = datasets.load_dataset("imagefolder", **places)["train"]
    assert len(opened) == 3
    assert set(opened["text"]) == set(PROMPTS)


def test_a_finished_folder_reruns_without_its_base_where_steps_and_guidance_are_given(
    tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    run = config(base, tmp_path / "s", num=1, guidance=2.0)
    drawn = draw_samples(run)
    shutil.rmtree(base)
    assert draw_samples(run) == drawn
    with pytest.raises(ValueError, match="base"):
        draw_samples(dataclasses.replace(run, steps=None))


def test_a_rerun_draws_only_what_is_missing_and_just_the_same(tiny_base: Path, tmp_path: Path) -> None:
    run = config(tiny_base, tmp_path / "s")
    samples = draw_samples(run)
    images = {s.file_name: read_image(tmp_path / "s" / s.file_name) for s in samples}
    kept = tmp_path / "s" / samples[0].file_name
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "s" / samples[4].file_name).unlink()
    (tmp_path / "s" / samples[5].file_name).write_bytes(b"half a file")
    with (tmp_path / "s" / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "images/half')
    again = draw_samples(run)
    assert [s.sha256 for s in again] == [s.sha256 for s in samples]
    assert kept.stat().st_mtime_ns == stamp
    for name, image in images.items():
        assert np.array_equal(read_image(tmp_path / "s" / name), image)


def test_another_recipe_is_refused_in_the_same_folder(tiny_base: Path, tmp_path: Path) -> None:
    draw_samples(config(tiny_base, tmp_path / "s", num=1))
    with pytest.raises(ValueError, match="guidance"):
        draw_samples(config(tiny_base, tmp_path / "s", num=1, guidance=7.0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        draw_samples(config(tiny_base, tmp_path / "full"))


def test_a_prompt_without_a_modality_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no modality"):
        draw_samples(GenerateConfig(prompt=("a nodule on the left",), out=tmp_path / "s", base="no such base"))
    assert not (tmp_path / "s").exists()


def test_seeds_are_distinct_and_do_not_move_when_the_list_grows(tmp_path: Path) -> None:
    few = list(stream_requests(GenerateConfig(prompt=PROMPTS[:2], out=tmp_path, num=2)))
    more = list(stream_requests(GenerateConfig(prompt=PROMPTS, out=tmp_path, num=4)))
    assert {r.seed for r in few} < {r.seed for r in more}
    assert len({r.seed for r in more}) == 12


@pytest.fixture
def quick(tiny_base: Path, tmp_path: Path) -> Path:
    """An adapter that wants 3 steps without guidance."""
    from peft import LoraConfig, get_peft_model

    base = open_base(str(tiny_base))
    wrapped = get_peft_model(base.pipeline.unet, LoraConfig(r=2, target_modules=["to_q"]))
    scheduler = {**base.pipeline.scheduler.config, "_class_name": "DDIMScheduler", "timestep_spacing": "leading"}
    card = AdapterCard(
        base=base.name, base_digest=base.digest, data_digest="", depth=0, steps=1,
        sampling=Sampling(steps=3, guidance=1.0, scheduler=scheduler),
    )  # fmt: skip
    write_adapter(tmp_path / "quick", wrapped, card)
    return tmp_path / "quick"


def test_an_adapter_brings_its_steps_guidance_and_scheduler(tiny_base: Path, tmp_path: Path, quick: Path) -> None:
    usual = config(tiny_base, tmp_path / "usual", num=1, steps=None)
    assert {(s.steps, s.guidance) for s in draw_samples(usual)} == {(12, 3.0)}
    brought = dataclasses.replace(usual, out=tmp_path / "brought", adapter=(str(quick),))
    assert {(s.steps, s.guidance) for s in draw_samples(brought)} == {(3, 1.0)}
    told = json.loads((tmp_path / "brought" / "config.json").read_text())
    assert (told["steps"], told["guidance"]) == (3, 1.0)
    generator = Generator(str(tiny_base), quick)
    assert (generator.steps, generator.guidance) == (3, 1.0)
    assert generator.base.pipeline.scheduler.config.timestep_spacing == "leading"


def test_steps_and_guidance_that_are_given_win_over_the_adapters(tiny_base: Path, tmp_path: Path, quick: Path) -> None:
    given = config(tiny_base, tmp_path / "s", num=1, steps=2, guidance=1.5, adapter=(str(quick),))
    assert {(s.steps, s.guidance) for s in draw_samples(given)} == {(2, 1.5)}


@pytest.mark.parametrize(("guidance", "evaluated"), [(1.0, 1), (3.0, 2)])
def test_without_guidance_the_unconditional_half_is_not_run(tiny_base: Path, guidance: float, evaluated: int) -> None:
    generator = Generator(str(tiny_base))
    sizes: list[int] = []
    generator.base.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    images = [p.image for _, p in generator.draw_all([Request(prompt=PROMPTS[0], seed=1)], steps=2, guidance=guidance)]
    assert sizes == [evaluated] * 2
    negative = {"steps": 2, "guidance": guidance, "negative": "a mass " * 200}
    [(_, other)] = generator.draw_all([Request(prompt=PROMPTS[0], seed=1)], **negative)
    assert np.array_equal(images[0], other.image) == (guidance == 1)


@pytest.mark.slow
def test_a_killed_run_continues_without_loss(tiny_base: Path, tmp_path: Path) -> None:
    line = [
        sys.executable, "-m", "vesalius.cli.main", "generate", *PROMPTS, "--num", "40", "--steps", "2",
        "--batch-size", "2", "--base", str(tiny_base), "--out", str(tmp_path / "s"),
    ]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = tmp_path / "s" / ".generate" / "shards" / "00000.part"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not manifest.is_file() or manifest.read_text().count("\n") < 10):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert manifest.read_text().count("\n") >= 10
    with pytest.raises(ValueError, match="is unfinished; run its `vesalius generate` line again"):
        load_samples(tmp_path / "s")
    assert subprocess.run(line, capture_output=True).returncode == 0
    samples = load_samples(tmp_path / "s")
    assert len({s.file_name for s in samples}) == 120


def test_a_size_that_the_base_cannot_draw_leaves_the_folder_free(tiny_base: Path, tmp_path: Path) -> None:
    config = GenerateConfig(prompt=("Chest CT",), base=str(tiny_base), out=tmp_path / "s", steps=1, json=True)
    with pytest.raises(ValueError, match="size 33 x 32"):
        draw_samples(dataclasses.replace(config, size=(33, 32)))
    assert not (config.out / "config.json").exists()
    (sample,) = draw_samples(dataclasses.replace(config, size=(32, 48)))
    assert (sample.height, sample.width) == (32, 48)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "--steps 0: expected a whole number from 1 to 1000"),
        ({"steps": 2.5}, r"--steps 2\.5: expected a whole number"),
        ({"steps": 10_000}, "--steps 10000: expected"),
        ({"guidance": float("nan")}, "--guidance nan: expected a number from 0 to 100"),
    ],
)
def test_what_cannot_be_asked_of_the_command_line_cannot_be_asked_of_a_generator(
    tiny_base: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Generator(str(tiny_base)).draw("Chest CT", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base": "./missing"}, "no diffusers folder"),
        ({"adapter": ("missing",)}, "no adapter there"),
        ({"scheduler": "foo"}, "--scheduler 'foo' is not known"),
        ({"size": (33, 32)}, "size 33 x 32: base .* draws edges of 16 to 64 pixels in steps of"),
        ({"adapter": ("nano-fast",)}, "nano-fast: trained on base"),
        ({"attention": "xformers"}, "--attention xformers: needs an NVIDIA GPU"),
    ],
)
def test_a_dry_run_finds_what_the_run_would_refuse(
    tiny_base: Path, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    usual = GenerateConfig(prompt=("Chest CT",), base=str(tiny_base), out=tmp_path / "s", json=True, dry_run=True)
    generate(usual)
    with pytest.raises(ValueError, match=message):
        generate(dataclasses.replace(usual, **fields))
    assert not usual.out.exists()
    usual.out.mkdir()
    (usual.out / "mine.txt").write_text("not a samples folder")
    with pytest.raises(ValueError, match="is not empty and no samples folder"):
        generate(usual)


def test_two_threads_may_draw_with_one_generator(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base))
    alone = [generator.draw(p, steps=4, num=2, seed=3) for p in PROMPTS]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda p: generator.draw(p, steps=4, num=2, seed=3), PROMPTS))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_what_a_run_left_that_was_killed_while_it_finished_is_removed(tiny_base: Path, tmp_path: Path) -> None:
    run = config(tiny_base, tmp_path / "s", num=1)
    samples = draw_samples(run)
    (run.out / ".metadata.jsonl.7.tmp").write_text("half a li")
    assert draw_samples(run) == samples
    assert not list(run.out.glob("**/.*.tmp"))


def test_a_folder_of_an_earlier_release_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    run = config(tiny_base, tmp_path / "s", num=2, precision="fp32")
    samples = draw_samples(run)
    kept = json.loads((run.out / "config.json").read_text())
    earlier = ("prompt", "prompts", "split", "grid", "vary", "num", "seed", "base", "adapter", "modality", "steps",
               "guidance", "negative", "size", "sink", "precision", "device")  # fmt: skip
    assert sorted(kept) == sorted(earlier)
    assert kept["adapter"] is None
    (run.out / samples[0].file_name).unlink()
    assert draw_samples(run) == samples


def test_a_dry_run_finds_a_scheduler_that_cannot_walk_the_levels_of_the_base(tiny_base: Path, tmp_path: Path) -> None:
    run = config(tiny_base, tmp_path / "s", dry_run=True)
    generate(dataclasses.replace(run, scheduler="unipc"))
    with pytest.raises(ValueError, match="cannot draw with this base, which has a last noise level without signal"):
        generate(dataclasses.replace(run, scheduler="heun"))
