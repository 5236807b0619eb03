"""Checking adapters of any make: what they are, what fits, and whether plain diffusers agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vesalius.models import AdapterCheckConfig, AdapterExportConfig, check_adapter, export_adapter, open_base
from vesalius.models.adapters.check import LARGEST, AdapterReport

MakeAdapter = Callable[..., Path]


def check(place: Path, base: Path) -> AdapterReport:
    return check_adapter(AdapterCheckConfig(adapter=place, base=str(base), steps=1))


def exported(run: Path, form: Any, out: Path) -> Path:
    return export_adapter(AdapterExportConfig(adapter=run, out=out, format=form)).path


@pytest.mark.parametrize("form", ["PEFT", "diffusers", "kohya"])
def test_an_adapter_that_works_elsewhere_passes(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path, form: str
) -> None:
    run = make_adapter(lora_alpha=4, text={"lora_alpha": 4})
    report = check(run if form == "PEFT" else exported(run, form, tmp_path / "out"), tiny_base)
    assert report.ok, report.problems
    assert set(report.differences) == {"text encoder", "denoiser", "drawing"}
    assert max(report.differences.values()) < 1e-4
    assert report.effect > 10 * LARGEST
    assert (report.format, report.ranks, report.alphas, report.unmatched) == (form, (4,), (4.0,), ())
    assert report.num_matched == report.num_layers == sum(report.parts.values()) > 10
    assert set(report.targets) == {"to_q", "to_v", "ff.net.2", "q_proj", "k_proj", "v_proj", "out_proj", "fc1"}
    assert report.base is not None
    assert Path(report.base).name == tiny_base.name


def test_a_folder_whose_alpha_is_not_its_rank_is_told_with_the_remedy(
    make_adapter: MakeAdapter, tiny_base: Path
) -> None:
    report = check(make_adapter(), tiny_base)
    assert not report.ok
    assert report.differences["denoiser"] > LARGEST
    assert "takes alpha to be the rank; `vesalius adapter export`" in report.problems[0]


def test_a_kohya_file_of_another_program_is_checked(tiny_base: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    base, tensors = open_base(str(tiny_base)), dict[str, torch.Tensor]()
    for name, module in base.pipeline.unet.named_modules():
        if name.endswith(("attn2.to_k", "proj_in")):
            stem = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{stem}.lora_down.weight"] = torch.randn(2, module.in_features, generator=generator)
            tensors[f"{stem}.lora_up.weight"] = torch.randn(module.out_features, 2, generator=generator)
            tensors[f"{stem}.alpha"] = torch.tensor(0.5)
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"ss_sd_model_name": "some.safetensors"})
    report = check(tmp_path / "theirs.safetensors", tiny_base)
    assert report.ok, report.problems
    assert (report.format, report.base, report.alphas) == ("kohya", "some.safetensors", (0.5,))
    assert report.targets == ("proj_in", "to_k")

    # What no program would say is told: layers of another model, a lone half of a layer, a shape of another base.
    stem = next(iter(tensors)).split(".")[0]
    tensors["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.zeros(2, 4)
    tensors["lora_unet_mid_block_nowhere.lora_down.weight"] = torch.zeros(2, 4)
    tensors["lora_unet_mid_block_nowhere.lora_up.weight"] = torch.zeros(4, 2)
    tensors[f"{stem}.lora_down.weight"] = torch.randn(2, 7)
    save_file(tensors, tmp_path / "worse.safetensors")
    report = check(tmp_path / "worse.safetensors", tiny_base)
    assert not report.ok
    assert report.num_matched == report.num_layers - 2
    told = " ".join(report.unmatched)
    assert "lora_te2_" in told
    assert "mid_block_nowhere" in told
    assert "x7, in the base" in told


def test_layers_of_several_alphas_are_told_where_diffusers_gets_them_wrong(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    path = exported(make_adapter(), "kohya", tmp_path / "a.safetensors")
    tensors = load_file(path)
    tensors[next(key for key in tensors if key.endswith(".alpha"))] = torch.tensor(1.0)
    save_file(tensors, tmp_path / "b.safetensors")
    report = check(tmp_path / "b.safetensors", tiny_base)
    assert "of layers with several alphas it takes the commonest" in report.problems[0]


def test_an_adapter_that_changes_nothing_is_told(make_adapter: MakeAdapter, tiny_base: Path) -> None:
    report = check(make_adapter(lora_alpha=4, std=0.0), tiny_base)
    assert report.effect == 0
    assert report.problems == ("it changes nothing: one matrix of every layer is all zeros",)


def test_an_adapter_of_another_architecture_is_told(tiny_base: Path, tmp_path: Path) -> None:
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file(
        {f"{stem}.lora_down.weight": torch.ones(4, 320), f"{stem}.lora_up.weight": torch.ones(320, 4)},
        tmp_path / "sd.safetensors",
    )
    report = check(tmp_path / "sd.safetensors", tiny_base)
    assert (report.num_matched, report.differences) == (0, {})
    assert "none of its layers fits base" in report.problems[-1]


def test_another_base_is_refused_by_name(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    run = make_adapter(card={"base": "elsewhere", "base_digest": "0" * 64})
    for place in (run, exported(run, "kohya", tmp_path / "out")):
        with pytest.raises(ValueError, match=r"trained on base 'elsewhere' \(0000.*not on .*tiny"):
            check(place, tiny_base)


def test_what_is_no_adapter_is_one_clear_error(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="is no LoRA of a Stable Diffusion model"):
        check(tmp_path / "model.safetensors", tiny_base)
    path = exported(make_adapter(), "kohya", tmp_path / "whole.safetensors")
    for num in (0, 5, 300, path.stat().st_size - 10):
        (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:num])
        with pytest.raises(ValueError, match="is no whole safetensors file"):
            check(tmp_path / "cut.safetensors", tiny_base)
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / "pytorch_lora_weights.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match="code and pickles are never loaded"):
        check(tmp_path / "pickles", tiny_base)
    for name in ("lora.ckpt", "notes.txt"):
        (tmp_path / name).write_text("x")
        with pytest.raises(ValueError, match=r"only safetensors|is no adapter"):
            check(tmp_path / name, tiny_base)
    with pytest.raises(ValueError, match="no adapter there"):
        check(tmp_path / "nowhere", tiny_base)
    with pytest.raises(ValueError, match="--steps is 0"):
        check_adapter(AdapterCheckConfig(adapter=path, base=str(tiny_base), steps=0))
