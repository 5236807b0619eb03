"""The judge: a small image-text pair and a finding classifier that score pictures.

It shares no weight with the generator, and is trained on real images and phantoms only, by
`vesalius.finetune.judges.judge`, never on generated ones.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from vesalius.data.record import Finding, write_json
from vesalius.models.base import digest_folder


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Sizes and labels. attributes: "MODALITY/kind" or "MODALITY/kind/side", one output of the finding head each."""

    modalities: tuple[str, ...]
    attributes: tuple[str, ...]
    image_size: int = 128
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    embedding: int = 96
    text_width: int = 96
    text_layers: int = 2
    context: int = 128
    vocabulary: int = 2048


class ImageEncoder(nn.Module):
    """NCHW float32 in [-1, 1] -> (embedding [N, C], modality logits, attribute logits)."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in config.widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, stride=2), nn.GroupNorm(8, width), nn.SiLU()]
            channels = width
        self.trunk = nn.Sequential(*layers)
        cells = (config.image_size // 2 ** len(config.widths)) ** 2
        # Flattened rather than pooled: where a lesion lies is what the side head must see.
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * cells, 256), nn.SiLU())
        self.embedding = nn.Linear(256, config.embedding)
        self.modality = nn.Linear(256, len(config.modalities))
        self.attributes = nn.Linear(256, len(config.attributes))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.answer(self.hidden(self.trunk(pixels)))

    def answer(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return functional.normalize(self.embedding(hidden), dim=1), self.modality(hidden), self.attributes(hidden)


class TextEncoder(nn.Module):
    """Token ids int64 [N, L] and mask bool [N, L] -> unit embedding [N, C]."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.text_width)
        self.places = nn.Parameter(torch.randn(config.context, config.text_width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            config.text_width,
            4,
            4 * config.text_width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.text_layers, enable_nested_tensor=False)
        self.embedding = nn.Linear(config.text_width, config.embedding)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(self.tokens(ids) + self.places[: ids.shape[1]], src_key_padding_mask=~mask)
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(self.embedding(pooled), dim=1)


class Judge(nn.Module):
    """A small image-text pair with heads, which says whether a picture agrees with a text and which findings it shows.

    `load` opens it. `digest` names the weights in every score.
    """

    def __init__(self, config: JudgeConfig, tokenizer: Any, digest: str = "") -> None:
        super().__init__()
        self.config, self.tokenizer, self.digest = config, tokenizer, digest
        self.image, self.text = ImageEncoder(config), TextEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    @cached_property
    def attribute_index(self) -> dict[str, int]:
        """The place of each attribute among the outputs of the finding head."""
        return {name: i for i, name in enumerate(self.config.attributes)}

    def tokenize(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, [N, L]. Texts over the context are cut: a judge reads the beginning of a long report."""
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.config.context, return_tensors="pt"
        )
        return batch.input_ids, batch.attention_mask.bool()

    @torch.inference_mode()
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """NCHW uint8 of any size -> unit embeddings float32 [N, C]."""
        return torch.cat([self.image(self._pixels(part))[0] for part in images.split(64)])

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts -> unit embeddings float32 [N, C]. Those of like length are read together: few tokens are padding."""
        found = torch.empty(len(texts), self.config.embedding)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(texts), 64):
            part = order[start : start + 64]
            found[part] = self.text(*self.tokenize([texts[i] for i in part])).float()
        return found

    @torch.inference_mode()
    def read(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """NCHW uint8 -> probabilities of each modality [N, M] and of each attribute [N, A]."""
        parts = [self.image(self._pixels(part)) for part in images.split(64)]
        return torch.cat([p[1] for p in parts]).softmax(1), torch.cat([p[2] for p in parts]).sigmoid()

    @torch.inference_mode()
    def look(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """NCHW uint8 -> what `embed_images` and `read` give, in one pass. Under autocast the heads stay in float32: in
        bfloat16 answers that are near each other become equal."""
        parts = []
        for part in images.split(64):
            # So laid out in memory convolutions on a CPU take three quarters of the time.
            pixels = self._pixels(part).contiguous(memory_format=torch.channels_last)
            hidden = self.image.hidden(self.image.trunk(pixels))
            with torch.autocast(images.device.type, enabled=False):
                parts.append(self.image.answer(hidden.float()))
        embedded, modality, attributes = (torch.cat([p[i] for p in parts]) for i in range(3))
        return embedded, modality.softmax(1), attributes.sigmoid()

    def _pixels(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.float() / 127.5 - 1.0
        size = self.config.image_size
        if pixels.shape[-1] != size:
            pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
        return pixels

    def save(self, folder: Path, origin: Mapping[str, str] | None = None) -> None:
        """Write config, tokenizer and fp16 weights. origin: of the weights, kept in their file (`models.origin`)."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", asdict(self.config))
        self.tokenizer.save_pretrained(folder)
        weights = {k: v.half().contiguous() for k, v in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors", dict(origin or {}))

    @staticmethod
    def load(folder: Path | None = None) -> Judge:
        """The embedded judge, or that of a folder. ValueError where there is none."""
        from transformers import CLIPTokenizer

        folder = folder or Path(str(importlib.resources.files("vesalius.models"))) / "judge"
        if not (folder / "model.safetensors").is_file():
            raise ValueError(f"{folder}: no judge there (config.json, tokenizer.json, model.safetensors)")
        row = json.loads((folder / "config.json").read_text())
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        config = JudgeConfig(**sizes)
        judge = Judge(config, CLIPTokenizer.from_pretrained(folder), digest_folder(folder))
        judge.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        return judge.eval().requires_grad_(False)


def attribute_names(modality: str, finding: Finding) -> list[str]:
    """The attributes of a finding that the judge knows: its kind, and its kind at each side it is on."""
    name = f"{modality}/{finding.kind}"
    sides = ("left", "right") if finding.side == "bilateral" else (finding.side,) if finding.side else ()
    return [name, *(f"{name}/{side}" for side in sides)]
