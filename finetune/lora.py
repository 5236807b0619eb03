"""Fine-tune a LoRA adapter: the loop that a paid hour is spent in.

Runs alone or under `accelerate launch` on any number of processes, with the same losses: which records, timesteps and
noise a step sees is a pure function of (seed, step, slot of the global batch); a process takes its share of the slots.

    accelerate launch --multi_gpu --num_processes 8 -m vesalius.cli.main finetune --data DIR --out RUN
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from vesalius.data.progress import Progress
from vesalius.data.recipe import claim
from vesalius.data.record import hold, write_atomic, write_json
from vesalius.finetune.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.latents import cached_latents
from vesalius.finetune.launch import make_accelerator, watch_sigterm
from vesalius.finetune.objective import denoising_loss
from vesalius.finetune.schedule import warmup_cosine
from vesalius.finetune.stream import batch_indices, slot_generator
from vesalius.finetune.trainset import Trainset, choose_trainset, choose_wording, data_digest
from vesalius.models.adapter import AdapterCard, write_adapter
from vesalius.models.base import open_base
from vesalius.models.text import text_condition

FREE_FIELDS = ("out", "resume", "json", "dry_run", "device")  # may change when a run is taken up again


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run came to. finished is False where a signal stopped it; the same line continues it."""

    out: Path
    step: int
    finished: bool
    validation: tuple[tuple[int, float], ...]
    seconds: float


def finetune(config: FinetuneConfig) -> RunSummary:
    """Run or resume a fine-tuning run. ValueError for bad input, before anything heavy is loaded where possible."""
    # Check, cheapest first
    config.check()
    if config.dry_run or os.environ.get("RANK", "0") != "0":  # of several processes one holds the folder
        return _finetune(config)
    with hold(config.out):
        return _finetune(config)


def _finetune(config: FinetuneConfig) -> RunSummary:
    trainset = choose_trainset(config)
    accelerator = make_accelerator(config.precision, config.device)
    if config.batch_size % accelerator.num_processes:
        raise ValueError(
            f"--batch-size {config.batch_size} does not divide among {accelerator.num_processes} processes"
        )
    with accelerator.main_process_first():
        claim_run(config, write=False)
    base = open_base(config.base)
    check_targets(base.pipeline.unet, config)
    with accelerator.main_process_first():  # only now: a base that does not open must not settle the folder's run
        claim_run(config, write=accelerator.is_main_process and not config.dry_run)
    trainset.say_text_coverage(base.pipeline.tokenizer, quiet=config.json or not accelerator.is_main_process)
    if config.dry_run:
        return RunSummary(out=config.out, step=0, finished=False, validation=(), seconds=0.0)

    # Latents once, on the main process; the others read its file
    autoencoder = base.pipeline.vae.to(accelerator.device)
    quiet = config.json or not accelerator.is_main_process
    with accelerator.main_process_first():
        cache = {"folder": config.out / "cache", "device": accelerator.device, "quiet": quiet}
        mean, deviation = cached_latents(autoencoder, base.digest, trainset.train, base.image_size, **cache)
        held_out, _ = cached_latents(autoencoder, base.digest, trainset.held_out, base.image_size, **cache)

    base.pipeline.vae.to("cpu")  # its work is done; on a small card the denoiser needs the room

    # Adapter in fp32 on a frozen denoiser, optimizer, and the newest whole checkpoint
    torch.manual_seed(config.seed)
    denoiser: Any = get_peft_model(base.pipeline.unet, lora_config(config))
    # The base may draw with any sampler; all of them share the noise levels that DDPM's is trained on.
    scheduler = DDPMScheduler.from_config(base.pipeline.scheduler.config)
    tokenizer, text_encoder = base.pipeline.tokenizer, base.pipeline.text_encoder.to(accelerator.device)
    adapter = [p for p in denoiser.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(adapter, lr=config.learning_rate, weight_decay=config.weight_decay)
    step, validation = 0, list[tuple[int, float]]()
    inputs = {"base_digest": base.digest, "data_digest": data_digest(trainset.train)}
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, state = found
        if changed := [k.removesuffix("_digest") for k, v in inputs.items() if state.get(k) != v]:
            raise ValueError(
                f"{config.out}: the {' and '.join(changed)} changed since its step {step}; "
                "give another --out, or bring them back"
            )
        set_peft_model_state_dict(
            denoiser, {k.removeprefix("adapter."): v for k, v in tensors.items() if k.startswith("adapter.")}
        )
        restore_optimizer(optimizer, tensors)
        validation = [(s, v) for s, v in state["validation"]]
    denoiser, optimizer = accelerator.prepare(denoiser, optimizer)
    wrapped = accelerator.unwrap_model(denoiser)
    questions = fixed_questions(trainset, held_out, config)
    if accelerator.is_main_process:
        cut_log(config.out / "losses.jsonl", step)

    # The loop
    began = time.monotonic()
    device, slots = accelerator.device, range(accelerator.process_index, config.batch_size, accelerator.num_processes)
    with watch_sigterm() as stopped, Progress("finetune", config.steps, start=step, quiet=quiet) as bar:
        denoiser.train()
        if step == 0:
            validation.append((0, validate(wrapped, scheduler, tokenizer, text_encoder, questions, accelerator)))
        while step < config.steps:
            picked = batch_indices(config.seed, step, config.batch_size, len(trainset.train), trainset.weights)
            mine = torch.from_numpy(picked[list(slots)])
            chances = [slot_generator(config.seed, step, slot) for slot in slots]
            uniform = torch.stack([torch.rand(4, generator=g) for g in chances])
            noise, spread = (torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances]) for _ in range(2))
            prompts = [
                choose_wording(trainset.wordings[i], u, config) for i, u in zip(mine.tolist(), uniform, strict=True)
            ]
            timesteps = (uniform[:, 3] * scheduler.config.num_train_timesteps).long()
            latents = mean[mine] + deviation[mine] * spread
            with torch.no_grad():
                text = text_condition(tokenizer, text_encoder, prompts)
            with accelerator.autocast():
                here = [t.to(device) for t in (latents, noise, timesteps)]
                losses = denoising_loss(denoiser, scheduler, here[0], here[1], here[2], text, config.min_snr_gamma)
            loss = losses.mean()
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(adapter, config.clip_norm)
            rate = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            # One reduction and one wait for the device a step: the mean loss, and whether any process was told to stop
            told = torch.full_like(loss, len(stopped))
            total, size, stop = accelerator.reduce(torch.stack([loss.detach(), norm, told]), "mean").tolist()
            if not math.isfinite(total + size):
                bad = [
                    trainset.train[i][1].file_name
                    for i, x in zip(mine.tolist(), losses.tolist(), strict=True)
                    if not math.isfinite(x)
                ]
                raise ValueError(
                    f"step {step}: loss is {total} and gradient norm {size}, "
                    f"at {', '.join(bad[:3]) or 'no one record here'}; lower --learning-rate or look there"
                )
            if step % config.validate_every == 0 or step == config.steps:
                validation.append((step, validate(wrapped, scheduler, tokenizer, text_encoder, questions, accelerator)))
            bar.step(note=f"loss {total:.4f} val {validation[-1][1]:.4f}")
            if accelerator.is_main_process:
                log(
                    config.out / "losses.jsonl",
                    {"step": step, "loss": total, "gradient_norm": size, "learning_rate": rate},
                )
                if step % config.save_every == 0 or step == config.steps or stop:
                    tensors = {f"adapter.{k}": v for k, v in get_peft_model_state_dict(wrapped).items()}
                    save_checkpoint(
                        config.out, step, tensors | optimizer_tensors(optimizer), {"validation": validation, **inputs}
                    )
            if stop and step < config.steps:
                break

    # The adapter, with all that a later stage asks of it
    if accelerator.is_main_process and step == config.steps:
        card = AdapterCard(
            base=config.base, depth=trainset.depth, steps=step,
            base_digest=inputs["base_digest"], data_digest=inputs["data_digest"],
            modalities=tuple(sorted({r.modality for _, r in trainset.train})),
        )  # fmt: skip
        write_adapter(config.out / "adapter", wrapped, card)
        write_json(config.out / "validation.json", [{"step": s, "loss": v} for s, v in validation])
    accelerator.wait_for_everyone()
    seconds = time.monotonic() - began
    return RunSummary(
        out=config.out, step=step, finished=step == config.steps, validation=tuple(validation), seconds=seconds
    )


def lora_config(config: FinetuneConfig) -> LoraConfig:
    return LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=list(config.targets), init_lora_weights="gaussian"
    )


def check_targets(denoiser: Any, config: FinetuneConfig) -> None:
    """ValueError where a target names no layer: PEFT says nothing as long as another one does."""
    names = [name for name, _ in denoiser.named_modules()]
    for target in config.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            near = sorted({n.rsplit(".", 1)[-1] for n in names if n.rsplit(".", 1)[-1].startswith("to_")})
            raise ValueError(f"--targets: base '{config.base}' has no layer '{target}' (it has {', '.join(near)}, ...)")


def claim_run(config: FinetuneConfig, write: bool) -> None:
    """Take up a run folder with the same configuration, or begin a new one. ValueError where it holds another run."""
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS, write=write)
    if config.resume == "never" and load_checkpoint(config.out) is not None:
        raise ValueError(f"{config.out}: holds checkpoints and --resume is never; give another --out")


def fixed_questions(trainset: Trainset, held_out: torch.Tensor, config: FinetuneConfig) -> list[tuple[Any, ...]]:
    """(latents, noise, timesteps, prompts) in batches of 16: the same at every validation of every run with this seed.

    Every image is asked about at four timesteps, one in each quarter of the schedule's 1000.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    questions = []
    for start in range(0, len(held_out), 16):
        latents = held_out[start : start + 16]
        prompts = [trainset.prompt_of_held_out(i) for i in range(start, start + len(latents))]
        for quarter in range(4):
            noise = torch.randn(latents.shape, generator=generator)
            timesteps = quarter * 250 + torch.randint(0, 250, (len(latents),), generator=generator)
            questions.append((latents, noise, timesteps, prompts))
    return questions


@torch.no_grad()
def validate(
    denoiser: Any,
    scheduler: Any,
    tokenizer: Any,
    text_encoder: Any,
    questions: list[tuple[Any, ...]],
    accelerator: Accelerator,
) -> float:
    """Mean unweighted loss over the fixed questions, shared out over the processes."""
    denoiser.eval()
    total, count = torch.zeros((), device=accelerator.device), torch.zeros((), device=accelerator.device)
    for latents, noise, timesteps, prompts in questions[accelerator.process_index :: accelerator.num_processes]:
        text = text_condition(tokenizer, text_encoder, prompts)
        with accelerator.autocast():
            here = [t.to(accelerator.device) for t in (latents, noise, timesteps)]
            total += denoising_loss(denoiser, scheduler, here[0], here[1], here[2], text).sum()
        count += len(latents)
    denoiser.train()
    sums = accelerator.reduce(torch.stack([total, count]), "sum")
    return float(sums[0] / sums[1])


def cut_log(path: Path, step: int) -> None:
    """Drop the lines of a log that a resumed run will write again, a half line of a killed one among them."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    # Lines are complete up to a checkpoint, one for each step, so the rest is what came after it.
    write_atomic(path, "".join(lines[:step]).encode())


def log(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
