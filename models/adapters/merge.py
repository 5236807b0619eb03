"""Several adapters of one base blended into one: weight times delta, summed, layer by layer."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.record import write_json
from vesalius.models.adapters.adapter import (
    TEXT_ENCODERS,
    AdapterCard,
    adapter_folder,
    disk_errors,
    part_folders,
    read_card,
    write_adapter,
)
from vesalius.models.adapters.config import AdapterMergeConfig
from vesalius.models.adapters.export import refuse_more_than_lora, run_name
from vesalius.models.adapters.layers import PARTS, Layer, LoraFile, read_lora
from vesalius.models.base import digest_folder, open_base, refuse_code


@dataclass(frozen=True, kw_only=True)
class AdapterMerge:
    """What a blend came to. rank: of the new adapter, of its largest layer.

    error: of the new deltas against the sum of the old ones: Frobenius norm of the difference over that of the sum.
    """

    path: Path
    """folder of the new adapter"""
    rank: int
    num_layers: int
    """adapted layers"""
    shares: dict[str, float]
    """weight by adapter"""
    error: float


def merge_adapters(config: AdapterMergeConfig) -> AdapterMerge:
    """Write a blend of adapters as a new adapter folder with its own card, whole or not at all.

    ValueError where one is missing, where they were trained on different bases or are drawn with in different ways,
    where the weights do not fit, or where something lies at the place.
    """
    config.check()
    refuse_taken(config.out)
    folders = [adapter_folder(place) for place in config.adapters]
    if len({f.resolve() for f in folders}) < len(folders):
        raise ValueError("an adapter is named twice; name each once, and give it the sum of its weights")
    cards = [told_card(folder) for folder in folders]
    loras = [read_lora(folder) for folder in folders]
    for lora in loras:
        refuse_code(lora.path)
        refuse_more_than_lora(lora)
        if lora.is_dora:
            raise ValueError(f"{lora.path}: is a DoRA, whose delta depends on the base; bake it in with `adapter fuse`")
    card = blended_card(cards, folders)
    base = open_base(config.base or card.base)
    if base.digest != card.base_digest:
        raise ValueError(
            f"{folders[0]}: trained on base '{card.base}' ({card.base_digest[:12]}), "
            f"not on '{base.name}' ({base.digest[:12]}); give its own --base"
        )
    blended = {
        part: blend(getattr(base.pipeline, part), having, shares)
        for part in PARTS
        if (having := [part_folders(f)[part] for f in folders if part in part_folders(f)])
        and (shares := [w for f, w in zip(folders, config.shares, strict=True) if part in part_folders(f)])
    }
    if config.rank is not None:
        for model in blended.values():
            shrink(model, config.rank)
    names = unique_names(folders)
    summary = AdapterMerge(
        path=config.out, shares=dict(zip(names, config.shares, strict=True)),
        rank=max(c.r for c in (m.peft_config["default"] for m in blended.values())),
        num_layers=sum(len(factors(m)) for m in blended.values()), error=error_of(blended, loras, config.shares),
    )  # fmt: skip
    if config.rank is None and not summary.error < 1e-3:
        raise ValueError(
            f"{config.out}: PEFT cannot blend these exactly; their configurations exclude each other, "
            "so fuse them one after another (`vesalius adapter fuse`)"
        )
    if not config.dry_run:
        write_blend(config.out, summary, blended, card, folders)
    return summary


def refuse_taken(out: Path) -> None:
    """ValueError where something lies at a place that is to be written."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ValueError(f"{out}: is there already; choose another --out, or remove it")


def told_card(folder: Path) -> AdapterCard:
    card = read_card(folder)
    if card is None:
        raise ValueError(
            f"{folder}: has no adapter.json, so its base and its generation depth are unknown; leave it out"
        )
    return card


def blended_card(cards: list[AdapterCard], folders: list[Path]) -> AdapterCard:
    """The card of a blend: as deep as the deepest, of all modalities. ValueError where the adapters do not agree."""
    for card, folder in zip(cards[1:], folders[1:], strict=True):
        if card.base_digest != cards[0].base_digest:
            raise ValueError(
                f"{folders[0]} was trained on base '{cards[0].base}' ({cards[0].base_digest[:12]}), {folder} on "
                f"'{card.base}' ({card.base_digest[:12]}); only adapters of one base can be blended"
            )
    ways = [(card.sampling, folder) for card, folder in zip(cards, folders, strict=True) if card.sampling]
    for way, folder in ways[1:]:
        if way != ways[0][0]:
            raise ValueError(
                f"{ways[0][1]} and {folder} are made to be drawn with in different ways (`sampling` in their "
                "adapter.json); blend those that agree"
            )
    data = hashlib.sha256("".join(sorted(card.data_digest for card in cards)).encode()).hexdigest()
    return dataclasses.replace(
        cards[0], data_digest=data, depth=max(card.depth for card in cards), steps=sum(card.steps for card in cards),
        modalities=tuple(sorted({m for card in cards for m in card.modalities})),
        sampling=ways[0][0] if ways else None,
    )  # fmt: skip


def blend(model: Any, folders: list[Path], shares: list[float]) -> Any:
    """PEFT's own blend of adapters on a model, as its one adapter, named `default`; exact, by joining ranks."""
    from peft import PeftModel
    from safetensors import SafetensorError

    names = [f"part{i}" for i in range(len(folders))]
    wrapped: Any = None
    for name, folder in zip(names, folders, strict=True):
        try:
            if wrapped is None:
                wrapped = PeftModel.from_pretrained(model, folder, adapter_name=name)
            else:
                wrapped.load_adapter(folder, adapter_name=name)
        except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"{folder}: does not fit its base: {str(error)[:200]}") from None
    for each in wrapped.peft_config.values():
        each.use_rslora = False  # the scales are in the layers by now; the blend's is 1, which rsLoRA would multiply
    try:
        wrapped.add_weighted_adapter(names, shares, "default", combination_type="cat")
    except ValueError as error:
        raise ValueError(f"{folders[0].parent}: PEFT cannot blend these: {str(error)[:200]}") from None
    wrapped.peft_config["default"].base_model_name_or_path = None  # on saving, PEFT would ask the hub about it
    wrapped.set_adapter("default")
    for name in names:
        wrapped.delete_adapter(name)
    return wrapped


def factors(model: Any) -> dict[str, Any]:
    """The adapted layers of a blend by their names in the model."""
    from peft.tuners.lora import LoraLayer

    found = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return {name.removeprefix("base_model.model."): m for name, m in found.items() if "default" in m.lora_A}


def shrink(model: Any, rank: int) -> None:
    """Give every layer the rank whose delta is nearest (Eckart and Young 1936), in place.

    From the two factors: PEFT's `svd` takes that of the whole delta, for minutes a layer in a full-size base, and
    fails where a layer has fewer channels than the rank.
    """
    import torch

    config = model.peft_config["default"]
    if rank >= config.r:
        raise ValueError(f"--rank {rank} is not below the exact rank {config.r}; leave it out")
    with torch.no_grad():
        for module in factors(model).values():
            down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
            scale = module.scaling["default"]
            left, right = torch.linalg.qr(up.flatten(1).double()), torch.linalg.qr(down.flatten(1).double().T)
            u, sizes, v = torch.linalg.svd(left.R @ right.R.T * scale)
            kept = min(rank, len(sizes))
            root = sizes[:kept].sqrt()
            new_down, new_up = down.new_zeros(rank, *down.shape[1:]), up.new_zeros(up.shape[0], rank, *up.shape[2:])
            new_down[:kept] = (root[:, None] * (v[:kept] @ right.Q.T)).reshape(kept, *down.shape[1:]).to(down.dtype)
            new_up[:, :kept] = ((left.Q @ u[:, :kept]) * root).reshape(-1, kept, *up.shape[2:]).to(up.dtype)
            module.lora_A["default"].weight.data = new_down
            module.lora_B["default"].weight.data = new_up
            module.scaling["default"], module.r["default"] = 1.0, rank
    config.r = config.lora_alpha = rank


def error_of(blended: dict[str, Any], loras: list[LoraFile], shares: Iterable[float]) -> float:
    """How far the deltas of a blend are from the weighted sum of deltas, relative to its size. One layer at a time, for
    the deltas of a full-size base are as large as the base."""
    wanted: dict[tuple[str, str], list[tuple[float, Layer]]] = {}
    for lora, share in zip(loras, shares, strict=True):
        for layer in lora.layers:
            wanted.setdefault((layer.part, layer.name.removeprefix("text_model.")), []).append((share, layer))
    modules = {(p, n.removeprefix("text_model.")): m for p, model in blended.items() for n, m in factors(model).items()}
    gap = size = 0.0
    for key in wanted.keys() | modules.keys():
        total: Any = sum(share * layer.delta() for share, layer in wanted.get(key, ()))
        new: Any = modules[key].get_delta_weight("default").detach().float() if key in modules else 0
        if key in wanted and key in modules:
            total = total.reshape(new.shape)
        gap += float(((new - total) ** 2).sum())
        size += float((total**2).sum()) if key in wanted else 0
    return (gap / size) ** 0.5 if size else 0.0


def unique_names(folders: list[Path]) -> list[str]:
    """What the adapters of a blend are called in it: their runs, with a number where two are called alike."""
    names = [run_name(folder) for folder in folders]
    return [f"{name}-{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which then is `out`, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_errors(temporary):
            yield temporary
            if out.is_dir():  # an empty one
                out.rmdir()
            os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_blend(
    out: Path, summary: AdapterMerge, blended: dict[str, Any], card: AdapterCard, folders: list[Path]
) -> None:
    """The adapter folder, with `blend.json`, which says what it was made of."""
    with whole_folder(out) as temporary:
        write_adapter(temporary, blended["unet"], card, *(blended.get(name) for name in TEXT_ENCODERS))
        parents = [
            {"adapter": name, "digest": digest_folder(folder), "weight": share}
            for (name, share), folder in zip(summary.shares.items(), folders, strict=True)
        ]
        write_json(temporary / "blend.json", {"adapters": parents, "rank": summary.rank, "error": summary.error})
