"""Fine-tuning a base of SDXL's shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.inference.generator import Generator
from vesalius.models.adapters.adapter import apply_adapter, part_folders
from vesalius.models.base import Base, open_base

ConfigFor = Callable[..., FinetuneConfig]
ValidationOf = Callable[[Base, FinetuneConfig], float]
PARTS = {"unet", "text_encoder", "text_encoder_2"}


def test_it_is_fine_tuned_and_drawn_with(config_for: ConfigFor, tiny_xl: Path) -> None:
    config = config_for(base=str(tiny_xl), steps=6, learning_rate=1e-2, num_pictures=1, targets=("to_q", "to_v"))
    summary = finetune(config)
    assert summary.validation[-1][1] != summary.validation[0][1]
    drawn = [Generator(str(tiny_xl), run, device="cpu").draw("Chest CT", seed=1)[0] for run in (None, config.out)]
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_both_text_encoders_are_adapted_and_draw_as_they_were_trained(
    config_for: ConfigFor, validation_of: ValidationOf, tiny_xl: Path, kind: str
) -> None:
    config = config_for(
        base=str(tiny_xl), kind=kind, train_text=True, steps=3, learning_rate=1e-2, alpha=7, targets=("to_q", "to_v")
    )
    summary = finetune(config)
    folder = config.out / "adapter"
    assert set(part_folders(folder)) == PARTS
    for part, place in part_folders(folder).items():  # of the first encoder the last layer is not heard
        moved = [k for k, v in load_file(place / "adapter_model.safetensors").items() if "lora_B" in k and v.any()]
        assert len(moved) > 3, part
    base = open_base(str(tiny_xl))
    apply_adapter(base, config.out)
    assert validation_of(base, config) == pytest.approx(summary.validation[-1][1], rel=1e-4)
    bare = open_base(str(tiny_xl))  # what the denoiser's adapter does alone is something else
    for part in ("text_encoder", "text_encoder_2"):
        (folder / part / "adapter_config.json").unlink()
    apply_adapter(bare, config.out)
    assert validation_of(bare, config) != pytest.approx(summary.validation[-1][1], rel=1e-4)


def test_a_full_fine_tuning_of_both_is_a_base_of_its_own(
    config_for: ConfigFor, validation_of: ValidationOf, tiny_xl: Path
) -> None:
    config = config_for(base=str(tiny_xl), kind="full", train_text=True, steps=3, learning_rate=1e-3)
    summary = finetune(config)
    own = str(config.out / "base")
    base, old = open_base(own), open_base(str(tiny_xl))
    assert validation_of(base, dataclasses.replace(config, base=own)) == pytest.approx(
        summary.validation[-1][1], rel=1e-4
    )
    for part in PARTS:
        before, after = (getattr(b.pipeline, part).state_dict() for b in (old, base))
        assert any((before[name] != value).any() for name, value in after.items()), part


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_it_goes_on_as_if_it_had_not_stopped(
    stopped_and_continued: Callable[..., Path], tiny_xl: Path, kind: str
) -> None:
    run = stopped_and_continued(base=str(tiny_xl), kind=kind, train_text=True, targets=("to_q",))
    saved = load_file(next((run / "checkpoints").glob("step-*4")) / "tensors.safetensors")
    assert {key.split(".")[0] for key in saved} == {"denoiser", "text_encoder", "text_encoder_2", "optimizer"}


def test_a_target_that_a_text_encoder_lacks_is_named(config_for: ConfigFor, tiny_xl: Path) -> None:
    config = config_for(base=str(tiny_xl), train_text=True, targets=("to_q",), text_targets=("text_projection",))
    with pytest.raises(ValueError, match=r"--text-targets: base .* has no layer 'text_projection'"):
        finetune(config)
