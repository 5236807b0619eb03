"""Is a picture a copy of a training image: mirrored, noisier, brighter, or cropped from anywhere and enlarged?

    suspect, original = Suspect(), Original()
    distances = copy_distances(suspect(pictures), original(training_images))

A few originals are found by thumbnails, as they are and cropped at the usual places, and the best of these are laid
over the picture as well as zoom and shift allow. What is left is told as a distance: its square is 2 - 2 r, with
Pearson's correlation r of the two.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from vesalius.eval.nearest import CROPS, PixelDetector, Views, crops, nearest_few
from vesalius.models.detector import Window

CORNERS = (0.94, 0.88)
"""Shares of the edges that crops of the corners keep."""
FEW, BEST = 32, 3
"""Originals that thumbnails find, and those of them that are laid over a picture with care."""
SIZE = 32
"""Pixels an edge at which pictures are laid over each other; finer ones tell copies no better."""
SHARES = (1.0, 0.95, 0.9, 0.86)
"""Shares of the edges at which laying over begins; `LEAST` is the smallest that it comes to."""
LEAST = 0.75
ROUNDS, FIRST_STEP = 14, 0.04
"""Of a search that tries each way to zoom and shift further, and halves its steps where none is better."""
TOGETHER = 1024
"""Pictures that are laid over others at once."""
TURNS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""Axes of NCHW along which a picture is turned: as it is, mirrored, upside down, both."""


class Suspect:
    """What a picture is searched by, in one row: its thumbnail, and its grey at `SIZE`."""

    name, resize = "suspect of copying", "bilinear, antialiased"
    window: Window = "model"
    image_size = 128

    def __init__(self) -> None:
        self._pixels = PixelDetector()
        self.digest = f"{self._pixels.digest}, {SIZE}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, 256 + SIZE * SIZE]."""
        return torch.cat([self._pixels(images), _grey(images)], 1)


class Original:
    """What is searched in, in one row: the thumbnails of a training image and of crops of it, from the middle and from
    the corners, and its grey at `SIZE`."""

    name, resize = "original of copies", "bilinear, antialiased"
    window: Window = "model"
    image_size = 128

    def __init__(self) -> None:
        self._pixels = PixelDetector()
        self.digest = f"{self._pixels.digest}, {len(CROPS)} and corners of {CORNERS}, {SIZE}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, V * 256 + SIZE * SIZE]."""
        height, width = images.shape[2:]
        views = crops(images)
        for share in CORNERS:
            inner = max(1, round(height * share)), max(1, round(width * share))
            for top in (0, height - inner[0]):
                views += [images[:, :, top : top + inner[0], left : left + inner[1]] for left in (0, width - inner[1])]
        return torch.cat([*(self._pixels(view) for view in views), _grey(images)], 1)


def copy_distances(suspects: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """Distance of each suspect to the original that it is likest to, float32 [N]; infinite where there are none.

    suspects, originals: rows of `Suspect` and `Original`.
    """
    if not len(originals):
        return torch.full((len(suspects),), torch.inf)
    thumbnails, greys = _split(suspects)
    views, others = _split(originals)
    places, turns = nearest_few(_turned(thumbnails[0]), views, FEW)
    return torch.cat(
        [
            _laid_over(ours, others, at, turn)
            for ours, at, turn in zip(
                *(part.split(TOGETHER) for part in (greys, places, turns)), strict=True
            )
        ]
    ) if len(suspects) else torch.empty(0)  # fmt: skip


def _laid_over(ours: torch.Tensor, others: torch.Tensor, places: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Least distance of pictures, [N, 1, SIZE, SIZE], to originals at their places, [N, few], when laid over them."""
    start = torch.tensor([
        (share, across * (1 - share), down * (1 - share))
        for share in SHARES for across in (-1, 0, 1) for down in (-1, 0, 1) if share < 1 or across == down == 0
    ])  # fmt: skip
    found, frames = [], []
    for place, turn in zip(places.T, turns.T, strict=True):
        turned, other = _turn(ours, turn), others[place]
        apart = torch.stack([_apart(turned, other, frame.expand(len(ours), 3)) for frame in start])
        found.append(apart.amin(0))
        frames.append(start[apart.argmin(0)])
    best = torch.stack(found, 1).topk(min(BEST, len(found)), largest=False).indices
    rows, least = torch.arange(len(ours)), torch.full((len(ours),), torch.inf)
    for choice in best.T:
        turned = _turn(ours, turns[rows, choice])
        apart = _search(turned, others[places[rows, choice]], torch.stack(frames, 1)[rows, choice])
        least = torch.minimum(least, apart)
    return least


def _search(ours: torch.Tensor, others: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Distances of pictures to others within the best frames near those given (a pattern search, since it asks for no
    gradient, never gets worse, and does not depend on what else is searched for)."""
    ways = torch.cat([torch.eye(3), -torch.eye(3)])
    rows, apart = torch.arange(len(ours)), _apart(ours, others, frames)
    step = torch.full((len(ours), 1), FIRST_STEP)
    for _ in range(ROUNDS):
        tried = torch.stack([_within(frames + step * way) for way in ways])
        least, which = torch.stack([_apart(ours, others, frame) for frame in tried]).min(0)
        better = (least < apart)[:, None]
        frames, apart = torch.where(better, tried[which, rows], frames), torch.minimum(apart, least)
        step = torch.where(better, step, step / 2)
    return apart


def _within(frames: torch.Tensor) -> torch.Tensor:
    """Frames that lie within the picture that they are of."""
    share = frames[:, :1].clamp(LEAST, 1.0)
    room = 1 - share
    return torch.cat([share, frames[:, 1:].clamp(-room, room)], 1)


def _apart(ours: torch.Tensor, others: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Distances of pictures to what others show within frames: share of the edge, and where the middle lies, across and
    down, in half edges."""
    turn = torch.zeros(len(frames), 2, 3)
    turn[:, 0, 0], turn[:, 1, 1] = frames[:, 0], frames[:, 0]
    turn[:, 0, 2], turn[:, 1, 2] = frames[:, 1], frames[:, 2]
    grid = functional.affine_grid(turn, list(others.shape), align_corners=False)
    shown = functional.grid_sample(others, grid, padding_mode="border", align_corners=False)
    distances: torch.Tensor = (_standard(ours) - _standard(shown)).norm(dim=1)
    return distances


def _standard(pictures: torch.Tensor) -> torch.Tensor:
    flat = pictures.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return functional.normalize(flat, dim=1, eps=SIZE / 2)  # half a grey level of contrast: what is left is rounding


def _grey(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float32 [N, SIZE * SIZE]."""
    shape = (SIZE, SIZE)
    parts = [
        functional.interpolate(part.float().mean(1, keepdim=True), size=shape, mode="bilinear", antialias=True)
        for part in images.split(256)
    ]
    return torch.cat(parts).flatten(1) if parts else torch.empty(0, SIZE**2)


def _split(rows: torch.Tensor) -> tuple[Views, torch.Tensor]:
    """Thumbnails by view, and greys [N, 1, SIZE, SIZE], out of rows."""
    thumbnails, grey = rows[:, : -(SIZE**2)], rows[:, -(SIZE**2) :]
    return list(thumbnails.split(PixelDetector.size**2, 1)), grey.reshape(len(rows), 1, SIZE, SIZE)


def _turned(thumbnails: torch.Tensor) -> Views:
    """Thumbnails, each turn of them: a picture's mirror image has a mirrored one."""
    edge = math.isqrt(thumbnails.shape[1])
    square = thumbnails.reshape(len(thumbnails), 1, edge, edge)
    return [square.flip(axes).flatten(1) if axes else thumbnails for axes in TURNS]


def _turn(pictures: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Each picture turned as its number says."""
    turned = pictures
    for number, axes in enumerate(TURNS[1:], 1):
        turned = torch.where((turns == number)[:, None, None, None], pictures.flip(axes), turned)
    return turned
