"""What the pictures of a run start from: noise, one picture for all of them, or for each prompt one of its own."""

from __future__ import annotations

from collections.abc import Callable

from vesalius.data.images.image import Shape
from vesalius.data.record import digest_file
from vesalius.inference.config import GenerateConfig
from vesalius.inference.prompts.read import Prompt
from vesalius.inference.prompts.source import check_source
from vesalius.inference.request import Request, Source, request_modality
from vesalius.models.base import drawn_sizes

STRENGTH, MASKED = 0.6, 1.0
"""How far a picture goes back into noise where nothing is said, and where a mask keeps all else."""


def check_starts(config: GenerateConfig) -> None:
    """ValueError where what belongs to a picture is given without one, or without rows that might bring one."""
    if config.start != "noise" and config.prompts is None:
        raise ValueError(f"--start {config.start} needs --prompts DATASET, whose records have pictures")
    if config.image is None and config.prompts is None:
        for name in ("mask", "strength"):
            if getattr(config, name) is not None:
                raise ValueError(f"--{name} needs --image, the picture to start from")


def source_of(config: GenerateConfig, prompt: Prompt | None = None) -> Source | None:
    """The picture that a prompt's pictures start from: what its row brings, and the run's for the rest; None for noise.

    ValueError where there is a mask and no picture, or where the strength is none.
    """
    own = prompt.start if prompt else None
    image, mask, strength = (
        told if own is not None and (told := getattr(own, name)) is not None else getattr(config, name)
        for name in ("image", "mask", "strength")
    )
    if image is None:
        if own is not None or mask is not None:
            name = "mask" if mask is not None else "strength"
            where = f"{own.where}: {name}" if own else f"{config.prompts}: --{name}"
            raise ValueError(f"{where} needs a picture to start from; fill in `image`, or give --image")
        return None
    if strength is None:
        strength = STRENGTH if mask is None else MASKED
    if own is None:
        return Source(image=image, strength=strength, mask=mask)
    return Source(image=image, strength=strength, mask=mask, above=own.above, where=own.where)


def start_digests(config: GenerateConfig) -> dict[str, str]:
    """sha256 of the picture that a run starts from and of its mask, by name; those of rows are with their samples.

    ValueError where one is not there.
    """
    files = {"image": config.image, "mask": config.mask}
    try:
        return {f"{name}_sha256": digest_file(path) for name, path in files.items() if path is not None}
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: no such image file; correct the path") from None
    except IsADirectoryError as error:
        raise ValueError(f"{error.filename}: is a folder; name an image in it") from None


class StartCheck:
    """Looks at what requests start from, one after another. num: that start from a picture. transparent: of these, what
    is transparent in places, and the first such."""

    def __init__(self, config: GenerateConfig, steps: Callable[[], int]) -> None:
        """steps: of the run; asked for where there is a picture."""
        self.num = self.num_transparent = 0
        self._config, self._steps = config, steps
        self._first = ""
        self._last: Source | None = None
        self._shape: Shape | None = config.size

    def look(self, request: Request) -> None:
        """ValueError where its picture, mask or strength cannot be used."""
        source = request.source
        if source is None:
            return
        self.num += 1
        if self._shape is None:
            self._shape = (drawn_sizes(self._config.base)[0],) * 2
        clear = check_source(source, self._steps(), request_modality(request).name, self._shape)
        if clear and source != self._last:
            self.num_transparent += 1
            self._first = self._first or f"{source.where}: {source.image}".removeprefix(": ")
        self._last = source

    def end(self) -> None:
        """ValueError where a strength was given and no picture."""
        if not self.num and self._config.strength is not None:
            raise ValueError("--strength needs pictures to start from: --image, or a column `image` of --prompts")

    def note(self) -> str | None:
        """What is to be told of transparent pictures."""
        if not self.num_transparent:
            return None
        more = f", and {self.num_transparent - 1} more" if self.num_transparent > 1 else ""
        return f"{self._first}{more}: transparent in places, which are taken for black"
