"""Adapters of bases of SDXL's shape: a denoiser and two text encoders, in every format and for every verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vesalius.models import (
    AdapterCheckConfig,
    AdapterExportConfig,
    AdapterFuseConfig,
    AdapterMergeConfig,
    apply_adapter,
    check_adapter,
    export_adapter,
    fuse_adapter,
    merge_adapters,
    open_base,
)
from vesalius.models.adapters.adapter import part_folders
from vesalius.models.adapters.check import LARGEST, ask_denoiser, ask_pooled, ask_text, largest
from vesalius.models.adapters.layers import match_layers, read_lora
from vesalius.models.adapters.names import SDXL, published_name
from vesalius.models.full_size import SDXL as SHAPE

MakeAdapter = Callable[..., Path]
ASKED = (ask_text, ask_pooled, ask_denoiser)
BOTH: dict[str, Mapping[str, Any]] = {"text": {"r": 3, "lora_alpha": 2}, "text_2": {"r": 2, "lora_alpha": 5}}


def export(run: Path, out: Path, form: Any = "diffusers") -> Path:
    return export_adapter(AdapterExportConfig(adapter=run, out=out, format=form)).path


def answers(pipeline: Any) -> list[torch.Tensor]:
    return [ask(pipeline) for ask in ASKED]


def gaps(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[float]:
    return [largest(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("fields", [{}, {"use_rslora": True}, {"target_modules": ["conv1", "linear_1", "to_out.0"]}])
@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_plain_diffusers_reads_what_is_exported(
    make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path, form: str, fields: dict[str, Any]
) -> None:
    run = make_adapter(place=tiny_xl, **fields, **BOTH)
    base = open_base(str(tiny_xl))
    before = answers(base.pipeline)
    apply_adapter(base, run)
    plain = StableDiffusionXLPipeline.from_pretrained(tiny_xl)
    plain.load_lora_weights(str(export(run, tmp_path / "out", form).parent))
    assert max(gaps(answers(plain), answers(base.pipeline))) < 1e-5
    assert min(gaps(before, answers(base.pipeline))) > 10 * LARGEST


@pytest.mark.parametrize("form", ["PEFT", "diffusers", "kohya"])
def test_an_adapter_that_works_elsewhere_passes(
    make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path, form: Any
) -> None:
    run = make_adapter(place=tiny_xl, lora_alpha=4, text={"lora_alpha": 4}, text_2={"lora_alpha": 4})
    place = run if form == "PEFT" else export(run, tmp_path / "out", form)
    report = check_adapter(AdapterCheckConfig(adapter=place, base=str(tiny_xl), steps=1))
    assert report.ok, report.problems
    assert set(report.differences) == {"text encoders", "pooled text", "denoiser", "drawing"}
    assert max(report.differences.values()) < 1e-4
    assert set(report.parts) == {"unet", "text_encoder", "text_encoder_2"}
    assert (report.format, report.unmatched, report.num_matched) == (form, (), report.num_layers)


def test_a_dora_on_text_encoders_is_told_for_other_programs_leave_its_magnitudes_out(
    make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path
) -> None:
    dora = {"use_dora": True, "lora_alpha": 4}
    run = make_adapter(place=tiny_xl, **dora, text=dora, text_2=dora)
    report = check_adapter(AdapterCheckConfig(adapter=run, base=str(tiny_xl), steps=1))
    assert "leaves out the magnitudes of a DoRA" in report.problems[0]
    assert report.differences["denoiser"] < 1e-4
    with pytest.raises(ValueError, match="DoRA on the text encoder"):
        export(run, tmp_path / "out")


def test_kohya_names_number_the_text_encoders_and_keep_each_alpha(
    make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path
) -> None:
    path = export(make_adapter(place=tiny_xl, **BOTH), tmp_path / "a.safetensors", "kohya")
    tensors = load_file(path)
    assert {key.split("_")[1] for key in tensors} == {"unet", "te1", "te2"}
    for number, rank, alpha in ((1, 3, 2.0), (2, 2, 5.0)):
        name = f"lora_te{number}_text_model_encoder_layers_0_self_attn_q_proj"
        assert float(tensors[f"{name}.alpha"]) == alpha
        assert len(tensors[f"{name}.lora_down.weight"]) == rank
    pipeline = open_base(str(tiny_xl)).pipeline
    (ours, _), (theirs, unmatched) = (match_layers(read_lora(place), pipeline) for place in (tmp_path / "run", path))
    found = {(match.layer.part, match.name): match.layer.delta() for match in theirs}
    assert not unmatched
    assert len(found) == len(ours)
    for match in ours:
        assert torch.allclose(found[match.layer.part, match.name], match.layer.delta(), atol=1e-6)


def test_kohya_names_of_the_denoiser_are_those_that_sdxl_was_published_with() -> None:
    told = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "add_embedding.linear_2": "label_emb.0.2",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "down_blocks.1.attentions.0.transformer_blocks.0.norm1": "input_blocks.4.1.transformer_blocks.0.norm1",
        "down_blocks.2.attentions.1.proj_in": "input_blocks.8.1.proj_in",
        "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
        "mid_block.attentions.0.proj_out": "middle_block.1.proj_out",
        "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
        "up_blocks.0.attentions.2.transformer_blocks.9.ff.net.2": "output_blocks.2.1.transformer_blocks.9.ff.net.2",
        "up_blocks.1.upsamplers.0.conv": "output_blocks.5.2.conv",
        "up_blocks.2.resnets.0.conv1": "output_blocks.6.0.in_layers.2",
    }
    assert {name: published_name(name, SDXL) for name in told} == told


def test_a_name_is_given_once_in_the_whole_of_sdxl() -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        denoiser = UNet2DConditionModel(**SHAPE)
    names = [name for name, module in denoiser.named_modules() if getattr(module, "weight", None) is not None]
    assert len({published_name(name, denoiser.config) for name in names}) == len(names)


def test_a_kohya_header_names_the_base_by_the_width_of_its_text(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """A denoiser alone tells SDXL from Stable Diffusion by that too."""
    run = make_adapter(target_modules=["attn2.to_k"])
    weights = run / "adapter" / "adapter_model.safetensors"
    wide = {k: torch.zeros(4, 2048) if "lora_A" in k else v for k, v in load_file(weights).items()}
    save_file(wide, weights)
    with safe_open(export(run, tmp_path / "a.safetensors", "kohya"), framework="pt") as file:
        told = file.metadata()
    assert (told["ss_base_model_version"], told["ss_v2"]) == ("sdxl_base_v1-0", "False")
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"


def test_a_blend_is_the_sum_of_its_parts(make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path) -> None:
    one, two = make_adapter("one", place=tiny_xl, **BOTH), make_adapter("two", place=tiny_xl, seed=1, text_2={})
    config = AdapterMergeConfig(adapters=(one, two), out=tmp_path / "blend", weights=(1.0, 1.0))
    summary = merge_adapters(config)
    assert summary.error < 1e-6
    assert set(part_folders(tmp_path / "blend")) == {"unet", "text_encoder", "text_encoder_2"}
    blended, both = open_base(str(tiny_xl)), open_base(str(tiny_xl))
    apply_adapter(blended, tmp_path / "blend")
    for run in (one, two):
        apply_adapter(both, run)
    assert max(gaps(answers(blended.pipeline), answers(both.pipeline))) < 1e-4


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_fused_base_is_opened_by_vesalius_and_by_plain_diffusers(
    make_adapter: MakeAdapter, tiny_xl: Path, tmp_path: Path, weight: float
) -> None:
    run = make_adapter(place=tiny_xl, **BOTH)
    summary = fuse_adapter(AdapterFuseConfig(adapter=run, out=tmp_path / "base", weight=weight))
    assert summary.parts == ("unet", "text_encoder", "text_encoder_2")
    wanted, old = open_base(str(tiny_xl)), open_base(str(tiny_xl))
    apply_adapter(wanted, run)
    with torch.no_grad():
        for part in summary.parts:
            for name, value in getattr(wanted.pipeline, part).state_dict().items():
                if value.is_floating_point():
                    value.copy_(getattr(old.pipeline, part).state_dict()[name].lerp(value, weight))
    plain = StableDiffusionXLPipeline.from_pretrained(tmp_path / "base")
    for opened in (open_base(str(tmp_path / "base")).pipeline, plain):
        assert max(gaps(answers(opened), answers(wanted.pipeline))) < 1e-6


def test_an_adapter_of_two_text_encoders_is_refused_where_there_is_one(
    make_adapter: MakeAdapter, tiny_base: Path, tiny_xl: Path
) -> None:
    run = make_adapter(place=tiny_xl, **BOTH)
    (run / "adapter" / "adapter.json").unlink()
    base = open_base(str(tiny_base))
    with pytest.raises(ValueError, match="does not fit base"):
        apply_adapter(base, run)
    report = check_adapter(AdapterCheckConfig(adapter=export(run, run / "x.safetensors"), base=str(tiny_base)))
    assert not report.ok
    assert any(told.startswith("text_encoder_2: ") for told in report.unmatched)
