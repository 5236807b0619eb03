"""Cached latents: made once, for just these images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.data.record import Record, digest_file
from vesalius.finetune.feeding.examples import load_images, to_pixels
from vesalius.finetune.feeding.latents import cached_latents
from vesalius.models.architecture import TINY, make_autoencoder

Member = tuple[Path, Record]
SQUARE = (32, 32)


@pytest.fixture(scope="module")
def autoencoder() -> Any:
    torch.manual_seed(0)
    return make_autoencoder(TINY).eval()


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(35):
        name = f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(tmp_path / name)
        record = Record(file_name=name, text="CT", modality="CT", sha256=digest_file(tmp_path / name))
        found.append((tmp_path, record))
    return found


def caches(folder: Path) -> list[Path]:
    return sorted(folder.glob("latents-*.safetensors"))


def test_latents_are_the_scaled_posterior(autoencoder: Any, members: list[Member], tmp_path: Path) -> None:
    mean, deviation = cached_latents(autoencoder, "d", members, SQUARE, tmp_path / "cache", quiet=True).whole()
    with torch.no_grad():
        posterior = autoencoder.encode(to_pixels(load_images(members, 32, quiet=True))).latent_dist
    scale = autoencoder.config.scaling_factor
    assert mean.shape == deviation.shape == (35, 4, 16, 16)
    assert mean.dtype == torch.float32
    assert torch.allclose(mean, posterior.mean * scale, atol=1e-6)
    assert torch.allclose(deviation, posterior.std * scale, atol=1e-6)


def test_a_second_call_reads_the_file(autoencoder: Any, members: list[Member], tmp_path: Path) -> None:
    first = cached_latents(autoencoder, "d", members, SQUARE, tmp_path / "cache", quiet=True).whole()
    for folder, record in members:
        (folder / record.file_name).unlink()
    second = cached_latents(None, "d", members, SQUARE, tmp_path / "cache", quiet=True).whole()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_cache_changes_with_image_size_autoencoder_modality_and_order(
    autoencoder: Any, members: list[Member], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    few = members[:3]
    cached_latents(autoencoder, "d", few, SQUARE, folder, quiet=True)
    assert len(caches(folder)) == 1
    cached_latents(autoencoder, "d", few, (16, 16), folder, quiet=True)
    cached_latents(autoencoder, "other", few, SQUARE, folder, quiet=True)
    cached_latents(autoencoder, "d", few[::-1], SQUARE, folder, quiet=True)
    tissue = [(f, dataclasses.replace(r, modality="pathology")) for f, r in few]
    cached_latents(autoencoder, "d", tissue, SQUARE, folder, quiet=True)
    Image.new("L", (32, 32), 9).save(tmp_path / "0.png")
    changed = [(f, dataclasses.replace(r, sha256=None)) for f, r in few]
    cached_latents(autoencoder, "d", changed, SQUARE, folder, quiet=True)
    assert len(caches(folder)) == 6


def test_a_digest_that_a_record_lacks_is_taken_from_its_file(
    autoencoder: Any, members: list[Member], tmp_path: Path
) -> None:
    bare = [(f, dataclasses.replace(r, sha256=None)) for f, r in members[:2]]
    cached_latents(autoencoder, "d", bare, SQUARE, tmp_path / "cache", quiet=True)
    cached_latents(autoencoder, "d", members[:2], SQUARE, tmp_path / "cache", quiet=True)
    assert len(caches(tmp_path / "cache")) == 1


def test_a_damaged_cache_is_made_again(autoencoder: Any, members: list[Member], tmp_path: Path) -> None:
    first = cached_latents(autoencoder, "d", members, SQUARE, tmp_path / "cache", quiet=True).whole()
    (path,) = caches(tmp_path / "cache")
    half = path.read_bytes()[:1000]
    path.unlink()  # a new file, since the former one is still mapped into memory
    path.write_bytes(half)
    again = cached_latents(autoencoder, "d", members, SQUARE, tmp_path / "cache", quiet=True).whole()
    assert torch.equal(first[0], again[0])


def test_latents_that_are_not_finite_name_the_image(members: list[Member], tmp_path: Path) -> None:
    broken = make_autoencoder(TINY).eval()
    with torch.no_grad():
        broken.quant_conv.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"0\.png: its latents are not finite"):
        cached_latents(broken, "d", members, SQUARE, tmp_path / "cache", quiet=True)
    assert not caches(tmp_path / "cache")


def test_each_view_has_a_cache_of_its_own_and_the_first_is_the_image(
    autoencoder: Any, members: list[Member], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    plain, _ = cached_latents(autoencoder, "d", members[:3], SQUARE, folder, quiet=True).whole()
    same, _ = cached_latents(autoencoder, "d", members[:3], SQUARE, folder, view=0, quiet=True).whole()
    other, _ = cached_latents(autoencoder, "d", members[:3], SQUARE, folder, view=1, quiet=True).whole()
    assert len(caches(folder)) == 2
    assert torch.equal(plain, same)
    assert not torch.allclose(plain, other, atol=0.1)


def test_a_view_is_made_again_where_its_text_now_names_a_side(
    autoencoder: Any, members: list[Member], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    tissue = [(f, dataclasses.replace(r, modality="pathology", text="Tumour.")) for f, r in members[:2]]
    sided = [(f, dataclasses.replace(r, text="Tumour on the left.")) for f, r in tissue]
    free, bound = (
        cached_latents(autoencoder, "d", m, SQUARE, folder, view=1, quiet=True).whole()[0] for m in (tissue, sided)
    )
    assert not torch.equal(free, bound)


def test_half_precision_latents_are_nearly_the_same(autoencoder: Any, members: list[Member], tmp_path: Path) -> None:
    exact, half = (
        cached_latents(autoencoder, "d", members[:3], SQUARE, tmp_path / "cache", half=h, quiet=True).whole()[0]
        for h in (False, True)
    )
    assert half.dtype == torch.float32
    assert not torch.equal(exact, half)
    assert (exact - half).abs().mean() < 0.02 * exact.std()
