"""The chain that trains a base, at tiny size: autoencoder, text encoder, denoiser, each resumable."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vesalius.data.record import Record
from vesalius.finetune.base.autoencoder import AutoencoderConfig, standardise, train_autoencoder
from vesalius.finetune.base.denoiser import (
    BaseConfig,
    Condition,
    fixed_questions,
    open_parts,
    train_base,
)
from vesalius.finetune.base.text import TextConfig, train_text
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.feeding.latents import cached_views
from vesalius.finetune.feeding.masks import MARGIN, lesion_grid
from vesalius.finetune.running.checkpoint import load_checkpoint
from vesalius.models.architecture import TINY, make_autoencoder, make_denoiser
from vesalius.models.base import open_base

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
SIZES = dataclasses.replace(TINY, context=512, vocabulary=1024)


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


def words_of(config: BaseConfig) -> list[str]:
    """A run as words of the command line."""
    words = ["--data", *map(str, config.data), "--out", str(config.out), "--device", "cpu"]
    for name in (
        "autoencoder", "text", "steps", "batch_size", "warmup", "save_every", "validate_every", "precision", "workers",
    ):  # fmt: skip
        words += ["--" + name.replace("_", "-"), str(getattr(config, name))]
    for name, value in dataclasses.asdict(SIZES).items():
        words += [f"--sizes.{name.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return words


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


def test_batches_made_ahead_by_workers_are_those_made_in_the_loop(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    alone = train_base(base_config(data, parts, tmp_path / "alone", workers=0))
    ahead = train_base(base_config(data, parts, tmp_path / "ahead", workers=2))
    one, other = (load_file(f / "unet" / "diffusion_pytorch_model.safetensors") for f in (alone, ahead))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_signal_to_the_whole_group_stops_a_run_with_workers_with_its_step_saved(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    config = base_config(data, parts, tmp_path / "run", steps=100_000, save_every=100_000, workers=2)
    words = [sys.executable, "-m", "vesalius.finetune.base.denoiser", *words_of(config)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=ALONE, start_new_session=True)
    assert child.stdout is not None
    assert "validation loss" in child.stdout.readline()  # its workers are at work
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(60) == 75
    assert (saved := load_checkpoint(config.out)) is not None
    assert saved[0] >= 2


def test_a_base_whose_loss_is_none_stops_with_its_step(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    config = base_config(data, parts, tmp_path / "run", learning_rate=1e30, warmup=0, validate_every=4)
    with pytest.raises(ValueError, match=r"step \d: the loss is (nan|inf); lower --learning-rate, or look at the data"):
        train_base(config)


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


def test_the_weight_reaches_around_a_finding_and_no_further(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[40, 21] = 2  # cell 10, 5 of 16
    Image.fromarray(mask).save(tmp_path / "mask.png")
    shown = Record(file_name="a.png", text="CT", modality="CT", mask="mask.png")
    bare = Record(file_name="b.png", text="CT", modality="CT")
    grid = lesion_grid([(tmp_path, shown), (tmp_path, bare)], (64, 64), 4)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[10 - MARGIN : 11 + MARGIN, 5 - MARGIN : 6 + MARGIN] = True
    assert torch.equal(grid[0, 0], expected)
    assert not grid[1].any()


def test_the_weight_lies_where_the_finding_is_shown_in_an_image_that_is_not_square(tmp_path: Path) -> None:
    mask = np.zeros((32, 64), np.uint8)
    mask[4, 30] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    record = Record(file_name="a.png", text="CT", modality="CT", mask="mask.png")
    for shape, (row, column) in (((64, 64), (20, 30)), ((32, 64), (4, 30)), ((64, 128), (8, 60))):
        grid = lesion_grid([(tmp_path, record)], shape, 4)[0, 0]
        around = [slice(max(0, p // 4 - MARGIN), p // 4 + MARGIN + 1) for p in (row, column)]
        assert grid.shape == (shape[0] // 4, shape[1] // 4)
        assert grid[around[0], around[1]].all()
        assert grid.sum() <= 7 * 7, shape


def test_a_record_is_told_in_as_many_ways_as_are_asked_for(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    tell = Condition.__call__

    def listen(self: Condition, texts: list[str], tokens: torch.Tensor | None = None) -> torch.Tensor:
        heard.extend(texts)
        return tell(self, texts, tokens)

    monkeypatch.setattr(Condition, "__call__", listen)
    fields = {"steps": 6, "batch_size": 8, "caption_dropout": 0.0, "wordings": 1, "validate_every": 7}
    train_base(base_config(data[:1], parts, tmp_path / "run", **fields))
    trained = heard[:48]
    assert len(set(trained)) <= sum(1 for _ in (data[0] / "train" / "images").iterdir())


def test_each_view_of_a_real_image_has_its_latents_and_a_phantom_only_one(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    config = base_config(data, parts, tmp_path, views=3)
    autoencoder, _, _, digest = open_parts(config)
    members = gather(data, "train")
    latents, places = cached_views(autoencoder, digest, members, (32, 32), 3, folder=tmp_path, quiet=True)
    mean, deviation = latents.whole()
    assert places.shape == (3, len(members))
    assert len(mean) == len(deviation) == places.max() + 1
    for place, (_, record) in zip(places.T.tolist(), members, strict=True):
        assert len(set(place)) == (3 if record.origin == "real" else 1)
        assert len({mean[p].numpy().tobytes() for p in place}) == len(set(place))


@pytest.mark.parametrize("name", ["steps", "batch_size", "views", "wordings", "kept_texts"])
def test_a_number_of_nothing_is_refused(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is 0; expected at least 1"):
        train_base(base_config(data, parts, tmp_path / "run", **{name: 0}))
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": float("nan")}, "--learning-rate is nan; expected a number of 0 or more"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected a number of 0 or more"),
        ({"real_share": 1.5}, "--real-share is 1.5; expected a number from 0 to 1"),
        ({"caption_dropout": float("nan")}, "--caption-dropout is nan; expected a number from 0 to 1"),
        ({"workers": -2}, "--workers is -2; expected at least -1"),
        ({"warmup": -1}, "--warmup is -1; expected at least 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BaseConfig(data=(), out=tmp_path, **wrong).check(1)  # type: ignore[arg-type]


def test_a_precision_that_is_none_is_not_taken_for_another(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'fp16'; expected one of 'auto', 'bf16', 'fp32'"):
        BaseConfig(data=(), out=tmp_path, precision="fp16")  # type: ignore[arg-type]


def test_a_base_run_with_nothing_to_validate_with_says_so(tmp_path: Path) -> None:
    record = Record(file_name="a.png", text="a", modality="CT", split="val", origin="synthetic")
    with pytest.raises(ValueError, match="split 'val' has no real image and no phantom"):
        fixed_questions(BaseConfig(data=(tmp_path,), out=tmp_path), [(tmp_path, record)])


def test_a_batch_is_refused_that_does_not_divide_among_processes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--batch-size 3 does not divide among 2 processes"):
        BaseConfig(data=(), out=tmp_path, batch_size=3).check(2)


def test_what_names_no_record_cannot_be_drawn_more_often(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="--weigh MRT: no phantom is of that modality"):
        train_base(base_config(data, parts, tmp_path / "run", weigh=("MRT=2",)))
    with pytest.raises(ValueError, match="--weigh MRI: is named twice"):
        train_base(base_config(data, parts, tmp_path / "run", weigh=("MRI=2", "MRI=3")))
    for wrong in ("MRI", "MRI=", "=2", "MRI=0", "MRI=-1", "MRI=nan"):
        with pytest.raises(ValueError, match="expected NAME=FACTOR"):
            train_base(base_config(data, parts, tmp_path / "run", weigh=(wrong,)))
    assert not (tmp_path / "run").exists()


def test_conditions_lie_where_their_encoder_lies(tiny_base: Path) -> None:
    pipeline = open_base(str(tiny_base)).pipeline
    condition = Condition(pipeline.tokenizer, pipeline.text_encoder.to("meta"))
    assert condition.text_encoder.device.type == "meta"


@pytest.mark.slow
def test_two_processes_train_the_base_that_one_does(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    one = train_base(base_config(data, parts, tmp_path / "one"))
    config = base_config(data, parts, tmp_path / "two")
    words = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29621",
        "-m", "vesalius.finetune.base.denoiser", *words_of(config),
    ]  # fmt: skip
    child = subprocess.run(words, capture_output=True, text=True, env=ALONE, timeout=240)
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
    assert not (tmp_path / "run").exists()  # so that the line that is mended may have that folder


def test_a_part_that_is_not_there_is_named_and_settles_nothing(
    data: tuple[Path, ...], parts: tuple[Path, Path], tmp_path: Path
) -> None:
    for wrong, told in (
        ({"init": tmp_path, "autoencoder": None, "text": None}, r"vae: no \*\.safetensors there; --init is to name"),
        ({"init": tmp_path}, r"unet: no \*\.safetensors there; --init is to name"),
        ({"autoencoder": parts[0]}, r"ae: no \*\.safetensors there; --autoencoder is to name"),
        ({"text": parts[0]}, r"no tokenizer_config\.json there; --text is to name"),
    ):
        with pytest.raises(ValueError, match=told):
            train_base(base_config(data, parts, tmp_path / "run", **wrong))
        assert not (tmp_path / "run").exists()


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
