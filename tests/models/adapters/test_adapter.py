"""Adapter folders: whole, safe, and true to their base."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from vesalius.models.adapters.adapter import (
    EMBEDDED,
    AdapterCard,
    Sampling,
    adapter_folder,
    apply_adapter,
    read_card,
    write_adapter,
)
from vesalius.models.base import Base, open_base


def card_of(opened: Base, **fields: Any) -> AdapterCard:
    usual = {"base": opened.name, "base_digest": opened.digest, "data_digest": "d" * 64, "depth": 1, "steps": 3}
    return AdapterCard(**{**usual, **fields})


@pytest.fixture
def written(tiny_base: Path, tmp_path: Path) -> tuple[Path, Any]:
    """An adapter of random weights, alpha other than rank, and the denoiser it was written from."""
    torch.manual_seed(0)
    base = open_base(str(tiny_base))
    wrapped = get_peft_model(base.pipeline.unet, LoraConfig(r=4, lora_alpha=9, target_modules=["to_q", "to_v"]))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    write_adapter(tmp_path / "run" / "adapter", wrapped, card_of(base, modalities=("CT",)))
    return tmp_path / "run", wrapped


def drawn(denoiser: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        noisy, text = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 64, 32, generator=generator)
        output: torch.Tensor = denoiser(noisy, torch.tensor([5, 900]), text).sample
    return output


def test_an_adapter_with_alpha_other_than_rank_reloads_exactly(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, wrapped = written
    base = open_base(str(tiny_base))
    before = drawn(base.pipeline.unet)
    apply_adapter(base, run)
    assert torch.allclose(drawn(base.pipeline.unet), drawn(wrapped), atol=1e-5)
    assert not torch.allclose(drawn(base.pipeline.unet), before, atol=1e-3)


def test_a_merged_denoiser_is_the_plain_class_again(written: tuple[Path, Any], tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    names = set(base.pipeline.unet.state_dict())
    apply_adapter(base, written[0])
    assert set(base.pipeline.unet.state_dict()) == names
    assert not any(p.requires_grad for p in base.pipeline.unet.parameters())


def test_run_and_adapter_folder_are_both_accepted(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, _ = written
    assert adapter_folder(run) == adapter_folder(run / "adapter") == run / "adapter"
    digests = {apply_adapter(open_base(str(tiny_base)), place) for place in (run, run / "adapter", str(run))}
    assert len(digests) == 1


def test_the_card_comes_back_and_the_folder_names_its_base(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, _ = written
    base = open_base(str(tiny_base))
    assert read_card(run) == card_of(base, modalities=("CT",))
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (config["r"], config["lora_alpha"]) == (4, 9)
    assert {p.name for p in (run / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "adapter.json",
    }  # fmt: skip


def test_writing_again_replaces_the_whole_folder(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, wrapped = written
    (run / "adapter" / "stale.txt").write_text("old")
    (run / ".adapter.tmp").mkdir()
    write_adapter(run / "adapter", wrapped, card_of(open_base(str(tiny_base)), steps=9))
    assert not (run / "adapter" / "stale.txt").exists()
    assert [p.name for p in run.iterdir()] == ["adapter"]
    card = read_card(run)
    assert card is not None
    assert card.steps == 9


def test_a_folder_without_an_adapter_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no adapter there \(adapter_config.json and adapter_model.safetensors\)"):
        adapter_folder(tmp_path)


def test_an_adapter_of_another_base_is_refused(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, wrapped = written
    base = open_base(str(tiny_base))
    write_adapter(run / "adapter", wrapped, card_of(base, base="other", base_digest="0" * 64))
    with pytest.raises(ValueError, match=r"trained on base 'other' .*give --base other"):
        apply_adapter(base, run)


def test_an_adapter_of_another_tool_needs_no_card(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, wrapped = written
    (run / "adapter" / "adapter.json").unlink()
    base = open_base(str(tiny_base))
    assert read_card(run) is None
    apply_adapter(base, run)
    assert torch.allclose(drawn(base.pipeline.unet), drawn(wrapped), atol=1e-5)


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_adapter_is_opened_by_its_name(name: str) -> None:
    place = Path(str(importlib.resources.files("vesalius.models"))) / name
    if not place.is_dir():
        pytest.skip(f"{name} does not ship yet")
    assert adapter_folder(name) == adapter_folder(Path(name)) == place
    card = read_card(name)
    assert card is not None
    base = open_base(card.base)
    before = drawn_by(base.pipeline.unet)
    apply_adapter(base, name)
    assert not torch.allclose(drawn_by(base.pipeline.unet), before, atol=1e-3)
    assert (place / "adapter_model.safetensors").stat().st_size <= 3e6


def drawn_by(denoiser: Any) -> torch.Tensor:
    sizes, generator = denoiser.config, torch.Generator().manual_seed(0)
    noisy = torch.randn(1, sizes.in_channels, sizes.sample_size, sizes.sample_size, generator=generator)
    with torch.no_grad():
        output: torch.Tensor = denoiser(noisy, 999, torch.ones(1, 8, sizes.cross_attention_dim)).sample
    return output


def test_the_card_says_how_to_draw_and_the_scheduler_is_put_in(written: tuple[Path, Any], tiny_base: Path) -> None:
    run, wrapped = written
    base = open_base(str(tiny_base))
    scheduler = {"_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 77, "prediction_type": "v_prediction"}
    card = card_of(base, sampling=Sampling(steps=4, guidance=1.0, scheduler=scheduler))
    write_adapter(run / "adapter", wrapped, card)
    assert read_card(run) == card
    apply_adapter(base, run)
    assert type(base.pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert base.pipeline.scheduler.config.num_train_timesteps == 77


@pytest.mark.parametrize("name", ["UNet2DConditionModel", "no_such_class", "loaders", None])
def test_a_scheduler_that_is_none_is_one_clear_error(
    written: tuple[Path, Any], tiny_base: Path, name: str | None
) -> None:
    run, wrapped = written
    base = open_base(str(tiny_base))
    sampling = Sampling(steps=4, guidance=1.0, scheduler={"_class_name": name})
    write_adapter(run / "adapter", wrapped, card_of(base, sampling=sampling))
    with pytest.raises(ValueError, match="is no scheduler of diffusers"):
        apply_adapter(base, run)


@pytest.mark.parametrize("content", ["{", "[]", '{"base": "a"}', '{"unknown": 1}'])
def test_a_card_that_is_none_is_one_clear_error(written: tuple[Path, Any], content: str) -> None:
    (written[0] / "adapter" / "adapter.json").write_text(content)
    with pytest.raises(ValueError, match=r"adapter\.json: is no card"):
        read_card(written[0])


@pytest.mark.parametrize("name", ["evil.py", "adapter_model.bin"])
def test_an_adapter_folder_with_code_or_pickles_is_refused(
    written: tuple[Path, Any], tiny_base: Path, name: str
) -> None:
    (written[0] / "adapter" / name).write_bytes(b"")
    with pytest.raises(ValueError, match="code and pickles are never loaded"):
        apply_adapter(open_base(str(tiny_base)), written[0])


@pytest.mark.parametrize("damage", ["cut", "shape", "targets"])
def test_an_adapter_that_does_not_fit_is_one_clear_error(
    written: tuple[Path, Any], tiny_base: Path, damage: str
) -> None:
    folder = written[0] / "adapter"
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    row = json.loads(config.read_text())
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "shape":
        config.write_text(json.dumps({**row, "r": 8}))
    else:
        config.write_text(json.dumps({**row, "target_modules": ["to_nowhere"]}))
    with pytest.raises(ValueError, match="does not fit base"):
        apply_adapter(open_base(str(tiny_base)), folder)
