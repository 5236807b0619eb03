"""The trained parts of the second edition: what they were trained for, on phantoms and phrasings never seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vesalius.data.image import load_stack
from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.reconstruction import reconstruction_scores
from vesalius.eval.text import text_scores

PARTS = Path(__file__).resolve().parents[2] / "models" / "nano-128"


def test_the_autoencoder_keeps_31_decibels_of_phantoms(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(PARTS / "vae", torch_dtype=torch.float32).eval()
    config = PhantomConfig(num=12, seed=77, size=128, hounsfield=True, val=0, test=0, out=tmp_path / "set", json=True)
    records = load_records(write_phantoms(config))
    images = load_stack([(config.out / r.file_name, r.modality) for r in records], 128, quiet=True)
    scores = reconstruction_scores(
        vae, torch.from_numpy(images), [r.modality for r in records], [r.hounsfield for r in records]
    )
    assert set(scores) == {"CT", "MRI", "pathology"}
    assert all(s["PSNR"].value > 31 and s["MS-SSIM"].value > 0.97 for s in scores.values())
    assert scores["CT"]["HU error in soft tissue"].value < 15


@pytest.mark.parametrize("seed", [4])
def test_the_text_encoder_finds_paraphrases_and_tells_false_texts(seed: int) -> None:
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(PARTS / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(PARTS / "text_encoder").float().eval()
    assert tokenizer.model_max_length == 256
    scores = text_scores(tokenizer, encoder, seed=seed, num=120)
    assert all(m.value > 0.9 for m in scores.values()), scores
