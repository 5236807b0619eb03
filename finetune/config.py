"""What a fine-tuning run is: one frozen dataclass, from which recipes and the command line are made."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.data.command.fields import Settled
from vesalius.data.texts.prompt import SECTIONS

REAL_FLOOR = 0.5
WEIGHT = "sampling_weight"
"""A record's further column by which it is drawn more often or less than others; not `weight`, which is a patient's."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Settled):
    """Fine-tune a LoRA adapter on images and their reports. The same line continues a run that was stopped."""

    data: tuple[Path, ...]
    """dataset folders, or folders of shards that `vesalius data export` wrote"""
    out: Path
    """run folder"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    modalities: tuple[str, ...] = ()
    """train on these modalities only; none: all"""
    organs: tuple[str, ...] = ()
    """train on these organs only (the records' `organ`); none: all"""
    steps: int = 1000
    """optimizer updates"""
    batch_size: int = 16
    """images per update over all processes"""
    learning_rate: float = 5e-4
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 50
    """steps of linear warm-up"""
    micro_batch: int = 0
    """images at a time on a device; 0: all of its share. Halved, with a warning, where memory runs out"""
    kind: Literal["lora", "rslora", "dora", "full"] = "lora"
    """lora; rslora: alpha / sqrt(rank) in place of alpha / rank; dora: magnitude and direction apart, twice the time;
    full: all weights, which gives a base folder and wants a learning rate of about 1e-5"""
    rank: int = 16
    """rank of the adapter"""
    alpha: int = 16
    """scale of the adapter; alpha / rank multiplies its output"""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """names of the denoiser's layers that are adapted"""
    train_text: bool = False
    """adapt the text encoder too, of SDXL both (of `full`: train them)"""
    text_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """names of the text encoder's layers that are adapted"""
    attention: Literal["auto", "sdpa", "eager", "xformers"] = "auto"
    """attention kernel; auto: sdpa on a GPU, eager on a CPU, where its backward pass is the faster one"""
    weight_decay: float = 0.01
    """AdamW's"""
    clip_norm: float = 1.0
    """largest norm of the gradient"""
    caption_dropout: float = 0.1
    """share of samples trained without text, for guidance"""
    caption_share: float = 0.5
    """share of samples that show the short caption where there is one; the others show the report or a section"""
    section: str | None = None
    """train on this section of reports where they have it, such as findings; none: on all wordings"""
    aspect_buckets: bool = False
    """let images keep their shape, from 1:2 to 2:1, at about as many pixels; else all are cropped or padded square"""
    views: int = 1
    """views of each real image: itself, and others flipped where modality and text allow it, else moved by a little"""
    balance: Literal["none", "label", "modality", "organ"] = "none"
    """draw each value of this field equally often"""
    data_weights: tuple[float, ...] = ()
    """how often each dataset of --data is drawn from, in their order; none: by its number of records"""
    min_snr_gamma: float | None = None
    """min-SNR weighting; 5 is usual for epsilon prediction; none: uniform"""
    zero_terminal_snr: bool = False
    """train up to noise alone, for bases that predict v; the adapter then draws so too"""
    offset_noise: float = 0.0
    """share of noise that is the same all over a channel, for very dark and very bright images; 0.1 is usual"""
    mask_weight: float = 1.0
    """weight of the loss where a record's mask shows a finding and around it"""
    pairs: tuple[Path, ...] = ()
    """rated pairs (JSON lines of text, modality, better, worse): train to prefer as they do (Diffusion-DPO), with the
    base as the reference; --data is validated on then"""
    dpo_beta: float = 2000.0
    """how closely preference tuning keeps to the base; higher is closer"""
    kept_share: float = 0.0
    """share of samples on which the adapted model is held to what the base predicts (prior preservation)"""
    real_share: float = REAL_FLOOR
    """share of the sampling weight for real and phantom records where the data holds synthetic ones; at least 0.5"""
    synthetic_alone: bool = False
    """for experiments that show how a model collapses: train on the synthetic records alone"""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 autocast where the hardware has it. The adapter itself is always fp32"""
    validate_every: int = 100
    """steps between validation losses, on fixed images, noise and timesteps"""
    num_validation: int = 64
    """held-out images of the validation loss"""
    prompts: tuple[str, ...] = ()
    """what the run draws to be looked at, always from the same noise; none: texts of held-out images"""
    num_pictures: int = 4
    """pictures drawn each time where --prompts names none; 0: draw none"""
    draw_every: int = 500
    """steps between pictures; the first and the last step are always drawn"""
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """where losses are logged beside losses.jsonl; tensorboard: RUN/logs"""
    save_every: int = 100
    """steps between checkpoints"""
    sync: str | None = None
    """a folder or bucket (s3://, gs://) to which checkpoints are copied in the background, and from which a fresh
    machine continues"""
    seed: int = 0
    """seed of order, noise and initial weights"""
    resume: Literal["auto", "never"] = "auto"
    """auto: continue from the newest whole checkpoint of this run; never: refuse a folder that has one"""
    device: Literal["auto", "cpu"] = "auto"
    """cpu: stay off the GPUs"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check data, base and arithmetic; train nothing"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together. Cheap: nothing is loaded."""
        for name in (
            "steps", "batch_size", "rank", "alpha", "validate_every", "save_every", "num_validation", "views",
            "draw_every",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        if not self.data:
            raise ValueError("--data is empty; give at least one dataset folder")
        for name in ("learning_rate", "clip_norm", "min_snr_gamma", "mask_weight", "dpo_beta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected a number above 0")
        for name in ("warmup", "weight_decay", "micro_batch", "offset_noise", "num_pictures"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 or more")
        for name in ("caption_dropout", "caption_share", "kept_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; expected a share between 0 and 1"
                )
        if not REAL_FLOOR <= self.real_share <= 1:
            raise ValueError(
                f"--real-share is {self.real_share}; expected {REAL_FLOOR} to 1: "
                "with less real data a self-improving model collapses"
            )
        if not self.targets or (self.train_text and not self.text_targets):
            raise ValueError("--targets or --text-targets is empty; name at least one kind of layer, such as to_q")
        if self.data_weights and (
            len(self.data_weights) != len(self.data) or not all(0 < w < math.inf for w in self.data_weights)
        ):
            raise ValueError(f"--data-weights {self.data_weights}: expected a number above 0 for each of --data")
        if (self.kept_share or self.pairs) and self.kind == "full":
            raise ValueError(
                "--kept-share and --pairs need an adapter, which can be switched off; --kind full has none"
            )
        if self.pairs and (
            self.views > 1
            or self.mask_weight != 1
            or self.kept_share
            or self.balance != "none"
            or self.train_text
            or self.aspect_buckets
        ):
            raise ValueError(
                "--pairs trains the denoiser on each pair as it is: leave out views, mask_weight, kept_share, balance, "
                "train_text and aspect_buckets"
            )
        if self.mask_weight != 1 and self.views > 1:
            raise ValueError("--mask-weight and --views above 1 exclude each other: masks hold for the image as it is")
        if self.section is not None and self.section not in SECTIONS:
            raise ValueError(f"--section '{self.section}' is not known; expected one of {', '.join(SECTIONS)}")
        self.check_shared(int(os.environ.get("WORLD_SIZE", "1")))  # a launcher's word, which waits for no import

    def check_shared(self, num_processes: int) -> None:
        """ValueError where the batch does not divide among so many processes."""
        if self.batch_size % num_processes:
            raise ValueError(
                f"--batch-size {self.batch_size} does not divide among {num_processes} processes; give a multiple"
            )
