"""Bases: `nano`, any Stable-Diffusion-shaped folder, or a hub id, opened by diffusers from safetensors alone."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EMBEDDED = "nano"
FEW_STEPS = {"DPMSolverMultistepScheduler": 12, "DPMSolverSinglestepScheduler": 12, "UniPCMultistepScheduler": 12}
"""Schedulers of a higher order, and the steps after which a picture of theirs changes no more to the eye."""
XL = "StableDiffusionXLPipeline"
NOT_A_BASE = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)
"""What opening a folder raises that is no base, or a damaged one."""
UNSAFE = (".py", ".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Base:
    """An opened base.

    pipeline: a diffusers StableDiffusionPipeline, or that of SDXL, in float32 on the CPU (its denoiser in that of its
    file where `open_base` was asked for it). digest: sha256 of its files.
    """

    name: str
    """nano, a folder, or a hub id"""
    digest: str
    pipeline: Any

    @property
    def image_size(self) -> int:
        """Pixels along an edge at which the base was trained."""
        size: int = self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor
        return size

    @property
    def size_unit(self) -> int:
        """What the edges of a picture have to be multiples of: pixels of a cell at the denoiser's coarsest level."""
        unit: int = self.pipeline.vae_scale_factor << (len(self.pipeline.unet.config.block_out_channels) - 1)
        return unit


def base_folder(name: str, *, weights: bool = True) -> Path:
    """The folder of a base: the embedded one, a local folder, or a hub id's snapshot, with its weights or without.

    ValueError where there is none, with what was looked for; hub ids honour HF_HUB_OFFLINE.
    """
    if name == EMBEDDED:
        return Path(str(importlib.resources.files("vesalius.models"))) / EMBEDDED
    folder = Path(os.path.expanduser(name))  # which leaves a name that is no user's as it is
    if (folder / "model_index.json").is_file():
        return folder
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ValueError(
            f"base '{name}' is no diffusers folder (no model_index.json in it); "
            "give 'nano', a folder or a hub id like owner/name"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.txt", "*.model", *(["*.safetensors"] if weights else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HFValidationError:
        raise ValueError(
            f"base '{name}' is neither a folder nor a hub id; give 'nano', a folder or a hub id like owner/name"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise ValueError(
            f"base '{name}' is not in the hub cache and cannot be fetched{offline}: {type(error).__name__}; "
            "use --base nano or a local folder"
        ) from None


def usual_steps(name: str, scheduler: str | None = None) -> int:
    """Denoising steps that suit the scheduler of a base, or one of that class: 20, or fewer for one of a higher order.

    ValueError as `base_folder`.
    """
    if scheduler is not None:
        return FEW_STEPS.get(scheduler, 20)
    return FEW_STEPS.get(str(scheduler_config(name).get("_class_name")), 20)


def scheduler_config(name: str) -> dict[str, Any]:
    """Class and settings of a base's scheduler; empty where they cannot be read, of which opening the base says why.

    ValueError as `base_folder`.
    """
    path = base_folder(name, weights=False) / "scheduler" / "scheduler_config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        config = None
    return config if isinstance(config, dict) else {}


def drawn_sizes(name: str) -> tuple[int, int]:
    """`image_size` and `size_unit` of a base, from its configurations alone. ValueError as `base_folder`, or where they
    do not tell."""
    folder = base_folder(name, weights=False)
    try:
        unet, vae = (json.loads((folder / part / "config.json").read_bytes()) for part in ("unet", "vae"))
        cell = 1 << (len(vae["block_out_channels"]) - 1)
        return int(unet["sample_size"]) * cell, cell << (len(unet["block_out_channels"]) - 1)
    except NOT_A_BASE as error:
        raise not_a_base(name, error) from None


def digest_folder(folder: Path) -> str:
    """sha256 over names and bytes of the safetensors and JSON files of a model folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".txt") and p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def refuse_code(folder: Path) -> None:
    """ValueError where a model folder holds code or pickles: both run on loading."""
    bad = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in UNSAFE)
    if bad:
        raise ValueError(
            f"{folder}: holds {', '.join(bad[:3])}; code and pickles are never loaded, only safetensors. "
            "Remove or convert them"
        )


def open_base(
    name: str = EMBEDDED, *, denoiser_as_stored: bool = False, parts: Mapping[str, Any] | None = None
) -> Base:
    """Open a base in float32 on the CPU. ValueError where it is missing, unsafe or no Stable Diffusion pipeline.

    denoiser_as_stored: its denoiser, the largest part, stays in the type of its file, for callers that make it another
    one anyway: half the memory where that is float16. parts: networks that are there already, by their names.
    """
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
    folder = base_folder(name)
    refuse_code(folder)
    import torch
    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    for each in (logging, transformers_logging):  # before the pipeline is imported, which logs too
        each.set_verbosity_error()
        each.disable_progress_bar()
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    try:
        large = is_large(folder)
        check_words(folder, large)
        kind, more = (StableDiffusionXLPipeline, {}) if large else (StableDiffusionPipeline, {"safety_checker": None})
        dtypes = (
            {"unet": _stored_dtype(folder / "unet"), "default": torch.float32} if denoiser_as_stored else torch.float32
        )
        pipeline = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=dtypes, **more, **(parts or {})
        )
    except NOT_A_BASE as error:
        raise not_a_base(name, error) from None
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.vae, pipeline.unet, *text_encoders(pipeline)):
        part.eval().requires_grad_(False)
    return Base(name=name, digest=digest_folder(folder), pipeline=pipeline)


def _stored_dtype(folder: Path) -> Any:
    """The type of most tensors of a folder's weights."""
    import torch
    from safetensors import safe_open

    kinds = Counter[str]()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            kinds.update(file.get_slice(key).get_dtype() for key in file.keys())  # noqa: SIM118 (no mapping)
    known = {"F16": torch.float16, "BF16": torch.bfloat16}
    return known.get(kinds.most_common(1)[0][0] if kinds else "", torch.float32)


def is_large(folder: Path) -> bool:
    """Whether a base is of SDXL's shape. Raises NOT_A_BASE where its index is none."""
    return bool(json.loads((folder / "model_index.json").read_bytes()).get("_class_name") == XL)


def check_words(folder: Path, large: bool) -> None:
    """OSError where scheduler or tokenizer of a base are missing: in its place transformers would make an empty one."""
    for part in ("scheduler", "tokenizer", *(("tokenizer_2",) if large else ())):
        if not any((folder / part).glob("*.json")):
            raise OSError(f"{part}/ is missing or empty")


def not_a_base(name: str, error: Exception) -> ValueError:
    """What is said of a folder that does not open."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ValueError(
        f"base '{name}' could not be opened as a Stable Diffusion pipeline: {first}; "
        "copy its folder again, or use --base nano"
    )


def text_encoders(pipeline: Any) -> list[Any]:
    """The text encoder of a pipeline, of SDXL both."""
    return [e for e in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)) if e is not None]
