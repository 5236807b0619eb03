"""The shipped weights: small, plain, and obedient. Prompts are of phantoms that no training saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.phantom import KINDS, draw_phantom
from vesalius.inference import Generator
from vesalius.inference.generator import Request
from vesalius.models.base import base_folder
from vesalius.models.judge_network import Judge

MODALITIES = ("CT", "MRI", "pathology")
FIRST_SEED = 900_000_000  # far from the seeds of any recipe in runs/


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator("nano")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


def as_batch(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in images]))


def test_the_embedded_base_is_under_12_megabytes_of_safetensors_and_text() -> None:
    files = [p for p in base_folder("nano").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 12_000_000
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".md", ".txt"}
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        assert (base_folder("nano") / part).is_dir()


def test_the_plain_pipeline_opens_and_draws_it() -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(base_folder("nano"))
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("Chest CT", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (64, 64, 3)
    assert np.isfinite(image).all()


def test_our_generator_draws_what_the_plain_pipeline_draws(generator: Generator) -> None:
    prompt = "Axial chest CT with a 30 mm nodule in the left lung."
    ours = next(generator.draw_all([Request(prompt=prompt, seed=5)], steps=4, guidance=3.0))[1].image[..., 0]
    noise = torch.Generator().manual_seed(5)
    plain = generator.base.pipeline(
        prompt, num_inference_steps=4, guidance_scale=3.0, generator=noise, output_type="np"
    )
    assert np.abs(plain.images[0].mean(-1) * 255 - ours).max() <= 1


def plain_prompts(modality: str) -> list[str]:
    """Each finding on each side, in the plainest words: it knows the wording of its own time, not every later one."""
    scan, place = {"CT": ("Chest CT", "lung"), "MRI": ("Brain MRI", "hemisphere"), "pathology": ("H&E tile", "")}[
        modality
    ]
    return [
        f"{scan} with {kind}{f' in the {side} {place}' if place else ''}."
        for kind in KINDS[modality]
        for side in ("left", "right")
    ]


@pytest.mark.parametrize("modality", MODALITIES)
def test_prompts_it_never_saw_come_out_in_their_modality(modality: str, generator: Generator, judge: Judge) -> None:
    prompts = plain_prompts(modality)
    requests = [Request(prompt=p, seed=i, modality=modality) for i, p in enumerate(prompts + prompts[:4])]
    images = [picture.image for _, picture in generator.draw_all(requests)]
    probabilities, _ = judge.read(as_batch(images))
    said = [judge.config.modalities[int(p.argmax())] for p in probabilities]
    assert np.mean([s == modality for s in said]) >= 0.9, said


@pytest.mark.parametrize("modality", MODALITIES)
def test_pictures_of_one_prompt_differ(modality: str, generator: Generator) -> None:
    caption = plain_prompts(modality)[0]
    images = as_batch(list(generator.draw(caption, num=4, modality=modality))).float().flatten(1)
    correlations = torch.corrcoef(images)[~torch.eye(4, dtype=torch.bool)]
    assert correlations.max() < 0.98


def test_the_judge_reads_phantoms_it_never_saw(judge: Judge) -> None:
    for modality in MODALITIES:
        phantoms = [draw_phantom(FIRST_SEED + i, modality) for i in range(60)]
        kinds, attributes = judge.read(as_batch([p.image for p in phantoms]))
        assert all(judge.config.modalities[int(k.argmax())] == modality for k in kinds)
        right = [
            (float(a[judge.attribute_index[f"{modality}/{f.kind}"]]) > 0.5) == f.present
            for p, a in zip(phantoms, attributes, strict=True)
            for f in p.findings
        ]
        assert np.mean(right) >= 0.9, modality


def test_the_judge_says_what_it_was_made_of() -> None:
    config = json.loads((Path(str(base_folder("nano"))).parent / "judge" / "config.json").read_text())
    assert set(MODALITIES) <= set(config["modalities"])
