"""What a run draws on its way, always of the same prompts and from the same noise, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from vesalius.data.images.image import Uint8, png_bytes
from vesalius.data.record import write_atomic
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.buckets import choose_buckets
from vesalius.finetune.feeding.trainset import Trainset
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request, request_modality
from vesalius.models.base import Base, text_encoders, usual_steps

BATCH = 4
"""Pictures that are drawn together."""


def choose_requests(config: FinetuneConfig, trainset: Trainset, base: Base) -> list[Request]:
    """The prompts of --prompts, or those of held-out records in the shape in which these are seen, as many of each
    modality as can be. ValueError where a prompt names no modality."""
    if config.prompts:
        requests = [Request(prompt=p, seed=config.seed + i) for i, p in enumerate(config.prompts)]
        for request in requests:
            request_modality(request)
        return requests
    waiting: dict[str, list[int]] = {}
    for i, (_, record) in enumerate(trainset.held_out):
        waiting.setdefault(record.modality, []).append(i)
    order = [i for turn in range(len(trainset.held_out)) for ids in waiting.values() for i in ids[turn : turn + 1]]
    chosen = order[: config.num_pictures]
    buckets = choose_buckets([trainset.held_out[i] for i in chosen], base, config.aspect_buckets)
    return [
        Request(
            prompt=trainset.prompt_of_held_out(i), seed=config.seed + i, modality=trainset.held_out[i][1].modality,
            size=buckets.shapes[number],
        )
        for i, number in zip(chosen, buckets.of.tolist(), strict=True)
    ]  # fmt: skip


def draw_pictures(
    base: Base,
    requests: Sequence[Request],
    path: Path,
    *,
    device: str,
    precision: Literal["fp32", "bf16"],
    write: bool = True,
) -> None:
    """A row of pictures as a PNG; what is there already is kept. base: as it is being trained, on the device.

    write: false on processes that draw only because the denoiser is sharded over them too.
    """
    if not requests or (write and path.is_file()):
        return
    pipeline = base.pipeline
    elsewhere = [(part, part.device) for part in (pipeline.vae, *text_encoders(pipeline))]
    for part, _ in elsewhere:
        part.to(device)
    pipeline.unet.eval()
    generator = Generator.around(base, device=device, precision=precision, steps=usual_steps(base.name))
    drawn = {request.seed: picture.image for request, picture in generator.draw_all(requests, batch_size=BATCH)}
    pipeline.unet.train()
    for part, place in elsewhere:
        part.to(place)
    if not write:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, png_bytes(row([drawn[r.seed] for r in requests])))


def row(images: Sequence[Uint8], gap: int = 4) -> Uint8:
    """Images side by side as HWC uint8 with 3 channels, white between them."""
    high = max(image.shape[0] for image in images)
    parts: list[Any] = []
    for image in images:
        padded = np.full((high, image.shape[1] + gap, 3), 255, np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image
        parts.append(padded)
    joined: Uint8 = np.concatenate(parts, axis=1)[:, :-gap]
    return joined


def read_rows_of(folder: Path) -> list[tuple[int, Uint8]]:
    """(step, row of pictures) of all that a run drew, in order."""
    found = sorted(folder.glob("step-*.png"))
    return [(int(path.stem.removeprefix("step-")), np.asarray(Image.open(path).convert("RGB"))) for path in found]
