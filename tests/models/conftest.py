"""Adapters of random weights on the tiny base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from vesalius.models.adapters.adapter import AdapterCard, write_adapter
from vesalius.models.base import open_base

MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tiny_base: Path, tmp_path: Path) -> MakeAdapter:
    """Write a run folder with an adapter; keywords are PEFT's LoraConfig, `text` that of the text encoder, `text_2`
    that of SDXL's second one.

    Its matrices are random, so that every layer does something; `card` replaces fields of its card; `place` is another
    base than the tiny one.
    """

    def make(
        name: str = "run", *, seed: int = 0, std: float = 0.1, text: Mapping[str, Any] | None = None,
        text_2: Mapping[str, Any] | None = None, card: Mapping[str, Any] | None = None, place: Path = tiny_base,
        **fields: Any,
    ) -> Path:  # fmt: skip
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        base = open_base(str(place))
        usual = {"r": 4, "lora_alpha": 9, "target_modules": ["to_q", "to_v", "ff.net.2"], "init_lora_weights": False}
        models: dict[str, Any] = {"denoiser": get_peft_model(base.pipeline.unet, LoraConfig(**{**usual, **fields}))}
        for part, asked in (("text_encoder", text), ("text_encoder_2", text_2)):
            if asked is not None:
                words = {**usual, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"], **asked}
                models[part] = get_peft_model(getattr(base.pipeline, part), LoraConfig(**words))
        for model in models.values():
            for key, parameter in model.named_parameters():
                if "lora_B" in key:
                    torch.nn.init.normal_(parameter, std=std)
                if "magnitude" in key:
                    parameter.data *= 1.25
        told = {"base": base.name, "base_digest": base.digest, "data_digest": "d" * 64, "depth": 1, "steps": 3}
        folder = tmp_path / name / "adapter"
        write_adapter(folder, card=AdapterCard(**{**told, "modalities": ("CT",), **(card or {})}), **models)
        return folder.parent

    return make
