"""Train the witness without labels, then fit linear heads on its frozen features and measure them.

    python -m vesalius.finetune.judges.witness --data DIR... --out RUN --steps 950

Resumes by the same line. Writes RUN/witness and RUN/witness.json (what its heads get right on val and test records).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from vesalius.data.command.progress import Progress
from vesalius.data.record import SPLITS, hold, write_json
from vesalius.finetune.feeding.examples import gather, to_pixels
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices, slot_generator
from vesalius.finetune.feeding.trainset import data_digest
from vesalius.finetune.judges.witness_heads import Seen, fit_heads, measure, scale_features
from vesalius.finetune.learning.optimizer import MatrixOptimizer
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, save_checkpoint
from vesalius.models.networks.origin import RANDOM, digest_run
from vesalius.models.networks.witness import (
    Witness,
    WitnessConfig,
    grid_positions,
    held_out,
    make_layers,
    measurable_classes,
    to_patches,
)

OUTER = ("witness.fine", "witness.axes", "hidden", "patches", "project")
"""First and last layers of a witness in training, as the optimizer wants to know them."""


@dataclass(frozen=True, kw_only=True)
class WitnessTraining:
    """A run that trains the witness."""

    data: tuple[Path, ...]
    """dataset folders; records of origin "synthetic" are refused"""
    out: Path
    """run folder"""
    exclude: tuple[str, ...] = ()
    """real records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.6
    """share of real images in a batch; the rest are phantoms"""
    steps: int = 950
    """optimizer updates"""
    batch_size: int = 128
    """images per update, each seen in two views"""
    learning_rate: float = 1e-3
    """peak"""
    masked: float = 0.6
    """share of the patches that are hidden"""
    contrast_weight: float = 0.2
    """weight of the contrast between views, beside the reconstruction of hidden patches"""
    save_every: int = 200
    """steps between checkpoints"""
    seed: int = 23
    """seed; another than the base's and the judge's"""
    sizes: WitnessConfig = field(default=WitnessConfig())
    """architecture"""


class Pretraining(nn.Module):
    """The witness with what only training needs: a decoder of hidden patches and a projection for the contrast."""

    places: torch.Tensor

    def __init__(self, sizes: WitnessConfig) -> None:
        super().__init__()
        self.witness = Witness(sizes)
        width = sizes.width // 2
        self.enlarge = nn.Linear(sizes.width, width)
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("places", grid_positions(sizes.cells, width), persistent=False)
        self.decoder = make_layers(width, 2, 2)
        self.patches = nn.Linear(width, 3 * sizes.patch**2)
        self.project = nn.Sequential(nn.Linear(sizes.width, 512), nn.GELU(), nn.Linear(512, 128))

    def forward(self, pixels: torch.Tensor, order: torch.Tensor, num_kept: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels NCHW and an order of the patches [N, T], the first `num_kept` visible -> the two losses.

        The mean squared error of hidden patches, each normalised (He et al. 2022), and InfoNCE between the two halves
        of the batch, which are views of the same images; the two together as Mishra et al. 2022 (CAN).
        """
        patches = to_patches(pixels, self.witness.config.patch)
        tokens = self.witness.tokens(patches, order[:, :num_kept])
        shown = torch.cat([self.enlarge(tokens), self.hidden.expand(len(order), order.shape[1] - num_kept, -1)], 1)
        drawn = self.patches(self.decoder(shown + self.places[order].to(shown))[:, num_kept:])
        truth = patches.flatten(2).gather(1, order[:, num_kept:, None].expand(-1, -1, drawn.shape[2]))
        rebuilding = functional.mse_loss(drawn, functional.layer_norm(truth, truth.shape[2:], eps=1e-4))
        return rebuilding.float(), view_contrast(self.project(tokens.mean(1)).float())


def train_witness(config: WitnessTraining) -> Path:
    """Run or resume the training, fit and measure the heads; returns the witness's folder."""
    with hold(config.out):
        seen = {split: Seen.load(config.data, split, config.exclude, config.sizes.image_size) for split in SPLITS}
        trunk = pretrain(config, seen["train"])
        scale_features(trunk, seen["train"], config.seed)
        witness, strengths = fit_heads(trunk, seen["train"], seen["val"])
        data = data_digest(gather(config.data, "train", config.exclude))
        witness.save(config.out / "witness", {"run": digest_run(asdict(config), data), "init": RANDOM})
        witness = Witness.load(config.out / "witness")
        everything = [r for split in SPLITS for r in seen[split].records]
        measurable = measurable_classes(everything)
        quality = {
            "digest": witness.digest,
            "strengths": strengths,
            "measurable": measurable,
            "val": measure(witness, seen["val"], witness.config.heads),
            "test": measure(witness, seen["test"].only(held_out(everything)), measurable),
        }
        write_json(config.out / "witness.json", quality)
    print(f"witness: written to {config.out / 'witness'}, and how well it reads to {config.out / 'witness.json'}")
    return config.out / "witness"


def pretrain(config: WitnessTraining, seen: Seen) -> Witness:
    """The part without labels, from the newest checkpoint on; returns the witness without heads."""
    weights = balanced_weights(seen.records, {"real": config.real_share, "phantom": 1 - config.real_share})
    torch.manual_seed(config.seed)
    model = Pretraining(config.sizes)
    optimizer = MatrixOptimizer(model, config.learning_rate, weight_decay=0.05, outer=OUTER)
    write_json(config.out / "config.json", asdict(config))
    step = 0
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, _ = found
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        optimizer.restore(tensors)

    num_patches = config.sizes.cells**2
    num_kept = num_patches - round(config.masked * num_patches)
    with Progress("witness", config.steps, start=step) as bar:
        while step < config.steps:
            picked = batch_indices(config.seed, step, config.batch_size, len(seen.records), weights)
            chance = slot_generator(config.seed, step, 0)
            pixels = view(to_pixels(seen.images[torch.from_numpy(picked)]).repeat(2, 1, 1, 1), chance)
            order = torch.rand(len(pixels), num_patches, generator=chance).argsort(1)
            # All in bfloat16 rather than under autocast, whose many casts take longer than these small products.
            halves = {name: parameter.bfloat16() for name, parameter in model.named_parameters()}
            rebuilding, contrast = torch.func.functional_call(model, halves, (pixels.bfloat16(), order, num_kept))
            loss = rebuilding + config.contrast_weight * contrast
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            bar.step(note=f"rebuilding {rebuilding.item():.3f} contrast {contrast.item():.3f}")
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimizer.tensors()
                save_checkpoint(config.out, step, tensors, {"loss": loss.item()})
    return model.witness.eval().requires_grad_(False)


def view(pixels: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """A random crop of each image with its own gain and shift; never mirrored, since sides matter.

    Neither blur nor noise: a detector must see them.
    """
    num = len(pixels)
    side = torch.empty(num).uniform_(0.65, 1.0, generator=chance)
    aspect = torch.empty(num).uniform_(-0.1, 0.1, generator=chance).exp()
    extent = torch.stack([side * aspect, side / aspect], 1).clamp_max(1)
    centre = torch.empty(num, 2).uniform_(-1, 1, generator=chance) * (1 - extent)
    affine = torch.cat([torch.diag_embed(extent), centre[..., None]], 2)
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    cropped = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = torch.empty(num, 1, 1, 1).uniform_(0.75, 1.25, generator=chance)
    gain = gain * torch.empty(num, 3, 1, 1).uniform_(0.92, 1.08, generator=chance)
    shift = torch.empty(num, 1, 1, 1).uniform_(-0.15, 0.15, generator=chance)
    return (cropped * gain + shift).clamp(-1, 1)


def view_contrast(projected: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """InfoNCE over 2N rows of which i and N + i are views of one image (Chen et al. 2020)."""
    unit = functional.normalize(projected, dim=1)
    logits = (unit @ unit.T / temperature).fill_diagonal_(float("-inf"))
    return functional.cross_entropy(logits, torch.arange(len(unit)).roll(len(unit) // 2))


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(WitnessTraining, train_witness)
