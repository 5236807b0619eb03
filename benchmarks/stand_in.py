"""What diffusers' training script asks of `torchvision.transforms`, where torchvision does not import."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image


class InterpolationMode:
    BILINEAR = Image.Resampling.BILINEAR
    LANCZOS = Image.Resampling.LANCZOS
    NEAREST = Image.Resampling.NEAREST


class Compose:
    def __init__(self, steps: list[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, image: Any) -> Any:
        for step in self.steps:
            image = step(image)
        return image


class Resize:
    """The shorter side to `size`."""

    def __init__(self, size: int, interpolation: Image.Resampling = InterpolationMode.BILINEAR) -> None:
        self.size, self.interpolation = size, interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        scale = self.size / min(image.size)
        if scale == 1:
            return image
        return image.resize((round(image.width * scale), round(image.height * scale)), self.interpolation)


class RandomCrop:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = (random.randint(0, edge - self.size) for edge in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class CenterCrop(RandomCrop):
    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = ((edge - self.size) // 2 for edge in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class RandomHorizontalFlip:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


class Lambda:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)


class ToTensor:
    def __call__(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class Normalize:
    def __init__(self, mean: list[float], deviation: list[float]) -> None:
        self.mean, self.deviation = mean[0], deviation[0]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.mean) / self.deviation


def install() -> None:
    """Put the stand-in where `from torchvision import transforms` finds it."""
    package = types.ModuleType("torchvision")
    package.transforms = sys.modules[__name__]  # type: ignore[attr-defined]
    sys.modules["torchvision"] = package
    sys.modules["torchvision.transforms"] = sys.modules[__name__]
