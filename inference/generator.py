"""Prompts to pictures: the generator, which knows nothing of files."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vesalius.data.image import Picture, Shape, Uint8, from_tensor_range
from vesalius.data.modality import MODALITIES, Modality, find_modality, modality_in
from vesalius.data.prompt import clean
from vesalius.data.record import Finding
from vesalius.inference.config import GUIDANCE
from vesalius.inference.halving import Halving
from vesalius.inference.sample import Sample, sample_seed

if TYPE_CHECKING:
    import torch

    from vesalius.inference.memory import MemoryPlan
    from vesalius.models.attention import AttentionWatch
    from vesalius.models.base import Base


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture to draw. modality None means that the prompt says it. findings: what it should show, where known.

    size: height and width in pixels; None: the square that the base was made for. group: as `Sample` has it.
    """

    prompt: str
    seed: int
    modality: str | None = None
    file_name: str = ""
    findings: tuple[Finding, ...] = ()
    size: Shape | None = None
    group: str = ""


class Generator:
    """Draws pictures from prompts with one base and at most one adapter.

    steps and guidance: what the adapter was made for, or the usual values; the default of every drawing. halving: how
    many pictures are drawn at once after memory ran out. attention: knows the kernel that ran, where one was chosen.

    >>> from vesalius.inference import Generator
    >>> images = Generator("nano").draw("Chest CT with a 20 mm nodule in the left lung", num=2, seed=1)
    """

    base: Base
    attention: AttentionWatch | None

    def __init__(
        self,
        base: str = "nano",
        adapter: str | Path | None = None,
        *,
        device: str = "auto",
        precision: Literal["fp32", "bf16"] = "fp32",
        memory: MemoryPlan | None = None,
        attention: Literal["auto", "sdpa", "xformers"] = "auto",
    ) -> None:
        """memory: how to draw within a budget; it says device, precision and attention too.

        ValueError where base or adapter is missing, unsafe, or they do not fit each other.
        """
        from vesalius.inference.offload import open_within, place
        from vesalius.models.adapter import apply_adapter, read_card
        from vesalius.models.adapter_fuse import fused_depth
        from vesalius.models.base import open_base

        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision '{precision}' is not known; expected fp32 or bf16")
        self.device, self.precision = find_device(device), precision
        if memory is not None:
            self.device, self.precision = memory.device, memory.precision
        self.base, shelves = (open_base(base), []) if memory is None else open_within(base, memory)
        self.adapter_digest = apply_adapter(self.base, adapter) if adapter else None
        card = read_card(adapter) if adapter else None
        self.depth = 1 + max(card.depth if card else 0, fused_depth(base))
        self.steps, self.guidance = usual_sampling(base, adapter)
        self.halving = Halving()
        self.attention = place(self.base.pipeline, self.device, memory, shelves, attention)

    @classmethod
    def around(cls, base: Base, *, device: str, precision: Literal["fp32", "bf16"], steps: int) -> Generator:
        """A generator around a base that is open and on its device already, such as one that is being trained."""
        generator = cls.__new__(cls)
        generator.base, generator.device, generator.precision = base, device, precision
        generator.adapter_digest, generator.depth = None, 1
        generator.steps, generator.guidance = steps, GUIDANCE
        generator.halving, generator.attention = Halving(), None
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
    ) -> list[Uint8]:
        """`num` pictures of one prompt, HWC uint8 with 1 channel (CT, MRI, X-ray ...) or 3 (pathology ...).

        size: height and width in pixels. ValueError where the base cannot draw it, or the prompt names no modality.
        """
        requests = [
            Request(prompt=prompt, seed=sample_seed(seed, prompt, i), modality=modality, size=size) for i in range(num)
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
    ) -> Iterator[tuple[Request, Picture]]:
        """Draw each request. A picture depends on its own request alone, never on its batch, save for the rounding of
        sums, which may move a pixel by one grey level.

        kept: file names of requests whose pictures exist. The others are drawn in the very batches of a run without
        any, so that a run that was stopped ends with the same bytes.

        Batches hold pictures of one size, and prompts of one length in chunks, since what a prompt is padded with would
        change its picture.
        A guidance of 1 or less is none: the negative prompt has no say then, and each step costs half.
        """
        steps = self.steps if steps is None else steps
        guidance = self.guidance if guidance is None else guidance
        negative = negative if guidance > 1 else ""
        for batch in self._batches(requests, batch_size, negative):
            if all(request.file_name in kept for request in batch):
                continue
            draw = partial(self._draw_batch, steps=steps, guidance=guidance, negative=negative)
            for request, pixels in self.halving.draw(batch, draw):
                if request.file_name in kept:
                    continue
                yield request, from_tensor_range(pixels, request_modality(request), request.prompt)

    def check_size(self, size: Shape | None) -> Shape:
        """Height and width that a request is drawn at. ValueError where the base cannot: an edge that is no multiple of
        its unit, or further than a factor of two from what it was made for."""
        usual, unit = self.base.image_size, self.base.size_unit
        if size is None:
            return usual, usual
        bad = [edge for edge in size if edge % unit or not usual <= 2 * edge <= 4 * usual]
        if bad:
            least = -(-usual // 2 // unit) * unit
            raise ValueError(
                f"size {size[0]} x {size[1]}: base '{self.base.name}' draws edges of {least} to {2 * usual} pixels in "
                f"steps of {unit}; {bad[0]} is none of them"
            )
        return size

    def sample_of(
        self, request: Request, *, steps: int, guidance: float, negative: str = "", base: str | None = None
    ) -> Sample:
        """What is written beside the picture of a request. base: how it is called there; none: its name without the
        folders of this machine."""
        from vesalius.models.adapter_export import public_name

        height, width = self.check_size(request.size)
        modality = request_modality(request).name
        name = request.file_name or f"synthetic-{modality.lower().replace(' ', '-')}-{request.seed}.png"
        return Sample(
            file_name=name, text=request.prompt, modality=modality, seed=request.seed, findings=request.findings,
            steps=steps, guidance=guidance, negative=negative, height=height, width=width,
            scheduler=type(self.base.pipeline.scheduler).__name__, precision=self.precision,
            base=public_name(self.base.name) if base is None else base, base_digest=self.base.digest,
            adapter_digest=self.adapter_digest, depth=self.depth, group=request.group,
        )  # fmt: skip

    def num_chunks(self, text: str) -> int:
        """How many contexts of the text encoder a prompt fills."""
        from vesalius.models.text import split_chunks

        return len(split_chunks(self.base.pipeline.tokenizer, clean(text)))

    def _batches(self, requests: Iterable[Request], batch_size: int, negative: str) -> Iterator[list[Request]]:
        waiting: dict[tuple[int, Shape], list[Request]] = {}
        for request in requests:
            chunks = max(self.num_chunks(request.prompt), self.num_chunks(negative))
            key = (chunks, self.check_size(request.size))
            waiting.setdefault(key, []).append(request)
            if len(waiting[key]) == batch_size:
                yield waiting.pop(key)
        yield from (batch for batch in waiting.values() if batch)

    def _draw_batch(self, batch: list[Request], steps: int, guidance: float, negative: str) -> np.ndarray[Any, Any]:
        """Requests of one chunk count and size -> pixels N3HW float32 in [-1, 1]."""
        import torch

        from vesalius.models.text import embed

        pipeline = self.base.pipeline
        chunks = max(self.num_chunks(batch[0].prompt), self.num_chunks(negative))
        generators = [torch.Generator().manual_seed(r.seed) for r in batch]
        height, width = self.check_size(batch[0].size)

        kind, half = torch.device(self.device).type, self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=half):
            asked = {"prompt": [r.prompt for r in batch]}
            if guidance > 1:
                asked["negative_prompt"] = [negative] * len(batch)
            told: dict[str, torch.Tensor] = {}
            for name, texts in asked.items():
                told[f"{name}_embeds"], pooled = embed(pipeline, [clean(t) for t in texts], chunks)
                if pooled is not None:
                    told[f"{'negative_' * ('negative' in name)}pooled_prompt_embeds"] = pooled
            pixels: torch.Tensor = pipeline(
                **told,
                height=height,
                width=width,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=generators,
                output_type="pt",
            ).images
        if not torch.isfinite(pixels).all():
            raise ValueError(
                f"prompt '{batch[0].prompt[:60]}': the base draws values that are not numbers; lower --guidance, or "
                "look whether base and adapter are whole"
            )
        return (pixels.float().cpu().numpy() * 2 - 1).astype(np.float32)


def usual_sampling(base: str, adapter: str | Path | None) -> tuple[int, float]:
    """Steps and guidance scale that an adapter was made for, or that suit the base. ValueError where one is missing."""
    from vesalius.models.adapter import read_card
    from vesalius.models.adapter_fuse import read_fused
    from vesalius.models.base import usual_steps

    for card in (read_card(adapter) if adapter else None, read_fused(base)):
        if card is not None and card.sampling is not None:
            return card.sampling.steps, card.sampling.guidance
    return usual_steps(base), GUIDANCE


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
