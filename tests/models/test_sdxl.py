"""Bases of SDXL's shape: two text encoders, pooled text, and sizes told to the denoiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.models.base import open_base
from vesalius.models.text import embed


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_it_draws_what_the_plain_pipeline_draws(tiny_xl: Path, guidance: float) -> None:
    prompt = "Chest CT with a nodule in the left lung"
    plain = StableDiffusionXLPipeline.from_pretrained(tiny_xl, add_watermarker=False)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        prompt, num_inference_steps=4, guidance_scale=guidance, output_type="np",
        generator=[torch.Generator().manual_seed(7)],
    ).images[0]  # fmt: skip
    request = Request(prompt=prompt, seed=7, modality="pathology")
    ((_, picture),) = Generator(str(tiny_xl), device="cpu").draw_all([request], steps=4, guidance=guidance)
    assert np.abs(picture.image.astype(float) - theirs * 255).max() <= 1


def test_pooled_text_is_that_of_the_first_chunk_and_empty_text_is_zeros(tiny_xl: Path) -> None:
    pipeline = open_base(str(tiny_xl)).pipeline
    long = "The lungs are clear. A nodule of 12 mm lies in the left upper lobe. " * 12
    hidden, pooled = embed(pipeline, ["Chest CT", ""], 1)
    assert pooled is not None
    assert hidden.shape == (2, pipeline.tokenizer.model_max_length, 40)
    assert pooled[1].abs().max() == hidden[1].abs().max() == 0
    many, first = embed(pipeline, [long])
    assert first is not None
    assert many.shape[1] > hidden.shape[1]
    assert first.shape == (1, 12)
