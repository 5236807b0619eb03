"""Adapter folders: PEFT's own format (adapter_config.json, adapter_model.safetensors) plus what it was trained on.

`adapter.json` beside them names the base's digest, the data's digest, and the generation depth of the deepest record;
and of an adapter that wants to be drawn with in a way of its own, steps, guidance and scheduler. Plain diffusers opens
such a folder too, where alpha is the rank:

    pipeline.unet.load_lora_adapter(folder, prefix="base_model.model", weight_name="adapter_model.safetensors")
"""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from vesalius.data.record import write_json
from vesalius.models.base import Base, digest_folder, refuse_code

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""The text encoder of a pipeline and the second one of SDXL: also the folders, inside an adapter's, of their own."""
EMBEDDED = ("nano-fast",)
"""Adapters that ship with the package, by name; a folder of such a name is reached by its full path."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw with an adapter."""

    steps: int
    """denoising steps"""
    guidance: float
    """classifier-free guidance scale"""
    scheduler: dict[str, Any]
    """class and settings, as in diffusers' scheduler_config.json"""


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """Provenance of an adapter: `adapter.json` beside its weights."""

    base: str
    """name of the base that it was trained on"""
    base_digest: str
    """sha256 of that base's files"""
    data_digest: str
    """sha256 over what it was trained on"""
    depth: int
    """deepest generation depth among its training records"""
    steps: int
    """optimizer updates"""
    modalities: tuple[str, ...] = ()
    """that it was trained on"""
    sampling: Sampling | None = None
    """how it was made to be drawn with: steps, guidance, scheduler; null: as its base"""

    def check_base(self, folder: Path, base: str, digest: str) -> None:
        """ValueError where the adapter in a folder was trained on another base than that of a name and digest."""
        if self.base_digest != digest:
            raise ValueError(
                f"{folder}: trained on base '{self.base}' ({self.base_digest[:12]}), not on '{base}' ({digest[:12]}); "
                f"give --base {self.base}"
            )


def write_adapter(
    folder: Path, denoiser: Any, card: AdapterCard, text_encoder: Any = None, text_encoder_2: Any = None
) -> None:
    """Write the LoRA of a PEFT-wrapped denoiser, whole or not at all; that of a text encoder in `text_encoder/` inside
    it, of SDXL's second one in `text_encoder_2/`. alpha, rank and targets are in its config, so it reloads exactly."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    encoders = zip(TEXT_ENCODERS, (text_encoder, text_encoder_2), strict=True)
    parts = {temporary: denoiser, **{temporary / name: encoder for name, encoder in encoders if encoder is not None}}
    for place, network in parts.items():
        with disk_errors(temporary):
            network.save_pretrained(place, safe_serialization=True)
        (place / "README.md").unlink(missing_ok=True)  # PEFT's template, empty of facts
        config = json.loads((place / "adapter_config.json").read_text())
        if isinstance(config.get("target_modules"), list):  # a set, which each process has in an order of its own
            config["target_modules"].sort()
        write_json(place / "adapter_config.json", {**config, "base_model_name_or_path": card.base})
    write_json(temporary / "adapter.json", asdict(card))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What safetensors says of a full or unwritable disk, as the OSError that it is; `path` is removed then."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as error:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        number = re.search(r"os error (\d+)", str(error))
        if isinstance(error, OSError) or not number:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from None


def adapter_folder(run: Path | str) -> Path:
    """The embedded adapter of that name, that inside a run folder, or the folder itself. ValueError where none is."""
    run = Path(str(importlib.resources.files("vesalius.models"))) / run if str(run) in EMBEDDED else Path(run)
    for folder in (run / "adapter", run):
        if (folder / "adapter_config.json").is_file() and (folder / "adapter_model.safetensors").is_file():
            return folder
    raise ValueError(
        f"{run}: no adapter there (adapter_config.json and adapter_model.safetensors); "
        "give the --out folder of a finished `vesalius finetune`"
    )


def part_folders(folder: Path) -> dict[str, Path]:
    """The PEFT folder of each part of a pipeline that an adapter changes: its own, and those of text encoders in it."""
    places = {"unet": folder, **{name: folder / name for name in TEXT_ENCODERS}}
    return {part: place for part, place in places.items() if (place / "adapter_config.json").is_file()}


def read_card(run: Path | str) -> AdapterCard | None:
    """The provenance of an adapter, or None for one that another tool made. ValueError where there is no adapter, or
    its card is damaged."""
    path = adapter_folder(run) / "adapter.json"
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_text())
        sampling = Sampling(**row["sampling"]) if row.get("sampling") else None
        card = AdapterCard(**{**row, "modalities": tuple(row.get("modalities", ())), "sampling": sampling})
        if type(card.depth) is not int or not isinstance(card.base_digest, str):
            raise TypeError("depth or base_digest is of the wrong type")
        if sampling and not (type(sampling.steps) is int and isinstance(sampling.guidance, int | float)):
            raise TypeError("sampling is of the wrong type")
        return card
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is no card of a Vesalius adapter ({error}); remove it to use the adapter without its provenance"
        ) from None


def apply_adapter(base: Base, run: Path | str, weight: float = 1.0) -> str:
    """Merge an adapter into an opened base's denoiser and text encoders, in place; returns the adapter's digest.

    weight: how much of it: the way from the old weights to the new ones, gone so far. The pipeline's scheduler becomes
    the adapter's, where it names one. ValueError where it was trained on another base, or does not fit this one.
    """
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    folder = adapter_folder(run)
    refuse_code(folder)
    card = read_card(folder)
    if card is not None:
        card.check_base(folder, base.name, base.digest)
    for part, place in part_folders(folder).items():
        if getattr(base.pipeline, part, None) is None:
            raise ValueError(f"{place}: does not fit base '{base.name}', which has no {part}; give its own --base")
        model = getattr(base.pipeline, part)
        kept = model.state_dict().items() if weight != 1 else ()
        before = {name: value.clone() for name, value in kept if value.is_floating_point()}
        try:
            wrapped = PeftModel.from_pretrained(model, place, is_trainable=False)
        except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"{place}: does not fit base '{base.name}': {str(error)[:200]}") from None
        if getattr(model, "weights_on_shelf", False):
            # To weights that still lie in their files (`vesalius.models.computing.shelf`) nothing can be added; it
            # stays beside.
            for layer in wrapped.modules() if weight != 1 else ():
                if hasattr(layer, "scale_layer"):
                    layer.scale_layer(weight)
            setattr(base.pipeline, part, wrapped.get_base_model())
            continue
        merged = wrapped.merge_and_unload()
        with torch.no_grad():
            for name, value in merged.state_dict().items():
                if name in before:
                    value.copy_(before[name].lerp(value, weight))
        setattr(base.pipeline, part, merged)
    if card is not None and card.sampling is not None:
        base.pipeline.scheduler = open_scheduler(card.sampling.scheduler, folder)
    return digest_folder(folder)


def open_scheduler(config: dict[str, Any], folder: Path) -> Any:
    """The diffusers scheduler of a card. ValueError where its class is none of diffusers' schedulers."""
    import diffusers

    kind: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise ValueError(
            f"{folder / 'adapter.json'}: '{config.get('_class_name')}' is no scheduler of diffusers; remove `sampling` "
            "there to draw as the base does"
        )
    return cast(Any, kind).from_config(config)
