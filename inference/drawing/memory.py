"""A budget of memory for drawing, and what of speed is given for it.

What a base's weights take is read from the headers of their files, and what drawing holds beside them is counted from
shapes (`vesalius.models.computing.count`), so that a plan costs seconds and no memory to speak of.
`vesalius.inference.drawing.offload` does what a plan says.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.data.images.image import Shape
from vesalius.models.computing.machine import free_memory, has_bf16, held_memory

if TYPE_CHECKING:
    from vesalius.inference.config import GenerateConfig
    from vesalius.inference.service.config import ServeConfig

Offload = Literal["none", "model", "group", "sequential"]
UNITS = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}
LIBRARIES, OPENING = 600_000_000, 100_000_000
"""Bytes of Python with torch for processors, diffusers, transformers and PEFT, and of what opening a base adds to that.
Measured: 0.53 to 0.58 GB, and 0.05 to 0.1."""
CONTEXT = 700_000_000
"""Bytes of a CUDA context with kernels and workspaces of its libraries. Assumed."""
MARGIN = 0.9
"""Share of the free memory that is taken where nobody says how much."""
WORKING = {"cpu": 2.75, "cpu, parts leave": 1.45, "cuda": 1.1}
"""What is held for each byte that a pass counts, beside two copies of its largest weight. On a processor oneDNN has
copies of inputs and outputs in its own order, and glibc keeps what was freed unless it is told not to, as it is where
parts leave (`free_at_once`). Measured with the shape of Stable Diffusion 1.5 at 512 pixels in bfloat16: 2.0 to 2.5, and
1.35. Of GPUs it is the allocator's loss, and assumed."""
OFFLOADS: dict[str, tuple[Offload, ...]] = {
    "cpu": ("none", "model", "sequential"), "cuda": ("none", "model", "group", "sequential"),
}  # fmt: skip
"""Where weights may go, from the fastest on. On a processor there is no second memory for blocks to wait in."""
MOST_CHUNKS = 4
"""Contexts of the longest prompt that a service takes which has a budget: some three hundred words."""
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
WORDS = {
    # Of the shape of Stable Diffusion 1.5: 13.8 s of one core a step, and 12.0 s where freed memory is kept.
    ("cpu", "model"): "each part's weights leave after its turn and are read again for every batch ({all}): about 1.2 "
    "times slower",
    # Of the same, in the system's cache: 40 s a step on a busy machine, and 42 s with all weights in memory.
    ("cpu", "sequential"): "each layer's weights are read for its own pass ({step} a step): about 1.2 times slower "
    "while the system keeps the file in its cache, else as slow as the disk",
    ("cuda", "model"): "parts move to the GPU for their turn ({all} a batch)",
    ("cuda", "group"): "the denoiser's blocks move to the GPU one after another ({step} a step): about 3 times slower "
    "(not measured)",
    ("cuda", "sequential"): "each layer moves to the GPU for its own pass ({step} a step): about 10 times slower (not "
    "measured)",
}


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How to draw within a budget.

    budget and peak: bytes of the process, or on a GPU of its memory; the peak is estimated. precision: of computing;
    weights of products are in it too. casts: the denoiser's wait in the type of their file, and each layer's are cast
    for its pass. slicing: pictures are decoded one by one, which changes nothing. tile: edge of the tiles of latents
    that are decoded one by one; None: whole pictures. costs: what all that costs, in words.
    """

    device: str
    """cpu or cuda"""
    budget: int
    peak: int
    precision: Literal["fp32", "bf16"]
    batch_size: int
    """pictures drawn at once"""
    attention: Literal["sdpa", "xformers"]
    """kernel of attention"""
    offload: Offload
    """which weights come and go: none, whole parts, or layers"""
    casts: bool
    slicing: bool
    tile: int | None
    costs: tuple[str, ...]

    @property
    def parts_leave(self) -> bool:
        """Whether networks come and go while a picture is drawn."""
        return self.offload != "none"

    def line(self) -> str:
        """The plan in one line."""
        kind = "" if self.offload == "none" else f", {self.offload} offload"
        decoding = f", decoded in tiles of {self.tile} latents" if self.tile else ""
        costs = f"; {'; '.join(self.costs)}" if self.costs else ""
        return (
            f"memory: about {told(self.peak)} of {told(self.budget)} on {self.device}: {self.precision}, "
            f"{self.batch_size} at once, {self.attention}{kind}{decoding}{costs}"
        )


def parse_memory(text: str) -> int | None:
    """Bytes of a budget as users write it: 6GB, 512MB, 6GiB; None of auto. ValueError where it is neither."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)", text.strip(), re.IGNORECASE)
    if text.strip().lower() == "auto":
        return None
    if not found or found[2].upper() not in UNITS:
        hint = f"; did you mean {found[1]}GB?" if found and found[2].upper() in ("", "G", "B") else ""
        raise ValueError(f"--memory '{text}' is no size; expected auto, or a number with MB, GB, MiB or GiB{hint}")
    size = int(float(found[1]) * UNITS[found[2].upper()])
    if not size:
        raise ValueError(f"--memory '{text}' is nothing; expected a size such as 4GB")
    return size


def told(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def find_precision(name: Literal["auto", "fp32", "bf16"], device: str) -> Literal["fp32", "bf16"]:
    """The precision of a word: auto is bf16 where a device has it."""
    return name if name != "auto" else "bf16" if has_bf16(device) else "fp32"


def check_attention(attention: str, device: str) -> None:
    """ValueError where a kernel is asked for that this machine lacks."""
    if attention == "xformers" and (device.startswith("cpu") or importlib.util.find_spec("xformers") is None):
        raise ValueError(
            "--attention xformers: needs an NVIDIA GPU and the package; install vesalius[xformers] there, or use sdpa"
        )


def free_on(device: str) -> int:
    """Bytes that this process may come to hold on a device."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else free_memory()


def plan_memory(
    base: str,
    *,
    device: str,
    budget: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    attention: Literal["auto", "sdpa", "xformers"] = "auto",
    batch_size: int = 8,
    size: Shape | None = None,
    chunks: int = 1,
    guided: bool = True,
    adapters: Sequence[Path | str] = (),
) -> MemoryPlan:
    """The fastest way to draw that stays within a budget: all weights in memory before parts that come and go, before
    layers that do; larger batches before smaller ones; tiles, which change the picture a little, last of all.

    device: cpu or cuda. budget: bytes; None: what is free, less a margin. precision: auto is bfloat16 where the device
    has it. size: height and width in pixels, of the largest picture. chunks: contexts that the longest prompt fills.
    guided: whether each step asks twice. ValueError where nothing fits, with the least that would.
    """
    kind, free = device.partition(":")[0], free_on(device)
    check_attention(attention, device)
    budget = int(MARGIN * free) if budget is None else budget
    half = find_precision(precision, device) == "bf16"
    needs = _Needs(base, kind, half=half, size=size, chunks=chunks, guided=guided, adapters=adapters)
    least = None
    for way in needs.ways(batch_size):
        peak = needs.peak(way)
        if peak <= budget:
            now = [f"but only {told(free)} is free now"] if peak > free else []
            return MemoryPlan(
                device=device, budget=budget, peak=peak, precision="bf16" if half else "fp32",
                batch_size=way.batch_size, attention="xformers" if attention == "xformers" else "sdpa",
                offload=way.offload, casts=way.casts, slicing=way.batch_size > 1,
                tile=needs.tile if way.tiled else None, costs=(*needs.costs(way, batch_size), *now),
            )  # fmt: skip
        least = peak if least is None else min(least, peak)
    assert least is not None
    amount = f"{math.ceil(least / 1e7) / 100:.2f}GB" if least >= 10**9 else f"{math.ceil(least / 1e6)}MB"
    smaller = ", a smaller --size" if size is not None else ""
    raise ValueError(
        f"--memory {told(budget)} is too little for base '{base}' on {device}: the least that it can be drawn with is "
        f"about {amount}; give that much{smaller}, or a smaller base"
    )


def plan_run(config: GenerateConfig, longest: str, num: int) -> MemoryPlan | None:
    """The plan of a run that draws `num` pictures; None where it has no budget. longest: of its prompts.

    ValueError as `parse_memory` and `plan_memory`.
    """
    if config.memory is None:
        return None
    budget = parse_memory(config.memory)
    from vesalius.data.texts.prompt import clean
    from vesalius.inference.generator import find_device, usual_sampling
    from vesalius.models.adapters.mix import parse_adapters
    from vesalius.models.text import open_tokenizer, split_chunks

    tokenizer = open_tokenizer(config.base)
    texts = {clean(text) for text in (config.negative, longest)}
    usual = usual_sampling(config.base, config.adapter, config.scheduler)
    guidance = config.guidance if config.guidance is not None else usual[1]
    return plan_memory(
        config.base, device=find_device(config.device), budget=budget, precision=config.precision,
        attention=config.attention, batch_size=min(config.batch_size, max(1, num)), size=config.size,
        chunks=max(len(split_chunks(tokenizer, text)) for text in texts), guided=guidance > 1,
        adapters=[share.adapter for share in parse_adapters(config.adapter)],
    )  # fmt: skip


def plan_service(config: ServeConfig) -> MemoryPlan | None:
    """The plan of an image service, for pictures of the base's own size and prompts of MOST_CHUNKS contexts; None where
    it has no budget. ValueError as `parse_memory` and `plan_memory`."""
    if config.memory is None:
        return None
    from vesalius.inference.generator import find_device
    from vesalius.models.adapters.mix import parse_adapters

    return plan_memory(
        config.base, device=find_device(config.device), budget=parse_memory(config.memory), precision=config.precision,
        attention=config.attention, batch_size=config.batch_size, chunks=MOST_CHUNKS,
        adapters=[share.adapter for share in parse_adapters(config.adapter)],
    )  # fmt: skip


def settled(config: GenerateConfig, plan: MemoryPlan | None) -> dict[str, Any]:
    """What of a plan settles a samples folder: the precision, tiles where there are any, and whether adapters stay
    beside weights that come and go. The rest changes pictures by no more than rounding does."""
    from vesalius.inference.generator import find_device

    precision = find_precision(config.precision, find_device(config.device)) if plan is None else plan.precision
    row: dict[str, Any] = {"precision": precision}
    if plan is not None and plan.tile is not None:
        row["tile"] = plan.tile
    if plan is not None and config.adapter and plan.device == "cpu" and (plan.parts_leave or plan.casts):
        row["adapters_stay_apart"] = True  # in the precision of drawing; else they are merged in float32
    return row


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One way to draw."""

    offload: Offload
    casts: bool
    batch_size: int
    tiled: bool


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Bytes of a part's weights as they are used, of the largest of them, in the type of their file, and of the
    largest of its blocks with what lies outside of any."""

    used: int
    largest: int
    stored: int
    block: int


class _Needs:
    """What the ways to draw with a base hold."""

    def __init__(
        self, base: str, kind: str, *, half: bool, size: Shape | None, chunks: int, guided: bool,
        adapters: Sequence[Path | str],
    ) -> None:  # fmt: skip
        from vesalius.models.adapters.adapter import adapter_folder
        from vesalius.models.base import base_folder

        folder, passes = base_folder(base), 2 if guided else 1
        counted = _count(base, half, kind != "cpu", passes, chunks)
        self.kind, self.half = kind, half
        # What was imported to get here is here already, and more of it where torch is built for GPUs.
        self.fixed = max(LIBRARIES, held_memory() + OPENING) if kind == "cpu" else CONTEXT
        # Weights of an adapter that stay beside those of the base are in float32.
        self.fixed += sum(2 * f.stat().st_size for a in adapters for f in adapter_folder(a).rglob("*.safetensors"))
        texts = [part for part in ("text_encoder", "text_encoder_2") if (folder / part).is_dir()]
        self.parts = {part: _weights(folder / part, half=False) for part in texts}
        self.parts |= {part: _weights(folder / part, half=half) for part in ("unet", "vae")}
        height, width = size or (counted.edge, counted.edge)
        area = height * width / counted.edge**2  # what is alive grows with it, and with the number of pictures
        self.each = {"text": float(counted.text), "step": counted.step * area}
        self.decode, self.picture = counted.decode * area, 3 * height * width * 4
        self.tile = max(8, math.ceil(min(height, width) * counted.latent_edge / counted.edge / 2))
        self.share = 1.2 * self.tile**2 / (area * counted.latent_edge**2)

    def ways(self, batch_size: int) -> Iterator[_Way]:
        """All ways, from the one that is to be preferred on."""
        stored = self.parts["unet"].stored < self.parts["unet"].used
        for tiled in (False, True):
            for offload in OFFLOADS[self.kind]:
                for casts in (False, True):
                    if casts and (self.kind != "cpu" or offload == "sequential" or not stored):
                        continue
                    num = batch_size
                    while num:
                        yield _Way(offload=offload, casts=casts, batch_size=num, tiled=tiled)
                        num //= 2

    def peak(self, way: _Way) -> int:
        """Bytes that a way holds at most."""
        leaves = self.kind == "cpu" and way.offload != "none"
        parts, working, num = self.parts, WORKING["cpu, parts leave" if leaves else self.kind], way.batch_size
        unet = parts["unet"]
        texts = [weights for part, weights in parts.items() if part.startswith("text")]
        held = {"text": sum(t.used for t in texts), "step": unet.used, "decode": parts["vae"].used}
        largest = {"text": max(t.largest for t in texts), "step": unet.largest, "decode": parts["vae"].largest}
        if way.casts:
            held["step"] = unet.stored
        if way.offload == "group":
            held = {**dict.fromkeys(held, 0), "step": unet.block}
        if way.offload == "sequential":
            held = dict.fromkeys(held, 0)
        whole = sum(held.values())
        decode = self.decode * (self.share if way.tiled else 1) * working + 3 * num * self.picture
        passes = {
            "text": self.each["text"] * num * working,
            "step": self.each["step"] * num * working,
            "decode": decode,
        }
        stages = (
            passes[name] + 2 * largest[name] + (whole if way.offload == "none" else held[name]) for name in passes
        )
        return int(self.fixed + max(stages))

    def costs(self, way: _Way, wanted: int) -> Iterator[str]:
        """What a way costs, in words."""
        unet = self.parts["unet"]
        if way.batch_size < wanted:
            yield f"{wanted} at once would not fit"
        if words := WORDS.get((self.kind, way.offload)):
            everything = sum(p.used for p in self.parts.values())
            yield words.format(all=told(everything), step=told(unet.used))
        if way.casts:
            yield "the denoiser's weights stay in the type of their file, and each layer's are cast for its pass"
        if way.tiled:
            yield "tiles change the picture a little where they meet, and its brightness from tile to tile"
        if not self.half and self.kind == "cpu":
            yield "in float32"


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """Bytes that passes of one picture hold beside weights, and edges of the picture that a base was made for."""

    text: int
    step: int
    decode: int
    edge: int
    latent_edge: int


@lru_cache(maxsize=8)
def _count(base: str, half: bool, gpu: bool, passes: int, chunks: int) -> _Counted:
    from vesalius.models.computing.count import count_decode, count_text, count_validation, open_shape

    shape = open_shape(base)
    return _Counted(
        text=count_text(shape, 1, half=half, gpu=gpu).peak * chunks * passes,
        step=count_validation(shape, shape.denoiser, passes, chunks, half=half, gpu=gpu).peak,
        decode=count_decode(shape, 1, half=half, gpu=gpu).peak, edge=shape.image_size, latent_edge=shape.latent_size,
    )  # fmt: skip


def _weights(folder: Path, *, half: bool) -> _Weights:
    """Those of a part of a base, from the headers of its files."""
    from vesalius.models.computing.shelf import stored_tensors

    width = 2 if half else 4
    blocks: dict[str, int] = {}
    used = largest = stored = 0
    for name, (_, kind, shape) in stored_tensors(folder).items():
        num = math.prod(shape)
        used, largest = used + width * num, max(largest, width * num)
        stored += WIDTHS.get(kind, 4) * num
        block = re.match(r"(?:down|up)_blocks\.\d+", name)
        blocks[block[0] if block else ""] = blocks.get(block[0] if block else "", 0) + width * num
    outside = blocks.pop("", 0)
    return _Weights(used=used, largest=largest, stored=stored, block=outside + max(blocks.values(), default=0))


def plan_row(plan: MemoryPlan) -> dict[str, Any]:
    """A plan for machines."""
    return {**vars(plan), "parts_leave": plan.parts_leave, "costs": list(plan.costs)}
