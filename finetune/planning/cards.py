"""What is known of the cards that a run may be planned for, and how long counted work takes on one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vesalius.models.computing.work import Work

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU.

    bf16, tf32 and fp32: peak TFLOP/s of dense products, accumulated in float32. bandwidth: GB/s of its memory. memory:
    bytes that the driver offers. known_as: a pattern of the name that the driver tells.
    """

    name: str
    bf16: float
    tf32: float
    fp32: float
    bandwidth: float
    memory: int
    known_as: str


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """Shares of the peaks that eager PyTorch reaches, and its own time to start one operation, in seconds."""

    convolution: float
    matmul: float
    attention: float
    bandwidth: float
    launch: float


# From the cheapest to rent to the dearest. Peaks are of the vendor's data sheets, without sparsity; memory is what
# `nvidia-smi` tells of the card.
CARDS = {
    # NVIDIA L4 data sheet, 2023: 242 bf16 and 120 TF32 with sparsity, so half of each; 30.3 fp32; 300 GB/s
    "l4": Card(name="L4 24 GB", bf16=121, tf32=60, fp32=30.3, bandwidth=300, memory=23034 * MIB, known_as=r"\bL4\b"),
    # NVIDIA A10G data sheet (the card of AWS g5): 70 bf16, 35 TF32, 35 fp32; 600 GB/s. Not the A10, which has 125 bf16
    "a10g": Card(name="A10G 24 GB", bf16=70, tf32=35, fp32=35, bandwidth=600, memory=22731 * MIB, known_as=r"\bA10G\b"),
    # NVIDIA Ada GPU architecture white paper 2.1, appendix A: 165.2 bf16 with fp32 accumulation; 82.6 TF32 and fp32
    "4090": Card(
        name="RTX 4090 24 GB", bf16=165.2, tf32=82.6, fp32=82.6, bandwidth=1008, memory=24564 * MIB,
        known_as=r"\bRTX 4090\b(?! Laptop)",
    ),
    # NVIDIA A100 data sheet, 80 GB SXM: 312 bf16, 156 TF32, 19.5 fp32; 2039 GB/s
    "a100": Card(
        name="A100 80 GB", bf16=312, tf32=156, fp32=19.5, bandwidth=2039, memory=81920 * MIB, known_as=r"\bA100\b.*80GB"
    ),
    # NVIDIA H100 data sheet, SXM: 1979 bf16 and 989 TF32 with sparsity, so half of each; 67 fp32; 3350 GB/s
    "h100": Card(
        name="H100 80 GB", bf16=989, tf32=494, fp32=67, bandwidth=3350, memory=81559 * MIB, known_as=r"\bH100 80GB\b"
    ),
    # NVIDIA H200 data sheet, SXM: products as the H100's; 4800 GB/s
    "h200": Card(
        name="H200 141 GB", bf16=989, tf32=494, fp32=67, bandwidth=4800, memory=143771 * MIB, known_as=r"\bH200\b"
    ),
}  # fmt: skip

ASSUMED = Efficiency(convolution=0.3, matmul=0.4, attention=0.3, bandwidth=0.6, launch=12e-6)
"""Assumed of every card, measured on none: shares that eager diffusers training usually reaches at batches that fill
a card. `vesalius plan` on the card itself measures instead."""


def is_card(name: str, told: str) -> bool:
    """Whether the driver's name for a GPU is that of a card."""
    return re.search(CARDS[name].known_as, told) is not None


def seconds_on(card: Card, work: Work, *, half: bool, assumed: Efficiency = ASSUMED) -> float:
    """Seconds of some work on a card: products at their share of the peak and the rest at the memory's, or as long as
    it takes to start the operations, whichever is longer.

    half: under bfloat16. Else PyTorch lets cuDNN take TF32 for convolutions, and keeps products of matrices in float32.
    """
    convolution, product = (card.bf16, card.bf16) if half else (card.tf32, card.fp32)
    busy = (
        work.convolution / (convolution * 1e12 * assumed.convolution)
        + work.matmul / (product * 1e12 * assumed.matmul)
        + work.attention / (product * 1e12 * assumed.attention)
        + work.moved / (card.bandwidth * 1e9 * assumed.bandwidth)
    )
    return max(busy, work.operations * assumed.launch)
