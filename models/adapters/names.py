"""What kohya's files call the layers of SDXL's denoiser: by the names of the code that it was published with.

Those of Stable Diffusion 1 and 2 they call as diffusers does, with underscores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vesalius.models.base import NOT_A_BASE, base_folder, is_large

SDXL: Mapping[str, Any] = {
    "layers_per_block": 2, "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
"""What of SDXL's configuration its names depend on."""
_WHOLE = {
    "conv_in": "input_blocks.0.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
_RESNET = {
    "conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}  # fmt: skip


def published_name(name: str, config: Mapping[str, Any]) -> str:
    """The name of a layer of an SDXL denoiser in diffusers -> that of the code it was published with.

    config: the denoiser's, for the layers in a block and for which blocks have attention.
    """
    if name in _WHOLE:
        return _WHOLE[name]
    found = re.match(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|(?:down|up)samplers)\.(\d+)\.", name)
    if not found:
        return name
    way, kind, rest = found[1], found[3], name[found.end() :]
    block, place, size = int(found[2] or 0), int(found[4]), config["layers_per_block"] + 1
    if kind == "resnets":
        rest = _RESNET.get(rest, rest)
    if way is None:
        return f"middle_block.{2 * place + (kind == 'attentions')}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{size * (block + 1)}.0.op"
    if kind == "upsamplers":
        attention = "Attn" in config["up_block_types"][block]
        return f"output_blocks.{size * block + size - 1}.{1 + attention}.{rest}"
    number = size * block + place
    part = f"input_blocks.{number + 1}" if way == "down" else f"output_blocks.{number}"
    return f"{part}.{int(kind == 'attentions')}.{rest}"


def denoiser_config(base: str | None) -> Mapping[str, Any]:
    """What the names in a base's denoiser depend on; SDXL's own where the base is not here."""
    try:
        folder = base_folder(base or "", weights=False)
        return dict(json.loads((folder / "unet" / "config.json").read_bytes())) if is_large(folder) else SDXL
    except NOT_A_BASE:
        return SDXL
