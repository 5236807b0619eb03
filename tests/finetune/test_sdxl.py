"""Fine-tuning a base of SDXL's shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.inference.generator import Generator

ConfigFor = Callable[..., FinetuneConfig]


def test_it_is_fine_tuned_and_drawn_with(config_for: ConfigFor, tiny_xl: Path) -> None:
    config = config_for(base=str(tiny_xl), steps=6, learning_rate=1e-2, num_pictures=1, targets=("to_q", "to_v"))
    summary = finetune(config)
    assert summary.validation[-1][1] != summary.validation[0][1]
    drawn = [Generator(str(tiny_xl), run, device="cpu").draw("Chest CT", seed=1)[0] for run in (None, config.out)]
    assert (drawn[0] != drawn[1]).any()


def test_its_text_encoders_are_not_adapted(config_for: ConfigFor, tiny_xl: Path) -> None:
    with pytest.raises(ValueError, match="has two text encoders"):
        finetune(config_for(base=str(tiny_xl), train_text=True, targets=("to_q",)))
