"""The layers inside LoRA files of any make: PEFT folders, diffusers files, kohya files.

The three differ in how they name a layer and in where they say its scale; its two matrices are the same in all. A layer
adds scale * up @ down to the weight that it belongs to (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.models.adapters.adapter import TEXT_ENCODERS, adapter_folder, part_folders, read_card
from vesalius.models.adapters.names import published_name
from vesalius.models.base import UNSAFE, refuse_code

if TYPE_CHECKING:
    import torch

PARTS = ("unet", *TEXT_ENCODERS)
"""What of a pipeline an adapter may change. The first lies in the adapter's folder, the others in folders inside."""
WEIGHTS = "adapter_model.safetensors"
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
_PREFIXES = {
    "unet.": "unet", "lora_unet_": "unet",
    "text_encoder.": "text_encoder", "lora_te_": "text_encoder", "lora_te1_": "text_encoder",
    "text_encoder_2.": "text_encoder_2", "lora_te2_": "text_encoder_2",
}  # fmt: skip
_ENDINGS = {
    "down": (".lora_A.weight", ".lora_down.weight", ".lora.down.weight", ".lora_linear_layer.down.weight",
             "_lora.down.weight"),
    "up": (".lora_B.weight", ".lora_up.weight", ".lora.up.weight", ".lora_linear_layer.up.weight", "_lora.up.weight"),
    "alpha": (".alpha",),
    "magnitude": (".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".dora_scale"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One adapted layer. down: [R, in, ...], up: [out, R, ...], of any float type. part: one of PARTS.

    name: as its file has it, without the part. alpha: alpha / R multiplies the output; that of an rsLoRA is already
    multiplied by sqrt(R) (Kalajdzievski 2023, arXiv 2312.03732). magnitude: of a DoRA, [out] and ones.
    """

    part: str
    name: str
    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def with_alpha(self, alpha: float) -> Layer:
        """The same layer with another alpha, what it lacks multiplied into `up`, in float32 unless nothing changes."""
        factor = self.alpha / alpha
        if math.isclose(factor, 1, rel_tol=1e-9):
            return Layer(**{**vars(self), "alpha": alpha})
        return Layer(**{**vars(self), "alpha": alpha, "up": self.up.float() * factor})

    def delta(self) -> torch.Tensor:
        """What is added to the weight, float32 [out, in] or [out, in, H, W]."""
        flat = self.scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))
        return flat.reshape(self.up.shape[0], *self.down.shape[1:])


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A LoRA as it lies on disk. format: PEFT, diffusers or kohya. unknown: keys that belong to no LoRA layer.

    metadata: what a file's header says. base: name and digest of the base that it says it was trained on.
    """

    path: Path
    format: str
    layers: tuple[Layer, ...]
    unknown: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    base_digest: str | None = None

    @cached_property
    def is_dora(self) -> bool:
        return any(layer.magnitude is not None for layer in self.layers)

    def of(self, part: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.part == part]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A layer, and the module of a base that it is for, by its name there."""

    layer: Layer
    name: str
    module: Any

    @property
    def target(self) -> str:
        """What a configuration would name it: to_q, to_out.0, ff.net.2, conv1 ..."""
        found = re.search(r"(ff\.net\.\d+(\.proj)?|[^.]*[^.\d][^.]*(\.\d+)?)$", self.name)
        return found[0] if found else self.name


def find_lora(place: Path | str) -> Path:
    """The adapter folder or LoRA file of a run, a folder, an embedded name or a file. ValueError where there is none,
    or where it is a pickle."""
    path = Path(place)
    if path.is_file():
        if path.suffix in UNSAFE:
            raise ValueError(f"{path}: pickles and code are never loaded, only safetensors; convert it first")
        if path.suffix != ".safetensors":
            raise ValueError(f"{path}: is no adapter; give a folder, or a LoRA file that ends with .safetensors")
        return path
    if path.is_dir() and not any((path / at / "adapter_config.json").is_file() for at in ("adapter", "")):
        refuse_code(path)
        if (path / DIFFUSERS_FILE).is_file():
            return path / DIFFUSERS_FILE
        files = sorted(path.glob("*.safetensors"))
        if len(files) == 1 and not (path / "config.json").is_file():
            return files[0]
    folder = adapter_folder(place)
    refuse_code(folder)
    return folder


def read_lora(place: Path | str) -> LoraFile:
    """The layers of an adapter of any format. ValueError where there is none, or its file is damaged."""
    path = find_lora(place)
    return _read_folder(path) if path.is_dir() else _read_file(path)


def _read_folder(folder: Path) -> LoraFile:
    layers: list[Layer] = []
    unknown: list[str] = []
    for part, place in part_folders(folder).items():
        config = read_lora_config(place)
        tensors, _ = load_tensors(place / WEIGHTS)
        keys = {f"{part}.{key.removeprefix('base_model.model.')}": value for key, value in tensors.items()}
        found, rest = _collect(keys, {part: vars(config)}, f"{place / 'adapter_config.json'}")
        layers += found
        unknown += rest
    card = read_card(folder)
    return LoraFile(
        path=folder, format="PEFT", layers=tuple(layers), unknown=tuple(unknown),
        base=card.base if card else None, base_digest=card.base_digest if card else None,
    )  # fmt: skip


def _read_file(path: Path) -> LoraFile:
    tensors, metadata = load_tensors(path)
    kohya = any(key.startswith(("lora_unet_", "lora_te")) for key in tensors)
    configs: dict[str, dict[str, Any]] = {}
    if told := metadata.get("lora_adapter_metadata"):
        try:
            row = json.loads(told)
            configs = {p: {k.removeprefix(f"{p}."): v for k, v in row.items() if k.startswith(f"{p}.")} for p in PARTS}
        except (ValueError, AttributeError):
            raise ValueError(f"{path}: its lora_adapter_metadata is not JSON; export it again") from None
    layers, unknown = _collect(tensors, configs, f"{path} (lora_adapter_metadata)")
    if not layers:
        raise ValueError(
            f"{path}: is no LoRA of a Stable Diffusion model: none of its {len(tensors)} keys is a layer's "
            f"({', '.join(list(tensors)[:2])})"
        )
    return LoraFile(
        path=path, format="kohya" if kohya else "diffusers", layers=tuple(layers), unknown=tuple(unknown),
        metadata=metadata, base=metadata.get("vesalius.base") or metadata.get("ss_sd_model_name"),
        base_digest=metadata.get("vesalius.base_digest"),
    )  # fmt: skip


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a safetensors file and what its header says. ValueError where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: is no whole safetensors file ({str(error)[:100]}); copy or make it again") from None


def read_lora_config(folder: Path) -> Any:
    """PEFT's configuration of a folder. ValueError where it is none of a LoRA."""
    from peft import LoraConfig, PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / 'adapter_config.json'}: is no configuration of PEFT: {str(error)[:150]}") from None
    if not isinstance(config, LoraConfig):
        raise ValueError(f"{folder / 'adapter_config.json'}: is a {config.peft_type}, not a LoRA")
    return config


def _collect(
    tensors: Mapping[str, torch.Tensor], configs: Mapping[str, Mapping[str, Any]], where: str
) -> tuple[list[Layer], list[str]]:
    """Keys of one file put together by layer; and the keys that belong to none. where: of the configurations."""
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    homes: dict[str, tuple[str, str]] = {}
    for key, value in tensors.items():
        prefix = next((p for p in _PREFIXES if key.startswith(p)), None)
        kind = next((k for k, endings in _ENDINGS.items() if key.endswith(endings)), None)
        if prefix is None or kind is None:
            continue
        ending = next(e for e in _ENDINGS[kind] if key.endswith(e))
        homes[key] = (_PREFIXES[prefix], key[len(prefix) : -len(ending)])
        found.setdefault(homes[key], {})[kind] = value
    whole = {home for home, kinds in found.items() if _is_whole(kinds)}
    layers = []
    for part, name in (home for home in found if home in whole):
        kinds = found[part, name]
        rank = int(kinds["down"].shape[0])
        told = kinds["alpha"].item() if "alpha" in kinds else _alpha(configs.get(part), name, rank, where)
        layers.append(
            Layer(
                part=part, name=name, down=kinds["down"], up=kinds["up"], alpha=float(told),
                magnitude=kinds.get("magnitude"),
            )
        )  # fmt: skip
    return layers, [key for key in tensors if homes.get(key) not in whole]


def _is_whole(kinds: Mapping[str, torch.Tensor]) -> bool:
    if not {"down", "up"} <= set(kinds):
        return False
    down, up = kinds["down"], kinds["up"]
    return down.ndim >= 2 and up.ndim >= 2 and down.shape[0] == up.shape[1] > 0


def _alpha(config: Mapping[str, Any] | None, name: str, rank: int, where: str) -> float:
    """The alpha of a layer by a configuration of PEFT; without one alpha is the rank, as diffusers takes it."""
    if not config:
        return rank
    from peft.utils.other import get_pattern_key

    try:
        pattern = config.get("alpha_pattern") or {}
        alpha = float(pattern.get(get_pattern_key(list(pattern), name), config.get("lora_alpha", rank)))
    except (ValueError, TypeError, AttributeError, re.error) as error:
        raise ValueError(f"{where}: is no configuration of PEFT: its alpha of '{name}': {error}") from None
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def common_alpha(layers: Iterable[Layer]) -> float:
    """The alpha that most layers have; 0, which switches a layer off, is none to express others by."""
    alphas = Counter(layer.alpha for layer in layers if layer.alpha)
    return alphas.most_common(1)[0][0] if alphas else 1.0


def match_layers(lora: LoraFile, pipeline: Any) -> tuple[list[Match], list[str]]:
    """Each layer with the module of a pipeline that it is for; and the layers that fit none, each with the reason.

    Kohya joins names by underscores and has others for SDXL's denoiser, old transformers put `text_model` before those
    of a text encoder, and old diffusers had processors between.
    """
    large = getattr(pipeline, "text_encoder_2", None) is not None
    tables: dict[str, dict[str, tuple[str, Any]]] = {}
    for part in PARTS:
        table = tables.setdefault(part, {})
        network: Any = getattr(pipeline, part, None)  # a second text encoder has SDXL alone
        for name, module in network.named_modules() if network is not None else ():
            if getattr(module, "weight", None) is not None:
                plain = name.removeprefix("text_model.")
                names = (plain, f"text_model.{plain}") if part in TEXT_ENCODERS else (plain,)
                if large and part == "unet":
                    names = (plain, published_name(plain, network.config))
                table.update(dict.fromkeys([*names, *(n.replace(".", "_") for n in names)], (name, module)))
    matched, unmatched = [], []
    for layer in lora.layers:
        told = re.sub(r"\.to_out$", ".to_out.0", layer.name.replace(".processor.", "."))
        shape = (layer.up.shape[0], *layer.down.shape[1:])
        if told not in tables[layer.part]:
            unmatched.append(f"{layer.part}: {layer.name}")
            continue
        name, module = tables[layer.part][told]
        if math.prod(shape) != module.weight.numel() or shape[0] != module.weight.shape[0]:
            there = "x".join(map(str, module.weight.shape))
            unmatched.append(f"{layer.part}: {layer.name} ({'x'.join(map(str, shape))}, in the base {there})")
        else:
            matched.append(Match(layer=layer, name=name, module=module))
    return matched, unmatched


def add_layers(matched: Iterable[Match]) -> None:
    """Add layers to the weights of their modules, in place: the formula itself, which other code is compared with.

    A DoRA sets the length of each row to its magnitude afterwards (Liu et al. 2024, arXiv 2402.09353).
    """
    import torch

    with torch.no_grad():
        for match in matched:
            weight, magnitude = match.module.weight, match.layer.magnitude
            weight += match.layer.delta().reshape(weight.shape)
            if magnitude is not None:
                length = weight.flatten(1).norm(dim=1)
                weight *= (magnitude.flatten().float() / length).reshape(-1, *(1,) * (weight.ndim - 1))
