"""Is a picture a copy of a training image: mirrored, noisier, brighter, or cropped from anywhere and enlarged?

    suspect, original = Suspect(), Original()
    distances = copy_distances(suspect(pictures), original(training_images))

Thumbnails find a few originals, as they are or cropped at usual places; these are laid over the picture roughly, and
the best of them as well as zoom and shift allow. What is left is told as a distance: its square is 2 - 2 r, with
Pearson's correlation r of the two.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from vesalius.eval.privacy.nearest import CROPS, PixelDetector, Views, nearest_few
from vesalius.models.detectors.detector import Window

CORNERS = (0.94, 0.88)
"""Shares of the edges that crops of the corners keep."""
FRAMES = (
    *((share, 0.0, 0.0) for share in CROPS),
    *((s, across * (1 - s), down * (1 - s)) for s in CORNERS for down in (-1, 1) for across in (-1, 1)),
)
"""Crops of an original that thumbnails are made of: share of the edge, and where the middle lies, across and down, in
half edges."""
FEW, BEST = 32, 3
"""Originals that thumbnails find, and those of them that are laid over a picture with care."""
ROUGH, CAREFUL = 4, 8
"""Rounds of laying an original over a picture, at `COARSE` and at `SIZE`."""
SIZE, COARSE = 32, 16
"""Pixels an edge at which pictures are laid over each other; finer ones tell copies no better."""
LEAST = 0.75
"""The smallest share of an edge that is looked for."""
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
        grey, views = images.float().mean(1, keepdim=True), []
        for share, across, down in FRAMES:
            inner = max(1, round(height * share)), max(1, round(width * share))
            room = height - inner[0], width - inner[1]
            top, left = (round(most * (0.5 + 0.5 * _side(way))) for most, way in zip(room, (down, across), strict=True))
            views.append(self._pixels(grey[:, :, top : top + inner[0], left : left + inner[1]]))
        return torch.cat([*views, _grey(grey)], 1)


def copy_distances(suspects: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """Distance of each suspect to the original that it is likest to, float32 [N]; infinite where there are none.

    suspects, originals: rows of `Suspect` and `Original`.
    """
    if not (len(originals) and len(suspects)):
        return torch.full((len(suspects),), torch.inf)
    thumbnails, greys = _split(suspects)
    views, others = _split(originals)
    found = nearest_few(_turned(thumbnails[0]), views, FEW)
    parts = zip(*(each.split(TOGETHER) for each in (greys, *found)), strict=True)
    return torch.cat([torch.empty(0), *(_laid_over(ours, others, *few) for ours, *few in parts)])


def _laid_over(
    ours: torch.Tensor, others: torch.Tensor, places: torch.Tensor, turns: torch.Tensor, views: torch.Tensor
) -> torch.Tensor:
    """Least distance of pictures, [N, 1, SIZE, SIZE], to originals at their places, [N, few], when laid over them."""
    rows, least = torch.arange(len(ours)), torch.full((len(ours),), torch.inf)
    coarse, frames = functional.avg_pool2d(ours, SIZE // COARSE), torch.tensor(FRAMES)[views]
    rough = []
    for k in range(places.shape[1]):
        other = functional.avg_pool2d(others[places[:, k]], SIZE // COARSE)
        apart, frames[:, k] = _search(_turn(coarse, turns[:, k]), other, frames[:, k], ROUGH)
        rough.append(apart)
    best = torch.stack(rough, 1).topk(min(BEST, len(rough)), largest=False).indices
    for k in best.T:
        apart, _ = _search(_turn(ours, turns[rows, k]), others[places[rows, k]], frames[rows, k], CAREFUL)
        least = torch.minimum(least, apart)
    return least


def _search(
    ours: torch.Tensor, others: torch.Tensor, frames: torch.Tensor, rounds: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Least distances of pictures to what others show within frames, and those frames, from some that lie near.

    Gauss-Newton's steps: where a picture is a linear function of the other one's greys, a frame that is off by d shows
    W + J d, so d, and the function's two numbers, are a least-squares solution (Lucas & Kanade 1981; Baker & Matthews
    2004 with brightness and contrast free).
    """
    edge = ours.shape[-1]
    across = torch.linspace(-1 + 1 / edge, 1 - 1 / edge, edge)
    down = across[:, None].expand(edge, edge)
    template = _standard(ours)
    ones = torch.full_like(template, 1 / edge)
    ridge = torch.diag(torch.tensor([1e-3, 1e-3, 1e-3, 1e-6, 1e-6]))
    least, best = torch.full((len(ours),), torch.inf), frames
    for turn in range(rounds + 1):
        shown = _shown(others, frames)
        seen = _standard(shown)
        apart = (template - seen).norm(dim=1)
        better = apart < least
        least, best = torch.where(better, apart, least), torch.where(better[:, None], frames, best)
        if turn == rounds:
            break
        picture = seen.view(-1, edge, edge)
        padded = functional.pad(picture[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        to_right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * (edge / 4)
        to_below = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * (edge / 4)
        ways = [to_right * across + to_below * down, to_right, to_below]
        columns = torch.stack([*(way.flatten(1) for way in ways), -template, -ones], 2)
        normal = columns.transpose(1, 2) @ columns + ridge
        step = torch.linalg.solve(normal, -(columns.transpose(1, 2) @ seen[:, :, None]))[:, :3, 0]
        frames = _within(frames + frames[:, :1] * step.clamp(-0.2, 0.2))
    return least, best


def _within(frames: torch.Tensor) -> torch.Tensor:
    """Frames that lie within the picture that they are of."""
    share = frames[:, :1].clamp(LEAST, 1.0)
    room = 1 - share
    return torch.cat([share, frames[:, 1:].clamp(-room, room)], 1)


def _shown(others: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """What pictures show within frames, enlarged to their size."""
    turn = torch.zeros(len(frames), 2, 3)
    turn[:, 0, 0], turn[:, 1, 1] = frames[:, 0], frames[:, 0]
    turn[:, :, 2] = frames[:, 1:]
    grid = functional.affine_grid(turn, list(others.shape), align_corners=False)
    return functional.grid_sample(others, grid, padding_mode="border", align_corners=False)


def _standard(pictures: torch.Tensor) -> torch.Tensor:
    flat = pictures.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    # Under half a grey level of contrast what is left is rounding.
    return functional.normalize(flat, dim=1, eps=0.5 * math.sqrt(flat.shape[1]))


def _side(way: float) -> int:
    return (way > 0) - (way < 0)


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
