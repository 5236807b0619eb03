"""Prompts to pictures: the generator, which knows nothing of files."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from vesalius.data.images.image import Float32, Picture, Shape, Uint8, from_tensor_range
from vesalius.data.texts.prompt import clean
from vesalius.inference.config import GUIDANCE
from vesalius.inference.drawing.halving import Halving
from vesalius.inference.drawing.text_cache import TextCache
from vesalius.inference.prompts.source import source_facts
from vesalius.inference.request import Request, Sampling, Source, request_modality
from vesalius.inference.sample import Sample, sample_seed
from vesalius.models.adapters.mix import Words, apply_adapters, parse_adapters, read_cards, sampling_of_adapters

if TYPE_CHECKING:
    from vesalius.inference.drawing.lanes import DrawPart
    from vesalius.inference.drawing.memory import MemoryPlan
    from vesalius.inference.drawing.watching import Watch
    from vesalius.models.base import Base
    from vesalius.models.computing.attention import AttentionWatch


MOST_LANES = 64
LARGE = 100_000_000
"""Parameters of a denoiser whose copies in half precision count."""


class BatchKey(NamedTuple):
    """What requests have in common that are drawn in one batch.

    Prompts of one length in chunks, since what a prompt is padded with would change its picture; pictures of one size,
    from noise alone or from pictures that go equally far back into it.
    """

    num_chunks: int
    shape: Shape
    strength: float | None
    is_masked: bool


class Generator:
    """Draws pictures from prompts with one base and its adapters.

    steps and guidance: what the adapters were made for, or the usual values; the default of every drawing. reuse: every
    how many steps the deep levels of the denoiser run (`vesalius.inference.drawing.reuse`); may be set anew. halving:
    how many pictures are drawn at once after memory ran out. attention: knows the kernel that ran, where one was
    chosen.

    >>> from vesalius.inference import Generator
    >>> images = Generator("nano").draw("Chest CT with a 20 mm nodule in the left lung", num=2, seed=1)
    """

    base: Base
    attention: AttentionWatch | None

    def __init__(
        self,
        base: str = "nano",
        adapter: Words = None,
        *,
        scheduler: str | None = None,
        device: str = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "fp32",
        reuse: int = 1,
        memory: MemoryPlan | None = None,
        attention: Literal["auto", "sdpa", "xformers"] = "auto",
    ) -> None:
        """adapter: one or several, "PATH" or "PATH:WEIGHT"; their changes are added up. scheduler: a name of
        `vesalius.inference.drawing.schedulers`, in place of the adapter's or the base's. precision: auto is bf16 where
        the device has it. memory: how to draw within a budget; it says device, precision and attention too.

        ValueError where base or adapter is missing, unsafe, or they do not fit each other.
        """
        from vesalius.inference.drawing.memory import find_precision
        from vesalius.inference.drawing.offload import open_within, place
        from vesalius.inference.drawing.schedulers import find_scheduler, make_scheduler
        from vesalius.models.adapters.fuse import fused_depth
        from vesalius.models.base import open_base

        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision '{precision}' is not known; expected auto, fp32 or bf16")
        if scheduler:
            find_scheduler(scheduler)
        if reuse < 1:
            raise ValueError(f"reuse {reuse}: expected at least 1, with which nothing is reused")
        self.device, self.reuse = find_device(device), reuse
        self.precision = find_precision(precision, self.device)
        if memory is not None:
            self.device, self.precision = memory.device, memory.precision
        self._texts = TextCache()
        shares = parse_adapters(adapter)
        self.base, shelves = (open_base(base), []) if memory is None else open_within(base, memory)
        self.adapter_digest = apply_adapters(self.base, shares)
        self._scheduler = scheduler and scheduler.lower()
        if scheduler:
            self.base.pipeline.scheduler = make_scheduler(scheduler, self.base.pipeline.scheduler.config)
        self.depth = 1 + max([fused_depth(base), *(card.depth for card in read_cards(shares))])
        self.steps, self.guidance = usual_sampling(base, adapter, scheduler)
        self.halving, self._drawing = Halving(), threading.Lock()
        self.attention = place(self.base.pipeline, self.device, memory, shelves, attention)
        self._lanes = self._most_lanes(memory)

    @classmethod
    def around(cls, base: Base, *, device: str, precision: Literal["fp32", "bf16"], steps: int) -> Generator:
        """A generator around a base that is open and on its device already, such as one that is being trained."""
        generator = cls.__new__(cls)
        generator.base, generator.device, generator.precision = base, device, precision
        generator.adapter_digest, generator.depth, generator.reuse = None, 1, 1
        generator._texts = TextCache(0)  # its text encoder may be trained too
        generator.halving, generator.attention = Halving(), None
        generator._scheduler, generator._drawing = None, threading.Lock()
        generator._lanes = generator._most_lanes(None)
        generator.steps, generator.guidance = steps, GUIDANCE
        return generator

    def draw(
        self,
        prompt: str,
        *,
        num: int = 1,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        modality: str | None = None,
        size: Shape | None = None,
        source: Source | None = None,
    ) -> list[Uint8]:
        """`num` pictures of one prompt, HWC uint8 with 1 channel (CT, MRI, X-ray ...) or 3 (pathology ...).

        size: height and width in pixels. source: a picture to start from. ValueError where the base cannot draw it, or
        the prompt names no modality.
        """
        requests = [
            Request(prompt=prompt, seed=sample_seed(seed, prompt, i), modality=modality, size=size, source=source)
            for i in range(num)
        ]
        return [picture.image for _, picture in self.draw_all(requests, steps=steps, guidance=guidance)]

    def draw_all(
        self,
        requests: Iterable[Request],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        batch_size: int = 8,
        kept: Container[str] = (),
        watch: Watch | None = None,
    ) -> Iterator[tuple[Request, Picture]]:
        """Draw each request. A picture depends on its own request alone, never on its batch, save for the rounding of
        sums, which may move a pixel by one grey level.

        kept: file names of requests whose pictures exist. The others are drawn in the very batches of a run without
        any, so that a run that was stopped ends with the same bytes. watch: is told of each denoising step, and may end
        the drawing by raising (`vesalius.inference.drawing.watching`).

        A guidance of 1 or less is none: the negative prompt has no say then, and each step costs half.
        """
        from vesalius.inference.drawing.batch import draw_batch

        sampling = Sampling(
            steps=self.steps if steps is None else steps, guidance=self.guidance if guidance is None else guidance,
            negative=negative,
        )  # fmt: skip
        for key, batch in self._batches(requests, batch_size, sampling):
            if all(request.file_name in kept for request in batch):
                continue
            draw = partial(
                draw_batch, shape=key.shape, num_chunks=key.num_chunks, sampling=sampling, device=self.device,
                half=self.precision == "bf16", texts=self._texts, watch=watch,
            )  # fmt: skip
            for request, pixels in self.halving.draw(batch, partial(self._in_turn, draw)):
                if request.file_name not in kept:
                    yield request, from_tensor_range(pixels, request_modality(request), request.prompt)

    def _in_turn(self, draw: DrawPart, batch: list[Request]) -> Float32:
        """Draw a batch. What changes the denoiser for as long would meet itself, so of several threads with one
        generator one draws at a time."""
        from vesalius.inference.drawing.constant_text import constant_text
        from vesalius.inference.drawing.lanes import draw_side_by_side
        from vesalius.inference.drawing.reuse import reuse_features

        pipeline = self.base.pipeline
        with self._drawing, constant_text(pipeline.unet), reuse_features(pipeline.unet, self.reuse):
            return draw_side_by_side(pipeline, batch, draw, most=self._lanes)

    def _most_lanes(self, memory: MemoryPlan | None) -> int:
        """Parts of a batch that are drawn side by side at most, on a processor. Weights that come and go do so for one;
        and each lane has copies in half precision of weights that are not."""
        if self.device != "cpu":
            return 1
        if memory is not None:
            return 1 if memory.parts_leave or memory.casts else MOST_LANES
        num = sum(p.numel() for p in self.base.pipeline.unet.parameters())
        return 1 if self.precision == "bf16" and num > LARGE else MOST_LANES

    def check_size(self, size: Shape | None) -> Shape:
        """Height and width that a request is drawn at. ValueError where the base cannot: an edge that is no multiple of
        its unit, or further than a factor of two from what it was made for."""
        return check_size(self.base.name, size, self.base.image_size, self.base.size_unit)

    def sample_of(self, request: Request, *, steps: int, guidance: float, negative: str = "") -> Sample:
        """What is written beside the picture of a request. The base is named without the folders of this machine."""
        from vesalius.models.adapters.export import public_name

        height, width = self.check_size(request.size)
        modality = request_modality(request).name
        name = request.file_name or f"synthetic-{modality.lower().replace(' ', '-')}-{request.seed}.png"
        return Sample(
            file_name=name, text=request.prompt, modality=modality, seed=request.seed, findings=request.findings,
            steps=steps, guidance=guidance, negative=negative, height=height, width=width,
            scheduler=self._scheduler or type(self.base.pipeline.scheduler).__name__, precision=self.precision,
            base=public_name(self.base.name), base_digest=self.base.digest,
            adapter_digest=self.adapter_digest, group=request.group, reuse=self.reuse,
            **(source_facts(request.source, self.depth) if request.source else {"depth": self.depth}),
        )  # fmt: skip

    def num_chunks(self, text: str) -> int:
        """How many contexts of the text encoder a prompt fills."""
        from vesalius.models.text import split_chunks

        return len(split_chunks(self.base.pipeline.tokenizer, clean(text)))

    def batch_key(self, request: Request, sampling: Sampling) -> BatchKey:
        """What must be the same for requests to be drawn together. ValueError where the base cannot draw the size."""
        negative = sampling.negative if sampling.is_guided else ""
        source = request.source
        return BatchKey(
            num_chunks=max(self.num_chunks(request.prompt), self.num_chunks(negative)),
            shape=self.check_size(request.size), strength=source.strength if source else None,
            is_masked=source is not None and source.mask is not None,
        )  # fmt: skip

    def _batches(
        self, requests: Iterable[Request], batch_size: int, sampling: Sampling
    ) -> Iterator[tuple[BatchKey, list[Request]]]:
        waiting: dict[BatchKey, list[Request]] = {}
        for request in requests:
            key = self.batch_key(request, sampling)
            waiting.setdefault(key, []).append(request)
            if len(waiting[key]) == batch_size:
                yield key, waiting.pop(key)
        yield from waiting.items()


def check_size(base: str, size: Shape | None, usual: int, unit: int) -> Shape:
    """Height and width of pictures of a base that draws `usual` pixels along an edge, in multiples of `unit`.

    ValueError where it cannot draw the size.
    """
    if size is None:
        return usual, usual
    bad = [edge for edge in size if edge % unit or not usual <= 2 * edge <= 4 * usual]
    if bad:
        least = -(-usual // 2 // unit) * unit
        raise ValueError(
            f"size {size[0]} x {size[1]}: base '{base}' draws edges of {least} to {2 * usual} pixels in steps of "
            f"{unit}; {bad[0]} is none of them"
        )
    return size


def usual_sampling(base: str, adapter: Words = None, scheduler: str | None = None) -> tuple[int, float]:
    """Steps and guidance scale that adapters were made for, or that suit the base, or its scheduler of that name.

    ValueError where one is missing, or two adapters say differently.
    """
    from vesalius.inference.drawing.schedulers import find_scheduler
    from vesalius.models.adapters.fuse import read_fused
    from vesalius.models.base import usual_steps

    fused = read_fused(base)
    told = sampling_of_adapters(parse_adapters(adapter)) or (fused.sampling if fused else None)
    if told is not None:
        return told.steps, told.guidance
    return usual_steps(base, find_scheduler(scheduler)[0] if scheduler else None), GUIDANCE


def find_device(name: str) -> str:
    """The device of a word: auto is a GPU where there is one. ValueError where this machine lacks it."""
    import torch

    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ValueError(f"--device '{name}' is not known; expected auto, cpu or cuda")
    if kind == "cuda" and (not there or int(number or 0) >= torch.cuda.device_count()):
        raise ValueError(f"--device {name}: this machine has no such GPU that PyTorch can use; give auto or cpu")
    return name
