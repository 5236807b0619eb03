"""What a run trains: adapters on the denoiser and the text encoders, or all their weights."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn

from vesalius.finetune.config import FinetuneConfig
from vesalius.models.adapters.adapter import TEXT_ENCODERS, AdapterCard, write_adapter
from vesalius.models.adapters.export import public_name
from vesalius.models.adapters.fuse import FusedCard, fused_depth, write_fused
from vesalius.models.base import Base, base_folder, text_encoders

ENDS = ("conv_in", "conv_out")
LIGHT_KINDS = ("lora", "rslora")
"""Kinds that ask nothing of the weights they are added to: the denoiser may come in the type of its file."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The parts of a base as a run trains them. text_encoder, and the second one of SDXL, are frozen unless
    `train_text`."""

    base: Base
    kind: str
    denoiser: Any
    text_encoder: Any
    train_text: bool
    text_encoder_2: Any = None

    @property
    def text_encoders(self) -> dict[str, Any]:
        """Those that are trained."""
        both = {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2} if self.train_text else {}
        return {name: encoder for name, encoder in both.items() if encoder is not None}

    @property
    def parts(self) -> dict[str, Any]:
        """The networks that are trained, by the name that their tensors have in a checkpoint."""
        return {"denoiser": self.denoiser, **self.text_encoders}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer moves, float32, in a fixed order."""
        return [p for part in self.parts.values() for p in part.parameters() if p.requires_grad]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The trained weights by name; `load` takes them back."""
        return {
            f"{name}.{k}": v
            for name, part in self.parts.items()
            for k, v in (part.state_dict() if self.kind == "full" else get_peft_model_state_dict(part)).items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, part in self.parts.items():
            start = f"{name}."
            mine = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            if self.kind == "full":
                part.load_state_dict(mine)
            else:
                set_peft_model_state_dict(part, mine)

    def write(self, run: Path, card: AdapterCard) -> None:
        """`run/adapter`; of a full fine-tuning `run/base`, an ordinary diffusers folder. Whole or not at all."""
        if self.kind != "full":
            write_adapter(run / "adapter", self.denoiser, card, **self.text_encoders)
            return
        shutil.rmtree(run / "base", ignore_errors=True)  # of an earlier end of this very run
        told = FusedCard(
            base=public_name(self.base.name), base_digest=self.base.digest, adapter_digest="", weight=1.0,
            depth=card.depth, modalities=card.modalities, sampling=card.sampling,
        )  # fmt: skip
        write_fused(run / "base", self.base.pipeline, base_folder(self.base.name), told)


def make_trained(base: Base, config: FinetuneConfig, *, half: bool = False) -> Trained:
    """Wrap or free the parts of an opened base. ValueError where a target names no layer of it.

    half: hold the frozen weights of the denoiser in bfloat16, in which autocast would use them anyway.
    """
    denoiser, encoders = base.pipeline.unet, text_encoders(base.pipeline)
    check_targets(denoiser, config.targets, "--targets", config)
    if config.train_text:
        for encoder in encoders:
            check_targets(encoder, config.text_targets, "--text-targets", config)
    if half and config.kind in LIGHT_KINDS:
        to_half(denoiser)
    if config.kind == "full":
        denoiser.requires_grad_(True)
        for encoder in encoders:
            encoder.requires_grad_(config.train_text)
    else:
        denoiser = get_peft_model(denoiser, lora_config(config, config.targets))
        if config.train_text:
            encoders = [get_peft_model(encoder, lora_config(config, config.text_targets)) for encoder in encoders]
        if half and config.kind not in LIGHT_KINDS:  # whose adapters begin with the norms of the weights as they are
            to_half(base.pipeline.unet)
    return Trained(
        base=base, kind=config.kind, denoiser=denoiser, train_text=config.train_text,
        **dict(zip(TEXT_ENCODERS, encoders, strict=False)),
    )  # fmt: skip


def to_half(denoiser: Any) -> None:
    """Frozen kernels and matrices in bfloat16: half the memory, and nothing left to cast in each pass.

    Normalisation, the adapter, and the layers at both ends, by whose type pipelines choose that of their latents, are
    in float32.
    """
    for name, layer in denoiser.named_modules():
        matrix = isinstance(layer, nn.Linear | nn.Conv2d) and not layer.weight.requires_grad and name not in ENDS
        for weight in layer.parameters(recurse=False):
            made = weight.data.to(torch.bfloat16 if matrix else torch.float32)
            # Over the old numbers where they are as long: pages of a mapped file would stay beside the new ones
            weight.data = weight.data.view(made.dtype).copy_(made) if made.itemsize == weight.itemsize else made


def lora_config(config: FinetuneConfig, targets: tuple[str, ...]) -> LoraConfig:
    return LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=list(targets), init_lora_weights="gaussian",
        use_rslora=config.kind == "rslora", use_dora=config.kind == "dora",
    )  # fmt: skip


def check_targets(network: Any, targets: tuple[str, ...], flag: str, config: FinetuneConfig) -> None:
    """ValueError where a target names no layer (PEFT says nothing as long as another one does), or where the rank is
    larger than a layer is wide, so that the adapter would be no smaller than what it adapts."""
    if config.kind == "full":
        return
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    for target in targets:
        mine = {n: layer for n, layer in layers.items() if n == target or n.endswith(f".{target}")}
        if not mine:
            last = {n.rsplit(".", 1)[-1] for n in layers}
            near = sorted(n for n in last if n.startswith("to_") or n.endswith("_proj"))
            raise ValueError(f"{flag}: base '{config.base}' has no layer '{target}' (it has {', '.join(near)}, ...)")
        name, layer = min(mine.items(), key=lambda each: min(each[1].weight.shape[:2]))
        if config.rank > min(layer.weight.shape[:2]):
            raise ValueError(
                f"--rank {config.rank} is larger than layer {name} of base '{config.base}' "
                f"({layer.weight.shape[1]} to {layer.weight.shape[0]}); expected at most {min(layer.weight.shape[:2])}"
            )


def card_of(base: Base, config: FinetuneConfig, **facts: Any) -> AdapterCard:
    """The card of a run's adapter: as deep as its data or its base, and drawn with as it was trained where that is not
    how its base draws."""
    facts["depth"] = max(facts["depth"], fused_depth(config.base))
    card = AdapterCard(base=config.base, base_digest=base.digest, **facts)
    if not config.zero_terminal_snr:
        return card
    from vesalius.models.adapters.adapter import Sampling
    from vesalius.models.base import usual_steps

    scheduler = {**base.pipeline.scheduler.config, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler["_class_name"] = type(base.pipeline.scheduler).__name__
    from vesalius.inference.config import GUIDANCE

    sampling = Sampling(steps=usual_steps(config.base), guidance=GUIDANCE, scheduler=scheduler)
    return dataclasses.replace(card, sampling=sampling)
