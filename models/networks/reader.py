"""The reader: a small segmentation network and plain measurement tell what a phantom, or a picture like one, shows.

Trained on phantoms and their masks only (`vesalius.finetune.judges.reader`), never on generated pictures. Of each kind
of finding it measures whether it is there, the patient's side, the longest diameter, and how many there are.
"""

from __future__ import annotations

import importlib.resources
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import nn
from torch.nn import functional

from vesalius.data.images.image import Float32, Uint8
from vesalius.data.modality import find_modality
from vesalius.data.phantoms import brain, chest, tissue
from vesalius.data.phantoms.canvas import FindingRule
from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding, Side, write_json
from vesalius.models.base import digest_folder

FIELDS = {"CT": chest.FIELD, "MRI": brain.FIELD, "pathology": tissue.FIELD}
"""Edge of the pictured square: millimetres, in pathology micrometres."""

LABELS = tuple(f"{modality}/{kind}" for modality, kinds in KINDS.items() for kind in kinds)
SIZE_TOLERANCE = 0.25
"""A size counts as right within this share of what was asked."""

_BODY = {"CT": 0.55, "MRI": 0.16}
"""Brightness in the red channel (of CT the lung window, here -525 HU) above which a pixel is body."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """When a kind counts as seen, and how its diameter follows from what is seen.

    level: probability above which a pixel is of the kind. smallest: area in pixels below which a component is dropped.
    scale, offset_mm: diameter = scale * measured + offset_mm.
    """

    level: float = 0.5
    smallest: float = 4.0
    scale: float = 1.0
    offset_mm: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Sizes and thresholds.

    labels: "MODALITY/kind", the network's outputs after the background. widths: channels from half the size on, each
    halving it again.
    """

    labels: tuple[str, ...] = LABELS
    image_size: int = 128
    widths: tuple[int, ...] = (32, 48, 64, 96, 96)
    thresholds: dict[str, Threshold] = field(default_factory=lambda: {label: Threshold() for label in LABELS})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was measured in one picture.

    findings: those present. mask: where, HW uint8, 0 for background, k for the k-th of KINDS[modality].
    """

    modality: str
    findings: tuple[Finding, ...]
    mask: Uint8


@dataclass(frozen=True, kw_only=True)
class Component:
    """One connected region of a kind. area: in pixels. side: -1 the patient's right, 1 the left. pixels: HW bool."""

    area: int
    side: int
    pixels: NDArray[np.bool_]


class Reader(nn.Module):
    """Measures the findings of phantoms, and of pictures like them: kind, side, size, count. `load` opens it.

    A U-Net (Ronneberger et al. 2015) at half size with added skips. `digest` names the weights in every score.
    """

    def __init__(self, config: ReaderConfig, digest: str = "") -> None:
        super().__init__()
        self.config, self.digest = config, digest
        widths = config.widths
        pairs = list(itertools.pairwise(widths))
        # Half of the size costs a quarter of the time; unshuffling there and back loses no pixel.
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _conv(12, widths[0]))
        self.down = nn.ModuleList(nn.Sequential(_conv(a, b, stride=2), _conv(b, b)) for a, b in pairs)
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(_conv(a, a) for a, _ in pairs)
        self.head = nn.Sequential(nn.Conv2d(widths[0], 4 * (1 + len(config.labels)), 1), nn.PixelShuffle(2))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """NCHW float32 in [-1, 1] -> logits [N, 1 + labels, H, W], background first."""
        hidden = self.stem(pixels)
        skips = [hidden]
        for down in self.down:
            skips.append(hidden := down(hidden))
        for skip, lateral, up in zip(skips[-2::-1], reversed(self.lateral), reversed(self.up), strict=True):
            hidden = up(skip + functional.interpolate(lateral(hidden), scale_factor=2.0))
        logits: torch.Tensor = self.head(hidden)
        return logits

    def foreign(self, modalities: Sequence[str]) -> torch.Tensor:
        """Which outputs are of another modality than the picture's: bool [N, 1 + labels, 1, 1]."""
        rows = [[False, *(not label.startswith(f"{m}/") for label in self.config.labels)] for m in modalities]
        return torch.tensor(rows)[:, :, None, None]

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor, modalities: Sequence[str]) -> torch.Tensor:
        """NCHW uint8 of any size -> probability of background and each label, float32 [N, 1 + labels, size, size]."""
        pixels = _sized(images, self.config.image_size) / 127.5 - 1.0
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # convolutions on a CPU are quicker so
        logits: torch.Tensor = self(pixels).float().masked_fill(self.foreign(modalities), -torch.inf)
        return logits.softmax(1)

    def read(self, images: torch.Tensor, modalities: Sequence[str]) -> list[Reading]:
        """Pictures as the model sees them (`load_stack`), NCHW uint8, and their modalities -> what each shows.

        ValueError for a modality of which there are no phantoms.
        """
        names = [phantom_modality(m) for m in modalities]
        readings = []
        for start in range(0, len(names), 16):  # of more, what layers make does not fit into a processor's cache
            part, some = images[start : start + 16], names[start : start + 16]
            maps = self.probabilities(part, some).numpy()
            greys = _sized(part[:, :1], self.config.image_size)[:, 0].numpy() / np.float32(255)
            readings += [self._measure(maps[i], greys[i], some[i]) for i in range(len(some))]
        return readings

    def _measure(self, maps: Float32, grey: Float32, modality: str) -> Reading:
        across = offset_from_midline(grey, modality)
        mask = np.zeros(grey.shape, np.uint8)
        findings = []
        for number, (kind, rule) in enumerate(RULES[modality].items(), start=1):
            label = f"{modality}/{kind}"
            probability, threshold = maps[1 + self.config.labels.index(label)], self.config.thresholds[label]
            seen = components(probability, threshold.level, across, rule, threshold.smallest)
            if seen:
                size = None
                if rule.size_mm is not None:
                    longest = longest_diameter(probability, seen, threshold.level) * FIELDS[modality] / len(grey)
                    size = round(threshold.scale * longest + threshold.offset_mm, 1)
                findings.append(finding_of(kind, rule, seen, size))
                mask[np.any([c.pixels for c in seen], axis=0)] = number
        return Reading(modality=modality, findings=tuple(findings), mask=mask)

    def save(self, folder: Path) -> None:
        """Write config and fp16 weights."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", asdict(self.config))
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")

    @staticmethod
    def load(folder: Path | None = None) -> Reader:
        """The embedded reader, or that of a folder. ValueError where there is none."""
        folder = folder or Path(str(importlib.resources.files("vesalius.models"))) / "reader"
        if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
            raise ValueError(f"{folder}: no reader there (config.json, model.safetensors)")
        row: dict[str, Any] = json.loads((folder / "config.json").read_text())
        thresholds = {label: Threshold(**t) for label, t in row.pop("thresholds").items()}
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        reader = Reader(ReaderConfig(**sizes, thresholds=thresholds), digest_folder(folder))
        reader.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        return reader.eval().requires_grad_(False)


def phantom_modality(word: str) -> str:
    """The name of a modality that has phantoms. ValueError where it has none."""
    name = find_modality(word).name
    if name not in RULES:
        raise ValueError(f"modality '{word}': the reader knows phantoms only ({', '.join(RULES)})")
    return name


def offset_from_midline(grey: Float32, modality: str) -> Float32:
    """How far each pixel lies to the patient's left of the body's midline, in pixels, HW float32.

    The midline passes through the body's centroid, along its upright principal axis.
    grey: the red channel, HW float32 in [0, 1].
    """
    body = np.zeros(grey.shape, bool)
    if modality in _BODY:
        body = ndimage.binary_opening(ndimage.binary_fill_holes(grey > _BODY[modality]), iterations=2)
        regions, num = ndimage.label(body)
        if num > 1:
            body = regions == 1 + np.bincount(regions.ravel())[1:].argmax()
    if body.mean() < 0.05:  # nothing to go by, or a field without sides
        body[:] = True
    rows, columns = np.mgrid[: len(grey), : len(grey)]
    y, x = rows - rows[body].mean(), columns - columns[body].mean()
    xx, yy, xy = (x[body] ** 2).mean(), (y[body] ** 2).mean(), (x[body] * y[body]).mean()
    tilt = 0.5 * math.atan2(2 * xy, xx - yy)  # of one principal axis; the other is a quarter turn away
    tilt -= round(tilt / (math.pi / 2)) * (math.pi / 2)
    across: Float32 = (x * math.cos(tilt) + y * math.sin(tilt)).astype(np.float32)
    return across


def components(
    probability: Float32, level: float, across: Float32, rule: FindingRule, smallest: float = 1.0
) -> list[Component]:
    """The connected regions above a level that have at least the smallest area in pixels.

    A kind that has sides but no size (an effusion, say) is cut along the midline first: it may reach over it.
    """
    seen = probability > level
    parts = [seen & (across > 0), seen & (across <= 0)] if rule.sides and rule.size_mm is None else [seen]
    found = []
    for part in parts:
        regions, _ = ndimage.label(part)
        areas = np.bincount(regions.ravel())
        for number in 1 + np.flatnonzero(areas[1:] >= smallest):
            pixels = regions == number
            side = 1 if across[pixels].mean() > 0 else -1
            found.append(Component(area=int(areas[number]), side=side, pixels=pixels))
    return found


def finding_of(kind: str, rule: FindingRule, seen: Sequence[Component], size_mm: float | None = None) -> Finding:
    """What the components of a kind amount to."""
    side: Side | None = None
    if rule.sides:
        sides = {c.side for c in seen}
        side = "bilateral" if len(sides) == 2 else "left" if sides == {1} else "right"
    return Finding(kind=kind, side=side, size_mm=size_mm, count=len(seen) if counted(rule) else 1)


def counted(rule: FindingRule) -> bool:
    """Whether a kind comes in lesions that can be counted, not in areas."""
    return rule.size_mm is not None or rule.max_count > 1


def longest_diameter(probability: Float32, seen: Sequence[Component], level: float) -> float:
    """Largest Feret diameter of any of the components in pixels, on the level's contour between the pixels."""
    angles = np.arange(0, math.pi, math.pi / 36)
    longest = 0.0
    for component in seen:
        rows, columns = np.nonzero(component.pixels)
        window = slice(rows.min(), rows.max() + 3), slice(columns.min(), columns.max() + 3)
        # Beyond the component's rim nothing counts: a neighbour of the same kind must not lengthen it.
        near = ndimage.binary_dilation(np.pad(component.pixels, 1))
        alone = np.where(near, np.pad(probability, 1), 0)[window]
        fine: Float32 = ndimage.zoom(alone, 4, order=1, grid_mode=True, mode="nearest")
        y, x = np.nonzero(fine >= min(level, fine.max()))
        along = np.outer(np.cos(angles), x) + np.outer(np.sin(angles), y)
        longest = max(longest, float((along.max(axis=1) - along.min(axis=1)).max() + 1) / 4)
    return longest


def compare_findings(
    asked: Sequence[Finding], seen: Sequence[Finding], modality: str, *, unseen_is_wrong: bool = False
) -> list[tuple[str, str, bool]]:
    """(kind, question, right) for each question that the asked findings settle.

    Questions: "present" or "absent"; of a kind that is asked and seen also "side", "size" and "count". unseen_is_wrong:
    of a kind that is asked and not seen too, and the answer is wrong: so that pictures of one prompt answer as many.
    """
    found = {f.kind: f for f in seen if f.present}
    answers = []
    for finding in asked:
        other = found.get(finding.kind)
        if not finding.present:
            answers.append((finding.kind, "absent", other is None))
            continue
        answers.append((finding.kind, "present", other is not None))
        if other is None and not unseen_is_wrong:
            continue
        if finding.side is not None:
            answers.append((finding.kind, "side", other is not None and other.side == finding.side))
        seen_mm = 0.0 if other is None else other.size_mm
        if finding.size_mm is not None and seen_mm is not None:
            error = abs(seen_mm - finding.size_mm)
            answers.append((finding.kind, "size", error <= SIZE_TOLERANCE * finding.size_mm))
        if counted(RULES[modality][finding.kind]):
            answers.append((finding.kind, "count", other is not None and other.count == finding.count))
    return answers


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()
    )


def _sized(images: torch.Tensor, size: int) -> torch.Tensor:
    """NCHW uint8 -> float32 at this size, still in [0, 255]."""
    pixels = images.float()
    if pixels.shape[-1] != size:
        pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    return pixels
