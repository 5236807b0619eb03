"""Tiny real models and datasets, made once a session."""

from __future__ import annotations

import gc
import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A busy machine is no fault of the code: properties have no deadline.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ROOT = Path(__file__).resolve().parents[1]

if os.environ.get("VESALIUS_RAISES"):  # for the processes that tests start, then for this one
    os.environ["VESALIUS_RAISES"] = os.path.abspath(os.environ["VESALIUS_RAISES"])
    paths = [str(ROOT / "tests" / "raises"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))
    runpy.run_path(str(ROOT / "tests" / "raises" / "sitecustomize.py"))


LONG = (
    "improve/proof/test_arms.py",
    "improve/test_loop.py",
    "finetune/test_kill.py",
    "finetune/test_full_size.py",
    "demo/drawing/test_kill.py",
    "test_readme.py",
    "test_packaging.py",
    "improve/proof/test_planted.py",
)
"""Files of few tests that take long: they come first, so that no process ends long after the others."""


gc.disable()  # until all is imported: the libraries make a million objects, and all of them stay


def pytest_collection_finish() -> None:
    """What was imported is looked through once, and then left alone."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, from $VESALIUS_REAL_DATA or beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("VESALIUS_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the real images: set VESALIUS_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 60 phantoms at 32 px, CT in Hounsfield units."""
    from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms

    out = tmp_path_factory.mktemp("data") / "phantoms"
    return write_phantoms(PhantomConfig(num=60, seed=3, size=32, out=out, hounsfield=True, json=True))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A whole Stable-Diffusion-shaped base at 32 px: the real classes, in milliseconds.

    Its autoencoder is the linear one of the phantoms, so that its latents are of unit size; the rest is random.
    """
    import torch

    from vesalius.data.record import load_records
    from vesalius.finetune.base.denoiser import write_base
    from vesalius.finetune.base.linear_start import start_linear
    from vesalius.finetune.feeding.examples import gather, load_images, to_pixels
    from vesalius.models.architecture import TINY, make_autoencoder, make_denoiser, make_scheduler, make_text_encoder
    from vesalius.models.text import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer([r.text for r in load_records(phantoms)], TINY)
    text_encoder = make_text_encoder(TINY, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id)
    denoiser, autoencoder = make_denoiser(TINY), make_autoencoder(TINY)
    start_linear(autoencoder, to_pixels(load_images(gather([phantoms], "train"), TINY.image_size, quiet=True)))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_base(folder, autoencoder, tokenizer, text_encoder, denoiser, make_scheduler())
    return folder


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """SDXL's classes in milliseconds, with random weights."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from vesalius.models.text import open_tokenizer

    torch.manual_seed(0)
    tokenizer = open_tokenizer(str(tiny_base))
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": len(tokenizer), "projection_dim": 12,
        "max_position_embeddings": tokenizer.model_max_length, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    encoders = [
        kind(CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, **sizes))
        for kind, width in ((CLIPTextModel, 16), (CLIPTextModelWithProjection, 24))
    ]
    blocks = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    denoiser = UNet2DConditionModel(
        sample_size=16, cross_attention_dim=40, block_out_channels=(16, 32), down_block_types=blocks[0],
        up_block_types=blocks[1], layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=12 + 6 * 8,
    )  # fmt: skip
    kinds = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            down_block_types=kinds[0], up_block_types=kinds[1], block_out_channels=(8, 16), norm_num_groups=4,
        ),
        text_encoder=encoders[0], text_encoder_2=encoders[1], tokenizer=tokenizer, tokenizer_2=tokenizer, unet=denoiser,
        scheduler=EulerDiscreteScheduler(), force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny-xl"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def judged_loop(tmp_path: Path) -> Callable[..., Path]:
    """Make a loop by hand whose rounds have their verdicts: OUT/round-00 (decided) and OUT/round-NN, each of 3 prompts
    with 4 samples, of which the first is accepted and the others are refused by agreement, as a copy and by a quota;
    returns OUT. changes: of the configuration."""
    import dataclasses

    from vesalius.data.record import write_json
    from vesalius.improve.config import ImproveConfig

    def make(rounds: int = 1, **changes: object) -> Path:
        out = tmp_path / "loop"
        out.mkdir(exist_ok=True)
        told = {"data": (tmp_path,), "out": out, "best_of": 4, "num": 12, **changes}
        write_json(out / "config.json", dataclasses.asdict(ImproveConfig(**told)))  # type: ignore[arg-type]
        (out / "round-00").mkdir(exist_ok=True)
        decision = {"round": 0, "promoted": True, "reasons": ["the data alone"], "champion": 0}
        write_json(out / "round-00" / "decision.json", decision)
        for index in range(1, rounds + 1):
            _judge(out / f"round-{index:02d}", index)
        return out

    return make


def _judge(folder: Path, index: int) -> None:
    import json

    import numpy as np

    from vesalius.data.images.image import Picture
    from vesalius.improve.asking.plan import Ask, RoundPlan, write_plan
    from vesalius.inference.sample import Sample, sample_lines
    from vesalius.inference.writing.sinks import write_sample

    (folder / "samples" / "images").mkdir(parents=True)
    texts = [f"Chest CT with {n} nodules." for n in ("no", "two", "three")]
    write_plan(folder, RoundPlan(asks=[Ask(text=t, modality="CT", stratum="CT") for t in texts], quotas={"CT": 3}))
    reasons = (None, "agreement: less than real images do", "copy: nearer to a training image", "quota: enough of CT")
    rng = np.random.default_rng(index)
    samples, verdicts = [], []
    for prompt, text in enumerate(texts):
        for place, reason in enumerate(reasons):
            name = f"images/{prompt:05d}-{place:04d}.png"
            drawn = Sample(file_name=name, text=text, modality="CT", seed=place, steps=1, guidance=1.0, depth=index)
            picture = Picture(image=rng.integers(0, 255, (16, 16, 1), np.uint8))
            samples.append(write_sample(folder / "samples", drawn, picture))
            facts = {"stratum": "CT", "reason": reason, "reward": 0.9 - place / 10, "agreement": 0.9 - place / 10}
            verdicts.append({"file_name": name, "sha256": samples[-1].sha256, "prompt": prompt, **facts})
    (folder / "samples" / "metadata.jsonl").write_bytes(sample_lines(samples))
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(v) + "\n" for v in verdicts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Where VESALIUS_CI is set, a skip for want of something ("needs ...") is a failure: there it was installed."""
    report = yield
    if report.skipped and os.environ.get("VESALIUS_CI") and "needs " in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped where everything should be there: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system; skips where there is none. One for all tests of a process, since
    a second Playwright would find the first one's loop running."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()
