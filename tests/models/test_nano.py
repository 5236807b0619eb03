"""The shipped weights: small, plain, and obedient. Prompts are of phantoms that no training saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.hounsfield import encode_windows
from vesalius.data.images.image import Picture, load_stack, to_uint8
from vesalius.data.phantoms.phantom import KINDS, PhantomConfig, write_phantoms
from vesalius.data.record import Record, load_records
from vesalius.eval.scorecard.reconstruction import reconstruction_scores
from vesalius.eval.scorecard.text import text_scores
from vesalius.inference import Generator
from vesalius.inference.request import Request
from vesalius.models.base import base_folder
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.witness import Witness
from vesalius.models.support import support_of

MODELS = Path(__file__).resolve().parents[2] / "models"
MODALITIES = ("CT", "MRI", "pathology")
REAL = {"X-ray": "Chest X-ray", "blood smear": "Blood smear", "fundus": "Fundus photograph"}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator("nano")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """Phantoms of a seed far from those of any recipe in runs/."""
    config = PhantomConfig(num=90, seed=900, val=0, test=0, out=tmp_path_factory.mktemp("unseen") / "set", json=True)
    return write_phantoms(config), load_records(config.out)


def pictures(members: tuple[Path, list[Record]]) -> torch.Tensor:
    folder, records = members
    return torch.from_numpy(load_stack([(folder / r.file_name, r.modality) for r in records], 128, quiet=True))


def as_seen(picture: Picture) -> np.ndarray:
    """A drawing as networks see it, CHW uint8: CT of known units in its three windows."""
    if picture.hu is not None:
        return to_uint8(encode_windows(picture.hu), 0.0, 1.0).transpose(2, 0, 1)
    return np.repeat(picture.image, 3 // picture.image.shape[2], axis=2).transpose(2, 0, 1)


def as_batch(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.repeat(i, 3 // i.shape[2], axis=2).transpose(2, 0, 1) for i in images]))


def test_all_shipped_weights_are_under_45_megabytes_of_safetensors_and_text() -> None:
    folders = [MODELS / name for name in ("nano", "nano-fast", "judge", "witness", "reader")]
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 45_000_000
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".md", ".txt"}
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        assert (base_folder("nano") / part).is_dir()


def test_the_plain_pipeline_opens_and_draws_it() -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(base_folder("nano"))
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("Chest CT", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (128, 128, 3)
    assert np.isfinite(image).all()


def test_our_generator_draws_what_the_plain_pipeline_draws(generator: Generator) -> None:
    prompt = "Axial brain MRI with a 30 mm mass on the left."
    ours = next(generator.draw_all([Request(prompt=prompt, seed=5)], steps=4, guidance=3.0))[1].image[..., 0]
    noise = torch.Generator().manual_seed(5)
    plain = generator.base.pipeline(
        prompt, num_inference_steps=4, guidance_scale=3.0, generator=noise, output_type="np"
    )
    assert np.abs(plain.images[0].mean(-1) * 255 - ours).max() <= 1


def plain_prompts(modality: str) -> list[str]:
    """Each finding on each side, in the plainest words."""
    scan, place = {"CT": ("Chest CT", "lung"), "MRI": ("Brain MRI", "hemisphere"), "pathology": ("H&E tile", "")}[
        modality
    ]
    return [
        f"{scan} with {kind}{f' in the {side} {place}' if place else ''}."
        for kind in KINDS[modality]
        for side in ("left", "right")
    ]


@pytest.mark.parametrize("sides", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("modality", [*MODALITIES, *REAL])
def test_prompts_come_out_in_their_modality(modality: str, sides: int, generator: Generator, judge: Judge) -> None:
    """Four findings on the left, or on both sides."""
    prompts = plain_prompts(modality)[: 8 : 3 - sides] if modality in MODALITIES else [REAL[modality]] * 2 * sides
    requests = [Request(prompt=p, seed=i, modality=modality) for i, p in enumerate(prompts)]
    seen = [as_seen(picture) for _, picture in generator.draw_all(requests)]
    probabilities, _ = judge.read(torch.from_numpy(np.stack(seen)))
    said = [judge.config.modalities[int(p.argmax())] for p in probabilities]
    assert np.mean([s == modality for s in said]) >= 0.75, said


def test_ct_keeps_its_hounsfield_units_and_mri_is_one_grey_channel(generator: Generator) -> None:
    prompts = ("Chest CT with a nodule.", "Greyscale CT of the abdomen.", "Brain MRI.")
    drawn = {r.prompt: p for r, p in generator.draw_all([Request(prompt=p, seed=1) for p in prompts])}
    assert [drawn[p].image.shape for p in prompts] == [(128, 128, 1)] * 3
    hu = drawn[prompts[0]].hu
    assert hu is not None
    assert hu.min() < -700, "air"
    assert -20 < np.median(hu[(hu > -150) & (hu < 150)]) < 80, "soft tissue"
    assert drawn[prompts[2]].hu is None


@pytest.mark.parametrize("modality", MODALITIES)
def test_pictures_of_one_prompt_differ(modality: str, generator: Generator) -> None:
    caption = plain_prompts(modality)[0]
    images = as_batch(list(generator.draw(caption, num=4, modality=modality))).float().flatten(1)
    correlations = torch.corrcoef(images)[~torch.eye(4, dtype=torch.bool)]
    assert correlations.max() < 0.98


def test_it_knows_what_it_was_trained_on() -> None:
    support = support_of("nano", None)
    assert support is not None
    assert set(support.modalities) == {"CT", "MRI", "X-ray", "blood smear", "fundus", "pathology"}
    assert support.findings("CT")["nodule"] > 500


def test_the_autoencoder_keeps_31_decibels_of_phantoms(generator: Generator, unseen: tuple[Path, list[Record]]) -> None:
    folder, records = unseen[0], unseen[1][:12]
    scores = reconstruction_scores(
        generator.base.pipeline.vae, pictures((folder, records)), [r.modality for r in records],
        [r.hounsfield for r in records],
    )  # fmt: skip
    assert set(scores) == set(MODALITIES)
    assert all(s["PSNR"].value > 31 and s["MS-SSIM"].value > 0.97 for s in scores.values())
    assert scores["CT"]["HU error in soft tissue"].value < 15


def test_the_text_encoder_finds_paraphrases_and_tells_false_texts(generator: Generator) -> None:
    pipeline = generator.base.pipeline
    assert pipeline.tokenizer.model_max_length == 256
    scores = text_scores(pipeline.tokenizer, pipeline.text_encoder, seed=4, num=120)
    assert all(m.value > 0.9 for m in scores.values()), scores


def test_the_judge_reads_phantoms_it_never_saw(judge: Judge, unseen: tuple[Path, list[Record]]) -> None:
    kinds, attributes = judge.read(pictures(unseen))
    for modality in MODALITIES:
        rows = [i for i, r in enumerate(unseen[1]) if r.modality == modality]
        assert all(judge.config.modalities[int(kinds[i].argmax())] == modality for i in rows)
        right = [
            (float(attributes[i][judge.attribute_index[f"{modality}/{f.kind}"]]) > 0.5) == f.present
            for i in rows
            for f in unseen[1][i].findings
        ]
        assert np.mean(right) >= 0.85, modality


def test_the_witness_tells_the_modalities_of_phantoms(unseen: tuple[Path, list[Record]]) -> None:
    probabilities, names = Witness.load().classify(pictures(unseen), "modality")
    said = [names[int(p.argmax())] for p in probabilities]
    assert np.mean([s == r.modality for s, r in zip(said, unseen[1], strict=True)]) >= 0.95


def test_the_judge_says_what_it_was_made_of() -> None:
    config = json.loads((MODELS / "judge" / "config.json").read_text())
    assert {*MODALITIES, *REAL} <= set(config["modalities"])
