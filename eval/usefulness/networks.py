"""Small networks that train on a CPU in seconds, by a fixed number of updates: one that names, one that outlines.

All arms have the same updates, batches, learning rates and augmentation: shifts and changes of brightness and contrast.
Nothing is flipped, for a class may name a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from vesalius.eval.usefulness.config import UsefulnessConfig

RATE = 2e-3
"""Highest learning rate of AdamW under one cycle (Smith & Topin 2018)."""
WIDTHS = (16, 32, 64, 96)
OUTLINE_WIDTHS = (8, 16, 32)
TEMPERATURE = 0.2

Predict = Callable[..., torch.Tensor]
"""Images as they were trained on -> probabilities [N, K] or masks [N, S, S]; with their texts, ranks [N, 1]."""


class Chosen:
    """Some rows of a tensor, some of them several times, of which none is copied before it is asked for."""

    def __init__(self, whole: torch.Tensor, places: NDArray[np.int64]) -> None:
        self.whole, self.places = whole, torch.from_numpy(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, picked: torch.Tensor) -> torch.Tensor:
        return self.whole[self.places[picked]]


Labelled = tuple[Chosen, Chosen]
"""Images uint8 [N, 3, S, S] and what they show: classes int64 [N], masks uint8 [N, S, S], or texts int64 [N, L]."""


def block(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    """A convolution, normalised in groups: a batch of real and synthetic images shares no statistics."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.GroupNorm(min(8, outer // 2), outer), nn.ReLU()
    )


class Convnet(nn.Module):
    """Four convolutions, each of which halves the edges, their mean over the picture, and a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        ends = (3, *WIDTHS)
        self.trunk = nn.Sequential(*(block(a, b, 2) for a, b in pairwise(ends)))
        self.head = nn.Linear(WIDTHS[-1], num_classes)

    def look(self, images: torch.Tensor) -> torch.Tensor:
        """Float [N, 3, S, S] in [-1, 1] -> [N, C]."""
        seen: torch.Tensor = self.trunk(images).mean((2, 3))
        return seen

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.look(images))
        return logits


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of three levels. Float [N, 3, S, S] -> logits [N, K, S, S]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        first, second, third = OUTLINE_WIDTHS
        self.one, self.two, self.three = block(3, first), block(first, second, 2), block(second, third, 2)
        self.deep = block(third, third)
        self.back_two, self.back_one = block(third + second, second), block(second + first, first)
        self.head = nn.Conv2d(first, num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one = self.one(images)
        two = self.two(one)
        deep = self.deep(self.three(two))
        back = self.back_two(torch.cat([functional.interpolate(deep, scale_factor=2.0), two], 1))
        back = self.back_one(torch.cat([functional.interpolate(back, scale_factor=2.0), one], 1))
        logits: torch.Tensor = self.head(back)
        return logits


def fit_convnet(
    config: UsefulnessConfig, train: Labelled, seed: int, num_classes: int, first: Labelled | None = None,
    *, labelled: bool = True,
) -> Predict:  # fmt: skip
    """A classifier: uint8 [N, 3, S, S] -> probabilities [N, K].

    first: what it learns before, in the first half of the updates. labelled False: from those without their classes.
    """
    network = seeded(lambda: Convnet(num_classes), seed)
    generator = torch.Generator().manual_seed(seed)
    before = 0 if first is None else config.updates // 2
    if first is not None and labelled:
        _train(network, _names, first, before, config.batch_size, generator)
    elif first is not None:
        _contrast(network, first[0], before, config.batch_size, generator, seed)
    _train(network, _names, train, config.updates - before, config.batch_size, generator)
    return _predictor(network, lambda logits: logits.softmax(1))


def fit_unet(
    config: UsefulnessConfig, train: Labelled, seed: int, num_classes: int, first: Labelled | None = None
) -> Predict:
    """A network that outlines: uint8 [N, 3, S, S] -> masks uint8 [N, S, S]."""
    network = seeded(lambda: UNet(num_classes), seed)
    generator = torch.Generator().manual_seed(seed)
    before = 0 if first is None else config.updates // 2
    if first is not None:
        _train(network, _outlines, first, before, config.batch_size, generator)
    _train(network, _outlines, train, config.updates - before, config.batch_size, generator)
    return _predictor(network, lambda logits: logits.argmax(1).to(torch.uint8))


def batches(num: int, size: int, updates: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Places of `updates` batches: all images once in a new order, then again."""
    waiting = torch.zeros(0, dtype=torch.long)
    for _ in range(updates):
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(num, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


def vary(
    images: torch.Tensor, masks: torch.Tensor | None, generator: torch.Generator, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images uint8 [N, 3, S, S], moved by up to a sixteenth of their edge and brighter or darker: float about [-1, 1].

    Their masks [N, S, S] move with them.
    """
    num, _, size, _ = images.shape
    most = max(1, round(strength * size / 16))
    moves = torch.randint(-most, most + 1, (2, num, 1), generator=generator)
    rows, columns = (torch.arange(size) + moves).clamp(0, size - 1)
    which = torch.arange(num)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()
    gain, shift = (strength * (torch.rand(2, num, 1, 1, 1, generator=generator) - 0.5)).unbind(0)
    pixels = (moved / 127.5 - 1) * (1 + 0.3 * gain) + 0.2 * shift
    return pixels, None if masks is None else masks[which, rows[:, :, None], columns[:, None, :]]


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose first weights are those of the seed, in every arm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _names(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, labels)


def _outlines(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross entropy and one less the soft Dice of what is no background (Milletari et al. 2016)."""
    truth = functional.one_hot(masks.long(), logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].float()
    shown = logits.softmax(1)[:, 1:]
    overlap, area = (shown * truth).sum((0, 2, 3)), shown.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return functional.cross_entropy(logits, masks.long()) + 1 - ((2 * overlap + 1) / (area + 1)).mean()


def _train(
    network: nn.Module, loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], data: Labelled, updates: int,
    batch_size: int, generator: torch.Generator,
) -> None:  # fmt: skip
    images, targets = data
    masks = targets.whole.dim() == 3

    def loss(picked: torch.Tensor) -> torch.Tensor:
        pixels, moved = vary(images[picked], targets[picked] if masks else None, generator)
        return loss_of(network(pixels), targets[picked] if moved is None else moved)

    descend(list(network.parameters()), loss, len(images), updates, batch_size, generator)


def _contrast(
    network: nn.Module, images: Chosen, updates: int, batch_size: int, generator: torch.Generator, seed: int
) -> None:
    """SimCLR (Chen et al. 2020): two views of a picture are nearer to each other than to any other of the batch."""
    assert isinstance(network, Convnet)
    head = seeded(lambda: nn.Sequential(nn.Linear(WIDTHS[-1], 64), nn.ReLU(), nn.Linear(64, 32)), seed)

    def loss(picked: torch.Tensor) -> torch.Tensor:
        views = [vary(images[picked], None, generator, strength=2.0)[0] for _ in range(2)]
        codes = functional.normalize(head(network.look(torch.cat(views))), dim=1)
        near = codes @ codes.T / TEMPERATURE
        near.fill_diagonal_(-torch.inf)
        return functional.cross_entropy(near, torch.arange(len(codes)).roll(len(picked)))

    descend([*network.trunk.parameters(), *head.parameters()], loss, len(images), updates, batch_size, generator)


def descend(
    weights: list[nn.Parameter], loss_of: Callable[[torch.Tensor], torch.Tensor], num: int, updates: int,
    batch_size: int, generator: torch.Generator,
) -> None:  # fmt: skip
    """Updates by the loss of batches, which are places among `num` images."""
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=updates + 1)
    for picked in batches(num, batch_size, updates, generator):
        optimizer.zero_grad(set_to_none=True)
        loss_of(picked).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()


def _predictor(network: nn.Module, read: Callable[[torch.Tensor], torch.Tensor]) -> Predict:
    network.eval()

    @torch.inference_mode()
    def predict(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([read(network(part.float() / 127.5 - 1)) for part in images.split(256)])

    return predict
