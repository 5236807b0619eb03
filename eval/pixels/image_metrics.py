"""Image against image: a picture beside the one that it should be, for reconstruction, inpainting, image-to-image.

PSNR, SSIM and MS-SSIM of each pair; with masks, inside and outside of what was drawn anew. SSIM and MS-SSIM are those
of torchmetrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from vesalius.eval.fidelity.metrics import mean_with_interval
from vesalius.eval.report import Section, Table
from vesalius.eval.scorecard.reconstruction import ms_ssim, psnr, scale_weights

SCALES = 5
UNITS = {"PSNR": "dB", "PSNR inside": "dB", "PSNR outside": "dB", "equal outside": "%"}
"""Units of `compare_images`; the others have none."""


def ssim_map(drawn: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Structural similarity around each pixel (Wang et al. 2004; a Gaussian window of sigma 1.5), [N, H, W].

    NCHW float32 in [0, 1] each; the mean over channels. ValueError below 11 pixels, or without torchmetrics.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure as similarity
    except ModuleNotFoundError:
        raise ValueError("SSIM needs torchmetrics; install it with `pip install torchmetrics`") from None
    if min(truth.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11 pixels, got {truth.shape[-2]} x {truth.shape[-1]}")
    parts = [
        similarity(a, b, data_range=1.0, reduction="none", return_full_image=True)[1].mean(1)
        for a, b in zip(drawn.split(16), truth.split(16), strict=True)
    ]
    return torch.cat(parts)


def compare_images(
    drawn: torch.Tensor, truth: torch.Tensor, masks: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Metrics of each pair of pictures, NCHW uint8 of one size, float32 [N] each; 100 dB where the two are equal.

    masks: bool [N, H, W], where the first was drawn anew. Then also the metrics inside and outside of them (NaN where
    there is no such pixel), and "equal outside", the share of pixels outside that are the very same. MS-SSIM has no
    inside: its coarse windows reach over every border. ValueError where shapes differ.
    """
    if drawn.shape != truth.shape or (masks is not None and masks.shape != (len(truth), *truth.shape[2:])):
        raise ValueError(
            f"pictures to compare are {tuple(drawn.shape)} and {tuple(truth.shape)}"
            + (f", with masks {tuple(masks.shape)}" if masks is not None else "")
            + "; bring them to one size and number of channels first"
        )
    one, two = drawn.float() / 255, truth.float() / 255
    local = ssim_map(one, two)
    found = {"PSNR": psnr(one, two), "SSIM": local.flatten(1).mean(1), "MS-SSIM": ms_ssim(one, two)}
    if masks is None:
        return found
    errors = (one - two).square().mean(1)
    for name, where in (("inside", masks), ("outside", ~masks)):
        error = _mean_where(errors, where)
        found[f"PSNR {name}"] = -10 * error.clamp_min(1e-10).log10()
        found[f"SSIM {name}"] = _mean_where(local, where)
    found["equal outside"] = _mean_where((drawn == truth).all(1).float(), ~masks)
    return found


def _mean_where(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """[N, H, W] and bool [N, H, W] -> [N]; NaN where nothing is chosen."""
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1)


def measure(
    drawn: Sequence[torch.Tensor],
    truth: Sequence[torch.Tensor],
    masks: Sequence[torch.Tensor | None] = (),
    *,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Metrics of pairs of pictures of any sizes, CHW uint8 each, as JSON: means with Student's interval, and each pair.

    masks: HW bool, or None, of each pair; empty where there is none. ValueError names a pair of unequal sizes.
    """
    if not len(drawn) or len(drawn) != len(truth) or len(masks) not in (0, len(truth)):
        raise ValueError(
            f"{len(drawn)} pictures, {len(truth)} to compare them with and {len(masks)} masks: expected as many of each"
        )
    pairs: list[dict[str, Any]] = []
    for i, (one, two) in enumerate(zip(drawn, truth, strict=True)):
        mask, name = masks[i] if masks else None, names[i] if names else str(i)
        if one.shape != two.shape or (mask is not None and mask.shape != two.shape[1:]):
            told = [" x ".join(map(str, each.shape)) for each in (one, two, *([] if mask is None else [mask]))]
            raise ValueError(f"{name}: {' and '.join(told)} (channels x height x width) cannot be compared; resize one")
        row = compare_images(one[None], two[None], None if mask is None else mask[None])
        pairs.append({"name": name, **{k: None if v.isnan() else float(v) for k, v in row.items()}})
    found: dict[str, Any] = {"num": len(pairs), "smallest": min(min(t.shape[1:]) for t in truth), "pairs": pairs}
    metrics = dict.fromkeys(name for pair in pairs for name in pair if name != "name")
    found["metrics"] = {}
    for metric in metrics:
        values = [pair[metric] for pair in pairs if pair.get(metric) is not None]
        if values:
            found["metrics"][metric] = asdict(mean_with_interval(values))
    return found


def sections(result: Mapping[str, Any], what: str = "Image against image") -> list[Section]:
    """What a page says of pairs."""
    scales = len(scale_weights(result["smallest"]))
    text = [f"Means over {result['num']} pairs, with Student's interval. 100 dB: the two are equal."]
    if scales < SCALES:
        text.append(
            f"The smallest picture has {result['smallest']} pixels along an edge: of its five scales MS-SSIM has the "
            f"first {scales}, their weights renormalised, since the fifth needs 161 pixels."
        )
    if any("side" in name for name in result["metrics"]):
        text.append("Inside: what the mask had drawn anew. Outside: what should not have changed.")
    rows = [[name, told(row, UNITS.get(name, "")), str(row["num"])] for name, row in result["metrics"].items()]
    return [Section(title=what, text=text, tables=[Table(head=("metric", "mean (95 %)", "pairs"), rows=rows)])]


def told(row: Mapping[str, float], unit: str) -> str:
    """A number with its interval."""
    scale, digits = (100, 1) if unit == "%" else (1, 2) if unit == "dB" else (1, 4)
    value, low, high = (f"{scale * row[k]:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value}{' ' * bool(unit)}{unit} ({low} to {high})"
