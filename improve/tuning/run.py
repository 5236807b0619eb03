"""Direct reward fine-tuning of a sampler of few steps (DRaFT: Clark et al. 2024, arXiv 2309.17400).

    python -m vesalius.finetune.judges.reader --data DATA --out READER --steps 1500 --seed 12
    python -m vesalius.improve.tuning.run --data DATA --reader READER/reader --out RUN
    vesalius generate "..." --adapter RUN nano-fast

The adapter draws from noise in the sampler's few steps, the drawing is decoded, networks say what it shows, and their
gradient goes back through all of it. No image is learnt from, and no sample. What keeps drawings as they were, so that
nothing is gamed: a drawing that shows what was asked for without the adapter has to stay where it is, in latents, and
any other near it; findings that nobody asked for count as wrong. Who learns from a reader is measured by another one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from vesalius.data.command.recipe import claim
from vesalius.data.modality import MODALITIES, find_modality
from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Record, hold, write_json
from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.pairs import digest_texts
from vesalius.finetune.distill.sampler import Sampler
from vesalius.finetune.feeding.stream import batch_indices, slot_generator
from vesalius.finetune.judges.reader import phantoms_of
from vesalius.finetune.learning.adapting import adapt
from vesalius.finetune.running.launch import make_accelerator
from vesalius.improve.asking.ask import Ask
from vesalius.improve.asking.hard import hard_keys
from vesalius.improve.asking.plan import BILINGUAL
from vesalius.improve.asking.sources import open_source
from vesalius.improve.asking.strata import strata
from vesalius.improve.tuning.areas import Areas, area_loss, judge_loss, learn_areas
from vesalius.improve.tuning.config import TuneConfig
from vesalius.inference.prompts.read import stream_prompts
from vesalius.models.adapters.adapter import AdapterCard, read_card, write_adapter
from vesalius.models.adapters.fuse import fused_depth
from vesalius.models.adapters.mix import apply_adapters, parse_adapters, sampling_of_adapters
from vesalius.models.base import Base, open_base
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader

FREE_FIELDS = ("out", "device", "json")  # may change when a run is taken up again
SHIFT, NOISE = 3, 0.025
"""Pixels and deviation by which a drawing is moved and roughened before networks see it: what holds for one alignment
of pixels alone is no finding."""
SHOWN = 0.3
"""Loss of any one thing asked for below which a drawing shows all of it: areas within a third of phantoms'."""
VALIDATION = -1
"""The step that stands for the prompts kept from training, in the seeds of their noise."""


@dataclass(frozen=True, kw_only=True)
class Reward:
    """What is learnt from: networks that look, and how large findings are."""

    reader: Reader
    judge: Judge
    areas: Areas
    judge_weight: float

    def look(
        self, images: torch.Tensor, asks: Sequence[Ask], generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """How far each picture is from its prompt, with gradients, and how far the worst of what is asked of it, [N]
        each. images: [N, 3, H, W] in [-1, 1]."""
        size = self.areas.image_size
        if images.shape[-1] != size:
            images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        x, y = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
        moved = functional.pad(images, (SHIFT,) * 4, mode="replicate")[..., y : y + size, x : x + size]
        seen = moved + NOISE * torch.randn(moved.shape, generator=generator).to(moved.device)
        with torch.autocast(seen.device.type, torch.bfloat16):
            logits = self.reader(seen.contiguous(memory_format=torch.channels_last)).float()
        foreign = self.reader.foreign([ask.modality for ask in asks]).to(logits.device)
        probabilities = logits.masked_fill(foreign, -1e4).softmax(1)
        mean, worst = area_loss(probabilities, asks, self.reader, self.areas)
        return mean + self.judge_weight * judge_loss(self.judge, seen, asks), worst


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Who draws: the base with the adapters beside, as it was (`untuned`) and with the adapter that learns on it."""

    base: Base
    untuned: Any
    tuned: Any
    sampler: Sampler
    condition: Condition

    def noise(self, seed: int, step: int, num: int) -> torch.Tensor:
        """Of the slots of a step, float32 NCHW."""
        config = self.untuned.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        return torch.stack([torch.randn(shape, generator=slot_generator(seed, step, slot)) for slot in range(num)])

    def draw(self, denoiser: Any, noise: torch.Tensor, asks: Sequence[Ask]) -> torch.Tensor:
        """Latents NCHW."""
        device = self.sampler.accelerator.device
        text = self.condition([ask.text for ask in asks]).to(device)
        return self.sampler.draw(denoiser, noise.to(device), text, range(len(asks)))

    def decode(self, latents: torch.Tensor, asks: Sequence[Ask]) -> torch.Tensor:
        """Pictures [N, 3, H, W] in [-1, 1], grey where their modality is."""
        vae = self.base.pipeline.vae
        with self.sampler.accelerator.autocast():
            images = vae.decode(latents / vae.config.scaling_factor).sample.float().clamp(-1, 1)
        grey = [MODALITIES[a.modality].channels == 1 and not MODALITIES[a.modality].windows for a in asks]
        mask = torch.tensor(grey, device=images.device)[:, None, None, None]
        return torch.where(mask, images.mean(1, keepdim=True).expand_as(images), images)


def tune(config: TuneConfig) -> Path:
    """Run or resume; returns the folder of the adapter. ValueError for bad input."""
    config.check()
    with hold(config.out):
        return _tune(config)


def _tune(config: TuneConfig) -> Path:
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS, write=False)
    phantoms = phantoms_of(config.data, "train")
    reader = open_reader(config.reader)
    accelerator = make_accelerator(config.precision, config.device)
    studio = open_studio(config, accelerator)
    asks = choose_asks(config, [r for _, r in phantoms], studio.base.pipeline.tokenizer)
    kept, asks = asks[: config.num_validation], asks[config.num_validation :]
    claim(config.out, dataclasses.asdict(config), kind="run", free=FREE_FIELDS)  # only now: base, reader and data open

    device = accelerator.device
    reward = Reward(
        reader=reader.to(device), judge=Judge.load().to(device), areas=learn_areas(phantoms, reader.config),
        judge_weight=config.judge_weight,
    )  # fmt: skip

    def loss_at(step: int) -> torch.Tensor:
        batch = [asks[i] for i in batch_indices(config.seed, step, config.batch_size, len(asks)).tolist()]
        wrong, distance, weight = losses(studio, reward, batch, config, step)
        return wrong.mean() + (weight * distance).mean()

    validation = adapt(
        config, studio.tuned, loss_at, lambda: measure(studio, reward, kept, config), what="tune",
        digests={
            "base_digest": studio.base.digest, "reader_digest": reader.digest,
            "prompts_digest": digest_texts([ask.text for ask in asks]),
        },
    )  # fmt: skip
    if validation is None:
        return config.out
    write_json(config.out / "validation.json", validation)
    write_adapter(config.out / "adapter", studio.tuned.cpu().half(), card_of(config, studio.base, asks, config.steps))
    return config.out / "adapter"


def losses(
    studio: Studio, reward: Reward, asks: Sequence[Ask], config: TuneConfig, step: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each drawing of a step, [N]: how far it is from its prompt, how far from the untuned one in latents (mean
    square), and how much that weighs. A function of seed, step and weights alone."""
    noise, generator = studio.noise(config.seed, step, len(asks)), slot_generator(config.seed, step, len(asks))
    with torch.no_grad():
        before = studio.draw(studio.untuned, noise, asks)
        shown = reward.look(studio.decode(before, asks), asks, generator)[1] < SHOWN
    latents = studio.draw(studio.tuned, noise, asks)
    wrong, _ = reward.look(studio.decode(latents, asks), asks, generator)
    return wrong, (latents - before).pow(2).mean((1, 2, 3)), torch.where(shown, config.keep, config.loose)


@torch.no_grad()
def measure(studio: Studio, reward: Reward, asks: Sequence[Ask], config: TuneConfig) -> dict[str, float]:
    """The mean losses of prompts that are kept from training."""
    found = []
    for start in range(0, len(asks), config.batch_size):
        part = asks[start : start + config.batch_size]
        wrong, distance, _ = losses(studio, reward, part, config, VALIDATION - start)
        found.append(torch.stack([wrong, distance], 1).cpu())
    wrong, distance = torch.cat(found).mean(0).tolist()
    return {"wrong": wrong, "distance": distance}


def open_reader(folder: Path) -> Reader:
    """The reader to learn from, frozen. ValueError where it is the one that measures."""
    reader, measures = Reader.load(folder), Reader.load()
    weights = [list(each.state_dict().values()) for each in (reader, measures)]
    alike = [a.shape for a in weights[0]] == [b.shape for b in weights[1]]
    if alike and all(torch.equal(a, b) for a, b in zip(*weights, strict=True)):
        raise ValueError(
            f"{folder}: is the reader that measures what loops and evaluations show; who learns from it could not be "
            "measured any more. Train another: python -m vesalius.finetune.judges.reader --seed 12"
        )
    return reader


def open_studio(config: TuneConfig, accelerator: Accelerator) -> Studio:
    """Base and adapters beside, merged, with a fresh adapter on a copy. ValueError where they are of no few steps."""
    shares = parse_adapters(config.beside)
    sampling = sampling_of_adapters(shares)
    if sampling is None or sampling.guidance != 1:
        raise ValueError(
            f"--beside {' '.join(config.beside) or '()'}: gradients go through every step of a drawing, so it takes an "
            "adapter of few steps without guidance, such as nano-fast"
        )
    base = open_base(config.base)
    apply_adapters(base, shares)
    scheduler = base.pipeline.scheduler
    scheduler.set_timesteps(sampling.steps)
    base.pipeline.vae.to(accelerator.device).eval().requires_grad_(False)
    untuned = base.pipeline.unet.to(accelerator.device).eval().requires_grad_(False)
    torch.manual_seed(config.seed)
    lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=list(config.targets))
    return Studio(
        base=base, untuned=untuned, tuned=get_peft_model(copy.deepcopy(untuned), lora),
        sampler=Sampler(scheduler=scheduler, accelerator=accelerator, guidance=1.0, blank=None),
        condition=Condition(base.pipeline.tokenizer, base.pipeline.text_encoder.to(accelerator.device)),
    )  # fmt: skip


def choose_asks(config: TuneConfig, records: Sequence[Record], tokenizer: Any) -> list[Ask]:
    """Prompts whose findings are known, of the modalities of these phantoms, in an order at random; of the grammar no
    hard one, and none that does not fit one context of the text encoder. ValueError where too few are left."""
    rng, modalities = np.random.default_rng([config.seed, 5]), {r.modality for r in records}
    if config.prompts is not None:
        listed = [(p, find_modality(p.modality).name) for p in stream_prompts(config.prompts) if p.modality]
        found = [
            Ask(text=p.text, modality=modality, findings=p.findings, stratum=strata(modality, p.findings)[0])
            for p, modality in listed
            if modality in modalities and p.findings and {f.kind for f in p.findings} <= set(KINDS[modality])
        ]
    else:
        source = open_source(
            "phantoms", records, hard_keys(), least=config.num_prompts, seed=[config.seed],
            chinese=config.base == BILINGUAL,
        )  # fmt: skip
        names = sorted(source.groups)
        drawn = (source.ask(names[i % len(names)], i // len(names), rng) for i in range(config.num_prompts))
        found = [ask for ask in drawn if ask is not None]
    found = [a for a in found if len(tokenizer(a.text, verbose=False).input_ids) <= tokenizer.model_max_length]
    if len(found) < config.num_validation + config.batch_size:
        raise ValueError(
            f"{config.prompts or '--num-prompts'}: gives {len(found)} prompts of {', '.join(sorted(modalities))} whose "
            f"findings are known and that fit one context; {config.num_validation} to measure by and "
            f"{config.batch_size} a step are needed"
        )
    return [found[i] for i in rng.permutation(len(found))]


def card_of(config: TuneConfig, base: Base, asks: Sequence[Ask], step: int) -> AdapterCard:
    """Learnt on drawings of the adapters beside, so one deeper than they."""
    cards = [card for share in parse_adapters(config.beside) if (card := read_card(share.adapter))]
    return AdapterCard(
        base=config.base, base_digest=base.digest, data_digest=digest_texts([a.text for a in asks]),
        depth=1 + max([fused_depth(config.base), *(card.depth for card in cards)]), steps=step,
        modalities=tuple(sorted({a.modality for a in asks})),
    )  # fmt: skip


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(TuneConfig, lambda config: tune(config).name == "adapter")
