"""Membership inference: can the denoiser's loss tell training images from others (Yeom et al. 2018, for diffusion
models Matsumoto et al. 2023, arXiv 2302.03262, and Carlini et al. 2023, arXiv 2301.13188, section 5)?

    found = infer_membership(generator, members, others, reference=Generator("nano"))

An image that was memorised is denoised better than one that was not. The loss is taken at fixed timesteps with fixed
noise, under the image's own caption. Images differ in how hard they are, so the score is the loss in units of the
spread among non-members of the modality, or, with a reference, how much lower it is than under that model (the base
without the adapter). It runs the denoiser once for each image and timestep, so an evaluation does it when asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.command.progress import progress
from vesalius.data.images.image import to_tensor_range
from vesalius.data.texts.prompt import clean
from vesalius.eval.fidelity.metrics import Measure, bootstrap, roc_area, share
from vesalius.eval.report import Section, Table
from vesalius.models.base import Base
from vesalius.models.objective import denoising_loss, training_scheduler
from vesalius.models.text import embed, size_condition, split_chunks

if TYPE_CHECKING:
    from vesalius.inference.generator import Generator

Floats = NDArray[np.float64]

TIMES = (0.1, 0.2, 0.3, 0.5)
"""Timesteps, as shares of the schedule: at its ends all images are alike, noise alone or no task at all."""
FALSE_RATE = 0.01
ENOUGH = 100
"""Non-members below which 1 % of them is not one image."""
MIN_IMAGES = 10
"""Members, and non-members, of a modality below which there is no area under the curve."""
DRAWS = 400


@dataclass(frozen=True, kw_only=True)
class PictureGroup:
    """Images of which one asks whether they were trained on: uint8 [N, 3, H, W] at the base's size, their captions,
    modalities and patients (None where not known; empty where none is)."""

    images: torch.Tensor
    """uint8 [N, 3, H, W]"""
    texts: Sequence[str]
    """a caption each"""
    modalities: Sequence[str]
    patients: Sequence[str | None] = ()

    def __len__(self) -> int:
        return len(self.texts)


def infer_membership(
    generator: Generator,
    members: PictureGroup,
    others: PictureGroup,
    *,
    reference: Generator | None = None,
    seed: int = 0,
    batch_size: int = 16,
    quiet: bool = False,
) -> dict[str, Any]:
    """Membership inference: does a generator's loss tell what it was trained on? Per modality and over all, as JSON.

    ValueError where no modality has enough images.

    members: images that it was trained on; others: images like them that it was not. reference: a generator that was
    trained on neither, such as the base without its adapter; it is attacked too, and gives each score its scale.
    """
    for name, group in (("members", members), ("non-members", others)):
        check(name, group)
    shared = [m for m in dict.fromkeys(members.modalities) if _enough(m, members, others)]
    if not shared:
        raise ValueError(
            f"membership inference needs {MIN_IMAGES} training and {MIN_IMAGES} held-out images of one modality, got "
            f"{len(members)} and {len(others)} in all; give more"
        )

    def loss(model: Generator, group: PictureGroup, what: str) -> Floats:
        told = {"precision": model.precision, "device": model.device, "batch_size": batch_size, "seed": seed}
        return losses(model.base, group.images, group.texts, what=what, quiet=quiet, **told)  # type: ignore[arg-type]

    inside, outside = loss(generator, members, "losses of members"), loss(generator, others, "losses of non-members")
    result: dict[str, Any] = {
        "timesteps": list(TIMES), "num_members": len(members), "num_others": len(others),
        "base_digest": generator.base.digest, "adapter_digest": generator.adapter_digest,
        "loss": rows_of(inside, outside, members, others, shared, seed),
    }  # fmt: skip
    if reference is not None:
        before = loss(reference, members, "... of the reference"), loss(reference, others, "... of the reference")
        result["reference_digest"] = reference.base.digest
        result["against_reference"] = rows_of(
            inside - before[0], outside - before[1], members, others, shared, seed
        )  # fmt: skip
        result["reference"] = rows_of(*before, members, others, shared, seed)
    return result


def check(name: str, group: PictureGroup) -> None:
    """ValueError where a group's parts do not fit each other."""
    if not len(group) == len(group.images) == len(group.modalities) or len(group.patients) not in (0, len(group)):
        raise ValueError(
            f"membership inference: {name} have {len(group.images)} images, {len(group.texts)} texts, "
            f"{len(group.modalities)} modalities and {len(group.patients)} patients; give one of each for every image"
        )


def _enough(modality: str, *groups: PictureGroup) -> bool:
    return all(sum(m == modality for m in group.modalities) >= MIN_IMAGES for group in groups)


@torch.no_grad()
def losses(
    base: Base,
    images: torch.Tensor,
    texts: Sequence[str],
    *,
    precision: str = "fp32",
    device: str = "cpu",
    batch_size: int = 16,
    seed: int = 0,
    what: str = "losses",
    quiet: bool = False,
) -> Floats:
    """The denoiser's loss of each image (uint8 [N, 3, H, W]) at each of `TIMES`, float64 [N, T].

    Noise depends on seed and timestep alone, so an image's loss does not on its neighbours, and all images are asked
    the same question.
    """
    pipeline = base.pipeline
    scheduler, factor = training_scheduler(pipeline.scheduler.config), pipeline.vae.config.scaling_factor
    last = scheduler.config.num_train_timesteps - 1
    found = np.empty((len(images), len(TIMES)))
    lengths = [len(split_chunks(pipeline.tokenizer, clean(text))) for text in texts]
    by_length = [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]
    batches = [rows[i : i + batch_size] for rows in by_length for i in range(0, len(rows), batch_size)]
    half = torch.autocast(torch.device(device).type, torch.bfloat16) if precision == "bf16" else nullcontext()
    for rows in progress(batches, what, len(batches), quiet=quiet):
        pixels = torch.from_numpy(np.stack([to_tensor_range(images[i].permute(1, 2, 0).numpy()) for i in rows]))
        with half:
            latents = pipeline.vae.encode(pixels.to(pipeline.vae.device, pipeline.vae.dtype)).latent_dist.mean * factor
            hidden, pooled = embed(pipeline, [clean(texts[i]) for i in rows])
        latents = latents.to(device).float()
        more = [] if pooled is None else [size_condition(pooled.to(device), pixels.shape[2:])]
        condition: Any = [(torch.arange(len(rows), device=device), hidden.to(device), *more)]
        for column, time in enumerate(TIMES):
            generator = torch.Generator().manual_seed(1000 * seed + column)
            noise = torch.randn(latents.shape[1:], generator=generator).to(device).expand_as(latents)
            timesteps = torch.full((len(rows),), round(time * last), device=device)
            with half:
                loss = denoising_loss(pipeline.unet, scheduler, latents, noise, timesteps, condition)
            found[rows, column] = loss.double().cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise ValueError(
            f"the base's loss of '{texts[bad[0]][:60]}' is not finite; look whether base and adapter are whole"
        )
    return found


def rows_of(
    inside: Floats, outside: Floats, members: PictureGroup, others: PictureGroup, modalities: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """A row per modality that both groups have, and of several one over all, from losses [N, T]."""
    rows, joined = [], list[tuple[Floats, Floats, list[str], list[str]]]()
    for modality in modalities:
        mine = [i for i, m in enumerate(members.modalities) if m == modality]
        theirs = [i for i, m in enumerate(others.modalities) if m == modality]
        part = (*scores(inside[mine], outside[theirs]), _patients(members, mine), _patients(others, theirs))
        rows.append(row_of(modality, *part, seed))
        joined.append(part)
    if len(joined) > 1:
        one, two = (np.concatenate(each) for each in zip(*((p[0], p[1]) for p in joined), strict=True))
        first, second = ([name for p in joined for name in p[k]] for k in (2, 3))
        rows.append(row_of("all", one, two, first, second, seed))
    return rows


def _patients(group: PictureGroup, rows: Sequence[int]) -> list[str]:
    """Who is drawn together by the bootstrap: patients where they are known, else each image."""
    known = [group.patients[i] if group.patients else None for i in rows]
    return [f"image {i}" if p is None else f"patient {p}" for i, p in zip(rows, known, strict=True)]


def scores(inside: Floats, outside: Floats) -> tuple[Floats, Floats]:
    """Scores of members and non-members, the higher the likelier trained on: less loss, in units of the spread among
    non-members at each timestep, mean over timesteps."""
    centre, spread = outside.mean(axis=0), np.maximum(outside.std(axis=0), 1e-12)
    one, two = (-((each - centre) / spread).mean(axis=1) for each in (inside, outside))
    return one, two


def row_of(
    name: str, inside: Floats, outside: Floats, members: Sequence[str], others: Sequence[str], seed: int
) -> dict[str, Any]:
    """Area under the ROC curve with a bootstrap over patients, and the rate of true positives at 1 % of false ones."""
    row: dict[str, Any] = {
        "modality": name, "num_members": len(inside), "num_others": len(outside),
        "auc": asdict(area_with_interval(inside, outside, members, others, seed=seed)),
    }  # fmt: skip
    if len(outside) < ENOUGH:
        row["note"] = f"{len(outside)} non-members, and 1 % of them is an image from {ENOUGH} on"
    else:
        least = np.sort(outside)[-1 - int(FALSE_RATE * len(outside))]  # so many non-members lie above it
        row["true_positives"] = asdict(share((inside > least).tolist()))
        row["false_positives"] = float((outside > least).mean())
    return row


def area_with_interval(
    positive: Floats, negative: Floats, members: Sequence[str], others: Sequence[str], *, seed: int = 0
) -> Measure:
    """Area under the ROC curve, with a 95 % interval by bootstrap over those named."""
    value = roc_area(positive, negative)
    drawn = bootstrap(lambda i, j: roc_area(positive[i], negative[j]), members, others, draws=DRAWS, seed=seed)
    low, high = drawn or (value, value)
    return Measure(value=value, low=low, high=high, num=len(positive) + len(negative))


def sections(result: Mapping[str, Any]) -> list[Section]:
    """What a page says of an attack."""
    attacks = {
        "loss": "loss",
        "against_reference": "loss less the reference's",
        "reference": "the reference itself, which saw neither",
    }
    rows = []
    for key, told in attacks.items():
        for row in result.get(key, ()):
            auc, rate = row["auc"], row.get("true_positives")
            rows.append(
                [
                    row["modality"], told, f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
                    f"{rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%})" if rate else row["note"],
                    f"{row['num_members']}, {row['num_others']}",
                ]
            )  # fmt: skip
    head = ("modality", "score", "AUC (95 %)", "found at 1 % false alarms", "members, others")
    alone = "There is no reference here, so a difference between the two sets of images alone would raise it too."
    return [
        Section(
            title="Membership inference",
            text=[
                "Whether the denoiser's loss, under each image's own caption, tells training images from held-out "
                "ones: 0.5 is chance. Interval by bootstrap over patients.",
                "The reference shows what the two sets' difference alone does: an area off 0.5 there is no "
                "memorisation." if "reference" in result else alone,
                "This is one attack; stronger ones (shadow models) exist, so an area near 0.5 is no proof of privacy.",
            ],
            tables=[Table(head=head, rows=rows)],
        )
    ]  # fmt: skip
