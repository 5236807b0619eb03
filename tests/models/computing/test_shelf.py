"""Weights that come and go are the weights that stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vesalius.models.adapters.adapter import apply_adapter
from vesalius.models.base import open_base
from vesalius.models.computing.shelf import Stay, open_shelved, settle, stored_tensors
from vesalius.models.text import embed

FULL = {"unet": torch.float32, "vae": torch.float32}


@torch.inference_mode()
def passed(pipeline: Any) -> list[torch.Tensor]:
    """What each part of a pipeline makes of the same input, in their order, twice."""
    config, made = pipeline.unet.config, []
    noisy = torch.randn(2, config.in_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        hidden, pooled = embed(pipeline, ["Chest CT with a nodule", ""])
        more = {} if pooled is None else {"text_embeds": pooled, "time_ids": torch.ones(2, 6)}
        predicted = pipeline.unet(noisy, torch.tensor(5), hidden, added_cond_kwargs=more).sample
        made += [hidden, predicted, pipeline.vae.decode(noisy[:, : pipeline.vae.config.latent_channels]).sample]
    return made


@pytest.mark.parametrize("stay", ["resident", "turn", "layer"])
@pytest.mark.parametrize("casts", [False, True])
@pytest.mark.parametrize("kind", ["tiny_base", "tiny_xl"])
def test_parts_make_the_same_however_long_their_weights_stay(
    kind: str, stay: Stay, casts: bool, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(kind))
    base, shelves = open_shelved(folder, FULL, casts=casts)
    settle(shelves, stay)
    plain = open_base(folder)
    assert base.digest == plain.digest
    for mine, theirs in zip(passed(base.pipeline), passed(plain.pipeline), strict=True):
        assert torch.equal(mine, theirs)


def test_one_part_alone_has_its_weights_in_its_turn(tiny_base: Path) -> None:
    base, shelves = open_shelved(str(tiny_base), FULL)
    settle(shelves, "turn")
    assert not any(shelf.is_open for shelf in shelves)
    passed(base.pipeline)
    assert [shelf.is_open for shelf in shelves] == [False, False, True]
    held = [sum(p.untyped_storage().nbytes() for p in shelf.network.parameters()) for shelf in shelves]
    num = [sum(1 for _ in shelf.network.parameters()) for shelf in shelves]
    assert held[:2] == [4 * n for n in num[:2]], "one number stands for each weight"
    assert base.pipeline.unet.device.type == "cpu"


def test_weights_made_bfloat16_before_give_what_autocast_gives(tiny_base: Path) -> None:
    base, shelves = open_shelved(str(tiny_base), dict.fromkeys(FULL, torch.bfloat16))
    settle(shelves, "turn")
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = passed(base.pipeline), passed(open_base(str(tiny_base)).pipeline)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("stay", ["turn", "layer"])
@pytest.mark.parametrize("fields", [{"text": {}}, {"use_dora": True}, {"use_rslora": True}])
def test_an_adapter_beside_shelved_weights_is_one_merged(
    stay: Stay, fields: dict[str, Any], tiny_base: Path, make_adapter: Callable[..., Path]
) -> None:
    run = make_adapter(**fields)
    base, shelves = open_shelved(str(tiny_base), FULL)
    apply_adapter(base, run)
    settle(shelves, stay)
    merged, plain = open_base(str(tiny_base)), open_base(str(tiny_base))
    apply_adapter(merged, run)
    ours, theirs, without = passed(base.pipeline), passed(merged.pipeline), passed(plain.pipeline)
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(ours, theirs, strict=True))
    assert not torch.allclose(ours[1], without[1], atol=1e-3)


def test_names_of_older_files_are_known(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(tiny_base, folder)
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    assert "embeddings.token_embedding.weight" in tensors
    save_file({f"text_model.{name}": tensor for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    base, shelves = open_shelved(str(folder), FULL)
    settle(shelves, "turn")
    assert torch.equal(passed(base.pipeline)[1], passed(open_base(str(tiny_base)).pipeline)[1])


def test_a_folder_that_lacks_a_weight_is_refused_by_its_name(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(tiny_base, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_out.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"short.*could not be opened.*unet: conv_out\.bias is missing"):
        open_shelved(str(folder), FULL)
    path.unlink()
    with pytest.raises(ValueError, match="unet holds no weights as safetensors"):
        stored_tensors(folder / "unet")
