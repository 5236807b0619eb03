"""Weights that lie in their files and come into memory when they are needed, where a machine has no second memory.

A part of a pipeline is made without weights. In place of each stands one number, spread over the weight's shape, so
that device, type and shape can be asked for. Hooks bring the weights: of a whole part when its turn comes, while the
others leave, or of each layer for its own pass alone. Tensors are read one at a time, each file mapped no longer than
for one of them, since mapped pages count as memory that a process holds.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from accelerate.hooks import ModelHook, add_hook_to_module
from safetensors import SafetensorError, safe_open
from torch import nn

from vesalius.models.base import NOT_A_BASE, Base, base_folder, is_large, not_a_base, open_base
from vesalius.models.computing.machine import return_memory

Stay = Literal["resident", "turn", "layer"]
"""How long weights stay: always, while it is their part's turn, or for the pass of one layer."""
STEMS = ("diffusion_pytorch_model", "model")
"""What diffusers and transformers call the files of weights."""

PRODUCTS = (nn.Linear, nn.Conv2d)
"""Layers whose weights autocast makes bfloat16 for each pass: made so before, they give the same to the last bit."""


@dataclass(eq=False, kw_only=True)
class Slot:
    """Where one weight belongs, and where it lies. owner: the module that it is a parameter of. dtype: in which it is
    used. held: the weight in the type of its file, where it waits in memory to be cast for each pass."""

    owner: nn.Module
    name: str
    path: Path
    key: str
    dtype: torch.dtype
    held: torch.Tensor | None = None

    def read(self, *, as_stored: bool = False) -> torch.Tensor:
        """The weight, in memory of its own. as_stored: in the type of its file."""
        with safe_open(self.path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(self.key)
            return tensor.to(tensor.dtype if as_stored else self.dtype, copy=True)

    def put(self, tensor: torch.Tensor) -> None:
        self.owner._parameters[self.name] = nn.Parameter(tensor, requires_grad=False)

    def clear(self) -> None:
        """Leave one number in place of the weight."""
        former = self.owner._parameters[self.name]
        assert former is not None
        self.put(torch.zeros((), dtype=self.dtype).expand(former.shape))


class Shelf:
    """The weights of one part, those of its products in `dtype` when they are used.

    casts: whether they wait in memory in the type of their file and each layer's are cast for its own pass: the values
    of `dtype` in the memory of the file.
    """

    def __init__(self, network: nn.Module, folder: Path, dtype: torch.dtype, *, casts: bool = False) -> None:
        """ValueError where the folder lacks a weight."""
        self.network, self.casts = network, casts
        self.slots = list(_slots(network, folder, dtype))
        self.is_open = self.layered = False
        for slot in self.slots:
            slot.clear()

    def open(self) -> None:
        """Bring the weights, where they are not there."""
        if self.is_open:
            return
        for slot in self.slots:
            if self.casts:
                slot.held = slot.read(as_stored=True)
            elif not self.layered:
                slot.put(slot.read())
        self.is_open = True

    def close(self) -> None:
        """Let them go."""
        if not self.is_open:
            return
        for slot in self.slots:
            slot.held = None
            slot.clear()
        self.is_open = False
        return_memory()

    def by_layer(self) -> None:
        """From now on each layer brings its own weights, and lets them go after its pass."""
        self.layered = True
        for module, slots in _units(self.network, self.slots):
            add_hook_to_module(module, _Layer(slots), append=True)


class _Layer(ModelHook):  # type: ignore[misc]
    """Weights for the pass of one layer."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        for slot in self._slots:
            slot.put(slot.read() if slot.held is None else slot.held.to(slot.dtype))
        return args, kwargs

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        for slot in self._slots:
            slot.clear()
        return output


class _Turn(ModelHook):  # type: ignore[misc]
    """Brings a part's weights before it is used, and sends those of the others away."""

    def __init__(self, mine: Shelf, others: Sequence[Shelf]) -> None:
        self._mine, self._others = mine, others

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        for shelf in self._others:
            shelf.close()
        self._mine.open()
        return args, kwargs

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        return_memory()  # or what one pass freed would be in pieces, too small for the next one
        return output


def open_shelved(name: str, dtypes: Mapping[str, torch.dtype], *, casts: bool = False) -> tuple[Base, list[Shelf]]:
    """A base whose weights are still in their files, and the shelves of its parts, in the order in which they are used.

    dtypes: of `unet` and `vae`; text encoders are in float32, since latents are of their type. casts: as `Shelf`, of
    the denoiser. ValueError as `open_base`.
    """
    folder = base_folder(name)
    try:
        networks = _empty_networks(folder)
        shelves = {
            part: Shelf(network, folder / part, dtypes.get(part, torch.float32), casts=casts and part == "unet")
            for part, network in networks.items()
        }
    except NOT_A_BASE as error:
        raise not_a_base(name, error) from None
    for network in networks.values():
        network.weights_on_shelf = True
    return open_base(name, parts=networks), list(shelves.values())


def settle(shelves: Sequence[Shelf], stay: Stay) -> None:
    """Decide how long weights stay, once all layers that an adapter adds are there."""
    for shelf in shelves:
        if stay == "layer" or shelf.casts:
            shelf.by_layer()
    for shelf in shelves:
        if stay == "resident":
            shelf.open()
        else:  # a part whose layers bring their weights has its turn too: then freed memory goes back to the system
            others = [other for other in shelves if other is not shelf]
            add_hook_to_module(shelf.network, _Turn(shelf, others), append=True)


def stored_tensors(folder: Path) -> dict[str, tuple[Path, str, tuple[int, ...]]]:
    """File, type (as safetensors calls it) and shape of each tensor of a part's folder, by name, from headers alone.

    ValueError where it holds no safetensors, or they are damaged.
    """
    found: dict[str, tuple[Path, str, tuple[int, ...]]] = {}
    for path in _weight_files(folder):
        found |= file_tensors(path, "copy the base's folder again, or use --base nano")
    return found


def file_tensors(path: Path, remedy: str) -> dict[str, tuple[Path, str, tuple[int, ...]]]:
    """The same of one file. ValueError, which ends with the remedy, where it is damaged."""
    found: dict[str, tuple[Path, str, tuple[int, ...]]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(key)
                found[key] = path, part.get_dtype(), tuple(part.get_shape())
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from None
    return found


def _weight_files(folder: Path) -> list[Path]:
    """The files that diffusers and transformers would open, and no variants beside them."""
    for stem in STEMS:
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            return sorted({folder / name for name in json.loads(index.read_bytes())["weight_map"].values()})
        if (whole := folder / f"{stem}.safetensors").is_file():
            return [whole]
    raise ValueError(f"{folder.name} holds no weights as safetensors; save the base anew with them")


def _empty_networks(folder: Path) -> dict[str, Any]:
    """The networks of a base without weights, by name, in the order in which a drawing uses them."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def settings(part: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((folder / part / "config.json").read_bytes())
        return told

    encoders: dict[str, Any] = {"text_encoder": CLIPTextModel}
    if is_large(folder):
        encoders["text_encoder_2"] = CLIPTextModelWithProjection
    with init_empty_weights(include_buffers=False):
        networks: dict[str, Any] = {part: kind(CLIPTextConfig(**settings(part))) for part, kind in encoders.items()}
        networks["unet"] = UNet2DConditionModel.from_config(settings("unet"))
        networks["vae"] = AutoencoderKL.from_config(settings("vae"))
    return networks


def _slots(network: nn.Module, folder: Path, dtype: torch.dtype) -> Iterator[Slot]:
    stored = stored_tensors(folder)
    names = OrderedDict((key, key) for key in stored)
    if hasattr(network, "_fix_state_dict_keys_on_load"):  # attention of autoencoders had other names once
        network._fix_state_dict_keys_on_load(names)  # type: ignore[operator]
    plain = {_plain(name): key for name, key in names.items()}
    for prefix, module in network.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            full = f"{prefix}.{name}" if prefix else name
            key = plain.get(_plain(full))
            if key is None or stored[key][2] != tuple(parameter.shape):
                there = "is missing" if key is None else f"has shape {stored[key][2]}, not {tuple(parameter.shape)}"
                raise ValueError(f"{folder.name}: {full} {there}")
            own = dtype if isinstance(module, PRODUCTS) else torch.float32
            yield Slot(owner=module, name=name, path=stored[key][0], key=key, dtype=own)


def _plain(name: str) -> str:
    """A weight's name without what transformers wrote before those of CLIP until its version 5."""
    return name.removeprefix("text_model.")


def _units(network: nn.Module, slots: Sequence[Slot]) -> Iterator[tuple[nn.Module, list[Slot]]]:
    """The layers of a network with the weights that each needs for a pass. An adapter's layer and the one that it
    changes are one, since DoRA looks at the weights of the other."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    by_owner: dict[int, list[Slot]] = {}
    for slot in slots:
        by_owner.setdefault(id(slot.owner), []).append(slot)
    waiting: list[nn.Module] = [network]
    while waiting:
        module = waiting.pop()
        if isinstance(module, BaseTunerLayer):
            inside = [slot for each in module.modules() for slot in by_owner.get(id(each), ())]
        else:
            inside = by_owner.get(id(module), [])
            waiting.extend(module.children())
        if inside:
            yield module, inside
