"""Where the training of an autoencoder begins: at the best linear one, principal components of patches.

Random weights take long to learn what linear algebra knows. Here the encoder begins as an exact Haar transform of
patches and its projection on their principal components, the decoder as the transposed maps; every residual branch
begins at zero (Zhang et al. 2019, arXiv 1901.09321). Two things stand between a convolutional autoencoder and a linear
map, and are turned off exactly: SiLU, since silu(x) - silu(-x) = x for a channel and its negative; and the last group
norms, by two constant channels of opposite sign in each group that set its scale.

An upsampling that repeats pixels cannot place detail inside a cell from that cell alone, so the decoder's first maps
are approximate: a detail v of cell k is put as v_k - v_(k-1) and -(v_k - v_(k+1)) on its two sides. Training mends
that.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn import functional, init

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

CONSTANT = 30.0
"""Value of the constant channels: large beside a picture's, so that they alone set a group's scale."""
SLOPE = 0.5
"""Share of a detail that the first upsampling puts into its cell; the neighbours' leak is what it costs."""
QUIET = -8.0
"""Log variance of the first posterior."""

# Haar: the sum and the three differences of a 2 x 2 cell, orthonormal; rows LL, HL, LH, HH over places (y, x).
_HAAR = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0


@torch.no_grad()
def start_linear(model: AutoencoderKL, pixels: torch.Tensor) -> None:
    """Set the weights of a fresh autoencoder from sample images, NCHW float32 in [-1, 1].

    ValueError where its channels do not hold the transform: growing from level to level, 3 * 4 ** level at each, a
    channel and its negative for each latent and each colour, and two constants in each group.
    """
    parts: Any = model
    channels, latent = model.config.block_out_channels, model.config.latent_channels
    depth, groups = len(channels) - 1, model.config.norm_num_groups
    narrow = any(c < 3 * 4**i for i, c in enumerate(channels)) or channels[0] < 4 * groups or groups < 3
    if narrow or any(a >= b for a, b in pairwise(channels)):
        raise ValueError(
            f"autoencoder of {channels} channels in {groups} groups is too narrow to start linear; widen it"
        )
    coefficients = haar(pixels, depth).permute(0, 2, 3, 1).flatten(0, 2)
    mean = coefficients.mean(0)
    _, axes = torch.linalg.eigh((coefficients - mean).T.double() @ (coefficients - mean).double())
    axes = axes.flip(1)[:, :latent].float()  # [3 * 4 ** depth, latent]
    scale = float(((coefficients - mean) @ axes).std())

    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            init.zeros_(module.conv2.weight)
            init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _pass_through(module.conv_shortcut)

    # Encoder: colours, Haar by levels, then each component and its negative beside the constants
    _pass_through(parts.encoder.conv_in)
    for level, block in enumerate(parts.encoder.down_blocks[:-1]):
        down = block.downsamplers[0].conv
        _clear(down)
        for band in range(4):
            for place in range(4):
                for c in range(3 * 4**level):
                    down.weight[band * 3 * 4**level + c, c, place // 2, place % 2] = _HAAR[band, place]
    widest = channels[-1]
    places, constants = _places(widest, groups)
    last = parts.encoder.down_blocks[-1].resnets[0].conv_shortcut
    _clear(last)
    for i, pair in enumerate(places[: min(len(places), len(axes))]):
        row = axes[:, i] if i < latent else functional.one_hot(torch.tensor(i), len(axes)).float()
        for sign, at in zip((1, -1), pair, strict=True):
            last.weight[at, : len(axes), 0, 0] = sign * row
            last.bias[at] = -sign * float(mean @ row)
    for sign, at in constants:
        last.bias[at] = sign * CONSTANT
    norm = CONSTANT * (2 * groups / widest) ** 0.5  # the deviation that the constants give a group
    _read_pairs(parts.encoder.conv_out, places[:latent], norm / scale)
    quant, post = parts.quant_conv, parts.post_quant_conv
    _pass_through(quant)
    quant.weight[latent:] = 0
    quant.bias[latent:] = QUIET
    _pass_through(post)

    # Decoder: back from components to coefficients, up by levels, then each colour and its negative
    _clear(parts.decoder.conv_in)
    parts.decoder.conv_in.weight[: len(axes), :, 1, 1] = axes * scale
    parts.decoder.conv_in.bias[: len(axes)] = mean
    for level, block in zip(reversed(range(depth)), parts.decoder.up_blocks, strict=False):
        up = block.upsamplers[0].conv
        _clear(up)
        for band in range(4):
            for c in range(3 * 4**level):
                up.weight[c, band * 3 * 4**level + c] = _tap(band)
    colours = _places(channels[0], groups)
    first = parts.decoder.up_blocks[-1].resnets[0].conv_shortcut
    _clear(first)
    for colour, pair in enumerate(colours[0][:3]):
        for sign, at in zip((1, -1), pair, strict=True):
            first.weight[at, colour, 0, 0] = sign
    for sign, at in colours[1]:
        first.bias[at] = sign * CONSTANT
    _read_pairs(parts.decoder.conv_out, colours[0][:3], CONSTANT * (2 * groups / channels[0]) ** 0.5)


def haar(pixels: torch.Tensor, depth: int) -> torch.Tensor:
    """Haar coefficients N(3 * 4 ** depth)HW of NCHW pixels, bands first at each level, as the encoder begins."""
    for _ in range(depth):
        cells = functional.pixel_unshuffle(pixels, 2).unflatten(1, (pixels.shape[1], 4))  # N C 4 H W
        pixels = torch.einsum("bp,ncphw->nbchw", _HAAR, cells).flatten(1, 2)
    return pixels


def _tap(band: int) -> torch.Tensor:
    """The 3 x 3 kernel that puts one Haar band back after pixels were repeated."""
    flat, detail = torch.tensor([0.0, 1.0, 0.0]), SLOPE * torch.tensor([-1.0, 0.0, 1.0])
    vertical, horizontal = ((flat, flat), (flat, detail), (detail, flat), (detail, detail))[band]
    return torch.outer(vertical, horizontal) / 2


def _places(channels: int, groups: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Channels for pairs (a value, its negative), dealt to the groups in turn, and for constants as (sign, channel)."""
    size = channels // groups
    pairs = [(g * size + 2 + 2 * k, g * size + 3 + 2 * k) for k in range((size - 2) // 2) for g in range(groups)]
    return pairs, [(sign, g * size + k) for g in range(groups) for k, sign in enumerate((1, -1))]


def _read_pairs(conv: nn.Conv2d, places: list[tuple[int, int]], gain: float) -> None:
    _clear(conv)
    for i, (plus, minus) in enumerate(places):
        conv.weight[i, plus, 1, 1], conv.weight[i, minus, 1, 1] = gain, -gain


def _clear(conv: nn.Conv2d) -> None:
    init.zeros_(conv.weight)
    assert conv.bias is not None
    init.zeros_(conv.bias)


def _pass_through(conv: nn.Conv2d) -> None:
    """Channel k in, channel k out, as far as both sides reach."""
    _clear(conv)
    middle = conv.kernel_size[0] // 2
    for c in range(min(conv.weight.shape[:2])):
        conv.weight[c, c, middle, middle] = 1
