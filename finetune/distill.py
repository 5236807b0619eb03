"""Distil a base's guided drawing of many steps into an adapter that draws the same pictures in few.

    python -m vesalius.finetune.distill --data DIR... --base nano --out RUN --steps 600

The teacher is the base under guidance. It draws whole trajectories from noise to latents under the prompts of the data,
once; images are not needed. DDIM is deterministic, so the points at which a sampler of few steps stops are functions of
noise and prompt. The student is that very sampler, without guidance: it draws from the same noise, and at each of its
steps learns to land where the teacher was. This is progressive distillation in one stage (Salimans & Ho 2022, arXiv
2202.00512) with the guidance folded in (Meng et al. 2023, arXiv 2210.03142), but each step sets out from where the
student itself came to, so that it learns to mend its own errors and sees in training what it sees in drawing.

Resumes by the same line. Writes RUN/adapter, whose card names steps, guidance (1: none) and scheduler.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vesalius.data.progress import Progress, progress
from vesalius.data.recipe import claim
from vesalius.data.record import hold, write_json
from vesalius.data.wording import reword_record
from vesalius.finetune.base import Condition
from vesalius.finetune.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.finetune.examples import gather
from vesalius.finetune.launch import make_accelerator, watch_signals
from vesalius.finetune.schedule import warmup_cosine
from vesalius.finetune.stream import balanced_weights, batch_indices, slot_generator, slot_seed
from vesalius.models.adapter import AdapterCard, Sampling, adapter_folder, disk_errors, write_adapter
from vesalius.models.base import Base, open_base

FREE_FIELDS = ("out", "device", "json")  # may change when a run is taken up again
SHARD = 32
"""Trajectories drawn at once and kept in one file."""

TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv_in", "conv_out",
    "conv1", "conv2", "conv_shortcut", "conv", "time_emb_proj", "linear_1", "linear_2",
)  # fmt: skip
"""All linear and convolutional layers of a UNet: a jump over many steps changes what every one of them has to do."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """A run that distils a base into an adapter of few steps."""

    data: tuple[Path, ...]
    """dataset folders, for their prompts alone"""
    out: Path
    """run folder"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id: the teacher"""
    exclude: tuple[str, ...] = ()
    """records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.5
    """share of prompts of real images; the rest are phantoms'"""
    chinese_share: float = 0.25
    """share of prompts in Chinese"""
    num_trajectories: int = 2000
    """trajectories that the teacher draws"""
    num_validation: int = 64
    """further ones, under prompts of the validation split"""
    teacher_steps: int = 20
    """steps of the teacher, a multiple of --sampling-steps"""
    guidance: float = 3.0
    """classifier-free guidance scale of the teacher"""
    sampling_steps: int = 4
    """steps of the student"""
    steps: int = 600
    """optimizer updates"""
    batch_size: int = 16
    """trajectories per update"""
    learning_rate: float = 1e-3
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 20
    """steps of linear warm-up"""
    rank: int = 16
    """rank of the adapter, and its alpha"""
    targets: tuple[str, ...] = TARGETS
    """names of the denoiser's layers that are adapted"""
    init: Path | None = None
    """a run or adapter folder of the same rank and targets to start from, with fresh optimizer"""
    save_every: int = 50
    """steps between checkpoints"""
    validate_every: int = 100
    """steps between measurements on the validation trajectories"""
    seed: int = 0
    """seed of prompts, noise, order and initial weights"""
    device: str = "auto"
    """auto, cpu or cuda"""
    precision: str = "auto"
    """auto, bf16 or fp32; the adapter itself is always fp32 in training"""
    json: bool = False
    """print no progress"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together."""
        for name in (
            "steps", "batch_size", "rank", "save_every", "validate_every", "num_trajectories", "num_validation",
            "sampling_steps",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        if self.teacher_steps < 1 or self.teacher_steps % self.sampling_steps:
            raise ValueError(
                f"--teacher-steps {self.teacher_steps} is no multiple of --sampling-steps {self.sampling_steps}; "
                f"the teacher has to stop where the student does, give for instance {5 * self.sampling_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How to draw. scheduler: DDIM, its steps set. blank [1, L, C]: what no text is as; None: without guidance."""

    scheduler: Any
    accelerator: Accelerator
    guidance: float
    blank: torch.Tensor | None

    def advance(self, denoiser: Any, timestep: torch.Tensor, latents: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """One step, float32 NCHW -> the same. text [N, L, C]."""
        with self.accelerator.autocast():
            if self.blank is None:
                predicted = denoiser(latents, timestep, text).sample.float()
            else:
                both = torch.cat([self.blank.expand_as(text), text])
                without, told = denoiser(torch.cat([latents, latents]), timestep, both).sample.float().chunk(2)
                predicted = without + self.guidance * (told - without)
        moved: torch.Tensor = self.scheduler.step(predicted, timestep, latents).prev_sample
        return moved

    def gain(self, timestep: torch.Tensor) -> float:
        """How far a step moves for a prediction of one. An error over it is the error of the prediction, so that the
        long first steps do not outweigh the last."""
        return float(self.scheduler.step(torch.ones(1), timestep, torch.zeros(1)).prev_sample)


def distill(config: DistillConfig) -> Path:
    """Run or resume a distillation; returns the folder of the adapter. ValueError for bad input."""
    config.check()
    with hold(config.out):
        return _distill(config)


def _distill(config: DistillConfig) -> Path:
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS, write=False)
    accelerator = make_accelerator(config.precision, config.device)
    device = accelerator.device
    base = open_base(config.base)
    tokenizer, denoiser = base.pipeline.tokenizer, base.pipeline.unet.to(device)
    prompts = {split: choose_prompts(config, split, tokenizer) for split in ("train", "val")}
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS)  # only now: the base and the data open

    # The teacher's trajectories, once
    condition = Condition(tokenizer, base.pipeline.text_encoder.to(device))
    scheduler, blank = make_scheduler(base, config.teacher_steps), condition([""])
    teacher = Sampler(scheduler=scheduler, accelerator=accelerator, guidance=config.guidance, blank=blank)
    hurried = dataclasses.replace(teacher, scheduler=make_scheduler(base, config.sampling_steps))
    student = dataclasses.replace(hurried, blank=None)
    points = {s: teacher_points(config, base, teacher, condition, s, texts) for s, texts in prompts.items()}
    noise = noise_of(config.seed, "val", range(config.num_validation), points["val"]).to(device)
    questions = (condition(prompts["val"]), noise, points["val"][-1].float().to(device))
    before = distance(denoiser, hurried, *questions)

    # Adapter, optimizer, and the newest whole checkpoint
    torch.manual_seed(config.seed)
    lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=list(config.targets))
    denoiser = get_peft_model(denoiser, lora)
    if config.init is not None:
        start_from(denoiser, adapter_folder(config.init))
    adapter = [p for p in denoiser.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(adapter, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.99))
    digests = {"base_digest": base.digest, "data_digest": digest_texts(prompts["train"])}
    step, validation = 0, list[dict[str, float]]()
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, state = found
        if changed := [k.removesuffix("_digest") for k, v in digests.items() if state.get(k) != v]:
            raise ValueError(
                f"{config.out}: the {' and '.join(changed)} changed since its step {step}; "
                "give another --out, or bring them back"
            )
        saved = {k.removeprefix("adapter."): v for k, v in tensors.items() if k.startswith("adapter.")}
        set_peft_model_state_dict(denoiser, saved)
        restore_optimizer(optimizer, tensors)
        validation = state["validation"]

    # The loop: the student's own sampler, each of its steps told where the teacher was
    with watch_signals() as stopped, Progress("distill", config.steps, start=step, quiet=config.json) as bar:
        while step < config.steps:
            picked = batch_indices(config.seed, step, config.batch_size, config.num_trajectories).tolist()
            text = condition([prompts["train"][i] for i in picked])
            latents = noise_of(config.seed, "train", picked, points["train"]).to(device)
            losses = []
            for timestep, target in zip(student.scheduler.timesteps, points["train"][:, picked], strict=True):
                latents = student.advance(denoiser, timestep, latents.detach(), text)
                losses.append(((latents - target.to(device)) / student.gain(timestep)).pow(2).mean())
            loss = torch.stack(losses).mean()
            if not math.isfinite(loss.item()):
                raise ValueError(f"step {step}: the loss is {loss.item()}; lower --learning-rate")
            loss.backward()
            nn.utils.clip_grad_norm_(adapter, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % config.validate_every == 0 or step == config.steps:
                after = distance(denoiser, student, *questions)
                validation.append({"step": step, "distance": after, "ratio": after / before})
            ratio = f" ratio {validation[-1]['ratio']:.3f}" if validation else ""
            bar.step(note=f"loss {loss.item():.4f}{ratio}")
            if step % config.save_every == 0 or step == config.steps or stopped:
                tensors = {f"adapter.{k}": v for k, v in get_peft_model_state_dict(denoiser).items()}
                state = {"validation": validation, **digests}
                save_checkpoint(config.out, step, tensors | optimizer_tensors(optimizer), state)
            if stopped and step < config.steps:
                return config.out

    # The adapter in fp16, with what it wants to be drawn with
    settings = {k: v for k, v in student.scheduler.config.items() if not k.startswith("_")}
    settings = {"_class_name": type(student.scheduler).__name__, **settings}
    modalities = {r.modality for _, r in gather(config.data, "train", config.exclude)}
    card = AdapterCard(
        base=config.base, base_digest=base.digest, data_digest=digests["data_digest"], steps=step,
        depth=1,  # what it learns from is drawn by the base
        modalities=tuple(sorted(modalities)),
        sampling=Sampling(steps=config.sampling_steps, guidance=1.0, scheduler=settings),
    )  # fmt: skip
    write_adapter(config.out / "adapter", denoiser.cpu().half(), card)
    write_json(config.out / "validation.json", {"base_distance": before, "student": validation})
    return config.out / "adapter"


def choose_prompts(config: DistillConfig, split: str, tokenizer: Any) -> list[str]:
    """The prompts of a split's trajectories: wordings of its records that one context of the text encoder holds."""
    members = gather(config.data, split, config.exclude)
    weights = balanced_weights([r for _, r in members], {"real": config.real_share, "phantom": 1 - config.real_share})
    num = config.num_trajectories if split == "train" else config.num_validation
    texts: list[str] = []
    for step in range(100):
        for slot, i in enumerate(batch_indices(config.seed, step, num, len(members), weights).tolist()):
            rng = np.random.default_rng(slot_seed(config.seed, step, slot))
            text = reword_record(members[i][1], rng, "zh" if rng.random() < config.chinese_share else "en")
            if len(tokenizer(text, verbose=False).input_ids) <= tokenizer.model_max_length:
                texts.append(text)
        if len(texts) >= num:
            return texts[:num]
    raise ValueError(f"{config.data[0]}: hardly a text of split '{split}' fits the text encoder's context")


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


def make_scheduler(base: Base, steps: int) -> Any:
    """DDIM over the base's own noise levels, in trailing steps: those of few steps are among those of many."""
    from diffusers import DDIMScheduler

    known = DDIMScheduler().config  # the base may draw with any sampler, whose further settings mean nothing here
    settings = {k: v for k, v in base.pipeline.scheduler.config.items() if k in known and not k.startswith("_")}
    settings |= {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
    scheduler = DDIMScheduler(**settings)
    scheduler.set_timesteps(steps)
    return scheduler


def noise_of(seed: int, split: str, indices: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """What the trajectories of these numbers begin from, float32 NCHW of the last three sizes of `like`."""
    part = ("train", "val").index(split)
    return torch.stack([torch.randn(like.shape[-3:], generator=slot_generator(seed, -1 - part, i)) for i in indices])


@torch.no_grad()
def teacher_points(
    config: DistillConfig, base: Base, teacher: Sampler, condition: Condition, split: str, texts: list[str]
) -> torch.Tensor:
    """Where the teacher is when the student stops: float16 [student's steps, N, C, H, W]; the last is its picture.

    Drawn a shard at a time into `out/trajectories`, and read from there where a shard of just these is whole.
    """
    folder, denoiser, accelerator = config.out / "trajectories", base.pipeline.unet, teacher.accelerator
    folder.mkdir(parents=True, exist_ok=True)
    like = torch.empty(denoiser.config.in_channels, *[denoiser.config.sample_size] * 2)
    every = config.teacher_steps // config.sampling_steps
    settings = (config.teacher_steps, config.sampling_steps, config.guidance, config.seed, accelerator.mixed_precision)
    shards = []
    starts = range(0, len(texts), SHARD)
    for start in progress(starts, f"teacher, {split}", len(starts), quiet=config.json):
        mine = texts[start : start + SHARD]
        path = (
            folder / f"{split}-{start:06d}-{digest_texts([base.digest, *map(str, settings), *mine])[:24]}.safetensors"
        )
        if (points := read_points(path)) is None:
            latents = noise_of(config.seed, split, range(start, start + len(mine)), like).to(accelerator.device)
            text, stops = condition(mine), []
            for number, timestep in enumerate(teacher.scheduler.timesteps, start=1):
                latents = teacher.advance(denoiser, timestep, latents, text)
                if number % every == 0:
                    stops.append(latents.half().cpu())
            points = torch.stack(stops)
            if not torch.isfinite(points).all():
                raise ValueError(f"base '{config.base}' draws latents that are not numbers; look whether it is whole")
            temporary = path.with_name(f".{path.name}.tmp")
            with disk_errors(temporary):
                save_file({"points": points}, temporary)
            temporary.replace(path)
        shards.append(points)
    return torch.cat(shards, 1)


def read_points(path: Path) -> torch.Tensor | None:
    """The points of a shard, or None where its file is absent or damaged."""
    try:
        return load_file(path)["points"]
    except (OSError, SafetensorError, KeyError):
        return None


@torch.no_grad()
def distance(denoiser: Any, sampler: Sampler, text: torch.Tensor, noise: torch.Tensor, pictures: torch.Tensor) -> float:
    """Root mean square distance, in latents, of what a sampler draws from the teacher's pictures of the same noise."""
    total = 0.0
    for i in torch.arange(len(noise)).split(SHARD):
        latents = noise[i]
        for timestep in sampler.scheduler.timesteps:
            latents = sampler.advance(denoiser, timestep, latents, text[i])
        total += float((latents - pictures[i]).pow(2).mean((1, 2, 3)).sum())
    return math.sqrt(total / len(noise))


def digest_texts(texts: Sequence[str]) -> str:
    """sha256 of texts in order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


if __name__ == "__main__":
    import sys

    import tyro

    finished = distill(tyro.cli(DistillConfig)).name == "adapter"
    sys.exit(0 if finished else 75)  # 75: stopped by a signal, the same line continues
