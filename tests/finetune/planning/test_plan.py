"""What a run is told to need is what it needs; what does not fit is told what does."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from vesalius.cli.main import CHECK, DONE, find_verb, main, parse
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.learning.trained import lora_config
from vesalius.finetune.lora import finetune
from vesalius.finetune.planning import estimate
from vesalius.finetune.planning.cards import CARDS, is_card, seconds_on
from vesalius.finetune.planning.config import PlanConfig
from vesalius.finetune.planning.estimate import Counts, Estimate, Seen, adapted, num_checkpoints, num_validations
from vesalius.finetune.planning.plan import Plan, plan
from vesalius.models.base import open_base
from vesalius.models.computing.count import (
    Tally,
    count_encode,
    count_step,
    flop_counter,
    flops_by_kind,
    num_bytes,
    open_shape,
)
from vesalius.models.computing.work import Work

Make = Callable[..., PlanConfig]
GROUPS = [(3, 1), (1, 2)]


@pytest.fixture
def planned(tiny_base: Path, phantoms: Path, tmp_path: Path) -> Make:
    """A plan of a short run of the tiny base on the phantoms; keywords replace its fields."""

    def make(**fields: Any) -> PlanConfig:
        usual = {
            "data": (phantoms,), "base": str(tiny_base), "out": tmp_path / "run", "steps": 40, "batch_size": 4,
            "rank": 4, "alpha": 4, "precision": "fp32", "num_validation": 4, "gpu": "l4", "json": True,
            "caption_share": 1.0, "num_pictures": 0, "tracker": "none",
        }  # fmt: skip
        return PlanConfig(**{**usual, **fields})

    return make


def card_of(monkeypatch: pytest.MonkeyPatch, name: str, memory: int) -> None:
    monkeypatch.setitem(CARDS, name, dataclasses.replace(CARDS[name], memory=memory))


@pytest.mark.parametrize("half", [False, True])
def test_the_flops_that_are_counted_are_those_of_a_real_step(planned: Make, half: bool) -> None:
    config = planned()
    shape = open_shape(config.base)
    counted = count_step(shape, adapted(shape, config), GROUPS, half=half, gpu=False)
    denoiser: Any = get_peft_model(open_base(config.base).pipeline.unet, lora_config(config, config.targets)).train()
    size, channels, width = shape.latent_size, shape.denoiser.config.in_channels, shape.text_width
    with flop_counter() as counter:
        predicted = []
        for num, chunks in GROUPS:
            text = torch.randn(num, chunks * shape.tokenizer.model_max_length, width)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                seen = denoiser(torch.randn(num, channels, size, size), torch.zeros(num, dtype=torch.long), text)
            predicted.append(seen.sample.float().pow(2).mean((1, 2, 3)))
        torch.cat(predicted).mean().backward()
    kinds = flops_by_kind(counter)
    assert sum(kinds.values()) == counted.work.flops
    # A product of few rows may be called one of batches; its work is the same.
    assert kinds == pytest.approx({name: getattr(counted.work, name) for name in kinds}, rel=0.02)
    assert min(kinds.values()) > 0


def test_shapes_have_the_weights_of_the_base_but_none_of_its_bytes(planned: Make) -> None:
    config = planned()
    shape, base = open_shape(config.base), open_base(config.base)
    assert num_bytes(shape.denoiser) == sum(p.nbytes for p in base.pipeline.unet.parameters())
    assert num_bytes(shape.text_encoders[0]) == sum(p.nbytes for p in base.pipeline.text_encoder.parameters())
    assert shape.image_size == base.image_size
    assert {p.device.type for p in adapted(shape, config).parameters()} == {"meta"}


def test_what_is_counted_as_alive_is_what_a_backward_pass_needs(planned: Make) -> None:
    config = planned()
    shape = open_shape(config.base)
    network: Any = get_peft_model(open_base(config.base).pipeline.unet, lora_config(config, config.targets)).train()
    own, saved = {p.untyped_storage().data_ptr() for p in network.parameters()}, dict[int, int]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    text = torch.randn(8, shape.tokenizer.model_max_length, shape.text_width)
    size, channels = shape.latent_size, shape.denoiser.config.in_channels
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(8, channels, size, size), torch.zeros(8, dtype=torch.long), text)
    count = count_step(shape, adapted(shape, config), [(8, 1)], half=False, gpu=False)
    assert sum(saved.values()) * 0.8 < count.peak < sum(saved.values()) * 1.5


@torch.no_grad()
def test_the_bytes_that_are_counted_as_alive_are_those_of_real_tensors(planned: Make) -> None:
    config = planned()
    shape, autoencoder = open_shape(config.base), open_base(config.base).pipeline.vae
    images = torch.randn(5, 3, shape.image_size, shape.image_size)
    with flop_counter() as counter, Tally(counter) as tally:
        autoencoder.encode(images).latent_dist  # noqa: B018
        real = tally.count()
    counted = count_encode(shape, 5, half=False, gpu=False)
    assert counted.work.flops == real.work.flops
    assert counted.peak == pytest.approx(real.peak, rel=0.1)


@pytest.mark.slow
def test_latents_that_do_not_fit_are_told_whatever_the_batch(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = planned(batch_size=1)
    shape = open_shape(config.base)
    seen = Seen(usual=[(1, 1)], longest=[(1, 1)], num_train=plan(config).num_train, num_held_out=4)
    card_of(monkeypatch, "l4", Estimate(config, Counts(config, shape, seen)).needs().others["making latents"] - 1)
    found = plan(config)
    assert not found.fits
    assert found.memory == {"making latents": found.peak}
    assert any("making latents alone needs" in told for told in found.assumptions)
    assert not any(r.startswith("--micro-batch") for r in found.remedies)


@pytest.mark.slow
def test_bf16_holds_less_than_fp32_and_a_smaller_batch_less_than_a_larger(planned: Make) -> None:
    shape = open_shape(planned().base)
    network = adapted(shape, planned())
    peaks = [count_step(shape, network, [(num, 1)], half=False, gpu=True).peak for num in (4, 8, 16)]
    assert peaks == sorted(peaks)
    assert count_step(shape, network, [(16, 1)], half=True, gpu=True).peak < peaks[-1]


def test_money_is_hours_times_price_and_no_price_is_no_money(planned: Make) -> None:
    priced = plan(planned(data=(), price=1.5, steps=100_000))
    assert priced.hours is not None
    assert priced.money == pytest.approx(priced.hours * 1.5)
    assert priced.hours == pytest.approx(sum(priced.seconds.values()) / 3600)
    assert priced.seconds["steps"] == pytest.approx(100_000 * (priced.seconds_per_step or 0))
    assert plan(planned(data=())).money is None


def test_a_run_that_fits_has_no_remedy_and_says_that_its_card_was_not_measured(planned: Make) -> None:
    found = plan(planned())
    assert found.fits
    assert found.remedies == ()
    assert not found.measured
    assert any("not measured on this card" in told for told in found.assumptions)
    assert found.num_train + found.num_held_out > 40
    assert found.peak == sum(found.memory.values())


@pytest.mark.slow
def test_a_batch_that_does_not_fit_names_the_batch_that_does(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = plan(planned(data=(), batch_size=64))
    card_of(monkeypatch, "l4", usual.peak - usual.memory["activations"] // 2)
    found = plan(planned(data=(), batch_size=64))
    assert not found.fits
    (words,) = [r for r in found.remedies if r.startswith("--micro-batch")]
    num = int(words.split()[1])
    assert 24 < num < 40
    assert plan(planned(data=(), batch_size=64, micro_batch=num)).fits
    assert not plan(planned(data=(), batch_size=64, micro_batch=num + 8)).fits


@pytest.mark.slow
def test_what_fits_elsewhere_names_the_smallest_card_and_bf16(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = plan(planned(data=(), batch_size=64))
    for name in CARDS:
        card_of(monkeypatch, name, usual.peak - 1)
    card_of(monkeypatch, "a100", usual.peak + 1)
    card_of(monkeypatch, "h200", usual.peak + 2)
    found = plan(planned(data=(), batch_size=64))
    assert "--gpu a100" in found.remedies
    assert "--precision bf16" in found.remedies
    assert plan(planned(data=(), batch_size=64, precision="bf16")).fits


@pytest.mark.slow
def test_a_rank_that_is_the_trouble_names_the_rank_that_fits(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = plan(planned(data=(), rank=32)), plan(planned(data=(), rank=8))
    card_of(monkeypatch, "l4", (large.peak + small.peak) // 2)
    found = plan(planned(data=(), rank=32))
    (words,) = [r for r in found.remedies if r.startswith("--rank")]
    assert plan(planned(data=(), rank=int(words.split()[1]))).fits


def test_nothing_fits_a_card_of_no_memory(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CARDS:
        card_of(monkeypatch, name, 1000)
    found = plan(planned(data=()))
    assert not found.fits
    assert found.remedies == ()


def test_a_run_that_does_not_fit_this_machine_is_not_tried(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "machine_memory", lambda: 1000)
    found = plan(planned(data=(), gpu="cpu"))
    assert not found.fits
    assert not found.measured
    assert found.hours is None
    assert any(r.startswith("--gpu") for r in found.remedies)


def test_the_checkpoint_and_the_adapter_are_as_large_as_told(planned: Make) -> None:
    config = planned(steps=2)
    found = plan(config)
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(FinetuneConfig)}
    finetune(FinetuneConfig(**{**fields, "device": "cpu"}))
    (tensors,) = config.out.glob("checkpoints/*/tensors.safetensors")
    assert tensors.stat().st_size == pytest.approx(found.checkpoint, abs=50_000)  # names take some
    (latents,) = [p for p in config.out.glob("cache/*") if p.stat().st_size > 100_000]
    assert found.disk > latents.stat().st_size + found.checkpoint


@pytest.mark.parametrize(("steps", "every"), [(1, 100), (100, 100), (101, 100), (250, 100)])
def test_validations_and_checkpoints_are_counted_as_the_loop_makes_them(planned: Make, steps: int, every: int) -> None:
    config = planned(steps=steps, validate_every=every, save_every=every)
    made = [step for step in range(1, steps + 1) if step % every == 0 or step == steps]
    assert num_checkpoints(config) == len(made)
    assert num_validations(config) == 1 + len(made)


def test_without_data_steps_alone_are_planned(planned: Make) -> None:
    found = plan(planned(data=()))
    assert (found.num_train, found.seconds["latents"]) == (0, 0)
    assert found.seconds["steps"] > 0
    assert any("no --data" in told for told in found.assumptions)


def test_longer_texts_cost_more(planned: Make) -> None:
    shape = open_shape(planned().base)
    seen = [Seen(usual=[(4, n)], longest=[(4, n)], num_train=9, num_held_out=3) for n in (1, 4)]
    short, long = (Estimate(planned(), Counts(planned(), shape, each)) for each in seen)
    assert short.counts.usual.work.flops < long.counts.usual.work.flops
    assert short.counts.usual.work.convolution == long.counts.usual.work.convolution
    assert short.needs().peak < long.needs().peak


def test_small_work_takes_as_long_as_it_takes_to_start_and_large_work_grows() -> None:
    card = CARDS["h100"]
    tiny, much = Work(matmul=1e6, operations=1000), Work(matmul=1e14, operations=1000)
    assert seconds_on(card, tiny, half=True) == pytest.approx(0.012)
    assert seconds_on(card, much.times(2), half=True) == pytest.approx(2 * seconds_on(card, much, half=True))
    assert seconds_on(card, much, half=False) > seconds_on(card, much, half=True)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("NVIDIA L4", "l4"), ("NVIDIA A10G", "a10g"), ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA A100 80GB PCIe", "a100"), ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"), ("NVIDIA L40S", None), ("NVIDIA A10", None), ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ],
)  # fmt: skip
def test_a_card_is_known_by_the_name_that_its_driver_tells(told: str, name: str | None) -> None:
    assert [card for card in CARDS if is_card(card, told)] == ([name] if name else [])


def test_a_recipe_and_flags_make_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_base: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'base = "{tiny_base}"\nsteps = 7\nbatch_size = 8\nrank = 4\n')
    verb, rest = find_verb(["plan", str(recipe), "--gpu", "a100", "--batch-size", "32", "--price", "2"])
    assert verb is not None
    config = parse(verb, rest)
    assert (config.steps, config.batch_size, config.rank, config.gpu) == (7, 32, 4, "a100")
    assert main(["plan", str(recipe), "--gpu", "a100", "--price", "2"]) == DONE
    told = capsys.readouterr().out
    assert "fits" in told
    assert "at $2 an hour" in told
    assert main(["plan", str(recipe), "--gpu", "a100", "--json"]) == DONE
    row = json.loads(capsys.readouterr().out)
    assert {f.name for f in dataclasses.fields(Plan)} == set(row)


def test_what_does_not_fit_ends_with_3_and_the_remedies(
    planned: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = plan(planned(batch_size=64, data=()))
    card_of(monkeypatch, "l4", usual.peak - usual.memory["activations"] // 2)
    words = ["plan", "--base", usual.base, "--gpu", "l4", "--batch-size", "64", "--rank", "4", "--precision", "fp32"]
    assert main(words) == CHECK
    told = capsys.readouterr().out
    assert "DOES NOT FIT" in told
    assert "to fit           --micro-batch " in told


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"price": -1.0}, "--price"), ({"batch_size": 0}, "--batch-size"), ({"targets": ("no_layer",)}, "no_layer"),
        ({"base": "no/such/base"}, "no/such/base"), ({"data": (Path("nowhere"),)}, "nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_told_as_the_run_would_tell_it(planned: Make, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(planned(**fields))


def ratio(config: PlanConfig, out: Path, clock: Callable[[], float]) -> float:
    """Seconds that were planned by those that the run then took."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(FinetuneConfig)}
    told = sum(plan(config, clock).seconds.values())
    began = clock()
    finetune(FinetuneConfig(**{**fields, "out": out, "device": "cpu"}))
    return told / (clock() - began)


@pytest.mark.slow
def test_a_plan_for_this_machine_tells_the_work_of_a_run(planned: Make, tmp_path: Path) -> None:
    config = planned(gpu="cpu", steps=60, batch_size=8)
    ratios: list[float] = []
    while len(ratios) < 3 and not (ratios and 0.75 < statistics.median(ratios) < 1.33):
        ratios.append(ratio(config, tmp_path / str(len(ratios)), time.process_time))
    assert 0.75 < statistics.median(ratios) < 1.33, ratios


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny", "nano"])
def test_a_plan_for_this_machine_is_within_a_fifth_of_what_then_happens(
    planned: Make, tmp_path: Path, base: str
) -> None:
    """By the clock on the wall, so other programs on the machine disturb it: the median of three, a few times."""
    config = planned(gpu="cpu", steps=300, batch_size=8)
    if base == "nano":
        data = write_phantoms(PhantomConfig(num=80, seed=5, out=tmp_path / "data", json=True))
        config = planned(gpu="cpu", steps=12, base="nano", data=(data,), precision="auto", batch_size=8)
    for again in range(3):
        ratios = [ratio(config, tmp_path / f"{again}-{i}", time.perf_counter) for i in range(3)]
        if 0.8 < statistics.median(ratios) < 1.25:
            return
    raise AssertionError(ratios)
