"""Bases are opened from safetensors alone, and say clearly when they cannot be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from vesalius.finetune.base.denoiser import write_base
from vesalius.models.architecture import make_sampler, make_scheduler
from vesalius.models.base import UNSAFE, base_folder, digest_folder, open_base, refuse_code, usual_steps


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def test_a_base_opens_frozen_in_float32_at_its_own_size(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    assert base.image_size == 32
    for part in (base.pipeline.unet, base.pipeline.vae, base.pipeline.text_encoder):
        assert {p.dtype for p in part.parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in part.parameters())
        assert not part.training


def test_a_plain_pipeline_opens_the_same_folder(tiny_base: Path) -> None:
    plain = StableDiffusionPipeline.from_pretrained(tiny_base)
    ours = open_base(str(tiny_base)).pipeline
    for name in ("unet", "vae", "text_encoder"):
        theirs = getattr(plain, name).state_dict()
        assert all(torch.equal(v, theirs[k].float()) for k, v in getattr(ours, name).state_dict().items())


@pytest.mark.parametrize("suffix", UNSAFE)
def test_a_folder_with_code_or_pickles_is_refused(copy: Path, suffix: str) -> None:
    (copy / "unet" / f"extra{suffix}").write_bytes(b"")
    with pytest.raises(ValueError, match=f"holds unet/extra{suffix}; code and pickles are never loaded"):
        open_base(str(copy))


def test_a_clean_folder_is_not_refused(tiny_base: Path) -> None:
    refuse_code(tiny_base)


def test_a_missing_base_names_what_was_looked_for_and_the_remedy(tmp_path: Path) -> None:
    for name in (str(tmp_path / "none"), "./none", "~/no/base/here", str(tmp_path), "nanoo"):
        with pytest.raises(ValueError, match=r"no model_index.json in it\); give 'nano', a folder or a hub id"):
            base_folder(name)


def test_a_base_without_its_denoiser_is_one_clear_error(copy: Path) -> None:
    shutil.rmtree(copy / "unet")
    with pytest.raises(ValueError, match="could not be opened as a Stable Diffusion pipeline"):
        open_base(str(copy))


def test_a_hub_id_offline_is_one_clear_error_at_once(tmp_path: Path) -> None:
    code = "from vesalius.models.base import open_base; open_base('nobody/no-such-model')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 30
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: base 'nobody/no-such-model' is not in the hub cache")
    assert "HF_HUB_OFFLINE is set" in last
    assert last.endswith("use --base nano or a local folder")
    assert "During handling" not in done.stderr


def test_the_digest_is_stable_and_changes_with_names_and_bytes(copy: Path, tiny_base: Path) -> None:
    assert digest_folder(copy) == digest_folder(tiny_base) == open_base(str(copy)).digest
    (copy / "notes.md").write_text("no part of the model")
    assert digest_folder(copy) == digest_folder(tiny_base)
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + " ")
    changed = digest_folder(copy)
    assert changed != digest_folder(tiny_base)
    config.rename(config.with_name("other.json"))
    assert digest_folder(copy) not in (changed, digest_folder(tiny_base))


@pytest.mark.parametrize(("scheduler", "steps"), [("DDIMScheduler", 20), ("UniPCMultistepScheduler", 12), (None, 20)])
def test_the_usual_steps_are_those_of_the_scheduler(
    tiny_base: Path, tmp_path: Path, scheduler: str | None, steps: int
) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    path = folder / "scheduler" / "scheduler_config.json"
    path.unlink()
    if scheduler:
        path.write_text(json.dumps({"_class_name": scheduler}))
    assert usual_steps(str(tiny_base)) == 12
    assert usual_steps(str(folder)) == steps


@pytest.mark.parametrize("content", [b"{broken", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_a_broken_scheduler_is_said_by_opening_the_base_not_by_its_steps(
    tiny_base: Path, tmp_path: Path, content: bytes
) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    (folder / "scheduler" / "scheduler_config.json").write_bytes(content)
    assert usual_steps(str(folder)) == 20
    with pytest.raises(ValueError, match=str(folder)):
        open_base(str(folder))


def test_no_written_or_shipped_part_says_where_it_lay_on_a_machine(tiny_base: Path, tmp_path: Path) -> None:
    parts = open_base(str(tiny_base)).pipeline  # parts that were read from folders remember these
    write_base(tmp_path / "base", parts.vae, parts.tokenizer, parts.text_encoder, parts.unet, parts.scheduler)
    shipped = sorted(Path(str(files("vesalius.models"))).glob("*/**/*.json"))
    assert len(shipped) > 10
    for path in [*(tmp_path / "base").rglob("*.json"), *shipped]:
        assert "_name_or_path" not in json.loads(path.read_text()), path
        assert not re.search(r'": "(?:/|[A-Z]:)\w', path.read_text()), path


def test_the_sampler_has_the_noise_levels_of_the_training_save_for_pure_noise() -> None:
    trained, sampler = make_scheduler(), make_sampler(make_scheduler())
    assert torch.equal(sampler.alphas_cumprod[:-1], trained.alphas_cumprod[:-1])
    assert sampler.config.prediction_type == "v_prediction"
    assert sampler.config.timestep_spacing == "trailing"
    assert 0 <= sampler.alphas_cumprod[-1] < 1e-6


def test_the_sampler_comes_nearer_in_12_steps_than_ddim_does() -> None:
    """Of data that are normal with deviation 0.5 the best denoiser is known, and so is where the noise must end."""
    trained = make_scheduler()
    noise = torch.randn(64, 1, 1, 1, generator=torch.Generator().manual_seed(0))

    def drawn(scheduler: Any) -> torch.Tensor:
        scheduler.set_timesteps(12)
        sample = noise
        for timestep in scheduler.timesteps:
            alpha = trained.alphas_cumprod[timestep]
            root, rest = alpha.sqrt(), (1 - alpha).sqrt()
            clean = sample * root * 0.25 / (alpha * 0.25 + 1 - alpha)
            velocity = (root * sample - clean) / rest
            sample = scheduler.step(velocity, timestep, sample).prev_sample
        return sample

    errors = [float((drawn(s) - 0.5 * noise).abs().mean()) for s in (make_sampler(trained), trained)]
    assert errors[0] < 0.8 * errors[1]
