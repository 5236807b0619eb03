"""Distillation into few steps, on the real classes at tiny size."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vesalius.data.record import load_records, write_dataset
from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.config import METHODS_OF, DistillConfig
from vesalius.finetune.distill.pairs import choose_pairs
from vesalius.finetune.distill.run import METHODS, distill
from vesalius.finetune.distill.sampler import Sampler, make_scheduler, noise_of, teacher_points
from vesalius.finetune.running.launch import make_accelerator
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.models import architecture
from vesalius.models.adapters.adapter import read_card
from vesalius.models.base import Base, open_base
from vesalius.models.objective import denoising_loss

ConfigFor = Callable[..., DistillConfig]
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def schooled_base(phantoms: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that has learned something: each modality its pattern, of a sign that the noise alone decides.

    Where the noise decides, the way from noise to picture is bent, and few straight steps go astray.
    """
    base = open_base(str(tiny_base))
    denoiser, scheduler = base.pipeline.unet.train().requires_grad_(True), architecture.make_scheduler()
    condition = Condition(base.pipeline.tokenizer, base.pipeline.text_encoder)
    config = DistillConfig(data=(phantoms,), out=Path(), num_trajectories=64, chinese_share=0.0)
    pairs = [(r.modality, text) for (_, r), text in choose_pairs(config, "train", base.pipeline.tokenizer)]
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    patterns = {"CT": 1.5 * x, "MRI": (x**2 + y**2 < 0.4) * 2.0 - 1, "pathology": torch.sin(9 * y)}
    optimizer = torch.optim.AdamW(denoiser.parameters())
    for step in range(50):
        generator = torch.Generator().manual_seed(step)
        few = [pairs[i] for i in torch.randint(64, (16,), generator=generator).tolist()]
        texts = [text for _, text in few]
        signs = torch.randint(2, (16, 4, 1, 1), generator=generator) * 2.0 - 1
        latents = signs * torch.stack([patterns[modality].expand(4, 16, 16) for modality, _ in few])
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (16,), generator=generator)
        text = [(torch.arange(16), condition([t if i % 8 else "" for i, t in enumerate(texts)]))]
        denoising_loss(denoiser, scheduler, latents, noise, timesteps, text).mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 50)
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("models") / "schooled"
    shutil.copytree(tiny_base, folder)
    denoiser.half().save_pretrained(folder / "unet")
    return folder


@pytest.fixture
def config_for(phantoms: Path, schooled_base: Path, tmp_path: Path) -> ConfigFor:
    """A short fp32 run on the tiny base; keywords replace its fields."""

    def make(**fields: Any) -> DistillConfig:
        many = {"num_trajectories": 8} if fields.get("method", "trajectory") == "trajectory" else {"num_pairs": 8}
        usual = {
            "data": (phantoms,), "base": str(schooled_base), "out": tmp_path / "run", **many,
            "num_validation": 4, "teacher_steps": 4, "sampling_steps": 2, "steps": 4, "batch_size": 4, "rank": 4,
            "targets": ("to_q", "to_k", "to_v", "conv1", "conv_out"), "warmup": 2, "save_every": 2,
            "chinese_share": 0.0, "precision": "fp32", "device": "cpu", "json": True,
        }  # fmt: skip
        return DistillConfig(**{**usual, **fields})

    return make


def adapter(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_the_student_lands_nearer_to_the_teacher_than_the_base_does_in_as_few_steps(config_for: ConfigFor) -> None:
    config = config_for(
        num_trajectories=64, num_validation=8, teacher_steps=8, sampling_steps=4, steps=16, batch_size=8, rank=8,
        warmup=5, learning_rate=1e-2,
        targets=("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "time_emb_proj", "conv_out"),
    )  # fmt: skip
    distill(config)
    told = json.loads((config.out / "validation.json").read_text())
    assert [v["step"] for v in told["student"]] == [0, 16]  # what it was before, without guidance, and after
    assert told["student"][-1]["distance"] < 0.95 * min(told["base_distance"], told["student"][0]["distance"])


def test_the_teachers_points_are_those_of_the_plain_pipeline(config_for: ConfigFor) -> None:
    config = config_for(guidance=2.5, teacher_steps=8, sampling_steps=4)
    base = open_base(config.base)
    prompts = [text for _, text in choose_pairs(config, "val", base.pipeline.tokenizer)[:2]]
    condition = Condition(base.pipeline.tokenizer, base.pipeline.text_encoder)
    teacher = sampler_of(base, 8, blank=condition([""]), guidance=2.5)
    points = teacher_points(config, base, teacher, condition, "val", prompts)
    noise = noise_of(config.seed, "val", range(2), points)
    base.pipeline.scheduler = make_scheduler(base, 8)
    plain = base.pipeline(prompts, num_inference_steps=8, guidance_scale=2.5, latents=noise, output_type="latent")
    assert points.shape == (4, 2, 4, 16, 16)
    assert torch.allclose(points[-1].float(), plain.images, atol=0.02)


def sampler_of(base: Base, steps: int, *, blank: torch.Tensor | None = None, guidance: float = 1.0) -> Sampler:
    accelerator = make_accelerator("fp32", "cpu")
    return Sampler(scheduler=make_scheduler(base, steps), accelerator=accelerator, blank=blank, guidance=guidance)


def test_the_students_steps_are_among_the_teachers(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    few, many = make_scheduler(base, 4).timesteps.tolist(), make_scheduler(base, 20).timesteps.tolist()
    assert few == many[::5] == [999, 749, 499, 249]


def test_an_error_of_the_prediction_weighs_alike_at_every_step(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    sampler, latents = sampler_of(base, 4), torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    text = Condition(base.pipeline.tokenizer, base.pipeline.text_encoder)(["Chest CT"])
    for timestep in sampler.scheduler.timesteps:
        with torch.no_grad():
            moved = sampler.advance(base.pipeline.unet, timestep, latents, text)
            predicted = base.pipeline.unet(latents, timestep, text).sample
        off = sampler.scheduler.step(predicted + 0.1, timestep, latents).prev_sample
        assert torch.allclose((off - moved) / sampler.gain(timestep), torch.full_like(off, 0.1), atol=1e-4)


@every_method
def test_a_run_that_was_stopped_ends_with_the_same_weights(method: str, config_for: ConfigFor, tmp_path: Path) -> None:
    whole, stopped = config_for(method=method), config_for(method=method, out=tmp_path / "stopped")
    distill(whole)
    distill(stopped)
    for late in ("adapter", "checkpoints/step-00000004"):
        shutil.rmtree(stopped.out / late)
    shard = next(p for part in ("trajectories/train-*", "cache/*") for p in stopped.out.glob(part))
    shard.write_bytes(shard.read_bytes()[:99])
    distill(stopped)
    one, other = adapter(whole.out), adapter(stopped.out)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_trajectories_are_drawn_once(config_for: ConfigFor) -> None:
    config = config_for()
    distill(config)
    stamps = {p: p.stat().st_mtime_ns for p in (config.out / "trajectories").iterdir()}
    assert len(stamps) == 2
    shutil.rmtree(config.out / "adapter")
    distill(config)
    assert {p: p.stat().st_mtime_ns for p in (config.out / "trajectories").iterdir()} == stamps


SAMPLERS = {"trajectory": "DDIMScheduler", "consistency": "LCMScheduler", "adversarial": "DDIMScheduler"}


@every_method
def test_the_card_says_how_to_draw_and_the_generator_does_so(method: str, config_for: ConfigFor) -> None:
    config = config_for(method=method)
    distill(config)
    card = read_card(config.out)
    assert card is not None
    assert card.sampling is not None
    assert (card.sampling.steps, card.sampling.guidance, card.depth) == (2, 1.0, 1)
    assert card.sampling.scheduler["_class_name"] == SAMPLERS[method]
    assert {t.dtype for t in adapter(config.out).values()} == {torch.float16}
    generator = Generator(config.base, config.out)
    sizes: list[int] = []
    generator.base.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    generator.draw("Chest CT", seed=1)
    assert sizes == [1] * 2


@every_method
def test_plain_diffusers_opens_the_adapter(method: str, config_for: ConfigFor) -> None:
    import diffusers

    config = config_for(method=method, learning_rate=1e-2)
    folder = distill(config)
    plain = diffusers.StableDiffusionPipeline.from_pretrained(config.base, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    plain.unet.load_lora_adapter(folder, prefix="base_model.model", weight_name="adapter_model.safetensors")
    card = json.loads((folder / "adapter.json").read_text())["sampling"]
    plain.scheduler = getattr(diffusers, SAMPLERS[method]).from_config(card["scheduler"])
    ours = Generator(config.base, config.out).base.pipeline
    drawn = [
        pipeline(
            "Chest CT", num_inference_steps=card["steps"], guidance_scale=card["guidance"], output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images
        for pipeline in (plain, ours, open_base(config.base).pipeline)
    ]  # fmt: skip
    assert torch.allclose(drawn[0], drawn[1], atol=1e-3)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-2)


def test_a_picture_of_a_sampler_that_adds_noise_does_not_depend_on_its_batch(config_for: ConfigFor) -> None:
    config = config_for(method="consistency", sampling_steps=4)
    distill(config)
    generator = Generator(config.base, config.out)
    requests = [Request(prompt=f"{kind}, image {i}", seed=i) for i, kind in enumerate(["Chest CT", "Brain MRI"] * 4)]
    alone, together = (
        {r.seed: p.image.astype(int) for r, p in generator.draw_all(requests, batch_size=size)} for size in (1, 8)
    )
    assert max(abs(alone[seed] - together[seed]).max() for seed in alone) <= 1
    assert abs(alone[0] - alone[2]).max() > 1


def test_a_run_of_trajectories_is_said_as_before_there_were_other_methods(config_for: ConfigFor) -> None:
    others = {"method", *(name for name, methods in METHODS_OF.items() if "trajectory" not in methods)}
    config = config_for()
    assert config.settings().keys() == dataclasses.asdict(config).keys() - others
    assert config_for(method="adversarial").settings()["method"] == "adversarial"


def test_a_run_starts_from_the_adapter_of_another(config_for: ConfigFor, tmp_path: Path) -> None:
    distill(config_for())
    further = config_for(out=tmp_path / "further", init=tmp_path / "run", steps=1, learning_rate=1e-9)
    distill(further)
    one, other = adapter(tmp_path / "run"), adapter(further.out)
    assert all(torch.allclose(one[k], other[k], atol=1e-3) for k in one)
    for change in ({"rank": 3}, {"targets": ("to_q",)}):
        with pytest.raises(ValueError, match="does not fit --rank and --targets"):
            distill(dataclasses.replace(further, out=tmp_path / next(iter(change)), **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher_steps": 5}, "no multiple of --sampling-steps 2"),
        ({"steps": 0}, "expected at least 1"),
        ({"num_pairs": 9}, "--num-pairs means nothing to --method trajectory"),
        ({"method": "consistency", "num_trajectories": 9}, "--num-trajectories means nothing to --method consistency"),
        ({"method": "adversarial", "guidance_range": (1.0, 3.0)}, "means nothing to --method adversarial"),
        ({"method": "consistency", "guidance_range": (3.0, 1.0)}, "the lower end and then the upper"),
        ({"method": "consistency", "sampling_steps": 60}, "more than --solver-steps 50"),
        ({"method": "consistency", "solver_steps": 30}, "no divisor of the 1000 noise levels"),
        ({"method": "adversarial", "penalty": -1.0}, "expected 0 or more"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_is_written(
    config_for: ConfigFor, change: dict[str, Any], words: str
) -> None:
    config = config_for(**change)
    with pytest.raises(ValueError, match=words):
        distill(config)
    assert not (config.out / "config.json").exists()


def test_a_run_whose_data_changed_is_not_taken_up(config_for: ConfigFor, phantoms: Path, tmp_path: Path) -> None:
    records = load_records(phantoms)
    (tmp_path / "set").mkdir()
    write_dataset(tmp_path / "set", records)
    config = config_for(data=(tmp_path / "set",), steps=2)
    distill(config)
    write_dataset(tmp_path / "set", records[::-1])
    with pytest.raises(ValueError, match="run: the data changed since its step 2; give another --out, or bring them"):
        distill(config)


def test_a_run_whose_loss_is_none_stops_with_its_step(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"step \d: the loss is (nan|inf); lower --learning-rate"):
        distill(config_for(learning_rate=1e30, warmup=0))


def test_a_teacher_that_draws_no_numbers_is_no_teacher(
    config_for: ConfigFor, schooled_base: Path, tmp_path: Path
) -> None:
    shutil.copytree(schooled_base, tmp_path / "base")
    path = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"].fill_(60_000)  # a number itself
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"base '.*base' draws latents that are not numbers; look whether it is whole"):
        distill(config_for(base=str(tmp_path / "base")))
