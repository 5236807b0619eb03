"""Exported adapters: plain diffusers makes of them what Vesalius makes of the folder."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vesalius.models import (
    AdapterCard,
    AdapterCheckConfig,
    AdapterExportConfig,
    apply_adapter,
    check_adapter,
    export_adapter,
    open_base,
)
from vesalius.models.adapters.adapter import write_adapter
from vesalius.models.adapters.check import LARGEST, ask_denoiser, ask_text, largest
from vesalius.models.adapters.layers import read_lora

MakeAdapter = Callable[..., Path]
CONVOLUTIONS = [
    "conv1",
    "conv2",
    "conv_in",
    "conv_out",
    "conv_shortcut",
    "time_emb_proj",
    "linear_1",
    "proj_in",
    "conv",
]
KINDS: dict[str, dict[str, Any]] = {
    "alpha is not the rank": {},
    "rsLoRA": {"use_rslora": True},
    "alpha of 0 in a layer": {"alpha_pattern": {"attn1.to_q": 0}},
    "patterns": {"rank_pattern": {"attn1.to_q": 2, "to_v": 6}, "alpha_pattern": {"to_v": 3, "ff.net.2": 1}},
    "patterns of an rsLoRA": {"use_rslora": True, "rank_pattern": {"attn1.to_q": 2, "to_v": 6}},
    "convolutions": {"target_modules": CONVOLUTIONS},
    "text encoder": {"text": {"r": 3, "lora_alpha": 2}},
    "attention of the text encoder": {"text": {"target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"]}},
    "feed-forward of the text encoder": {"text": {"target_modules": ["fc1", "fc2"], "use_rslora": True}},
}


def plain_with(base: Path, file: Path) -> Any:
    """A plain pipeline, in the way of diffusers' documentation, with the one LoRA file of a folder."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32, safety_checker=None)
    pipeline.load_lora_weights(str(file.parent))
    return pipeline


def export(run: Path, out: Path, form: Any = "diffusers", **fields: Any) -> Path:
    return export_adapter(AdapterExportConfig(adapter=run, out=out, format=form, **fields)).path


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_plain_diffusers_reads_what_is_exported(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path, kind: str, form: str
) -> None:
    run = make_adapter(**KINDS[kind])
    base = open_base(str(tiny_base))
    before = ask_denoiser(base.pipeline), ask_text(base.pipeline)
    apply_adapter(base, run)
    plain = plain_with(tiny_base, export(run, tmp_path / "out", form))
    assert largest(ask_denoiser(plain), ask_denoiser(base.pipeline)) < 1e-5
    assert largest(ask_text(plain), ask_text(base.pipeline)) < 1e-5
    assert largest(before[0], ask_denoiser(base.pipeline)) > 10 * LARGEST
    assert (largest(before[1], ask_text(base.pipeline)) > 10 * LARGEST) == ("text" in KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_a_reader_that_knows_no_header_gets_the_same_deltas(
    make_adapter: MakeAdapter, tmp_path: Path, kind: str, form: str
) -> None:
    run = make_adapter(**KINDS[kind])
    tensors = load_file(export(run, tmp_path / "out", form))
    wanted = peft_deltas(run / "adapter")
    ends = {"kohya": [(".lora_down.weight", ".lora_up.weight")]}.get(
        form, [(".lora_A.weight", ".lora_B.weight"), (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")]
    )
    found = {}
    for key, down in tensors.items():
        for down_end, up_end in ends:
            if key.endswith(down_end):
                name = key.removesuffix(down_end)
                alpha = float(tensors.get(f"{name}.alpha", torch.tensor(float(len(down)))))
                found[name] = alpha / len(down) * tensors[name + up_end].flatten(1) @ down.flatten(1)
    if form == "kohya":
        names = {n.replace("unet.", "lora_unet_").replace("text_encoder.", "lora_te_text_model_"): n for n in wanted}
        found = {next(o for k, o in names.items() if k.replace(".", "_") == n): d for n, d in found.items()}
    else:
        found = {name.replace(".text_model", ""): delta for name, delta in found.items()}
    assert set(found) == set(wanted)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def peft_deltas(folder: Path) -> dict[str, torch.Tensor]:
    """scale * B @ A of each layer, by the definitions of PEFT's configuration."""
    import re

    deltas = {}
    for part, place in (("unet", folder), ("text_encoder", folder / "text_encoder")):
        if not place.is_dir():
            continue
        config = json.loads((place / "adapter_config.json").read_text())
        tensors = load_file(place / "adapter_model.safetensors")
        for key in (k for k in tensors if k.endswith(".lora_A.weight")):
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            patterns = [(v for k, v in config[p].items() if re.search(rf"(^|\.){k}$", name)) for p in
                        ("alpha_pattern", "rank_pattern")]  # fmt: skip
            alpha, rank = next(patterns[0], config["lora_alpha"]), next(patterns[1], config["r"])
            down, up = tensors[key], tensors[key.replace("lora_A", "lora_B")]
            assert len(down) == rank
            scale = alpha / (rank**0.5 if config["use_rslora"] else rank)
            deltas[f"{part}.{name}"] = scale * up.flatten(1) @ down.flatten(1)
    return deltas


def test_layers_of_a_full_size_architecture_are_read_too(tiny_base: Path, tmp_path: Path) -> None:
    """Four levels, two layers each, projections that are convolutions: Stable Diffusion 1's, narrow."""
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    pipeline = open_base(str(tiny_base)).pipeline
    pipeline.register_modules(
        unet=UNet2DConditionModel(
            sample_size=16, block_out_channels=(8, 8, 16, 16), norm_num_groups=4, attention_head_dim=2,
            cross_attention_dim=32,
        )
    )  # fmt: skip
    pipeline.save_pretrained(tmp_path / "base", safe_serialization=True)
    base = open_base(str(tmp_path / "base"))
    targets = [*CONVOLUTIONS, "linear_2", "proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj"]
    config = LoraConfig(r=2, lora_alpha=3, target_modules=targets, init_lora_weights=False)
    wrapped = get_peft_model(base.pipeline.unet, config)
    card = AdapterCard(base=base.name, base_digest=base.digest, data_digest="d", depth=1, steps=1)
    write_adapter(tmp_path / "adapter", wrapped, card)
    for form in ("diffusers", "kohya"):
        path = export(tmp_path / "adapter", tmp_path / form, form)
        report = check_adapter(AdapterCheckConfig(adapter=path, base=base.name, steps=1))
        assert report.ok, report.problems
        assert report.num_matched == report.num_layers > 250


def test_kohya_names_are_those_that_other_programs_look_for(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter(text={})
    tensors = load_file(export(run, tmp_path / "a.safetensors", "kohya"))
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    for name in (stem, text):
        assert {k.removeprefix(name) for k in tensors if k.startswith(f"{name}.")} == {
            ".lora_down.weight", ".lora_up.weight", ".alpha",
        }  # fmt: skip
    assert float(tensors[f"{stem}.alpha"]) == 9
    told = header(tmp_path / "a.safetensors")
    assert (told["ss_network_dim"], told["ss_network_alpha"], told["modelspec.title"]) == ("4", "9.0", "run")


def test_the_header_tells_where_it_comes_from_but_not_where_the_base_lay(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    run = make_adapter()
    for form in ("diffusers", "kohya"):
        told = header(export(run, tmp_path / form, form))
        assert str(tiny_base.parent) not in json.dumps(told)
        card = json.loads(told["vesalius.card"])
        assert (card["base"], card["depth"], card["modalities"]) == (tiny_base.name, 1, ["CT"])
        assert told["vesalius.base_digest"] == open_base(str(tiny_base)).digest


def test_the_same_again_changes_nothing_and_another_is_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter()
    path = export(run, tmp_path / "out")
    before = path.stat().st_mtime_ns
    again = export_adapter(AdapterExportConfig(adapter=run, out=tmp_path / "out"))
    assert (again.unchanged, path.stat().st_mtime_ns) == (True, before)
    with pytest.raises(ValueError, match=r"is there already, with other content; remove it, or choose another --out"):
        export(make_adapter("other", seed=1), tmp_path / "out")
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in path.parent.iterdir()] == ["pytorch_lora_weights.safetensors"]


def test_a_dry_run_writes_nothing(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    assert not export(make_adapter(), tmp_path / "new" / "out", dry_run=True).exists()
    assert not (tmp_path / "new").exists()


def test_a_dora_is_exported_for_diffusers_and_refused_elsewhere(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    run = make_adapter(use_dora=True)
    base = open_base(str(tiny_base))
    apply_adapter(base, run)
    plain = plain_with(tiny_base, export(run, tmp_path / "out"))
    assert largest(ask_denoiser(plain), ask_denoiser(base.pipeline)) < 1e-5
    with pytest.raises(ValueError, match=r"is a DoRA.*give --format diffusers"):
        export(run, tmp_path / "kohya", "kohya")
    with pytest.raises(ValueError, match=r"DoRA on the text encoder.*adapter fuse"):
        export(make_adapter("both", text={"use_dora": True}), tmp_path / "both")
    assert not (tmp_path / "kohya").exists()


def test_what_is_no_lora_alone_is_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter()
    weights = run / "adapter" / "adapter_model.safetensors"
    save_file({**load_file(weights), "base_model.model.conv_in.bias": torch.zeros(16)}, weights)
    with pytest.raises(ValueError, match=r"no LoRA layer's \(.*conv_in\.bias"):
        export(run, tmp_path / "out")


def test_an_exported_file_is_not_exported_again(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    path = export(make_adapter(), tmp_path / "out")
    with pytest.raises(ValueError, match="is a file in the format of diffusers already"):
        export(path, tmp_path / "again")


def test_bad_places_are_named(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"file: is a file; --out takes a folder"):
        export(run, tmp_path / "file")
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(ValueError, match=r"x\.safetensors: is a folder"):
        export(run, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no adapter there"):
        export(tmp_path / "nothing", tmp_path / "out")
    for name in ("lora.pt", "lora.bin"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match="pickles and code are never loaded"):
            export(tmp_path / name, tmp_path / "out")
    weights = run / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"no whole safetensors file.*copy or make it again"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_and_is_told(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter(r=64)
    (tmp_path / "out").mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            export(run, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"peft_type": "IA3"}', '{"peft_type": "LORA", "lora_alpha": "x"}']
)
def test_a_configuration_that_is_none_of_a_lora_is_one_clear_error(
    make_adapter: MakeAdapter, tmp_path: Path, content: str
) -> None:
    run = make_adapter()
    (run / "adapter" / "adapter_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"adapter_config\.json: is "):
        export(run, tmp_path / "out")


@pytest.mark.parametrize("told", ["{", "[1]", '"text"', '{"unet.lora_alpha": "x"}'])
def test_a_header_that_is_damaged_is_one_clear_error(make_adapter: MakeAdapter, tmp_path: Path, told: str) -> None:
    path = export(make_adapter(), tmp_path / "out")
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": told})
    with pytest.raises(ValueError, match="lora_adapter_metadata"):
        read_lora(path)
