"""Pictures to be scored, and what the judge and their own pixels say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.nn import functional

from vesalius.data.images.image import load_stack
from vesalius.data.modality import WINDOWS, find_modality
from vesalius.data.record import Finding, Record
from vesalius.eval.strata import patient_of, subgroups_of
from vesalius.inference.sample import Sample
from vesalius.models.detectors.detector import Window
from vesalius.models.networks.judge import Judge

Scores = dict[str, float]
FAINT = 8
"""Grey levels that nobody tells from black: the air around a patient holds noise in what a scanner wrote, and none in
what a network drew. White is pure, or tissue whose contrast was torn up would be within the glass of a bright slide."""
MEASURES = ("contrast", "black", "white", "darkest", "brightest", "roughness", "colour", "hu_low", "hu_high")
"""What is measured of the pixels themselves, see `measure_pixels`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture to be scored, sample or record alike: where it lies, what its text says.

    label, organ: of the record; of a sample, that of the records whose text is its prompt. shows: findings of those
    records, which the prompt need not name. patient: None where it is not known, and of samples. subgroups: of persons,
    name -> value, as `vesalius.eval.strata` reads them.
    """

    path: Path
    """the image file"""
    text: str
    """prompt, or caption"""
    modality: str
    """its name"""
    findings: tuple[Finding, ...] = ()
    """what the text asks for or denies, where that is known"""
    label: str | None = None
    organ: str | None = None
    shows: tuple[str, ...] = ()
    patient: str | None = None
    subgroups: Mapping[str, str] = field(default_factory=dict)


def case_of_sample(folder: Path, sample: Sample) -> Case:
    """A sample under its prompt, in Hounsfield units where it has them: so are the real images it is compared with."""
    path = folder / (sample.raw16 or sample.file_name)
    return Case(
        path=path, text=sample.text, modality=sample.modality, findings=sample.findings,
        subgroups=subgroups_of({}, sample.text),
    )  # fmt: skip


def case_of_record(folder: Path, record: Record) -> Case:
    """A record under its caption, or its text where it has none: what a prompt for it would be."""
    modality, text = find_modality(record.modality).name, record.caption or record.text
    return Case(
        path=folder / record.file_name, text=text, modality=modality, findings=record.findings, label=record.label,
        organ=record.organ, patient=patient_of(record), subgroups=subgroups_of(record.extra, record.text),
    )  # fmt: skip


def read_images(cases: Sequence[Case], size: int, what: str, *, quiet: bool = False) -> torch.Tensor:
    """The pictures of the cases, uint8 [N, 3, size, size]."""
    return torch.from_numpy(load_stack([(c.path, c.modality) for c in cases], size, what=what, quiet=quiet))


class JudgeReading:
    """All that scores need of a picture, in one pass and in the shape of a detector's features, so that it is kept as
    those are: measures of its pixels, the judge's unit embedding, its probabilities of each modality and attribute."""

    name = "judge reading"
    resize = "none"
    window: Window = "model"

    def __init__(self, judge: Judge) -> None:
        self.judge, self.image_size = judge, judge.config.image_size
        self.digest = f"{judge.digest}, {', '.join(MEASURES)}, within borders, black to {FAINT}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([measure_pixels(images), *self.judge.look(images)], 1)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Measures, embedding, modality and attributes out of what was made."""
        config = self.judge.config
        sizes = [len(MEASURES), config.embedding, len(config.modalities), len(config.attributes)]
        parts: tuple[torch.Tensor, ...] = rows.split(sizes, 1)
        return parts


def measure_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, 3, H, W] as a model sees them -> float32 [N, len(MEASURES)], of what lies within their even borders.

    contrast         standard deviation of the luminance, 0 to 127: a blank picture is near 0
    black, white     shares of the pixels that are within `FAINT` of black, and that are white: dark or saturated
    roughness        deviation of the pixels from the mean of 3 x 3, as a share of the contrast: noise is near 1
    colour           mean distance of the greatest and the least channel, 0 to 255: 0 in grey
    hu_low, hu_high  0.5th and 99.5th percentile in Hounsfield units, if the channels are the three windows of CT
    """
    rows = [_measure(content_of(image.float())) for image in images]
    return torch.stack(rows) if rows else torch.empty(0, len(MEASURES))


def content_of(image: torch.Tensor) -> torch.Tensor:
    """A picture, CHW, without the borders of one value that padding leaves: they would lend a blank one contrast."""
    for axis in (1, 2):
        uneven = (image.amax(3 - axis) != image.amin(3 - axis)).any(0).nonzero()[:, 0]
        if len(uneven):
            image = image.narrow(axis, int(uneven[0]), int(uneven[-1] - uneven[0]) + 1)
    return image


def roughness_of(grey: torch.Tensor) -> torch.Tensor:
    """Of a luminance HW."""
    smooth = functional.avg_pool2d(grey[None, None], 3, stride=1, padding=1, count_include_pad=False)[0, 0]
    return (grey - smooth).std(correction=0) / grey.std(correction=0).clamp_min(1)


def _measure(pixels: torch.Tensor) -> torch.Tensor:
    grey = pixels.mean(0)
    darkest, brightest = _percentiles(grey.round(), 0.01, 0.99)
    # Red rises from the darkest to the middle and blue on from there, so that one whole number stands for the two
    ends = _percentiles(torch.where(pixels[0] < 255, pixels[0], 255 + pixels[2]), 0.005, 0.995)
    (lung, lung_width), (bone, bone_width) = WINDOWS["lung"], WINDOWS["bone"]
    hu = [
        lung + lung_width * (end / 255 - 0.5) if end < 255 else bone + bone_width * ((end - 255) / 255 - 0.5)
        for end in ends
    ]
    means = [(grey <= FAINT).float().mean(), (grey >= 254).float().mean(), (pixels.amax(0) - pixels.amin(0)).mean()]
    black, white, colour = (float(mean) for mean in means)
    contrast, rough = float(grey.std(correction=0)), float(roughness_of(grey))
    return torch.tensor([contrast, black, white, darkest, brightest, rough, colour, *hu])


def _percentiles(whole: torch.Tensor, *shares: float) -> list[float]:
    """Of whole numbers from 0 on, by counting them, which is much quicker than to sort them."""
    below = torch.bincount(whole.long().flatten(), minlength=511).cumsum(0)
    wanted = torch.tensor(shares) * whole.numel()
    return [float(i) for i in torch.searchsorted(below, wanted.ceil().long())]


class Grain:
    """Roughness at 256 pixels, in the shape of a detector: noise of large pictures is gone at the judge's 128."""

    name, resize, digest = "grain", "none", "grain-1"
    window: Window = "display"
    image_size = 256

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, 1]."""
        rows = [roughness_of(content_of(image.float()).mean(0)) for image in images]
        return torch.stack(rows)[:, None] if rows else torch.empty(0, 1)
