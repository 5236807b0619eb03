"""Is a picture a copy of a training image: mirrored, noisier, brighter, or cropped from anywhere and enlarged?

    suspect, original = Suspect(), Original()
    distances, indices = copy_distances(suspect(pictures), original(training_images))

The gates and an evaluation's search for copies ask by this one distance. Thumbnails find a few originals, as they are
or cropped at usual places; these are laid over the picture roughly, the best of them as well as zoom and shift allow.
What is left is told as a distance: its square is 2 - 2 r, with Pearson's correlation r of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from vesalius.eval.privacy.nearest import Few, Views, nearest_few
from vesalius.models.detectors.detector import Window

CROPS = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8)
"""Shares of the edges that crops of the middle keep."""
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
ROUGH, CAREFUL = 4, 5
"""Rounds of laying an original over a picture, at `COARSE` and at `SIZE`."""
THUMBNAIL = 16
"""Pixels an edge of thumbnails."""
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

    digest = f"pixels-1, {SIZE}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, 256 + SIZE * SIZE]."""
        return torch.cat([thumbnails(images), _grey(images)], 1)


class Original:
    """What is searched in, in one row: the thumbnails of a training image and of crops of it, from the middle and from
    the corners, and its grey at `SIZE`."""

    name, resize = "original of copies", "bilinear, antialiased"
    window: Window = "model"
    image_size = 128

    digest = f"pixels-1, {len(CROPS)} and corners of {CORNERS}, {SIZE}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, V * 256 + SIZE * SIZE]."""
        height, width = images.shape[2:]
        grey, views = images.float().mean(1, keepdim=True), []
        for share, across, down in FRAMES:
            inner = max(1, round(height * share)), max(1, round(width * share))
            room = height - inner[0], width - inner[1]
            top, left = (round(most * (0.5 + 0.5 * _side(way))) for most, way in zip(room, (down, across), strict=True))
            views.append(thumbnails(grey[:, :, top : top + inner[0], left : left + inner[1]]))
        return torch.cat([*views, _grey(grey)], 1)


def thumbnails(images: torch.Tensor) -> torch.Tensor:
    """Grey thumbnails of 16 x 16 with a mean of 0 and a norm of 1: uint8 [N, 3, H, W], or its grey [N, 1, H, W] ->
    float32 [N, 256].

    So the square of a distance is 2 - 2 r, with Pearson's correlation r of two of them: brightness and contrast have no
    say. A picture without contrast has zeros. No weights, so nothing that a network was not taught is overlooked.
    """
    flat = _grey(images, THUMBNAIL)
    flat = flat - flat.mean(1, keepdim=True)
    flat[flat.square().mean(1) < 0.25] = 0  # half a grey level: what is left is rounding
    return functional.normalize(flat, dim=1)


def copy_distances(
    suspects: torch.Tensor,
    originals: torch.Tensor,
    *,
    query_patients: Sequence[str | None] = (),
    reference_patients: Sequence[str | None] = (),
    same: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance of each suspect to the original that it is likest to, float32 [N], and that one's index, int64 [N].

    suspects: rows of `Suspect`. originals: rows of `Original`, or of `Suspect` where no crops are looked for. Patients,
    `same`, and what is told where no original is left are as in `vesalius.eval.privacy.nearest.nearest`.
    """
    distances, indices = torch.full((len(suspects),), torch.inf), torch.full((len(suspects),), -1)
    if not (len(originals) and len(suspects)):
        return distances, indices
    (ours, *_), greys = _split(suspects)
    views, others = _split(originals)
    found = nearest_few(
        _turned(ours), views, FEW,
        query_patients=query_patients, reference_patients=reference_patients, same=same,
    )  # fmt: skip
    for start in range(0, len(suspects), TOGETHER):
        rows = slice(start, start + TOGETHER)
        distances[rows], indices[rows] = _laid_over(greys[rows], others, Few(*(each[rows] for each in found)))
    return distances, indices


def _laid_over(ours: torch.Tensor, others: torch.Tensor, found: Few) -> tuple[torch.Tensor, torch.Tensor]:
    """Least distance of pictures, [N, 1, SIZE, SIZE], to the few originals found for each, when laid over them, and the
    place of the likest."""
    coarse, frames = functional.avg_pool2d(ours, SIZE // COARSE), torch.tensor(FRAMES)[found.of_reference]
    left = found.squares.isfinite()
    rough = torch.full_like(found.squares, torch.inf)
    for k in range(rough.shape[1]):
        other = functional.avg_pool2d(others[found.places[:, k]], SIZE // COARSE)
        apart, frames[:, k] = _search(_turn(coarse, found.of_query[:, k]), other, frames[:, k], ROUGH)
        rough[:, k] = torch.where(left[:, k], apart, rough[:, k])
    rows = torch.arange(len(ours))
    least, likest = torch.full((len(ours),), torch.inf), torch.full((len(ours),), -1)
    for k in rough.topk(min(BEST, rough.shape[1]), largest=False).indices.T:
        places = found.places[rows, k]
        apart, _ = _search(_turn(ours, found.of_query[rows, k]), others[places], frames[rows, k], CAREFUL)
        nearer = left[rows, k] & (apart < least)
        least, likest = torch.where(nearer, apart, least), torch.where(nearer, places, likest)
    return least, likest


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
        rows = torch.stack([*(way.flatten(1) for way in ways), -template, -ones], 1)
        normal = rows @ rows.transpose(1, 2) + ridge
        step = torch.linalg.solve(normal, -(rows @ seen[:, :, None]))[:, :3, 0]
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


def _grey(images: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float32 [N, size * size]."""
    parts = [
        functional.interpolate(part.float().mean(1, keepdim=True), size=(size, size), mode="bilinear", antialias=True)
        for part in images.split(256)
    ]
    return torch.cat(parts).flatten(1) if parts else torch.empty(0, size**2)


def _split(rows: torch.Tensor) -> tuple[Views, torch.Tensor]:
    """Thumbnails by view, and greys [N, 1, SIZE, SIZE], out of rows."""
    views, grey = rows[:, : -(SIZE**2)], rows[:, -(SIZE**2) :]
    return list(views.split(THUMBNAIL**2, 1)), grey.reshape(len(rows), 1, SIZE, SIZE)


def _turned(flat: torch.Tensor) -> Views:
    """Thumbnails, each turn of them: a picture's mirror image has a mirrored one."""
    square = flat.reshape(len(flat), 1, THUMBNAIL, THUMBNAIL)
    return [square.flip(axes).flatten(1) if axes else flat for axes in TURNS]


def _turn(pictures: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Each picture turned as its number says."""
    turned = pictures
    for number, axes in enumerate(TURNS[1:], 1):
        turned = torch.where((turns == number)[:, None, None, None], pictures.flip(axes), turned)
    return turned
