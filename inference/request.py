"""What is asked for: one picture to draw, what it starts from, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vesalius.data.images.image import Shape
from vesalius.data.modality import MODALITIES, Modality, find_modality, modality_in
from vesalius.data.record import Finding
from vesalius.data.sources.archive import Place

MAX_STEPS, MAX_GUIDANCE = 1000, 100.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture to start from in place of pure noise.

    strength: how far it is taken back into noise before it is drawn anew, above 0 (nothing changes) up to 1 (only what
    survives full noise is kept). mask: an image of its size, white where it is drawn anew; elsewhere it stays as it is.
    above: the grey of a mask from which on it counts as white; 0 of masks that number what they show, as those of
    datasets do. where: the row that brought it, such as "prompts.csv:7"; "" of a picture that is not of one row.
    """

    image: Place
    strength: float = 0.6
    mask: Place | None = None
    above: int = 127
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """A text is taken for a path. ValueError where the strength is none."""
        for name in ("image", "mask"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))
        if not 0 < self.strength <= 1:
            raise ValueError(f"--strength {self.strength:g}: expected a number above 0, up to 1")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture to draw. modality None means that the prompt says it. findings: what it should show, where known.

    size: height and width in pixels; None: the square that the base was made for. group: as `Sample` has it.
    """

    prompt: str
    """what is drawn"""
    seed: int
    """of this one picture"""
    modality: str | None = None
    file_name: str = ""
    """what it will be called, relative to a samples folder; empty outside of one"""
    findings: tuple[Finding, ...] = ()
    size: Shape | None = None
    group: str = ""
    source: Source | None = None
    """a picture to start from in place of noise"""

    def __post_init__(self) -> None:
        """A list is taken for a size."""
        if isinstance(self.size, list):
            object.__setattr__(self, "size", tuple(self.size))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How pictures are drawn. Requests are drawn together only where it is the same.

    steps: of denoising. guidance: classifier-free guidance scale; at 1 or less it is without, the negative prompt has
    no say, and each step costs half.
    """

    steps: int
    guidance: float
    negative: str = ""

    def __post_init__(self) -> None:
        if type(self.steps) is not int or not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(
                f"--steps {self.steps}: expected a whole number from 1 to {MAX_STEPS}, of which schedules are made"
            )
        if not 0 <= self.guidance <= MAX_GUIDANCE:
            raise ValueError(f"--guidance {self.guidance}: expected a number from 0 to {MAX_GUIDANCE:g}")

    @property
    def is_guided(self) -> bool:
        return self.guidance > 1


def request_modality(request: Request) -> Modality:
    """The modality of a request. ValueError where neither it nor its prompt says one."""
    if request.modality is not None:
        return find_modality(request.modality)
    found = modality_in(request.prompt)
    if found is None:
        raise ValueError(
            f"prompt '{request.prompt[:60]}' names no modality; "
            f"name one in it ({', '.join(MODALITIES)}) or give --modality"
        )
    return found
