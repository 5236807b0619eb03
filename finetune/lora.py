"""Fine-tune an adapter, or all weights: the loop that a paid hour is spent in.

Runs alone or under `accelerate launch` on any number of processes, with the same losses: which records, timesteps and
noise a step sees is a pure function of (seed, step, slot of the global batch); a process takes its share of the slots.

    accelerate launch --multi_gpu --num_processes 8 -m vesalius.cli.main finetune --data DIR --out RUN
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import claim
from vesalius.data.record import hold, write_json
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.batch import Batch, draw_batch
from vesalius.finetune.feeding.cached import cache_pictures
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.feeding.trainset import choose_trainset, data_digest
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.learning.trained import LIGHT_KINDS, card_of, make_trained
from vesalius.finetune.learning.validation import fixed_questions
from vesalius.finetune.running.card import write_run_card
from vesalius.finetune.running.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.finetune.running.launch import make_accelerator, watch_signals
from vesalius.finetune.running.logs import cut_log, log, machine, not_finite
from vesalius.finetune.running.pictures import choose_requests
from vesalius.finetune.running.replicas import Replicas
from vesalius.finetune.running.sharding import sharding_asked, spread
from vesalius.finetune.running.sync import Mirror
from vesalius.models.base import open_base, text_encoders
from vesalius.models.computing.attention import set_attention
from vesalius.models.objective import denoising_loss, preference_loss, training_scheduler

if TYPE_CHECKING:
    from vesalius.models.text import TextGroups

FREE_FIELDS = ("out", "resume", "json", "dry_run", "device", "micro_batch", "sync")  # may change on taking a run up


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run came to. finished is False where a signal stopped it; the same line continues it."""

    out: Path
    """the run folder"""
    step: int
    """updates that were made"""
    finished: bool
    validation: tuple[tuple[int, float], ...]
    """(step, loss) of each validation"""
    seconds: float
    """that it took, this time"""


def finetune(config: FinetuneConfig) -> RunSummary:
    """Run or resume a fine-tuning run. ValueError for bad input, before anything heavy is loaded where possible."""
    # Check, cheapest first
    config.check()
    if config.dry_run or os.environ.get("RANK", "0") != "0":  # of several processes one holds the folder
        return _finetune(config)
    with hold(config.out):
        return _finetune(config)


def _finetune(config: FinetuneConfig) -> RunSummary:
    sharding = sharding_asked(config)
    trainset = choose_trainset(config)
    accelerator = make_accelerator(config.precision, config.device, config.tracker, config.out / "logs")
    device, main = accelerator.device, accelerator.is_main_process
    config.check_shared(accelerator.num_processes)
    with accelerator.main_process_first():
        claim_run(config, write=False)
    half = accelerator.mixed_precision == "bf16"
    base = open_base(config.base, denoiser_as_stored=half and config.kind in LIGHT_KINDS)
    scheduler = training_scheduler(base.pipeline.scheduler.config, zero_terminal_snr=config.zero_terminal_snr)
    attention = set_attention(base.pipeline.unet, config.attention, device)
    torch.manual_seed(config.seed)
    trained = make_trained(base, config, half=half)
    with accelerator.main_process_first():  # only now: a base that does not open must not settle the folder's run
        claim_run(config, write=main and not config.dry_run)
    quiet = config.json or not main
    mirror = Mirror(config.sync if main else None, config.out)
    requests = choose_requests(config, trainset, base)
    longest = trainset.say_text_coverage(base.pipeline.tokenizer, config.section, quiet=quiet)
    if config.dry_run:
        return RunSummary(out=config.out, step=0, finished=False, validation=(), seconds=0.0)
    if main:
        write_json(config.out / "machine.json", machine(accelerator, attention))

    # Latents once, shared out over the processes
    pictures = cache_pictures(base, trainset, config, accelerator, half=half, quiet=quiet)
    base.pipeline.vae.to("cpu")  # its work is done; on a small card the denoiser needs the room

    # Adapter in fp32 on a frozen base, optimizer, and the newest whole checkpoint
    weights = spread(trained, sharding, accelerator)
    for encoder in text_encoders(base.pipeline):
        encoder.to(device)
    texts = Texts(base, trained.text_encoder, trained=config.train_text, device=device)
    if texts.keep(trainset.texts, longest, config.steps * config.batch_size, accelerator, quiet=quiet):
        # Their work is done too; and where nothing is drawn and no base is written, nobody asks for their weights
        for part in (base.pipeline.vae, *text_encoders(base.pipeline)):
            part.to("cpu" if requests or config.kind == "full" else "meta")
    parameters = trained.parameters
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    inputs = {"base_digest": base.digest, "data_digest": data_digest([*trainset.train, *trainset.rivals])}
    with accelerator.main_process_first():
        if main:
            mirror.fetch()
    step, validation = take_up(config, weights, optimizer, inputs)
    num_timesteps: int = scheduler.config.num_train_timesteps
    questions = fixed_questions(trainset, pictures.held_out, config.seed, num_timesteps)
    if main:
        cut_log(config.out / "losses.jsonl", step)

    precision: Literal["fp32", "bf16"] = "bf16" if half else "fp32"
    if config.tracker != "none":  # what a killed run logged after its last checkpoint is drawn anew
        accelerator.init_trackers("finetune", init_kwargs={"tensorboard": {"purge_step": step + 1}})

    # The loop
    began, stop, saved = time.monotonic(), 0.0, step
    slots = range(accelerator.process_index, config.batch_size, accelerator.num_processes)
    micro = min(config.micro_batch or len(slots), len(slots))
    draw = partial(
        draw_batch, config=config, trainset=trainset, views=pictures.train, masks=pictures.masks,
        num_timesteps=num_timesteps,
    )  # fmt: skip
    with watch_signals() as stopped, Progress("finetune", config.steps, start=step, quiet=quiet) as bar:
        trained.denoiser.train()
        while True:
            # Validate
            if (step % config.validate_every == 0 or step == config.steps) and step not in dict(validation):
                found_loss = weights.validate(scheduler, texts, questions, stopped)
                if found_loss is None:  # stopped meanwhile: the run that continues begins with it
                    stop = 1.0
                else:
                    validation.append((step, found_loss))
                    accelerator.log({"validation_loss": found_loss}, step)

            # Save, draw, end
            saves = step > saved and (step % config.save_every == 0 or step == config.steps or stop)
            if weights.takes_part and saves:
                tensors = weights.gather(trained.tensors() | optimizer_tensors(optimizer))
                if main:
                    mirror.push(save_checkpoint(config.out, step, tensors, {"validation": validation, **inputs}))
                saved = step
            if weights.takes_part and not stop and (step % config.draw_every == 0 or step == config.steps):
                weights.draw(requests, config.out / "pictures" / f"step-{step:08d}.png", precision)
            if stop or step == config.steps:
                break

            # Accumulate gradients, and step
            losses, records, micro = backward(draw, step, slots, micro, weights, scheduler, texts, config)
            norm = weights.settle_gradients(parameters, config.clip_norm)
            rate = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1

            # Tell, in one reduction and one wait for the device: the mean loss, and whether any process is to stop
            told = torch.full_like(norm, len(stopped))
            total, size, stop = accelerator.reduce(torch.stack([losses.mean(), norm, told]), "mean").tolist()
            if not math.isfinite(total + size):
                raise ValueError(not_finite(step, total, size, losses, [trainset.train[i][1] for i in records]))
            bar.step(note=f"loss {total:.4f} val {validation[-1][1]:.4f}")
            row = {"loss": total, "gradient_norm": size, "learning_rate": rate}
            accelerator.log(row, step)
            if main:
                log(config.out / "losses.jsonl", {"step": step, **row})

    # The adapter, with all that a later stage asks of it
    finished = step == config.steps and not stop
    if finished:
        weights.assemble()
    if main and finished:
        modalities = tuple(sorted({r.modality for _, r in trainset.train}))
        facts = {"data_digest": inputs["data_digest"], "depth": trainset.depth, "steps": step}
        trained.write(config.out, card_of(base, config, modalities=modalities, **facts))
        write_json(config.out / "validation.json", [{"step": s, "loss": v} for s, v in validation])
        write_run_card(config, trainset, base, validation, requests)
    mirror.wait()
    for tracker in accelerator.trackers:  # `end_training` would end the process group too, which others wait in
        tracker.finish()
    accelerator.wait_for_everyone()
    return RunSummary(
        out=config.out, step=step, finished=finished, validation=tuple(validation),
        seconds=time.monotonic() - began,
    )  # fmt: skip


def take_up(
    config: FinetuneConfig, weights: Replicas, optimizer: torch.optim.Optimizer, inputs: dict[str, str]
) -> tuple[int, list[tuple[int, float]]]:
    """The step of the newest whole checkpoint, whose weights and moments are put in place, and the validation losses
    until then; 0 and none where there is no checkpoint. ValueError where base or data changed since."""
    found = weights.load_checkpoint(config.out)
    if found is None:
        return 0, []
    step, tensors, state = found
    if changed := [k.removesuffix("_digest") for k, v in inputs.items() if state.get(k) != v]:
        raise ValueError(
            f"{config.out}: the {' and '.join(changed)} changed since its step {step}; "
            "give another --out, or bring them back"
        )
    weights.trained.load(tensors)
    restore_optimizer(optimizer, tensors)
    return step, [(s, v) for s, v in state["validation"]]


def backward(
    draw: Callable[..., Batch],
    step: int,
    slots: Sequence[int],
    micro: int,
    weights: Replicas,
    scheduler: Any,
    texts: Texts,
    config: FinetuneConfig,
) -> tuple[torch.Tensor, list[int], int]:
    """Gradients of the mean loss over a process's slots, `micro` of them at a time.

    Returns the loss of each slot [N], the number of its record, and how many at a time it was in the end: where memory
    runs out the share is begun again with half as many.
    """
    trained, accelerator = weights.trained, weights.accelerator

    def one_pass(batch: Batch, text: TextGroups) -> torch.Tensor:
        ours, noised = (trained.denoiser, scheduler, batch.latents), (batch.noise, batch.timesteps)
        with accelerator.autocast():
            if batch.worse is not None:
                each = preference_loss(*ours, batch.worse, *noised, text, config.dpo_beta)
            else:
                each = denoising_loss(*ours, *noised, text, config.min_snr_gamma, batch.emphasis, batch.kept)
        accelerator.backward(each.sum() / len(slots))
        return each.detach()

    while True:
        losses, records = list[torch.Tensor](), list[int]()
        try:
            for start in range(0, len(slots), micro):
                batch = draw(step=step, slots=slots[start : start + micro]).on(accelerator.device)
                with accelerator.autocast():
                    text = weights.embed(texts, batch.prompts, batch.latents.shape[2:])
                losses.append(weights.run(one_pass, batch, text))
                records += batch.records
            return torch.cat(losses), records, micro
        except (RuntimeError, MemoryError) as error:
            if micro == 1 or not weights.may_halve(error):
                raise
        trained.zero_grad()  # outside of the handler, which holds the frames of the failed pass and their tensors
        micro //= 2
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        if weights.speaks:
            print(f"vesalius: step {step}: out of memory; from here {micro} images at a time", file=sys.stderr)


def claim_run(config: FinetuneConfig, write: bool) -> None:
    """Take up a run folder with the same configuration, or begin a new one. ValueError where it holds another run."""
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS, write=write)
    if config.resume == "never" and load_checkpoint(config.out) is not None:
        raise ValueError(f"{config.out}: holds checkpoints and --resume is never; give another --out")
