"""A memory plan, done: a base opened within it, and its weights where the plan wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vesalius.inference.drawing.memory import CONTEXT, MemoryPlan
from vesalius.models.base import Base
from vesalius.models.computing.attention import AttentionWatch, set_attention
from vesalius.models.computing.machine import free_at_once
from vesalius.models.computing.shelf import Shelf, Stay, open_shelved, settle

STAYS: dict[str, Stay] = {"none": "resident", "model": "turn", "sequential": "layer"}


def open_within(name: str, plan: MemoryPlan) -> tuple[Base, list[Shelf]]:
    """A base that can take adapters, opened without ever holding more than the plan has room for, and its shelves.

    Where all weights fit, or where a GPU's offloading wants them in the machine's memory, they are there, and adapters
    are merged into them. Else adapters stay beside them. ValueError as `open_base`.
    """
    dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
    if plan.parts_leave and plan.device == "cpu":
        free_at_once()
    base, shelves = open_shelved(name, {"unet": dtype, "vae": dtype}, casts=plan.casts)
    if not plan.casts and (plan.offload == "none" or plan.device != "cpu"):
        for shelf in shelves:
            shelf.open()
            shelf.network.weights_on_shelf = False  # type: ignore[assignment]
    return base, shelves


def place(
    pipeline: Any, device: str, plan: MemoryPlan | None, shelves: Sequence[Shelf], attention: str = "auto"
) -> AttentionWatch | None:
    """Bring a pipeline to its device, after its adapters were applied: as a plan says, or whole without one.

    attention: kernel where no plan says it; auto leaves it as it is. Returns what will know which kernel ran, where one
    was chosen. ValueError where xformers is asked for and cannot.
    """
    if plan is not None:
        apply_memory(pipeline, plan, shelves)
    else:
        if attention != "auto":
            set_attention(pipeline.unet, attention, torch.device(device))
        pipeline.to(device)
    return None if plan is None and attention == "auto" else AttentionWatch(pipeline.unet)


def apply_memory(pipeline: Any, plan: MemoryPlan, shelves: Sequence[Shelf]) -> None:
    """Do what a plan says with a pipeline from `open_within`. ValueError where xformers is asked for and cannot."""
    device = torch.device(plan.device)
    set_attention(pipeline.unet, plan.attention, device)
    if plan.slicing:
        pipeline.vae.enable_slicing()
    if plan.tile is not None:
        pipeline.vae.enable_tiling()
        pipeline.vae.tile_latent_min_size = plan.tile
        pipeline.vae.tile_sample_min_size = plan.tile * pipeline.vae_scale_factor
    if device.type == "cpu":
        # Neither channels_last nor torch.compile: with the shape of Stable Diffusion 1.5 at 512 pixels in bfloat16 the
        # first saves 2% of a step and 12 to 16% of a decoding, which comes once (14.3 s of one core in place of 16.3),
        # but rounds otherwise: pixels of random weights in [-1, 1] move by 0.007 on average and 0.1 at most. nano's
        # step is 3% faster compiled, after 26 s of compiling, and that of the larger one was not tried.
        settle(shelves, STAYS[plan.offload])
    else:
        _to_gpu(pipeline, plan, device)


def _to_gpu(pipeline: Any, plan: MemoryPlan, device: torch.device) -> None:
    """Give a GPU what the plan has room for, by diffusers' and accelerate's own means."""
    total = torch.cuda.get_device_properties(device).total_memory
    share = max(0.01, min(1.0, (plan.budget - CONTEXT) / total))
    torch.cuda.set_per_process_memory_fraction(share, device)  # what would be beyond the budget is out of memory
    if plan.offload == "none":
        pipeline.to(device)
    elif plan.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif plan.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        offload_blocks(pipeline, device)


def offload_blocks(pipeline: Any, device: torch.device) -> None:
    """The denoiser's blocks on a device one after another; of text encoders and autoencoder the layers."""
    from accelerate import cpu_offload

    pipeline.unet.enable_group_offload(
        onload_device=device, offload_device=torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1
    )
    for part in ("text_encoder", "text_encoder_2", "vae"):
        if (network := getattr(pipeline, part, None)) is not None:
            cpu_offload(network, device, offload_buffers=len(network._parameters) > 0)
