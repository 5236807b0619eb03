"""Blends and fused bases: the sum of what they are made of, with its provenance."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from vesalius.inference import Generator
from vesalius.models import (
    AdapterFuseConfig,
    AdapterMergeConfig,
    apply_adapter,
    fuse_adapter,
    merge_adapters,
    open_base,
    read_card,
)
from vesalius.models.adapters.adapter import Sampling
from vesalius.models.adapters.check import ask_denoiser, ask_text, largest
from vesalius.models.adapters.layers import read_lora

MakeAdapter = Callable[..., Path]
SAMPLING = Sampling(steps=4, guidance=1.0, scheduler={"_class_name": "DDIMScheduler", "num_train_timesteps": 77})


def merge(*adapters: Path, out: Path, **fields: Any) -> Any:
    return merge_adapters(AdapterMergeConfig(adapters=adapters, out=out, **fields))


def deltas(run: Path) -> dict[tuple[str, str], torch.Tensor]:
    return {(layer.part, layer.name): layer.delta() for layer in read_lora(run).layers}


def summed(*pairs: tuple[float, Path]) -> dict[tuple[str, str], torch.Tensor]:
    total: dict[tuple[str, str], torch.Tensor] = {}
    for weight, run in pairs:
        for name, delta in deltas(run).items():
            total[name] = total.get(name, torch.zeros_like(delta)) + weight * delta
    return total


def test_a_blend_is_the_weighted_sum_of_deltas(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    one = make_adapter("one", use_rslora=True, text={"r": 3})
    two = make_adapter("two", seed=1, target_modules=["to_k", "to_v", "conv1"], r=2, rank_pattern={"to_v": 5})
    three = make_adapter("three", seed=2, text={"target_modules": ["q_proj", "fc2"]})
    summary = merge(one, two, three, out=tmp_path / "blend", weights=(0.7, -0.3, 1.5))
    wanted, found = summed((0.7, one), (-0.3, two), (1.5, three)), deltas(tmp_path / "blend")
    assert set(found) == set(wanted)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
    assert summary.error < 1e-6
    assert (summary.rank, summary.shares) == (13, {"one": 0.7, "two": -0.3, "three": 1.5})


def test_a_blend_draws_as_the_sum_of_its_adapters(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    one, two = make_adapter("one", text={}), make_adapter("two", seed=1, target_modules=["to_q"])
    merge(one, two, out=tmp_path / "blend", weights=(1.0, 1.0))
    blended, both = open_base(str(tiny_base)), open_base(str(tiny_base))
    apply_adapter(blended, tmp_path / "blend")
    for run in (one, two):
        apply_adapter(both, run)
    assert largest(ask_denoiser(blended.pipeline), ask_denoiser(both.pipeline)) < 1e-5
    assert largest(ask_text(blended.pipeline), ask_text(both.pipeline)) < 1e-5


def test_a_blend_of_less_rank_is_the_nearest_and_tells_its_error(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    layers = ["to_q", "ff.net.2", "conv1", "conv_out", "proj_in"]
    one, two = (make_adapter(f"run{i}", seed=i, r=8, target_modules=layers) for i in (0, 1))
    summary = merge(one, two, out=tmp_path / "blend", rank=6)  # conv_out has four channels, fewer than the rank
    wanted, found = summed((0.5, one), (0.5, two)), deltas(tmp_path / "blend")
    assert {layer.rank for layer in read_lora(tmp_path / "blend").layers} == {6}
    gaps, size = 0.0, 0.0
    for name, delta in wanted.items():
        lost = torch.linalg.svdvals(delta.flatten(1))[6:].square().sum()  # what the best of rank 6 leaves out
        assert float((found[name] - delta).square().sum()) == pytest.approx(float(lost), rel=1e-3, abs=1e-6)
        gaps, size = gaps + float(lost), size + float(delta.square().sum())
    assert summary.error == pytest.approx((gaps / size) ** 0.5, rel=1e-3)
    assert summary.error > 0.01


def test_the_card_of_a_blend_is_as_deep_as_the_deepest(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    told = {"depth": 3, "modalities": ("MRI", "CT"), "steps": 7, "sampling": dataclasses.asdict(SAMPLING)}
    one, two = make_adapter("one"), make_adapter("two", seed=1, card=told)
    merge(one, two, out=tmp_path / "blend")
    card = read_card(tmp_path / "blend")
    assert card is not None
    assert (card.depth, card.modalities, card.steps, card.sampling) == (3, ("CT", "MRI"), 10, SAMPLING)
    row = json.loads((tmp_path / "blend" / "blend.json").read_text())
    assert [(a["adapter"], a["weight"]) for a in row["adapters"]] == [("one", 0.5), ("two", 0.5)]
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two", "blend"}


def test_a_dry_run_writes_no_blend(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    summary = merge(make_adapter("one"), make_adapter("two", seed=1), out=tmp_path / "blend", dry_run=True)
    assert summary.error < 1e-6
    assert not (tmp_path / "blend").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": (0.5,)}, "1 number for 2 adapters"),
        ({"weights": (0.5, float("nan"))}, "--weights holds nan"),
        ({"weights": (0.5, float("inf"))}, "--weights holds inf"),
        ({"weights": (0.0, 0.0)}, "all 0"),
        ({"rank": 0}, "--rank is 0"),
        ({"rank": 8}, "--rank 8 is not below the exact rank 8"),
    ],
)
def test_weights_and_ranks_that_cannot_be_are_refused(
    make_adapter: MakeAdapter, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        merge(make_adapter("one"), make_adapter("two", seed=1), out=tmp_path / "blend", **fields)
    assert not (tmp_path / "blend").exists()


def test_adapters_that_do_not_go_together_are_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    one, out = make_adapter("one"), tmp_path / "blend"
    with pytest.raises(ValueError, match="got 1 adapter to blend"):
        merge(one, out=out)
    with pytest.raises(ValueError, match="named twice"):
        merge(one, one / "adapter", out=out)
    with pytest.raises(ValueError, match=r"one/adapter was trained on base .*other/adapter on 'elsewhere' \(0000"):
        merge(one, make_adapter("other", card={"base": "elsewhere", "base_digest": "0" * 64}), out=out)
    with pytest.raises(ValueError, match="is a DoRA"):
        merge(one, make_adapter("dora", use_dora=True), out=out)
    quick = dataclasses.asdict(SAMPLING)
    with pytest.raises(ValueError, match="made to be drawn with in different ways"):
        merge(
            make_adapter("a", card={"sampling": quick}), make_adapter("b", card={"sampling": {**quick, "steps": 8}}),
            out=out,
        )  # fmt: skip
    bare = make_adapter("bare", seed=4)
    (bare / "adapter" / "adapter.json").unlink()
    with pytest.raises(ValueError, match=r"has no adapter\.json, so its base and its generation depth are unknown"):
        merge(one, bare, out=out)
    same = make_adapter("deeper/one", seed=1)
    assert set(merge(one, same, out=tmp_path / "alike", dry_run=True).shares) == {"one-1", "one-2"}
    with pytest.raises(ValueError, match="is there already"):
        merge(one, make_adapter("two", seed=1), out=one)
    assert not out.exists()


def fuse(run: Path, out: Path, **fields: Any) -> Any:
    return fuse_adapter(AdapterFuseConfig(adapter=run, out=out, **fields))


@pytest.mark.parametrize("kind", [{}, {"use_dora": True, "use_rslora": True}, {"text": {}}])
def test_a_fused_base_is_opened_by_vesalius_and_by_plain_diffusers(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path, kind: dict[str, Any]
) -> None:
    run = make_adapter(**kind)
    summary = fuse(run, tmp_path / "base")
    assert summary.parts == (("unet", "text_encoder") if "text" in kind else ("unet",))
    wanted = open_base(str(tiny_base))
    apply_adapter(wanted, run)
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "base", dtype=torch.float32, safety_checker=None)
    for opened in (open_base(str(tmp_path / "base")).pipeline, plain):
        assert largest(ask_denoiser(opened), ask_denoiser(wanted.pipeline)) == 0
        assert largest(ask_text(opened), ask_text(wanted.pipeline)) == 0
    for path in (tmp_path / "base").rglob("*.json"):
        assert str(tiny_base.parent) not in path.read_text(), path
    assert {p.name for p in tmp_path.iterdir()} == {"run", "base"}


def test_a_full_disk_leaves_neither_blend_nor_base(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    one, two = make_adapter("one"), make_adapter("two", seed=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            merge(one, two, out=tmp_path / "blend")
        with pytest.raises(OSError, match="too large"):
            fuse(one, tmp_path / "base")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two"}


def test_half_of_an_adapter_is_half_of_its_delta(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    run = make_adapter(target_modules=["to_q"], text={"target_modules": ["q_proj"]})
    fuse(run, tmp_path / "base", weight=0.5)
    old, new = open_base(str(tiny_base)).pipeline, open_base(str(tmp_path / "base")).pipeline
    for (part, name), delta in deltas(run).items():
        gone = getattr(new, part).get_submodule(name).weight - getattr(old, part).get_submodule(name).weight
        assert torch.allclose(gone, delta / 2, atol=1e-6)


def test_a_fused_base_keeps_depth_and_sampling_of_its_adapter(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    run = make_adapter(card={"depth": 2, "sampling": dataclasses.asdict(SAMPLING)})
    fuse(run, tmp_path / "base")
    generator = Generator(str(tmp_path / "base"), device="cpu")
    assert (generator.depth, generator.steps, generator.guidance) == (3, 4, 1.0)
    assert type(generator.base.pipeline.scheduler).__name__ == "DDIMScheduler"
    assert Generator(str(tiny_base), device="cpu").depth == 1


def test_what_cannot_be_fused_is_refused(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    run = make_adapter()
    for weight in (float("nan"), float("inf"), 0.0):
        with pytest.raises(ValueError, match="--weight is"):
            fuse(run, tmp_path / "base", weight=weight)
    with pytest.raises(ValueError, match="is there already"):
        fuse(run, run)
    with pytest.raises(ValueError, match="trained on base"):
        fuse(make_adapter("other", card={"base_digest": "0" * 64}), tmp_path / "base", base=str(tiny_base))
    (run / "adapter" / "adapter.json").unlink()
    with pytest.raises(ValueError, match=r"no adapter\.json that names its base; give --base"):
        fuse(run, tmp_path / "base")
    assert not fuse(run, tmp_path / "base", base=str(tiny_base), dry_run=True).path.exists()


def test_a_blend_for_another_base_is_refused_by_name(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    told = {"base_digest": "0" * 64}
    one, two = make_adapter("one", card=told), make_adapter("two", seed=1, card=told)
    with pytest.raises(ValueError, match=r"one.*trained on base .*\(000000000000\), not on .*; give its own --base"):
        merge(one, two, out=tmp_path / "blend", base=str(tiny_base))
    assert not (tmp_path / "blend").exists()
