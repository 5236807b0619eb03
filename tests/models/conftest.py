"""Adapters of random weights on the tiny base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from vesalius.models.adapter import AdapterCard, write_adapter
from vesalius.models.base import open_base

MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tiny_base: Path, tmp_path: Path) -> MakeAdapter:
    """Write a run folder with an adapter; keywords are PEFT's LoraConfig, `text` that of the text encoder.

    Its matrices are random, so that every layer does something; `card` replaces fields of its card.
    """

    def make(
        name: str = "run", *, seed: int = 0, std: float = 0.1, text: Mapping[str, Any] | None = None,
        card: Mapping[str, Any] | None = None, **fields: Any,
    ) -> Path:  # fmt: skip
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        base = open_base(str(tiny_base))
        usual = {"r": 4, "lora_alpha": 9, "target_modules": ["to_q", "to_v", "ff.net.2"], "init_lora_weights": False}
        models: list[Any] = [get_peft_model(base.pipeline.unet, LoraConfig(**{**usual, **fields}))]
        if text is not None:
            words = {**usual, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"], **text}
            models.append(get_peft_model(base.pipeline.text_encoder, LoraConfig(**words)))
        for model in models:
            for key, parameter in model.named_parameters():
                if "lora_B" in key:
                    torch.nn.init.normal_(parameter, std=std)
                if "magnitude" in key:
                    parameter.data *= 1.25
        told = {"base": base.name, "base_digest": base.digest, "data_digest": "d" * 64, "depth": 1, "steps": 3}
        folder = tmp_path / name / "adapter"
        write_adapter(folder, models[0], AdapterCard(**{**told, "modalities": ("CT",), **(card or {})}), *models[1:])
        return folder.parent

    return make
