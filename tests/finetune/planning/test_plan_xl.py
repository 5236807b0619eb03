"""Plans of bases of SDXL's shape, of trained text encoders, and of what a run does beside its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.finetune.learning.trained import make_trained
from vesalius.finetune.lora import finetune
from vesalius.finetune.planning.cards import CARDS, seconds_on
from vesalius.finetune.planning.config import PlanConfig
from vesalius.finetune.planning.estimate import Counts, Estimate, adapted, adapted_text
from vesalius.finetune.planning.plan import look_at, plan
from vesalius.models.base import open_base, text_encoders
from vesalius.models.computing.count import count_decode, count_step, count_text, flop_counter, num_bytes, open_shape
from vesalius.models.full_size import write_sdxl_shape
from vesalius.models.text import embed, split_chunks

Make = Callable[..., PlanConfig]
LONG = "The lungs are clear. A nodule of 12 mm lies in the left upper lobe. " * 4


slow = pytest.mark.slow
"""Shapes run through the networks of SDXL for seconds; what those of the smaller shape do not show is slow."""


@pytest.fixture
def planned(tiny_xl: Path, phantoms: Path, tmp_path: Path) -> Make:
    """A plan of a short run of the tiny SDXL on the phantoms; keywords replace its fields."""

    def make(**fields: Any) -> PlanConfig:
        usual = {
            "data": (phantoms,), "base": str(tiny_xl), "out": tmp_path / "run", "steps": 40, "batch_size": 4,
            "rank": 4, "alpha": 4, "precision": "fp32", "num_validation": 4, "gpu": "l4", "json": True,
            "caption_share": 1.0, "num_pictures": 0, "tracker": "none", "targets": ("to_q", "to_v"),
        }  # fmt: skip
        return PlanConfig(**{**usual, **fields})

    return make


def real_pass(config: PlanConfig, prompts: list[str], half: bool) -> tuple[int, int]:
    """FLOPs of a real step, and the bytes that its forward pass keeps for the way back."""
    base = open_base(config.base)
    trained = make_trained(base, config)
    own = {p.untyped_storage().data_ptr() for part in trained.parts.values() for p in part.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    texts = Texts(base, trained.text_encoder, trained=config.train_text)
    trained.denoiser.train()
    if not config.train_text:  # whose embeddings are no part of the step
        told = texts(prompts)
    size, channels = base.pipeline.unet.config.sample_size, base.pipeline.unet.config.in_channels
    with flop_counter() as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            if config.train_text:
                told = texts(prompts)
            seen = []
            for rows, hidden, more in told:  # type: ignore[misc]
                noise, times = torch.randn(len(rows), channels, size, size), torch.zeros(len(rows), dtype=torch.long)
                seen.append(trained.denoiser(noise, times, hidden, added_cond_kwargs=more).sample.float())
        torch.cat([s.pow(2).mean((1, 2, 3)) for s in seen]).mean().backward()
    return counter.get_total_flops(), sum(kept.values())


@pytest.mark.parametrize(
    ("fields", "half"),
    [
        ({}, True),
        pytest.param({}, False, marks=slow),
        *(
            pytest.param(fields, half, marks=slow)
            for fields in ({"kind": "full"}, {"train_text": True}, {"kind": "full", "train_text": True})
            for half in (False, True)
        ),
    ],
)
def test_the_flops_that_are_counted_are_those_of_a_real_step(planned: Make, fields: dict[str, Any], half: bool) -> None:
    config = planned(**fields)
    shape = open_shape(config.base)
    length = len(split_chunks(shape.tokenizer, LONG))
    assert length > 1
    encoders = adapted_text(shape, config) if config.train_text else ()
    groups = [(3, 1), (1, length)]
    counted = count_step(shape, adapted(shape, config), groups, encoders, half=half, gpu=False)
    real, _ = real_pass(config, ["a", LONG, "b", "c"], half)
    assert counted.work.flops == real


@pytest.mark.parametrize(
    "fields", [{}, pytest.param({"kind": "full"}, marks=slow), pytest.param({"train_text": True}, marks=slow)]
)
def test_what_is_counted_as_alive_is_what_a_backward_pass_needs(planned: Make, fields: dict[str, Any]) -> None:
    config = planned(**fields)
    shape = open_shape(config.base)
    encoders = adapted_text(shape, config) if config.train_text else ()
    count = count_step(shape, adapted(shape, config), [(8, 1)], encoders, half=False, gpu=False)
    _, kept = real_pass(config, ["a"] * 8, half=False)
    gradients = 4 * Counts(config, shape, look_at(config, shape.tokenizer, None)).num_trained
    assert 0.8 * kept < count.peak < 1.5 * kept + gradients


def test_shapes_have_the_weights_of_the_base_but_none_of_its_bytes(planned: Make) -> None:
    config = planned()
    shape, base = open_shape(config.base), open_base(config.base)
    pairs = zip(shape.text_encoders, text_encoders(base.pipeline), strict=True)
    for mine, theirs in ((shape.denoiser, base.pipeline.unet), (shape.autoencoder, base.pipeline.vae), *pairs):
        assert num_bytes(mine) == sum(p.nbytes for p in theirs.parameters())
    assert (shape.image_size, shape.text_width) == (base.image_size, base.pipeline.unet.config.cross_attention_dim)


@torch.no_grad()
def test_both_text_encoders_and_the_decoder_are_counted(planned: Make) -> None:
    config = planned()
    shape, pipeline = open_shape(config.base), open_base(config.base).pipeline
    with flop_counter() as counter:
        embed(pipeline, ["a", "b", "c"])
    assert count_text(shape, 3, half=False, gpu=False).work.flops == counter.get_total_flops()
    with flop_counter() as counter:
        pipeline.vae.decode(torch.randn(2, 4, shape.latent_size, shape.latent_size))
    assert count_decode(shape, 2, half=False, gpu=False).work.flops == counter.get_total_flops()


@slow
@pytest.mark.parametrize("fields", [{}, {"train_text": True}, {"kind": "full", "train_text": True}])
def test_the_checkpoint_is_as_large_as_told(planned: Make, fields: dict[str, Any]) -> None:
    config = planned(steps=2, **fields)
    found = plan(config)
    own = {f.name: getattr(config, f.name) for f in dataclasses.fields(FinetuneConfig)}
    finetune(FinetuneConfig(**{**own, "device": "cpu"}))
    (tensors,) = config.out.glob("checkpoints/*/tensors.safetensors")
    # The last layer of the first encoder, which is not heard, has no moments.
    assert sum(t.nbytes for t in load_file(tensors).values()) == pytest.approx(found.checkpoint, rel=0.05)


@slow
def test_it_is_measured_on_this_machine(planned: Make) -> None:
    found = plan(planned(gpu="cpu", train_text=True))
    assert found.measured
    assert found.seconds_per_step


@slow
def test_a_card_elsewhere_is_told_the_texts_and_the_pictures(planned: Make) -> None:
    config = planned(num_pictures=3, draw_every=100, steps=500)
    found, plain = plan(config), plan(planned(steps=500))
    assert plain.seconds["pictures"] == 0
    shape, card = open_shape(config.base), CARDS["l4"]
    trainset = choose_trainset(config)
    counts = Counts(config, shape, look_at(config, shape.tokenizer, trainset))
    asked = counts.question.work.times(6 / counts.num_question)  # three pictures, with their text and without
    each = 20 * seconds_on(card, asked, half=False) + seconds_on(card, counts.decode.work, half=False)
    assert found.seconds["pictures"] == pytest.approx(6 * each)  # before the first step, and after each hundred
    assert plain.seconds["texts"] > 0
    # Texts that are encoded first are none of a step's work; those of a run that trains their encoder are.
    estimate = Estimate(config, counts)
    _, alone = estimate.seconds(card, 0.0, 0)
    assert found.seconds_per_step is not None
    assert found.seconds_per_step < alone


@slow
def test_pictures_that_do_not_fit_are_told(planned: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = planned(num_pictures=4, batch_size=1, num_validation=1)
    shape = open_shape(config.base)
    seen = look_at(config, shape.tokenizer, choose_trainset(config))
    needs = Estimate(config, Counts(config, shape, seen)).needs()
    assert needs.others["drawing pictures"] > needs.others["a validation"]
    monkeypatch.setitem(CARDS, "l4", dataclasses.replace(CARDS["l4"], memory=needs.others["drawing pictures"] - 1))
    found = plan(config)
    assert not found.fits
    assert any("drawing pictures alone needs" in told for told in found.assumptions)


@slow
def test_the_shape_of_sdxl_is_planned_without_its_weights(tmp_path: Path) -> None:
    """Parameters are those that are published, and so is what a forward pass at 1024 pixels takes: 3 T multiplications
    and additions, without the products inside attention."""
    base = str(write_sdxl_shape(tmp_path / "sdxl"))
    shape = open_shape(base)
    assert (shape.image_size, shape.text_width) == (1024, 2048)
    numbers = [num_bytes(network) // 4 for network in (shape.denoiser, *shape.text_encoders, shape.autoencoder)]
    assert numbers == [2_567_463_684, 123_060_480, 694_659_840, 83_653_863]
    config = PlanConfig(base=base, gpu="a100", batch_size=1, kind="full", num_validation=1)
    estimate = Estimate(config, Counts(config, shape, look_at(config, shape.tokenizer, None)))
    forward, step = estimate.counts.question.work, estimate.counts.usual.work
    assert 5.8e12 < forward.flops - forward.attention < 6.2e12
    assert 2.9 * forward.flops < step.flops < 3.2 * forward.flops
    assert estimate.num_trained == 2_567_463_684
    # Weights, gradients and two moments of four bytes each, and frozen text encoders.
    needs = estimate.needs()
    held = needs.step["weights"] + needs.step["gradients and optimizer"]
    assert held == 16 * 2_567_463_684 + 4 * (123_060_480 + 694_659_840)
    assert estimate.fits
