"""Any vision model of transformers as a detector, from a folder or hub id, out of safetensors alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from vesalius.models.base import digest_folder
from vesalius.models.detectors.detector import Window

POOLERS = ("pooler.", "vision_model.head.")


class VisionDetector:
    """The features by which a vision model compares pictures.

    Of an image-text pair (CLIP, SigLIP and their kin) they are its image embedding; of others the pooled output, or the
    first token where the folder has no weights for a pooler, which would else be random.
    """

    window: Window = "display"

    def __init__(self, source: str, *, batch_size: int = 32) -> None:
        folder = vision_folder(source)
        self.name = Path(source).name if Path(source).expanduser().exists() else source
        self.digest, self.batch_size = digest_folder(folder), batch_size
        self.model, self.kind = open_vision_model(folder)
        row = image_settings(folder)
        channels = getattr(getattr(self.model.config, "vision_config", self.model.config), "num_channels", 3)
        if channels != 3:
            raise ValueError(f"{folder}: takes pictures of {channels} channels; detectors are given three")
        self.image_size = edge_of(row, folder)
        self.resize = "none"
        self.scale = float(row.get("rescale_factor", 1 / 255)) if row.get("do_rescale", True) else 1.0
        normal = row.get("do_normalize", True)
        self.mean, self.deviation = (
            torch.tensor(row[k] if normal else [plain] * 3, dtype=torch.float32)[:, None, None]
            for k, plain in (("image_mean", 0.0), ("image_std", 1.0))
        )

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._embed(part) for part in images.split(self.batch_size)])

    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        pixels = (images.float() * self.scale - self.mean) / self.deviation
        if self.kind == "embedding":
            found = self.model.get_image_features(pixel_values=pixels)
        else:
            found = self.model(pixel_values=pixels)
        if self.kind == "first token":
            features = found.last_hidden_state[:, 0]
        else:
            features = found if isinstance(found, torch.Tensor) else found.pooler_output
        rows: torch.Tensor = features.flatten(1).float()
        return rows


def vision_folder(source: str) -> Path:
    """The folder of a model, or the snapshot of a hub id. ValueError where there is none, or no safetensors in it."""
    folder = Path(source).expanduser()
    if not folder.exists():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors"]))
        except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
            raise ValueError(
                f"detector '{source}' is no folder, and not in the hub cache, and cannot be fetched{offline}: "
                f"{type(error).__name__}; fetch it with `hf download {source}`"
            ) from None
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no vision model there (config.json, preprocessor_config.json, safetensors)")
    if not any(folder.glob("*.safetensors")):
        others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"))
        told = (
            f" but {', '.join(others[:3])}; pickles run code and are never loaded: convert them"
            if others
            else "; fetch it again"
        )
        raise ValueError(f"{folder}: holds no safetensors{told}")
    return folder


def open_vision_model(folder: Path) -> tuple[Any, str]:
    """The model, and which of its outputs are the features: embedding, pooled or first token.

    ValueError where transformers has no such model, where it needs code of its own, or lacks weights.
    """
    import transformers
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        paired = hasattr(config, "vision_config") and hasattr(config, "text_config")
        shown = transformers.utils.logging.get_verbosity()
        transformers.utils.logging.set_verbosity_error()  # of missing poolers, which are seen to below
        try:
            model, told = AutoModel.from_pretrained(
                folder, config=config, trust_remote_code=False, use_safetensors=True, local_files_only=True,
                output_loading_info=True, dtype=torch.float32,
            )  # fmt: skip
        finally:
            transformers.utils.logging.set_verbosity(shown)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ValueError(f"{folder}: transformers cannot open it ({str(error).splitlines()[0]})") from None
    missing = sorted(told["missing_keys"])
    if any(not k.startswith(POOLERS) for k in missing):
        raise ValueError(f"{folder}: lacks weights ({', '.join(missing[:3])}); fetch it again")
    if paired:
        if not hasattr(model, "get_image_features"):
            raise ValueError(f"{folder}: {type(model).__name__} has no image features; name its vision model")
        return model.eval().requires_grad_(False), "embedding"
    pooled = not missing and type(model).main_input_name == "pixel_values" and pools(model)
    if type(model).main_input_name != "pixel_values":
        raise ValueError(f"{folder}: {type(model).__name__} takes no pictures; name a vision model")
    return model.eval().requires_grad_(False), "pooled" if pooled else "first token"


def pools(model: Any) -> bool:
    """Whether a model has pooled features, found by one blank picture."""
    size = edge_number(getattr(model.config, "image_size", None)) or 224
    with torch.inference_mode():
        found = model.eval()(pixel_values=torch.zeros(1, getattr(model.config, "num_channels", 3), size, size))
    return getattr(found, "pooler_output", None) is not None


def image_settings(folder: Path) -> dict[str, Any]:
    """What the folder says of its pictures: size, mean, deviation. ValueError where it says nothing."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            row: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            row = row.get("image_processor", row)
            if not row.get("do_normalize", True) or {"image_mean", "image_std"} <= set(row):
                return row
    raise ValueError(
        f"{folder}: says nowhere which mean and deviation its pictures have (preprocessor_config.json with image_mean "
        "and image_std); fetch that file too"
    )


def edge_of(row: dict[str, Any], folder: Path) -> int:
    """Pixels along an edge of the pictures that a model takes. ValueError where nothing says it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    places = [
        row.get("crop_size") if row.get("do_center_crop", "crop_size" in row) else None, row.get("size"),
        config.get("vision_config", {}).get("image_size"), config.get("image_size"),
    ]  # fmt: skip
    for place in places:
        size = edge_number(place)
        if size:
            return size
    raise ValueError(f"{folder}: says nowhere how large its pictures are (preprocessor_config.json: size)")


def edge_number(value: Any) -> int | None:
    """The edge out of 224, {"height": 224, "width": 224} or {"shortest_edge": 224}."""
    if isinstance(value, dict):
        value = value.get("height", value.get("shortest_edge"))
    if isinstance(value, (list, tuple)):
        value = value[0]
    return int(value) if isinstance(value, (int, float)) else None
