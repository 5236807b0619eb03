"""Whether a base can be opened and adapters fit it, told by configurations, headers and digests: no weights are loaded.

    check_base("nano")
    check_adapters("nano", parse_adapters(["my-run:0.7"]))

What only the weights themselves tell, such as values that are not numbers, is not looked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vesalius.models.adapters.adapter import adapter_folder, open_scheduler, part_folders, read_card
from vesalius.models.adapters.mix import Share, check_together
from vesalius.models.base import NOT_A_BASE, base_folder, check_words, digest_folder, is_large, not_a_base, refuse_code
from vesalius.models.computing.shelf import file_tensors, stored_tensors

PREFIX = "base_model.model."
"""PEFT's, before the name of each layer."""


def check_base(name: str) -> None:
    """ValueError, as `open_base` would raise it, where a base is missing, unsafe, lacks a part, or is damaged."""
    folder = base_folder(name)
    refuse_code(folder)
    try:
        large = is_large(folder)
        encoders = ("text_encoder", "text_encoder_2") if large else ("text_encoder",)
        for part in ("unet", "vae", *encoders):
            if not isinstance(json.loads((folder / part / "config.json").read_bytes()), dict):
                raise TypeError(f"{part}/config.json holds no object")
            stored_tensors(folder / part)
        check_words(folder, large)
    except NOT_A_BASE as error:
        if isinstance(error, ValueError) and ": damaged (" in str(error):
            raise
        raise not_a_base(name, error) from None


def check_adapters(base: str, shares: Sequence[Share]) -> None:
    """ValueError, as `apply_adapters` would raise it, where adapters are missing, unsafe, of another base, of other
    shapes than its layers, or cannot be added up."""
    check_together(shares)
    folder, digest = base_folder(base), ""
    for share in shares:
        place = adapter_folder(share.adapter)
        refuse_code(place)
        if (card := read_card(place)) is not None:
            digest = digest or digest_folder(folder)
            card.check_base(place, base, digest)
            if card.sampling is not None:
                open_scheduler(card.sampling.scheduler, place)
        for part, layers in part_folders(place).items():
            if not (folder / part).is_dir():
                raise ValueError(f"{layers}: does not fit base '{base}', which has no {part}; give its own --base")
            _check_shapes(layers, base, stored_tensors(folder / part), strict=part == "unet")


def _check_shapes(layers: Path, base: str, weights: dict[str, Any], *, strict: bool) -> None:
    """ValueError where a layer has other shapes than the weight that it changes; strict: or where none changes any."""
    found = 0
    tensors = file_tensors(layers / "adapter_model.safetensors", "copy the adapter's folder again")
    for name, (_, _, shape) in tensors.items():
        layer, _, matrix = name.removeprefix(PREFIX).partition(".lora_")
        there = weights.get(f"{layer}.weight")
        if there is None or matrix not in ("A.weight", "B.weight"):
            continue
        found += 1
        wanted = there[2][1] if matrix[0] == "A" else there[2][0]
        got = shape[1] if matrix[0] == "A" else shape[0]
        if got != wanted:
            side = "takes" if matrix[0] == "A" else "gives"
            raise ValueError(
                f"{layers}: does not fit base '{base}': {layer} {side} {wanted} values there and {got} here; give its "
                "own --base"
            )
    if strict and not found:
        raise ValueError(f"{layers}: does not fit base '{base}', which has none of its layers; give its own --base")
