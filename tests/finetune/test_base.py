"""The chain that trains a base, at tiny size: autoencoder, text encoder, denoiser, each resumable."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.finetune.autoencoder import AutoencoderConfig, standardise, train_autoencoder
from vesalius.finetune.base import BaseConfig, Condition, train_base
from vesalius.finetune.text import TextConfig, contrastive_loss, make_batch, phantom_texts, train_text
from vesalius.models.architecture import TINY, make_autoencoder, make_denoiser
from vesalius.models.base import open_base

SIZES = dataclasses.replace(TINY, context=512, vocabulary=1024)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, real_rows: Path) -> tuple[Path, ...]:
    out = tmp_path_factory.mktemp("base") / "phantoms"
    write_phantoms(PhantomConfig(num=24, seed=5, size=32, out=out, val=0.3, test=0, json=True))
    return (out, real_rows)


@pytest.fixture(scope="module")
def real_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms whose rows say that they are real: captions and classes without a need of anybody's images."""
    out = tmp_path_factory.mktemp("real") / "rows"
    write_phantoms(PhantomConfig(num=16, seed=6, size=32, out=out, val=0.3, test=0, json=True))
    for path in out.glob("*/metadata.jsonl"):
        path.write_text(path.read_text().replace('"origin": "phantom"', '"origin": "real"'))
    return out


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, data: tuple[Path, ...]) -> tuple[Path, Path]:
    """Folders of a tiny autoencoder run and a tiny text run."""
    out = tmp_path_factory.mktemp("parts")
    train_autoencoder(AutoencoderConfig(data=data, out=out / "ae", steps=6, batch_size=4, crop=16, sizes=SIZES))
    train_text(TextConfig(data=data, out=out / "text", steps=4, num_meanings=6, num_captions=4, sizes=SIZES))
    return out / "ae", out / "text"


def base_config(data: tuple[Path, ...], parts: tuple[Path, Path], out: Path, **fields: object) -> BaseConfig:
    usual = {
        "data": data, "autoencoder": parts[0] / "vae", "text": parts[1], "out": out, "steps": 4, "batch_size": 4,
        "warmup": 2, "save_every": 2, "validate_every": 2, "precision": "fp32", "device": "cpu", "sizes": SIZES,
    }  # fmt: skip
    return BaseConfig(**{**usual, **fields})  # type: ignore[arg-type]


def test_a_trained_base_opens_as_a_plain_pipeline(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = train_base(base_config(data, parts, tmp_path / "run"))
    pipeline = open_base(str(folder)).pipeline
    image = pipeline("Chest CT", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (32, 32, 3)
    assert np.isfinite(image).all()


def test_a_stopped_base_run_ends_with_the_same_weights(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = train_base(base_config(data, parts, tmp_path / "whole"))
    train_base(base_config(data, parts, tmp_path / "cut"))
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000004")
    shutil.rmtree(tmp_path / "cut" / "base")
    resumed = train_base(base_config(data, parts, tmp_path / "cut"))
    one, other = (load_file(f / "unet" / "diffusion_pytorch_model.safetensors") for f in (whole, resumed))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_base_run_with_other_settings_is_refused(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    train_base(base_config(data, parts, tmp_path / "run", steps=2))
    with pytest.raises(ValueError, match="learning_rate differ"):
        train_base(base_config(data, parts, tmp_path / "run", steps=2, learning_rate=1.0))


def test_init_begins_with_the_weights_of_a_base(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    first = train_base(base_config(data, parts, tmp_path / "first", steps=2))
    config = base_config(
        data, parts, tmp_path / "second", steps=2, init=first, autoencoder=None, text=None, learning_rate=0.0
    )
    second = train_base(config)
    one, other = (load_file(f / "unet" / "diffusion_pytorch_model.safetensors") for f in (first, second))
    assert all(torch.allclose(one[k].float(), other[k].float(), atol=2e-3) for k in one)


def test_a_base_begun_at_half_the_size_ends_at_the_whole_one(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    small = dataclasses.replace(SIZES, image_size=16)
    first = train_base(base_config(data, parts, tmp_path / "first", steps=2, sizes=small))
    second = train_base(base_config(data, parts, tmp_path / "second", steps=2, init=first, autoencoder=None, text=None))
    images = [
        open_base(str(f)).pipeline("CT", num_inference_steps=1, output_type="np").images[0] for f in (first, second)
    ]
    assert [i.shape for i in images] == [(16, 16, 3), (32, 32, 3)]


def test_a_record_is_told_in_as_many_ways_as_are_asked_for(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    tell = Condition.__call__

    def listen(self: Condition, texts: list[str]) -> torch.Tensor:
        heard.extend(texts)
        return tell(self, texts)

    monkeypatch.setattr(Condition, "__call__", listen)
    fields = {"steps": 6, "batch_size": 8, "caption_dropout": 0.0, "wordings": 1, "validate_every": 7}
    train_base(base_config(data[:1], parts, tmp_path / "run", **fields))
    trained = heard[:48]
    assert len(set(trained)) <= sum(1 for _ in (data[0] / "train" / "images").iterdir())


def test_two_processes_train_the_base_that_one_does(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    one = train_base(base_config(data, parts, tmp_path / "one"))
    config = base_config(data, parts, tmp_path / "two")
    words = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29621",
        "-m", "vesalius.finetune.base", "--data", *map(str, data), "--out", str(config.out),
    ]  # fmt: skip
    for name in ("autoencoder", "text", "steps", "batch_size", "warmup", "save_every", "validate_every", "precision"):
        words += ["--" + name.replace("_", "-"), str(getattr(config, name))]
    for name, value in dataclasses.asdict(SIZES).items():
        words += [f"--sizes.{name.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run([*words, "--device", "cpu"], capture_output=True, text=True, env=environment, timeout=240)
    assert child.returncode == 0, child.stderr
    alone, shared = (load_file(f / "unet" / "diffusion_pytorch_model.safetensors") for f in (one, config.out / "base"))
    torch.manual_seed(config.seed)
    begun = dict(make_denoiser(SIZES).named_parameters())
    for name, weight in shared.items():
        assert torch.allclose(alone[name].float(), weight.float(), atol=5e-3), name
        assert name.endswith("bias") or (weight.float() - begun[name]).abs().max() > 2e-4, f"{name} never moved"


def test_a_base_run_without_its_parts_says_what_to_name(data: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--autoencoder and --text, or --init"):
        train_base(BaseConfig(data=data, out=tmp_path / "run", sizes=SIZES, device="cpu"))


def test_a_text_over_one_context_is_no_condition(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    with pytest.raises(ValueError, match="a text needs"):
        Condition(pipeline.tokenizer, pipeline.text_encoder)(["nodule " * 500])


def test_conditions_are_the_same_kept_or_made_anew(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    condition = Condition(pipeline.tokenizer, pipeline.text_encoder, most=1)
    first = condition(["Chest CT", ""])
    assert torch.equal(condition(["", "Chest CT"]).flip(0), first)
    assert len(condition.kept) == 1


def test_standardised_latents_decode_as_before() -> None:
    torch.manual_seed(0)
    model = make_autoencoder(TINY).eval()
    images = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8)
    pixels = images.float() / 127.5 - 1
    with torch.no_grad():
        before = model.decode(model.encode(pixels).latent_dist.mean).sample
        standardise(model, images, None, 0)
        posterior = model.encode(pixels).latent_dist
        after = model.decode(posterior.mean).sample
    assert torch.allclose(before, after, atol=1e-3)
    flat = posterior.mean.permute(0, 2, 3, 1).flatten(0, 2)
    spread = flat.std(0)
    assert spread.pow(2).mean().item() == pytest.approx(1, abs=0.1)
    assert (spread[:-1] >= spread[1:] - 0.05).all()
    off = torch.corrcoef(flat.T) - torch.eye(flat.shape[1])
    assert off.abs().max() < 0.1


def test_texts_of_a_step_are_a_function_of_seed_and_step(data: tuple[Path, ...], tmp_path: Path) -> None:
    config = TextConfig(data=data, out=tmp_path, num_meanings=6, sizes=SIZES)
    assert phantom_texts(config, 3) == phantom_texts(config, 3)
    assert phantom_texts(config, 3)[0] != phantom_texts(config, 5)[0]


def test_both_tellings_state_the_same_and_false_ones_are_left_out(data: tuple[Path, ...], tmp_path: Path) -> None:
    from vesalius.data.record import load_records
    from vesalius.finetune.attributes import statements
    from vesalius.finetune.text import class_names

    records = [r for r in load_records(data[1]) if r.split == "train"]
    names = [*statements(), *sorted({name for r in records for name in class_names(r)})]
    config = TextConfig(data=data, out=tmp_path, num_meanings=6, num_captions=4, sizes=SIZES)
    batch = make_batch(config, 1, records, None, names)
    assert len(batch.texts) == 3 * 6 + 4
    assert batch.truth.shape == batch.known.shape == (2 * 6 + 4, len(names))
    assert torch.equal(batch.truth[:6], batch.truth[6:12])
    assert batch.same[:, :6].diagonal().all()


def test_meanings_that_are_equal_do_not_repel_each_other() -> None:
    embedded = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    far = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    scale = torch.tensor(2.66)
    assert contrastive_loss(embedded, same, scale) < contrastive_loss(embedded, far, scale)


def test_a_stopped_text_run_ends_with_the_same_weights(data: tuple[Path, ...], tmp_path: Path) -> None:
    def run(out: Path) -> dict[str, torch.Tensor]:
        config = TextConfig(data=data, out=out, steps=4, num_meanings=6, num_captions=4, save_every=2, sizes=SIZES)
        return load_file(train_text(config) / "text_encoder" / "model.safetensors")

    whole = run(tmp_path / "whole")
    tokenizer = (tmp_path / "whole" / "tokenizer" / "tokenizer.json").read_text()
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000004")
    resumed = run(tmp_path / "cut")
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert (tmp_path / "cut" / "tokenizer" / "tokenizer.json").read_text() == tokenizer
