"""Reuse of deep features between steps: what runs when, that nothing stays behind, and what it costs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from vesalius.data.images.image import read_recipe
from vesalius.inference import GenerateConfig, Generator
from vesalius.inference.drawing.reuse import measure_reuse, psnr, reuse_features
from vesalius.inference.request import Request
from vesalius.inference.running.run import draw_samples
from vesalius.models.architecture import NANO, make_denoiser
from vesalius.models.full_size import SDXL

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")
SMALL = {"sample_size": 16, "norm_num_groups": 4, "block_out_channels": (8, 12, 16, 16)}


def sd15() -> tuple[Any, dict[str, Any]]:
    """Stable Diffusion 1.5's blocks (four levels of two layers), narrower."""
    return UNet2DConditionModel(**SMALL, cross_attention_dim=8, attention_head_dim=4), {}


def sdxl() -> tuple[Any, dict[str, Any]]:
    """SDXL's blocks (three levels, the outermost without attention), narrower."""
    sizes = {
        **SDXL, **SMALL, "block_out_channels": (8, 12, 16), "cross_attention_dim": 8, "attention_head_dim": 2,
        "transformer_layers_per_block": (1, 1, 2), "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 8,
    }  # fmt: skip
    return UNet2DConditionModel(**sizes), {
        "added_cond_kwargs": {"text_embeds": torch.ones(2, 8), "time_ids": torch.ones(2, 6)}
    }


def nano() -> tuple[Any, dict[str, Any]]:
    sizes = dataclasses.replace(NANO, latent_channels=4, text_width=8, image_size=64)
    return make_denoiser(sizes), {}


SHAPES = {"SD 1.5": sd15, "SDXL": sdxl, "nano": nano}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def evaluate(denoiser: Any, settings: dict[str, Any], steps: int, num: int = 2) -> list[torch.Tensor]:
    """What a denoiser says of the same noise at several timesteps; its text is made up."""
    noise = torch.randn(num, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    text = torch.randn(num, 5, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return [denoiser(noise, 900 - 100 * i, text, **settings, return_dict=False)[0] for i in range(steps)]


@shapes
def test_the_first_evaluations_and_every_nth_are_full_and_the_others_run_the_outermost_blocks_alone(shape: Any) -> None:
    torch.manual_seed(0)
    denoiser, settings = shape()
    runs: Counter[str] = Counter()
    deep, outer = denoiser.mid_block.resnets[0], denoiser.up_blocks[-1].resnets[0]
    below = [denoiser.down_blocks[1].resnets[0], denoiser.up_blocks[-2].resnets[0]]
    for name, module in (("deep", deep), ("outer", outer), ("below", below[0]), ("above", below[1])):
        module.register_forward_pre_hook(lambda *_, name=name: runs.update([name]))
    full = evaluate(denoiser, settings, 9)
    runs.clear()
    with reuse_features(denoiser, 3):
        reused = evaluate(denoiser, settings, 9)
    assert runs == {"deep": 5, "below": 5, "above": 5, "outer": 9}
    same = [torch.equal(a, b) for a, b in zip(full, reused, strict=True)]
    assert same == [True, True, True, False, False, True, False, False, True]
    shallow = torch.stack(reused[3:5]) - torch.stack(full[3:5])
    assert shallow.abs().mean() < (torch.stack(full[3:5]) - full[2]).abs().mean()  # the outer blocks hear the timestep


@shapes
def test_the_denoiser_is_afterwards_as_it_was(shape: Any) -> None:
    torch.manual_seed(0)
    denoiser, settings = shape()
    full = evaluate(denoiser, settings, 2)
    before = [(module, dict(module.__dict__)) for module in denoiser.modules()]
    with reuse_features(denoiser, 2):
        evaluate(denoiser, settings, 4)
    with pytest.raises(TypeError), reuse_features(denoiser, 2):
        denoiser()
    assert all(module.__dict__.keys() == state.keys() for module, state in before)
    assert all(torch.equal(a, b) for a, b in zip(full, evaluate(denoiser, settings, 2), strict=True))


def test_what_another_library_put_in_place_of_forward_is_put_back() -> None:
    denoiser, settings = sd15()
    block = denoiser.mid_block
    calls: list[int] = []
    whole = block.forward

    def wrapper(*args: Any, **named: Any) -> Any:
        calls.append(1)
        return whole(*args, **named)

    block.forward = wrapper
    with reuse_features(denoiser, 2):
        evaluate(denoiser, settings, 5)
    assert len(calls) == 4
    assert block.forward is wrapper


def test_another_batch_or_size_begins_anew() -> None:
    denoiser, settings = sd15()
    full = evaluate(denoiser, settings, 1, num=3)
    with reuse_features(denoiser, 5):
        evaluate(denoiser, settings, 5, num=2)
        again = evaluate(denoiser, settings, 1, num=3)
    assert torch.equal(full[0], again[0])


def test_threads_that_share_a_denoiser_share_no_features() -> None:
    denoiser, settings = sd15()
    with reuse_features(denoiser, 3):
        alone = evaluate(denoiser, settings, 7)
    both = Barrier(2)

    def walk_of(num: int) -> list[torch.Tensor]:
        both.wait()
        return evaluate(denoiser, settings, num)

    with reuse_features(denoiser, 3), ThreadPoolExecutor(2) as pool:
        walks = list(pool.map(walk_of, (7, 4)))
    for walk in walks:
        assert all(torch.equal(a, b) for a, b in zip(walk, alone, strict=False))


def test_a_denoiser_of_one_level_is_refused() -> None:
    denoiser = UNet2DConditionModel(
        sample_size=16, norm_num_groups=4, block_out_channels=(8,), cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    )  # fmt: skip
    with pytest.raises(ValueError, match="one level"), reuse_features(denoiser, 2):
        pass


def test_a_picture_drawn_with_reuse_does_not_depend_on_its_batch(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base), reuse=2)
    requests = [Request(prompt=p, seed=i) for i, p in enumerate(PROMPTS * 2)]
    images = [[p.image.astype(int) for _, p in generator.draw_all(requests, steps=4, batch_size=n)] for n in (1, 4, 5)]
    for one, other, third in zip(*images, strict=True):
        assert max(np.abs(one - other).max(), np.abs(one - third).max()) <= 1


@pytest.mark.parametrize("base", ["tiny_base", "tiny_xl"])
def test_reuse_of_one_draws_the_very_same_and_of_more_another(base: str, request: pytest.FixtureRequest) -> None:
    folder = str(request.getfixturevalue(base))
    usual = Generator(folder).draw(PROMPTS[0], steps=6)[0]
    assert np.array_equal(usual, Generator(folder, reuse=1).draw(PROMPTS[0], steps=6)[0])
    generator = Generator(folder, reuse=2)
    drawn = generator.draw(PROMPTS[0], steps=6)[0]
    assert not np.array_equal(usual, drawn)
    assert np.array_equal(drawn, generator.draw(PROMPTS[0], steps=6)[0])
    generator.reuse = 1
    assert np.array_equal(usual, generator.draw(PROMPTS[0], steps=6)[0])


def test_a_run_says_what_reuse_costs_and_its_samples_tell_of_it(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = GenerateConfig(prompt=PROMPTS, out=tmp_path / "s", base=str(tiny_base), steps=4, json=True, reuse=2)
    samples = draw_samples(run)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reuse of features")]
    assert len(told) == 1
    assert "every 2 steps: " in told[0]
    assert "dB PSNR against full computation over 2 pictures" in told[0]
    assert {s.reuse for s in samples} == {2}
    assert read_recipe(run.out / samples[0].file_name)["reuse"] == 2
    assert draw_samples(run) == samples
    assert "reuse" not in capsys.readouterr().err  # nothing was drawn
    with pytest.raises(ValueError, match="reuse"):
        draw_samples(dataclasses.replace(run, reuse=1))
    usual = dataclasses.replace(run, out=tmp_path / "usual", reuse=1)
    assert {s.reuse for s in draw_samples(usual)} == {1}
    assert "reuse" not in capsys.readouterr().err


def test_what_reuse_costs_is_measured_on_different_prompts(tiny_base: Path) -> None:
    generator = Generator(str(tiny_base), reuse=2)
    requests = [Request(prompt=p, seed=10 * i + j) for i, p in enumerate(PROMPTS) for j in range(2)]
    cost = measure_reuse(generator, requests, steps=4, guidance=3.0)
    chosen = [requests[0], requests[2]]
    both = []
    for generator.reuse in (1, 2):
        drawn = {r.seed: p.image.astype(float) for r, p in generator.draw_all(chosen, steps=4, guidance=3.0)}
        both.append(np.concatenate([drawn[r.seed].ravel() for r in chosen]))
    assert cost.psnr == pytest.approx(psnr(float(np.square(both[0] - both[1]).mean())), abs=1e-3)
    assert cost.mean_difference == pytest.approx(float(np.abs(both[0] - both[1]).mean()), abs=1e-3)
    assert (cost.num, cost.every, generator.reuse) == (2, 2, 2)
    alone = measure_reuse(generator, requests[:1], steps=1, guidance=1.0)
    assert (alone.num, alone.psnr) == (1, float("inf"))
    assert "in so few steps there is nothing to reuse" in str(alone)
    assert "dB PSNR against full computation over 2 pictures," in str(cost)


def test_psnr_is_that_of_eight_bits() -> None:
    assert psnr(255.0**2) == 0
    assert psnr(1.0) == pytest.approx(48.13, abs=0.01)


@pytest.mark.parametrize("every", [0, -1])
def test_reuse_below_one_is_refused(every: int, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reuse"):
        Generator(str(tiny_base), reuse=every)
    with pytest.raises(ValueError, match="--reuse"):
        draw_samples(GenerateConfig(prompt=PROMPTS, out=tmp_path / "s", base=str(tiny_base), reuse=every))


def test_the_benchmark_tells_which_findings_reuse_loses(tiny_base: Path) -> None:
    from benchmarks.reuse_findings import measure_findings

    generator = Generator(str(tiny_base))
    costs = measure_findings(generator, 4, steps=5, every=(1, 2))
    assert generator.reuse == 1
    assert {c.question for c in costs if c.every == 2} >= {"present"}
    for cost in costs:
        assert cost.num > 0
        assert round((cost.reused - cost.full) * cost.num) == cost.won - cost.lost
        assert cost.every > 1 or cost.lost == cost.won == 0
    assert str(costs[0]).startswith("5 steps, deep levels every 1: present right ")
