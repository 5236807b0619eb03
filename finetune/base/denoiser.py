"""Train the denoiser of a base over a trained autoencoder and a trained text encoder, both frozen.

    python -m vesalius.finetune.base.denoiser --data DIR... --autoencoder RUN/vae --text RUN --out RUN --steps 8000
    python -m vesalius.finetune.base.denoiser --data DIR... --init models/nano --out RUN --steps 4000

Alone or under `accelerate launch`; resumes by the same line, with the same losses. Writes RUN/base, an ordinary
diffusers folder in fp16 (EMA weights). What a step sees is a pure function of (seed, step, slot of the batch).
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vesalius.data.command.progress import Progress
from vesalius.data.command.recipe import claim
from vesalius.data.record import Record, hold, write_json
from vesalius.finetune.base.batches import BaseBatches, told
from vesalius.finetune.base.config import BaseConfig
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.feeding.latents import cached_latents, cached_views
from vesalius.finetune.feeding.stream import balanced_weights
from vesalius.finetune.learning.optimizer import MatrixOptimizer
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, save_checkpoint
from vesalius.finetune.running.launch import make_accelerator, num_workers, watch_signals
from vesalius.models.architecture import make_denoiser, make_sampler, make_scheduler
from vesalius.models.base import digest_folder
from vesalius.models.objective import denoising_loss
from vesalius.models.text import encode, tokenize

OUTER = ("conv_in", "conv_out", "time_embedding", "add_embedding")
"""First and last layers of a denoiser, as the optimizer wants to know them."""
FREE_FIELDS = ("out", "device", "workers", "compile")  # may change when a run is taken up again
Member = tuple[Path, Record]


def train_base(config: BaseConfig) -> Path:
    """Run or resume the training; returns the folder of the base, or of the run where a signal stopped it.

    ValueError where another run holds the folder, or other settings began it.
    """
    if os.environ.get("RANK", "0") != "0":  # of several processes one holds the folder
        return _train(config)
    with hold(config.out):
        return _train(config)


def _train(config: BaseConfig) -> Path:
    from diffusers.models.attention_processor import AttnProcessor
    from diffusers.training_utils import EMAModel

    # Frozen parts, latents once
    accelerator = make_accelerator(config.precision, config.device, compiled=config.compile)
    config.check(accelerator.num_processes)
    quiet, device = not accelerator.is_main_process, accelerator.device
    members = gather(config.data, "train", config.exclude)
    fixed = fixed_questions(config, gather(config.data, "val", config.exclude))
    shares = {"real": config.real_share, "phantom": 1 - config.real_share}
    weights = balanced_weights([r for _, r in members], shares, config.weigh)
    autoencoder, tokenizer, text_encoder, digest = open_parts(config)
    with accelerator.main_process_first():  # after all that a user may get wrong: what it marks is that run's alone
        claim(config.out, asdict(config), kind="run", free=FREE_FIELDS, write=accelerator.is_main_process)
    with accelerator.main_process_first():
        half = accelerator.mixed_precision == "bf16"
        cache: dict[str, Any] = {"folder": config.out / "cache", "device": device, "quiet": quiet, "half": half}
        cache["workers"] = num_workers(config.workers, device)
        autoencoder.to(device)
        shape = (config.sizes.image_size,) * 2
        latents, places = cached_views(autoencoder, digest, members, shape, config.views, **cache)
        held_out, _ = cached_latents(autoencoder, digest, fixed, shape, **cache).whole()
        autoencoder.cpu()
    dtype = torch.bfloat16 if half else torch.float32
    condition = Condition(tokenizer, text_encoder, device, dtype, config.kept_texts)

    # Denoiser, optimizer, average, and the newest whole checkpoint
    torch.manual_seed(config.seed)
    denoiser: Any = open_denoiser(config)
    scheduler = make_scheduler()
    if device.type == "cpu":  # the backward pass of fused attention is slower there: a tenth of the whole step
        denoiser.set_attn_processor(AttnProcessor())
    denoiser.to(device)
    optimizer = MatrixOptimizer(denoiser, config.learning_rate, outer=OUTER)
    average = EMAModel(
        denoiser.parameters(), decay=config.average, use_ema_warmup=True, power=0.75, foreach=device.type == "cuda"
    )
    step, losses = 0, list[dict[str, float]]()
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, state = found
        denoiser.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        optimizer.restore(tensors)
        average.shadow_params = [tensors[f"ema.{i}"] for i in range(len(average.shadow_params))]
        average.optimization_step, losses = step, state["losses"]
    denoiser = accelerator.prepare(denoiser.train())
    average.to(device)
    wrapped = accelerator.unwrap_model(denoiser, keep_torch_compile=False)

    # The loop
    slots = range(accelerator.process_index, config.batch_size, accelerator.num_processes)
    ahead = BaseBatches(
        config, members, weights, latents, places, slots, tokenizer if device.type == "cuda" else None
    ).ahead(step, device)
    with watch_signals() as stopped, Progress("base", config.steps, start=step, quiet=quiet) as bar:
        while step < config.steps:
            batch = next(ahead)
            with accelerator.autocast():
                hidden = [(torch.arange(len(batch.texts), device=device), condition(batch.texts, batch.tokens))]
                here = [x.to(device, non_blocking=True) for x in batch[:4]]
                loss = denoising_loss(denoiser, scheduler, here[0], here[1], here[2], hidden, emphasis=here[3]).mean()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(denoiser.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
            optimizer.step()
            optimizer.zero_grad()
            average.step(wrapped.parameters())
            step += 1
            told_to_stop = torch.full_like(loss, len(stopped))
            total, stop = accelerator.reduce(torch.stack([loss.detach(), told_to_stop]), "mean").tolist()
            if not math.isfinite(total):
                raise ValueError(f"step {step}: the loss is {total}; lower --learning-rate, or look at the data")
            bar.step(note=f"loss {total:.4f}")
            if accelerator.is_main_process and (step % config.validate_every == 0 or step == config.steps):
                average.store(wrapped.parameters())
                average.copy_to(wrapped.parameters())
                loss_of = validation_loss(wrapped, scheduler, held_out, fixed, condition, config, accelerator)
                losses.append({"step": step, "val": loss_of})
                average.restore(wrapped.parameters())
                print(f"step {step}: validation loss {loss_of}", flush=True)
            if accelerator.is_main_process and (step % config.save_every == 0 or step == config.steps or stop):
                tensors = {f"model.{k}": v for k, v in wrapped.state_dict().items()} | optimizer.tensors()
                tensors |= {f"ema.{i}": p for i, p in enumerate(average.shadow_params)}
                save_checkpoint(config.out, step, tensors, {"losses": losses})
            if stop and step < config.steps:
                return config.out

    if accelerator.is_main_process:
        average.copy_to(wrapped.parameters())
        write_base(config.out / "base", autoencoder, tokenizer, text_encoder, wrapped, scheduler)
        write_json(config.out / "losses.json", losses)
    accelerator.wait_for_everyone()
    return config.out / "base"


class Condition:
    """Texts -> hidden states [N, L, C] of the frozen text encoder; what repeats is kept, up to `most` texts."""

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        most: int = 4000,
    ) -> None:
        self.tokenizer, self.most = tokenizer, most
        encoder = copy.deepcopy(text_encoder).to(device or text_encoder.device, dtype)
        self.text_encoder = encoder.eval().requires_grad_(False)
        self.kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], tokens: torch.Tensor | None = None) -> torch.Tensor:
        """tokens: those of the texts, which are encoded anew then. ValueError where a text needs more than one
        context."""
        if tokens is not None and len(tokens):
            place = self.text_encoder.device
            return encode(self.text_encoder, tokens.to(place, non_blocking=True)).float()
        new = [t for t in dict.fromkeys(texts) if t not in self.kept]
        for start in range(0, len(new), 16):  # more at a time do not fit a processor's cache
            part = new[start : start + 16]
            ids = tokenize(self.tokenizer, part, 1).to(self.text_encoder.device)
            self.kept.update(zip(part, encode(self.text_encoder, ids).cpu().unbind(), strict=True))
        hidden = torch.stack([self.kept[t] for t in texts])
        while len(self.kept) > self.most:
            self.kept.popitem(last=False)
        return hidden.to(self.text_encoder.device).float()


def open_parts(config: BaseConfig) -> tuple[Any, Any, Any, str]:
    """Autoencoder, tokenizer, text encoder, and the autoencoder's digest. ValueError where a folder is not named, or
    lacks what is looked for in it."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    vae = config.autoencoder or (config.init and config.init / "vae")
    text = config.text or config.init
    if vae is None or text is None:
        raise ValueError("name --autoencoder and --text, or --init with a base folder that holds both")
    parts = [
        (vae, "*.safetensors", "--autoencoder" if config.autoencoder else "--init"),
        (text / "tokenizer", "tokenizer_config.json", "--text" if config.text else "--init"),
        (text / "text_encoder", "*.safetensors", "--text" if config.text else "--init"),
        *([(config.init / "unet", "*.safetensors", "--init")] if config.init else []),
    ]
    for folder, kind, flag in parts:
        if not any(folder.glob(kind)):
            raise ValueError(f"{folder}: no {kind} there; {flag} is to name another folder (see --help)")
    autoencoder = AutoencoderKL.from_pretrained(vae, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(text / "tokenizer")
    return autoencoder, tokenizer, CLIPTextModel.from_pretrained(text / "text_encoder").float(), digest_folder(vae)


def open_denoiser(config: BaseConfig) -> nn.Module:
    """A fresh denoiser, or that of `config.init`."""
    from diffusers import UNet2DConditionModel

    if config.init is None:
        fresh: nn.Module = make_denoiser(config.sizes)
        return fresh
    opened: Any = UNet2DConditionModel.from_pretrained(config.init / "unet", dtype=torch.float32)
    opened.register_to_config(sample_size=config.sizes.latent_size)  # the start may have been made at another size
    made: nn.Module = opened
    return made


def fixed_questions(config: BaseConfig, held_out: list[Member]) -> list[Member]:
    """The 512 held-out records that every validation asks about, as many real ones as phantoms. ValueError where there
    is none."""
    rng = np.random.default_rng(config.seed)
    chosen: list[Member] = []
    for origin in ("real", "phantom"):
        of_origin = [m for m in held_out if m[1].origin == origin]
        chosen += [of_origin[i] for i in sorted(rng.permutation(len(of_origin))[:256].tolist())]
    if not chosen:
        raise ValueError(
            f"{', '.join(map(str, config.data))}: split 'val' has no real image and no phantom to validate with; "
            "give a dataset that has one"
        )
    return chosen


@torch.no_grad()
def validation_loss(
    denoiser: nn.Module,
    scheduler: Any,
    latents: torch.Tensor,
    members: list[Member],
    condition: Condition,
    config: BaseConfig,
    accelerator: Any,
) -> float:
    """Mean unweighted loss over the fixed questions: the same noise, timesteps and texts at every validation."""
    denoiser.eval()
    generator = torch.Generator().manual_seed(config.seed + 1)
    noise = torch.randn(latents.shape, generator=generator)
    timesteps = (torch.arange(len(latents)) * 1000 // len(latents))[torch.randperm(len(latents), generator=generator)]
    total = 0.0
    for part in torch.arange(len(latents)).split(64):
        texts = [told(members[i][1], config, i) for i in part.tolist()]
        here = [x[part].to(accelerator.device) for x in (latents, noise, timesteps)]
        with accelerator.autocast():
            hidden = [(torch.arange(len(texts), device=accelerator.device), condition(texts))]
            total += float(denoising_loss(denoiser, scheduler, here[0], here[1], here[2], hidden).sum())
    denoiser.train()
    return round(total / len(latents), 5)


def write_base(
    folder: Path, autoencoder: Any, tokenizer: Any, text_encoder: Any, denoiser: Any, scheduler: Any
) -> None:
    """Write an ordinary Stable Diffusion folder, fp16 safetensors, that draws with `make_sampler`."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=autoencoder, text_encoder=text_encoder, tokenizer=tokenizer, unet=denoiser,
        scheduler=make_sampler(scheduler), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    for path in (folder / "model_index.json", *folder.glob("*/config.json")):  # where parts lay on this machine
        config = json.loads(path.read_text())
        write_json(path, {k: v for k, v in config.items() if k != "_name_or_path"})
    # transformers opens a model in the dtype its config names, diffusers in float32: without this line they differ.
    text_config = json.loads((folder / "text_encoder" / "config.json").read_text())
    write_json(folder / "text_encoder" / "config.json", {**text_config, "dtype": "float32"})


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(BaseConfig, lambda config: train_base(config).name == "base")
