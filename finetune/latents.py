"""Latents cached once: the posterior's mean and deviation, keyed by what they were made of, memory-mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vesalius.data.progress import progress
from vesalius.data.record import Record, digest_file
from vesalius.finetune.examples import load_images, to_pixels
from vesalius.finetune.views import load_view
from vesalius.models.adapter import disk_errors

BATCH = 32


def cached_latents(
    autoencoder: Any,
    autoencoder_digest: str,
    members: Sequence[tuple[Path, Record]],
    size: int,
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    quiet: bool = False,
    view: int = 0,
    half: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean and deviation of each record, both float32 N4HW, standardised by the autoencoder's scaling factor.

    view: which view of each image (`load_view`); 0 is the image itself. half: encode under bfloat16, which costs a
    fraction; the rounding is far below the noise of training. Read from `folder` where a file for just these images,
    this size and this autoencoder exists, made and kept there otherwise. ValueError names a record whose latents are
    not finite.
    """
    key = hashlib.sha256((f"{autoencoder_digest}/{size}/1" + (f"/{view}" if view else "") + "/half" * half).encode())
    for root, record in members:
        key.update((record.sha256 or digest_file(root / record.file_name)).encode() + record.modality.encode())
        key.update(f"{record.file_name}/{record.text}".encode() if view else b"")  # what a view depends on
    path = folder / f"latents-{key.hexdigest()[:24]}.safetensors"
    if (found := _read(path)) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    scale = autoencoder.config.scaling_factor
    means, deviations = [], []
    # Images are read a batch at a time: a whole dataset of them may not fit into memory, its latents do.
    batches = [members[start : start + BATCH] for start in range(0, len(members), BATCH)]
    for batch in progress(batches, f"caching latents{f' of view {view}' if view else ''}", len(batches), quiet=quiet):
        for root, record in batch:
            path_of = root / record.file_name
            if record.sha256 and path_of.is_file() and digest_file(path_of) != record.sha256:
                load_images([(root, record)], size, quiet=True)  # says what is wrong with it where it does not open
                raise ValueError(
                    f"{path_of}: was changed since its dataset was made; make that again, or bring the image back"
                )
        with torch.no_grad(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            images = [load_view(root / record.file_name, record, size, view) for root, record in batch]
            pixels = to_pixels(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous())
            posterior = autoencoder.encode(pixels.to(device)).latent_dist
        mean, deviation = posterior.mean.float().cpu() * scale, posterior.std.float().cpu() * scale
        finite = torch.isfinite(mean).flatten(1).all(1) & torch.isfinite(deviation).flatten(1).all(1)
        if not finite.all():
            root, record = batch[int((~finite).nonzero()[0])]
            raise ValueError(f"{root / record.file_name}: its latents are not finite; look at the image, or remove it")
        means.append(mean)
        deviations.append(deviation)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(temporary):
        save_file({"mean": torch.cat(means), "deviation": torch.cat(deviations)}, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    made = _read(path)
    assert made is not None, path
    return made


def _read(path: Path) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and deviation of a cache file, or None where it is absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("mean"), file.get_tensor("deviation")
    except (OSError, SafetensorError):
        return None
