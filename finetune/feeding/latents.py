"""Latents cached once: the posterior's mean and deviation in shards, keyed by what they were made of, memory-mapped."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from vesalius.data.command.progress import progress
from vesalius.data.datasets.streamed import place_of
from vesalius.data.images.image import Shape, read_image
from vesalius.data.record import Record, digest_file
from vesalius.data.sources.archive import Place
from vesalius.finetune.feeding.examples import to_pixels
from vesalius.finetune.feeding.views import KIND, load_view
from vesalius.finetune.running.launch import leave_signals
from vesalius.models.adapters.adapter import disk_errors

if TYPE_CHECKING:
    from accelerate import Accelerator

PIXELS = 32 * 128 * 128
"""Pixels that are encoded at once: an autoencoder's first layers hold hundreds of numbers for each."""
SHARD = 256
"""Records of a shard: what a kill while caching loses, and what is made again where a file is damaged."""

Member = tuple[Path, Record]
Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Latents:
    """Posterior mean and deviation of N records, float32 4HW each, standardised by the autoencoder's scaling factor.

    shards: parts of them in order, in files that are mapped into memory.
    """

    shards: list[Pair]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *itertools.accumulate(len(mean) for mean, _ in self.shards)][:-1]

    def of(self, indices: torch.Tensor) -> Pair:
        """Mean and deviation [B, 4, H, W] of the records at `indices`, int64 [B]."""
        places = [(bisect_right(self._starts, i) - 1, i) for i in indices.tolist()]
        mean, deviation = (
            torch.stack([self.shards[shard][part][i - self._starts[shard]] for shard, i in places]) for part in (0, 1)
        )
        return mean, deviation

    def whole(self) -> Pair:
        """Mean and deviation of all records in memory, N4HW."""
        mean, deviation = (torch.cat(part) for part in zip(*self.shards, strict=True))
        return mean, deviation


def cached_views(
    autoencoder: Any, digest: str, members: Sequence[Member], shape: Shape, views: int, **how: Any
) -> tuple[Latents, NDArray[np.int64]]:
    """The latents of all views, and where those of each view lie in them, int64 [views, records].

    Phantoms and samples have one view: the masks and sizes of phantoms hold for it alone. how: as `cached_latents`.
    """
    shards = list(cached_latents(autoencoder, digest, members, shape, **how).shards)
    places = np.tile(np.arange(len(members)), (views, 1))
    real = [i for i, (_, record) in enumerate(members) if record.origin == "real"]
    for view in range(1, views if real else 1):
        places[view, real] = len(members) + (view - 1) * len(real) + np.arange(len(real))
        shards += cached_latents(autoencoder, digest, [members[i] for i in real], shape, view=view, **how).shards
    return Latents(shards), places


def cached_latents(
    autoencoder: Any,
    autoencoder_digest: str,
    members: Sequence[Member],
    shape: Shape,
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    quiet: bool = False,
    view: int = 0,
    half: bool = False,
    accelerator: Accelerator | None = None,
    workers: int = 0,
) -> Latents:
    """The latents of records, from `folder` where a shard for just these images, this shape and this autoencoder is
    there and whole, made and kept there otherwise. shape: height and width in pixels.

    view: which view of each image (`load_view`); 0 is the image itself. half: encode under bfloat16, which costs a
    fraction; the rounding is far below the noise of training. accelerator: its processes share the work, and all wait
    for it. workers: processes that read the images ahead. ValueError names a record whose latents are not finite, or
    whose image is not what its dataset says.
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    parts = [members[start : start + SHARD] for start in range(0, len(members), SHARD)]
    size = f"{shape[0]}" if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"
    how = f"{autoencoder_digest}/{size}/1" + (f"/{view}.{KIND}" if view else "") + "/half" * half
    paths = [folder / f"latents-{_key(part, how, view)}.safetensors" for part in parts]
    here = dict(list(zip(paths, parts, strict=True))[rank::world])
    mine = [(path, part) for path, part in here.items() if _read(path) is None]
    folder.mkdir(parents=True, exist_ok=True)
    most = max(1, (1 if torch.device(device).type == "cpu" else 8) * PIXELS // math.prod(shape))
    batches = [
        (path, part[i : i + most], i + most >= len(part)) for path, part in mine for i in range(0, len(part), most)
    ]
    images = _Batches([b for _, b, _ in batches], shape, view)
    read = iter(DataLoader(images, batch_size=None, num_workers=workers, worker_init_fn=leave_signals))
    done: list[Pair] = []
    name = f"caching latents{f' of view {view}' if view else ''}"
    for path, batch, last in progress(batches, name, len(batches), quiet=quiet):
        if path.exists():
            print(f"vesalius: {path}: damaged; its latents are made again", file=sys.stderr)
            path.unlink()
        if isinstance(pixels := next(read), ValueError):
            raise pixels
        done.append(_encoded(autoencoder, batch, pixels, torch.device(device), half))
        if last:
            mean, deviation = (torch.cat(part) for part in zip(*done, strict=True))
            _save(path, mean.contiguous(), deviation.contiguous())
            done = []
    if accelerator is not None:
        accelerator.wait_for_everyone()
    shards = [_read(path) for path in paths]
    assert None not in shards, paths[shards.index(None)]
    return Latents([shard for shard in shards if shard is not None])


def _key(part: Sequence[Member], how: str, view: int) -> str:
    key = hashlib.sha256(how.encode())
    for root, record in part:
        key.update((record.sha256 or digest_file(place_of(root, record.file_name))).encode() + record.modality.encode())
        key.update(f"{record.file_name}/{record.text}".encode() if view else b"")  # what a view depends on
    return key.hexdigest()[:24]


class _Batches(Dataset[torch.Tensor | ValueError]):
    """Batches of images as views, NCHW uint8, or what is wrong with one: another process could not raise it plainly."""

    def __init__(self, batches: Sequence[Sequence[Member]], shape: Shape, view: int) -> None:
        self.batches, self.shape, self.view = batches, shape, view

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> torch.Tensor | ValueError:
        try:
            images = [load_view(_opened(root, r), r, self.shape, self.view) for root, r in self.batches[index]]
        except ValueError as error:
            return error
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def _encoded(autoencoder: Any, batch: Sequence[Member], images: torch.Tensor, device: torch.device, half: bool) -> Pair:
    pixels = to_pixels(images)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        posterior = autoencoder.encode(pixels.to(device)).latent_dist
    scale = autoencoder.config.scaling_factor
    mean, deviation = posterior.mean.float().cpu() * scale, posterior.std.float().cpu() * scale
    finite = torch.isfinite(mean).flatten(1).all(1) & torch.isfinite(deviation).flatten(1).all(1)
    if not finite.all():
        root, record = batch[int((~finite).nonzero()[0])]
        raise ValueError(f"{root / record.file_name}: its latents are not finite; look at the image, or remove it")
    return mean, deviation


def _opened(root: Path, record: Record) -> Place:
    """Where the image of a record is. ValueError where its bytes are not those that its dataset was made with."""
    place = place_of(root, record.file_name)
    there = not isinstance(place, Path) or place.is_file()
    if record.sha256 and there and digest_file(place) != record.sha256:
        read_image(place)  # says what is wrong with it where it does not open
        raise ValueError(f"{place}: was changed since its dataset was made; make that again, or bring the image back")
    return place


def _save(path: Path, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(temporary):
        save_file({"mean": mean, "deviation": deviation}, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path: Path) -> Pair | None:
    """Mean and deviation of a shard, mapped and not read, or None where it is absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("mean"), file.get_tensor("deviation")
    except (OSError, SafetensorError):
        return None
