"""The witness: a second network, used for evaluation only, that never filters a sample.

It shares neither weights nor architecture nor seed with the judge: a small vision transformer trained without labels
(`vesalius.finetune.judges.witness`), and linear heads on its frozen features that say what a picture shows.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from vesalius.data.datasets.split import divided, patient_key
from vesalius.data.record import Record, write_json
from vesalius.data.texts.captions import UNLABELLED
from vesalius.models.base import digest_folder

MIN_TRAIN, MIN_TEST, MIN_GROUPS = 30, 10, 2
FINDINGS = "findings/"
"""How the names of those heads begin that answer yes or no to each class: findings do not exclude one another."""


@dataclass(frozen=True, kw_only=True)
class WitnessConfig:
    """Sizes, and the classes of each head."""

    image_size: int = 128
    """pixels along an edge"""
    patch: int = 16
    """pixels along an edge of a patch"""
    width: int = 160
    """numbers of a patch's embedding"""
    depth: int = 4
    """layers"""
    attention_heads: int = 4
    """heads of attention of each layer"""
    grid: int = 4
    """cells along an edge of the coarse map that the heads see"""
    local: int = 32
    """numbers of each of its cells"""
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """classes of each head; training finds them"""

    @property
    def cells(self) -> int:
        """Patches along an edge."""
        return self.image_size // self.patch


class Witness(nn.Module):
    """A second network that is used for evaluation only and never filters a sample. `load` opens it.

    A vision transformer (Dosovitskiy et al. 2021) and linear heads. `digest` names the weights.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    places: torch.Tensor

    def __init__(self, config: WitnessConfig, digest: str = "") -> None:
        super().__init__()
        self.config, self.digest = config, digest
        width = config.width
        # On each patch alone, so that a hidden one leaks nowhere: blocks of 4 x 4 pixels, squares of four, the patch.
        quarters = (config.patch // 8) ** 2
        self.fine = nn.Sequential(nn.Linear(48, 64), nn.GELU())
        self.middle = nn.Sequential(nn.Linear(4 * 64, width), nn.GELU())
        self.coarse = nn.Linear(quarters * width, width)
        self.register_buffer("places", grid_positions(config.cells, width), persistent=False)
        self.layers = make_layers(width, config.depth, config.attention_heads)
        # Principal axes of a cell's tokens and the scale of each feature: set when the heads are fitted.
        self.axes = nn.Linear(width, config.local)
        self.register_buffer("mean", torch.zeros(self.num_features))
        self.register_buffer("deviation", torch.ones(self.num_features))
        self.heads = nn.ModuleList(nn.Linear(self.num_features, len(c)) for c in config.heads.values())

    @property
    def num_global(self) -> int:
        """Features of a picture as a whole: mean and deviation of each channel over the tokens."""
        return 2 * self.config.width

    @property
    def num_features(self) -> int:
        """The global features and those of each cell of the coarse map."""
        return self.num_global + self.config.local * self.config.grid**2

    def tokens(self, patches: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Patches of `to_patches` -> [N, T, C], those alone that are `kept` (int64 [N, K]) where they are named."""
        places = self.places.to(patches.dtype).expand(len(patches), -1, -1)
        if kept is not None:
            patches = patches.gather(1, kept[:, :, None, None, None].expand(-1, -1, *patches.shape[2:]))
            places = places.gather(1, kept[..., None].expand(-1, -1, places.shape[2]))
        blocks = self.middle(self.fine(patches).flatten(3))
        hidden: torch.Tensor = self.layers(self.coarse(blocks.flatten(2)) + places)
        return hidden

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """NCHW uint8 of any size -> float32 [N, F], the global ones first, of unit variance over training images."""
        return torch.cat([self._describe(part) for part in images.split(64)]).sub(self.mean).div(self.deviation)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """NCHW uint8 of any size -> global features float32 [N, C], of unit variance over training images."""
        return self.features(images)[:, : self.num_global]

    @torch.inference_mode()
    def read(self, features: torch.Tensor, head: str) -> torch.Tensor:
        """Features of `features` -> probabilities [N, classes of the head]. ValueError where there is no such head.

        They sum to one, save for the heads of findings, which answer yes or no to each class.
        """
        names = list(self.config.heads)
        if head not in names:
            near = difflib.get_close_matches(head, names, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ";"
            raise ValueError(f"the witness has no head '{head}'{hint} ({', '.join(names) or 'none was fitted'})")
        with torch.autocast(features.device.type, enabled=False):  # in bfloat16 near answers become equal
            logits: torch.Tensor = self.heads[names.index(head)](features)
        return logits.sigmoid() if head.startswith(FINDINGS) else logits.softmax(1)

    def classify(self, images: torch.Tensor, head: str) -> tuple[torch.Tensor, tuple[str, ...]]:
        """NCHW uint8 -> probabilities [N, K] as `read`, and the K names."""
        return self.read(self.features(images), head), self.config.heads[head]

    def look(self, images: torch.Tensor) -> torch.Tensor:
        """NCHW uint8 of any size -> tokens float32 [N, T, C]."""
        pixels = images.float() / 127.5 - 1.0
        size = self.config.image_size
        if pixels.shape[-1] != size:
            pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
        return self.tokens(to_patches(pixels, self.config.patch))

    def _describe(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.look(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.describe(tokens.float())

    def describe(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [N, T, C] -> features [N, F] as they are, before mean and deviation of training images."""
        cells = self.config.cells
        local = self.axes(tokens).transpose(1, 2).unflatten(2, (cells, cells))
        local = functional.adaptive_avg_pool2d(local, self.config.grid).flatten(1)
        return torch.cat([tokens.mean(1), tokens.std(1), local], 1)

    def save(self, folder: Path, origin: Mapping[str, str] | None = None) -> None:
        """Write config and fp16 weights. origin: where they come from, kept in their file (`models.origin`)."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", asdict(self.config))
        weights = {k: v.half().contiguous() for k, v in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors", dict(origin or {}))

    @staticmethod
    def load(folder: Path | None = None) -> Witness:
        """The embedded witness, or that of a folder. ValueError where there is none."""
        folder = folder or Path(str(importlib.resources.files("vesalius.models"))) / "witness"
        if not (folder / "model.safetensors").is_file():
            raise ValueError(f"{folder}: no witness there (config.json, model.safetensors)")
        row: dict[str, Any] = json.loads((folder / "config.json").read_text())
        heads = {name: tuple(classes) for name, classes in row.pop("heads").items()}
        witness = Witness(WitnessConfig(**row, heads=heads), digest_folder(folder))
        witness.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        return witness.eval().requires_grad_(False)


class Layer(nn.Module):
    """A transformer layer with the norm first (Xiong et al. 2020).

    Attention is written out: over so few tokens, in bfloat16 on a CPU, it takes a fifth of the fused kernel's time.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mixed = self.query_key_value(self.first(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attention = ((query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)).softmax(3)
        tokens = tokens + self.out((attention @ value).transpose(1, 2).flatten(2))
        hidden: torch.Tensor = tokens + self.hidden(self.second(tokens))
        return hidden


def make_layers(width: int, depth: int, heads: int) -> nn.Sequential:
    """Layers, and a norm at the end."""
    return nn.Sequential(*(Layer(width, heads) for _ in range(depth)), nn.LayerNorm(width))


def to_patches(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """NCHW -> [N, T, Q, 4, 48]: patches in rows, each of Q squares of 8 x 8 pixels, of four blocks of 4 x 4 pixels."""
    num, channels, _, width = pixels.shape
    squares = patch // 8
    split = pixels.reshape(num, channels, -1, squares, 2, 4, width // patch, squares, 2, 4)
    return split.permute(0, 2, 6, 3, 7, 4, 8, 1, 5, 9).reshape(num, -1, squares**2, 4, channels * 16)


def grid_positions(cells: int, width: int) -> torch.Tensor:
    """Sines and cosines of row and column (He et al. 2022), float32 [cells^2, width]."""
    rates = 100 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(cells)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = waves[:, None].expand(-1, cells, -1), waves[None].expand(cells, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def classes_of(record: Record) -> dict[str, str]:
    """What a record says in each head's words: {"modality": "MRI", "organ": "MRI/brain", "MRI/brain": "glioma"}.

    Each (modality, organ) is a task of its own, and "tissue" one over all histopathology. Phantoms have no organ here:
    they are drawings. Labels of the sources in `UNLABELLED` are not read.
    """
    said = {"modality": record.modality}
    if record.origin == "phantom" or not record.organ:
        return said
    place = f"{record.modality}/{record.organ}"
    said["organ"] = place
    if record.label and record.source not in UNLABELLED:
        said[place] = record.label
        if record.modality == "pathology":
            said["tissue"] = f"{record.organ}/{record.label}"
    return said


def learnable_classes(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Classes by task with enough to learn from: `MIN_TRAIN` training images of `MIN_GROUPS` patients or groups.

    Tasks of one class are left out: there is nothing to tell apart.
    """
    found = _plentiful([r for r in records if r.split == "train"], MIN_TRAIN)
    return {task: classes for task, classes in found.items() if len(classes) > 1}


def measurable_classes(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The learnable classes whose reading can be checked; all others are shown, not measured.

    They have `MIN_TEST` test images of `MIN_GROUPS` patients or groups of which no image is in another split.
    """
    tested = _plentiful(held_out(records), MIN_TEST)
    both = {
        task: tuple(c for c in classes if c in tested.get(task, ()))
        for task, classes in learnable_classes(records).items()
    }
    return {task: classes for task, classes in both.items() if classes}


def held_out(records: Sequence[Record]) -> list[Record]:
    """The test images of patients and groups that lie in no other split."""
    shared = set(divided(list(records)))
    return [r for r in records if r.split == "test" and patient_key(r) not in shared]


def _plentiful(records: Sequence[Record], num: int) -> dict[str, tuple[str, ...]]:
    counts: Counter[tuple[str, str]] = Counter()
    groups: dict[tuple[str, str], set[str | None]] = {}
    for record in records:
        for member in classes_of(record).items():
            counts[member] += 1
            groups.setdefault(member, set()).add(patient_key(record))
    tasks: dict[str, list[str]] = {}
    for task, name in sorted(m for m, count in counts.items() if count >= num and len(groups[m]) >= MIN_GROUPS):
        tasks.setdefault(task, []).append(name)
    return {task: tuple(names) for task, names in tasks.items()}
