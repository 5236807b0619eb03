"""Distil a base's guided drawing of many steps into an adapter that draws such pictures in few.

    python -m vesalius.finetune.distill.run --data DIR... --base nano --out RUN --steps 600
    python -m vesalius.finetune.distill.run --data DIR... --base nano --out RUN --method consistency

The teacher is the base under guidance; the student is the base with an adapter, without guidance. How the student
learns is the method's:

    trajectory     draw as its sampler draws, and land where the teacher's own trajectories were. Needs no images
    consistency    predict one picture from all noise levels of a real image (LCM-LoRA). Drawn with LCMScheduler
    adversarial    predict pictures that a discriminator on the teacher's features takes for real ones (ADD, LADD)

All are measured alike: how far what the student draws in its few steps is from what the teacher draws of the same noise
in many, beside the base under guidance in as few. Resumes by the same line. Writes RUN/adapter, whose card names steps,
guidance (1: none) and scheduler.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from vesalius.data.command.recipe import claim
from vesalius.data.record import hold, write_json
from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.adversarial import Adversarial
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.consistency import Consistency
from vesalius.finetune.distill.method import Method, Setting
from vesalius.finetune.distill.pairs import choose_pairs, digest_pairs
from vesalius.finetune.distill.sampler import Sampler, distance, make_scheduler, noise_of, teacher_points
from vesalius.finetune.distill.trajectory import Trajectory
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.learning.adapting import adapt
from vesalius.finetune.running.launch import make_accelerator
from vesalius.models.adapters.adapter import AdapterCard, Sampling, adapter_folder, write_adapter
from vesalius.models.base import open_base

FREE_FIELDS = ("out", "device", "json")  # may change when a run is taken up again
METHODS: dict[str, type[Method]] = {"trajectory": Trajectory, "consistency": Consistency, "adversarial": Adversarial}


def distill(config: DistillConfig) -> Path:
    """Run or resume a distillation; returns the folder of the adapter. ValueError for bad input."""
    config.check()
    with hold(config.out):
        return _distill(config)


def _distill(config: DistillConfig) -> Path:
    claim(config.out, config.settings(), kind="run", free=FREE_FIELDS, write=False)
    accelerator = make_accelerator(config.precision, config.device)
    device, kind = accelerator.device, METHODS[config.method]
    base = open_base(config.base)
    tokenizer, scheduler = base.pipeline.tokenizer, kind.scheduler(config, base)
    pairs = {split: choose_pairs(config, split, tokenizer) for split in ("train", "val")}
    claim(config.out, config.settings(), kind="run", free=FREE_FIELDS)  # only now: the base and the data open

    # Teacher and student, and what they are compared by
    denoiser = base.pipeline.unet.to(device)
    condition = Condition(tokenizer, base.pipeline.text_encoder.to(device))
    student = Sampler(scheduler=scheduler, accelerator=accelerator, guidance=1.0, blank=None)
    hurried = dataclasses.replace(student, guidance=config.guidance, blank=condition([""]))
    teacher = dataclasses.replace(hurried, scheduler=make_scheduler(base, config.teacher_steps))
    method = kind(
        Setting(
            config=config, base=base, accelerator=accelerator, condition=condition, teacher=teacher, student=student,
            pairs=pairs["train"],
        )
    )  # fmt: skip
    asked = [text for _, text in pairs["val"]]
    points = teacher_points(config, base, teacher, condition, "val", asked)
    noise = noise_of(config.seed, "val", range(config.num_validation), points).to(device)
    questions = (condition(asked), noise, points[-1].float().to(device))
    before = distance(denoiser, hurried, *questions)

    # The adapter that learns
    torch.manual_seed(config.seed)
    lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=list(config.targets))
    denoiser = get_peft_model(denoiser, lora)
    if config.init is not None:
        start_from(denoiser, adapter_folder(config.init))
    digests = {"base_digest": base.digest, "data_digest": digest_pairs(config, pairs["train"])}

    def measure() -> dict[str, float]:
        after = distance(denoiser, student, *questions)
        return {"distance": after, "ratio": after / before}

    validation = adapt(
        config, denoiser, partial(method.loss, denoiser), measure, what="distill", digests=digests,
        tensors=method.tensors, restore=method.restore,
    )  # fmt: skip
    if validation is None:
        return config.out

    # The adapter in fp16, with what it wants to be drawn with
    settings = {k: v for k, v in scheduler.config.items() if not k.startswith("_")}
    settings = {"_class_name": type(scheduler).__name__, **settings}
    records = [r for _, r in gather(config.data, "train", config.exclude)]
    # Trajectories are pictures that the base draws; images may be drawn ones themselves
    depths = [1] if config.method == "trajectory" else [1, *(r.depth for r in records)]
    card = AdapterCard(
        base=config.base, base_digest=base.digest, data_digest=digests["data_digest"], steps=config.steps,
        depth=max(depths), modalities=tuple(sorted({r.modality for r in records})),
        sampling=Sampling(steps=config.sampling_steps, guidance=1.0, scheduler=settings),
    )  # fmt: skip
    write_adapter(config.out / "adapter", denoiser.cpu().half(), card)
    write_json(config.out / "validation.json", {"base_distance": before, "student": validation})
    return config.out / "adapter"


def start_from(denoiser: Any, folder: Path) -> None:
    """Put the weights of an adapter folder into a denoiser's adapter. ValueError where they do not fit."""
    tensors = load_file(folder / "adapter_model.safetensors")
    try:
        unexpected = set_peft_model_state_dict(denoiser, tensors).unexpected_keys
        fits = not unexpected and len(tensors) == len(get_peft_model_state_dict(denoiser))
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"{folder}: does not fit --rank and --targets of this run; give those it was made with")


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(DistillConfig, lambda config: distill(config).name == "adapter")
