"""Which region of a picture speaks for a finding, in the eyes of a network.

    heat = gradcam(Judge.load(), image, "CT/nodule")        float32 [H, W]

Grad-CAM (Selvaraju et al. 2017, ICCV, arXiv 1610.02391) by captum: the channels of a layer, each weighted by its mean
gradient, where their sum is positive. Judge and witness read places, not means over places, so their gradients differ
from place to place: HiResCAM (Draelos and Carin 2020, arXiv 2011.08891), captum's layer gradient x activation, weighs
each place by its own. Neither proves anything; `random_twin` gives the control of Adebayo et al. (2018, arXiv
1810.03292): a map that stays the same when the weights are random shows the picture, not the network.
"""

from __future__ import annotations

import copy
import difflib
import importlib
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from vesalius.data.images.image import Float32
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.witness import FINDINGS, Witness, to_patches

Network = Judge | Witness
Method = Literal["gradcam", "hirescam"]
METHODS: tuple[Method, ...] = get_args(Method)
JUDGE_LEVELS: dict[Method, int] = {"gradcam": 4, "hirescam": 2}
"""Levels of the judge's encoder before the cells that are mapped: 8 x 8 of them, and 32 x 32. By mean gradients the
deeper level, with its few cells, finds lesions of phantoms better; by those at each place the finer one does
(`vesalius.eval.explanations.map_check`)."""


class _Reading(nn.Module):
    """Pixels NCHW float32 in [-1, 1] -> logits [N, findings]; `cells` is the layer that is looked at, NCHW."""

    def __init__(self, network: Network, method: Method) -> None:
        super().__init__()
        self.network, self.cells = network, nn.Identity()
        self.cut = 6 * JUDGE_LEVELS[method]  # six modules make a level
        self.heads = [] if isinstance(network, Judge) else list(zip(network.heads, network.config.heads, strict=True))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if isinstance(self.network, Judge):
            trunk = self.network.image.trunk
            hidden = self.network.image.hidden(trunk[self.cut :](self.cells(trunk[: self.cut](pixels))))
            logits: torch.Tensor = self.network.image.attributes(hidden)
            return logits
        witness = self.network
        grid = (witness.config.cells, witness.config.cells)
        seen = witness.tokens(to_patches(pixels, witness.config.patch)).transpose(1, 2).unflatten(2, grid)
        tokens = self.cells(seen).flatten(2).transpose(1, 2)
        features = (witness.describe(tokens) - witness.mean) / witness.deviation
        return torch.cat([head(features) for head, _ in self.heads], 1)


def finding_names(network: Network) -> tuple[str, ...]:
    """The findings that a network knows, in the order of its outputs: "CT/nodule/left", "MRI/brain/glioma"."""
    if isinstance(network, Judge):
        return network.config.attributes
    heads = network.config.heads.items()
    return tuple(c if task.startswith(FINDINGS) else f"{task}/{c}" for task, classes in heads for c in classes)


def find_finding(network: Network, finding: str) -> int:
    """The output of a finding. ValueError names the nearest that the network has."""
    names = finding_names(network)
    if finding in names:
        return names.index(finding)
    near = difflib.get_close_matches(finding, names, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    kind = type(network).__name__.lower()
    raise ValueError(f"the {kind} has no finding '{finding}'{hint} ({', '.join(names[:6])} ... {len(names)} in all)")


def check_captum() -> None:
    """ValueError where captum is not installed."""
    try:
        importlib.import_module("captum.attr")
    except ModuleNotFoundError:
        raise ValueError('maps of findings need captum; install it with `pip install "vesalius[explain]"`') from None


def gradcam(network: Network, image: torch.Tensor, finding: str, *, method: Method = "gradcam") -> Float32:
    """The map of a finding, float32 [H, W] of the picture's size, at least 0 and 1 at its highest; all 0 where no place
    speaks for it.

    image: uint8 [3, H, W], as `vesalius.data.images.image.load_square` gives it (channels last): CT in known units has
    three windows. ValueError where the network does not know the finding, or captum is not installed.
    """
    return gradcams(network, image, [finding], method=method)[0]


def gradcams(
    network: Network, image: torch.Tensor, findings: Sequence[str], *, method: Method = "gradcam"
) -> list[Float32]:
    """`gradcam` of several findings of one picture."""
    check_captum()
    from captum.attr import LayerGradCam, LayerGradientXActivation

    places = [find_finding(network, each) for each in findings]
    reading = _Reading(network, method).eval()
    kind = LayerGradCam if method == "gradcam" else LayerGradientXActivation
    explainer = kind(reading, reading.cells)
    found = []
    with torch.inference_mode(False), torch.enable_grad():
        pixels = as_pixels(network, image.clone()).requires_grad_()
        for place in places:
            heat = explainer.attribute(pixels, target=place).detach().sum(1, keepdim=True).clamp_min(0)
            heat = functional.interpolate(heat, size=tuple(image.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
            highest = float(heat.max())
            found.append((heat / highest if highest > 0 else torch.zeros_like(heat)).numpy())
    return found


@torch.no_grad()
def probabilities(network: Network, image: torch.Tensor) -> dict[str, float]:
    """What a network reads in a picture, uint8 [3, H, W]: the probability of each finding it knows."""
    names = finding_names(network)
    if isinstance(network, Judge):
        return dict(zip(names, network.read(image[None])[1][0].tolist(), strict=True))
    features = network.features(image[None])
    read = [network.read(features, head)[0] for head in network.config.heads]
    return dict(zip(names, torch.cat(read).tolist(), strict=True))


def as_pixels(network: Network, image: torch.Tensor) -> torch.Tensor:
    """uint8 [3, H, W] -> float32 [1, 3, size, size] in [-1, 1]."""
    size = network.config.image_size
    pixels = image[None].float() / 127.5 - 1.0
    if pixels.shape[-2:] != (size, size):
        pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    return pixels


def random_twin(network: Network, seed: int = 0) -> Network:
    """The same network with random weights: each tensor's own values in another order, so that scales stay."""
    generator = torch.Generator().manual_seed(seed)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for weight in twin.parameters():
            order = torch.randperm(weight.numel(), generator=generator)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return twin


def likeness(first: Float32, second: Float32) -> float:
    """Spearman's correlation of two maps of one size; 0 where one is flat."""
    from scipy.stats import spearmanr

    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)
