"""Adapters as other programs read them: one file for diffusers, or one in kohya's format for ComfyUI and AUTOMATIC1111.

A program that does not look at a file's header takes alpha to be the rank. So the diffusers file holds layers whose
alpha is their rank, the true scale multiplied in, and a header that says so: every reader then gets the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.data.record import write_atomic
from vesalius.models.adapters.adapter import TEXT_ENCODERS, AdapterCard, part_folders, read_card
from vesalius.models.adapters.config import AdapterExportConfig
from vesalius.models.adapters.layers import (
    DIFFUSERS_FILE,
    PARTS,
    Layer,
    LoraFile,
    common_alpha,
    load_tensors,
    read_lora,
    read_lora_config,
)
from vesalius.models.adapters.names import denoiser_config, published_name

if TYPE_CHECKING:
    import torch

Contents = tuple[dict[str, "torch.Tensor"], dict[str, str]]
VERSIONS = {
    768: ("sd_v1", "stable-diffusion-v1/lora"), 1024: ("sd_v2", "stable-diffusion-v2-512/lora"),
    2048: ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
}  # fmt: skip
"""What kohya and the model spec call a base, by the width of its text, the one thing of it that an adapter shows."""


@dataclass(frozen=True, kw_only=True)
class AdapterExport:
    """What an export wrote. unchanged: the file was there already, with the same content. sampling: how it wants to be
    drawn with, which a LoRA file has no place for."""

    path: Path
    """the file"""
    format: str
    """diffusers or kohya"""
    num_layers: int
    """adapted layers"""
    num_bytes: int
    """size of the file"""
    unchanged: bool
    sampling: str | None


def export_adapter(config: AdapterExportConfig) -> AdapterExport:
    """Write an adapter as one file, whole or not at all. ValueError where it is none, where it has what the format
    cannot say, or where another file lies at the place."""
    from safetensors.torch import save

    lora = read_lora(config.adapter)
    if lora.format != "PEFT":
        raise ValueError(f"{lora.path}: is a file in the format of {lora.format} already; give a run or adapter folder")
    refuse_more_than_lora(lora)
    title = run_name(lora.path)
    path = target_file(config, title)
    card = read_card(lora.path)
    tensors, metadata = CONVERTERS[config.format](lora, title)
    metadata |= provenance(card, lora)
    unchanged = path.exists()
    if unchanged and not _holds(path, tensors, metadata):
        raise ValueError(f"{path}: is there already, with other content; remove it, or choose another --out")
    if not unchanged and not config.dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(tensors, metadata))
    return AdapterExport(
        path=path, format=config.format, num_layers=len(lora.layers), unchanged=unchanged, sampling=told_sampling(card),
        num_bytes=sum(t.numel() * t.element_size() for t in tensors.values()),
    )  # fmt: skip


def told_sampling(card: AdapterCard | None) -> str | None:
    """How an adapter was made to be drawn with, in words; None: as its base."""
    sampling = card.sampling if card else None
    if sampling is None:
        return None
    return f"{sampling.steps} steps, guidance {sampling.guidance:g}, {sampling.scheduler.get('_class_name')}"


def run_name(folder: Path) -> str:
    """What an adapter is called: its run's folder."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "adapter" else folder.name


def target_file(config: AdapterExportConfig, title: str) -> Path:
    """The file to write. ValueError where a folder is needed and a file lies there, or the reverse."""
    if config.out.suffix == ".safetensors":
        if config.out.is_dir():
            raise ValueError(
                f"{config.out}: is a folder; give a name that does not end with .safetensors, or remove it"
            )
        return config.out
    if config.out.is_file():
        raise ValueError(f"{config.out}: is a file; --out takes a folder, or a file that ends with .safetensors")
    return config.out / (DIFFUSERS_FILE if config.format == "diffusers" else f"{title}.safetensors")


def refuse_more_than_lora(lora: LoraFile) -> None:
    """ValueError where an adapter holds weights that are no LoRA layer's, or patterns that change how it is applied."""
    if lora.unknown:
        raise ValueError(
            f"{lora.path}: holds weights that are no LoRA layer's ({', '.join(lora.unknown[:2])}); "
            "`vesalius adapter fuse` bakes them into a base"
        )
    if not lora.layers:
        raise ValueError(f"{lora.path}: holds no layer; train it again")
    for part, folder in part_folders(lora.path).items():
        if read_lora_config(folder).fan_in_fan_out:
            raise ValueError(
                f"{folder}: the {part} has fan_in_fan_out, which no other program reads; `vesalius adapter fuse` bakes "
                "it into a base"
            )


def provenance(card: AdapterCard | None, lora: LoraFile) -> dict[str, str]:
    """What a file's header says of where its adapter comes from. Of a base's folder only the last name leaves."""
    told = {"vesalius.synthetic": "draws synthetic images, not for diagnosis"}
    alphas = sorted({round(layer.alpha, 4) for layer in lora.layers})
    told["vesalius.trained_alpha"] = json.dumps(alphas)
    if card is None:
        return told
    base = public_name(card.base)
    row = {**dataclasses.asdict(card), "base": base}
    return told | {"vesalius.base": base, "vesalius.base_digest": card.base_digest, "vesalius.card": json.dumps(row)}


def public_name(base: str) -> str:
    """A hub id or an embedded name as it is; of a folder its own name, not where it lies."""
    folder = Path(base).is_absolute() or base.startswith((".", "~")) or base.count("/") != 1 or Path(base).exists()
    return Path(base).expanduser().resolve().name if folder else base


def to_diffusers(lora: LoraFile, title: str) -> Contents:
    """Keys of `pipeline.load_lora_weights`, with the configuration of the layers in the header."""
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

    tensors: dict[str, torch.Tensor] = {}
    told: dict[str, Any] = {}
    for part in PARTS:
        layers = [layer.with_alpha(layer.rank) for layer in lora.of(part)]
        # diffusers looks for these words in a text encoder's keys; PEFT's own it knows for attention alone.
        ends = (".lora_A", ".lora_B") if part == "unet" else (".lora_linear_layer.down", ".lora_linear_layer.up")
        for layer in layers:
            name = f"{part}.{plain_name(layer)}"
            tensors |= {f"{name}{ends[0]}.weight": layer.down, f"{name}{ends[1]}.weight": layer.up}
            if layer.magnitude is not None:
                if part in TEXT_ENCODERS:
                    raise ValueError(
                        f"{lora.path}: is a DoRA on the text encoder, which diffusers does not read from a file; "
                        "`vesalius adapter fuse` bakes it into a base"
                    )
                tensors[f"{name}.lora_magnitude_vector"] = layer.magnitude
        told |= {f"{part}.{k}": v for k, v in file_config(layers).items()}
    told_text = json.dumps(told, indent=2, sort_keys=True)
    return contiguous(tensors), {"format": "pt", LORA_ADAPTER_METADATA_KEY: told_text, "modelspec.title": title}


def plain_name(layer: Layer) -> str:
    """The name of a layer as files have it: those of text encoders begin with `text_model`, as in transformers 4."""
    if layer.part not in TEXT_ENCODERS or layer.name == "text_projection":
        return layer.name
    return f"text_model.{layer.name.removeprefix('text_model.')}"


def file_config(layers: Sequence[Layer]) -> dict[str, Any]:
    """The fields of PEFT's LoraConfig that say what the layers of a part are; older versions know all of them."""
    if not layers:
        return {}
    usual = max({layer.rank for layer in layers}, key=[layer.rank for layer in layers].count)
    # Whole names, but without `text_model`: they fit the text encoders of any version of transformers.
    ranks = {layer.name.removeprefix("text_model."): layer.rank for layer in layers}
    others = {name: rank for name, rank in ranks.items() if rank != usual}
    return {
        "r": usual, "lora_alpha": usual, "rank_pattern": others, "alpha_pattern": others,
        "target_modules": sorted(ranks), "lora_bias": False,
        "use_dora": any(layer.magnitude is not None for layer in layers),
    }  # fmt: skip


def to_kohya(lora: LoraFile, title: str) -> Contents:
    """Kohya's keys, by diffusers' converter, with what kohya's trainer writes into a header."""
    import torch
    from diffusers.utils import convert_state_dict_to_kohya

    if lora.is_dora:
        raise ValueError(
            f"{lora.path}: is a DoRA, which programs that read kohya's files normalise in ways of their own; "
            "give --format diffusers, or bake it into a base with `vesalius adapter fuse`"
        )
    tensors: dict[str, torch.Tensor] = {}
    large = is_of_sdxl(lora)
    config = denoiser_config(lora.base) if large else {}
    prefixes = {"unet": "unet", "text_encoder": "lora_te1" if large else "lora_te", "text_encoder_2": "lora_te2"}
    for part in PARTS:
        layers = lora.of(part)
        if not layers:
            continue
        # One alpha for all layers of a part: of several, diffusers' loader applies only the commonest.
        alpha = common_alpha(layers)
        for layer in (each.with_alpha(alpha) for each in layers):
            pair = {"lora_A.weight": layer.down, "lora_B.weight": layer.up}
            name = published_name(layer.name, config) if large and part == "unet" else plain_name(layer)
            named = convert_state_dict_to_kohya({f"{prefixes[part]}.{name}.{k}": v for k, v in pair.items()})
            # Its alpha is the rank, whatever the adapter's is.
            tensors |= {k: torch.tensor(float(alpha)) if k.endswith(".alpha") else v for k, v in named.items()}
    return contiguous(tensors), {"format": "pt", **kohya_header(lora, title)}


def is_of_sdxl(lora: LoraFile) -> bool:
    """Whether an adapter is of SDXL's shape, whose layers kohya names in a way of its own."""
    told = any(layer.name.startswith("add_embedding.linear") for layer in lora.of("unet"))
    return told or bool(lora.of("text_encoder_2")) or VERSIONS.get(text_width(lora), ("",))[0].startswith("sdxl")


def text_width(lora: LoraFile) -> int:
    """Numbers of a token's embedding, as the denoiser of an adapter has it; 0 where it adapts no layer that tells."""
    return next((layer.down.shape[1] for layer in lora.of("unet") if layer.name.endswith("attn2.to_k")), 0)


def kohya_header(lora: LoraFile, title: str) -> dict[str, str]:
    """What programs that list LoRA files look at."""
    ranks = [layer.rank for layer in lora.layers]
    width = text_width(lora)
    told = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(max(set(ranks), key=ranks.count)),
        "ss_network_alpha": str(common_alpha(lora.layers)),
        "ss_output_name": title,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": title,
        "modelspec.description": "made with Vesalius; draws synthetic images, not for diagnosis",
    }
    if width in VERSIONS:
        version, architecture = VERSIONS[width]
        told |= {
            "ss_base_model_version": version, "ss_v2": str(version == "sd_v2"),
            "modelspec.architecture": architecture, "modelspec.implementation": "diffusers",
        }  # fmt: skip
    return told


CONVERTERS = {"diffusers": to_diffusers, "kohya": to_kohya}


def contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.contiguous() for key, value in tensors.items()}


def _holds(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bool:
    """Whether a file says just this. Bytes may differ: a header has no order."""
    import torch

    try:
        there, told = load_tensors(path)
    except ValueError:
        return False
    if told != metadata or set(there) != set(tensors):
        return False
    return all(v.dtype == there[k].dtype and torch.equal(v, there[k]) for k, v in tensors.items())
