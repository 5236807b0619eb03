"""Aspect-ratio buckets: images keep their shape, and the images of a step have one shape."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vesalius.data.record import Record
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.batch import draw_batch
from vesalius.finetune.feeding.buckets import WIDEST, Buckets, bucket_shapes, choose_buckets, make_views
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.finetune.lora import finetune
from vesalius.inference.generator import Generator
from vesalius.models.base import open_base

ConfigFor = Callable[..., FinetuneConfig]
BLOCKS = [(48, 48), (32, 64), (60, 30), (50, 47)]


@pytest.fixture
def shaped(tmp_path: Path) -> Path:
    """Forty images of four shapes."""
    folder = tmp_path / "shaped"
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        split = "val" if i % 5 == 0 else "train"
        (folder / split / "images").mkdir(parents=True, exist_ok=True)
        name = f"images/{i}.png"
        Image.fromarray(rng.integers(0, 256, BLOCKS[i % 4], dtype=np.uint8)).save(folder / split / name)
        rows.append(
            (split, f'{{"file_name": "{name}", "text": "Chest CT {i}.", "modality": "CT", "split": "{split}"}}')
        )
    for split in ("train", "val"):
        (folder / split / "metadata.jsonl").write_text("\n".join(r for s, r in rows if s == split) + "\n")
    (folder / "manifest.json").write_text("{}")
    return folder


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(32, 2), (128, 16), (256, 64), (512, 64), (1024, 64)]))
def test_shapes_are_multiples_of_the_unit_and_cost_no_more_than_the_square(case: tuple[int, int]) -> None:
    size, unit = case
    shapes = bucket_shapes(size, unit)
    assert shapes[0] == (size, size)
    assert len(set(shapes)) == len(shapes)
    for height, width in shapes:
        assert height % unit == width % unit == 0
        assert height * width <= size * size
        assert max(height, width) / min(height, width) <= WIDEST
        assert (width, height) in shapes


def test_each_image_goes_into_the_shape_nearest_to_its_own(tmp_path: Path, tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    members = []
    for height, width in ((64, 64), (30, 60), (60, 30), (10, 500)):
        name = f"{height}x{width}.png"
        Image.new("L", (width, height)).save(tmp_path / name)
        members.append((tmp_path, Record(file_name=name, text="CT", modality="CT")))
    buckets = choose_buckets(members, base, aspect=True)
    shown = [buckets.shapes[i] for i in buckets.of]
    assert shown[0] == (32, 32)
    assert shown[1] == shown[3]
    assert shown[1] == shown[2][::-1]
    assert shown[1] == max(bucket_shapes(32, base.size_unit), key=lambda s: s[1] / s[0])
    assert choose_buckets(members, base).shapes == [(32, 32)]
    (tmp_path / "64x64.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"64x64\.png: not an image"):
        choose_buckets(members, base, aspect=True)


def test_an_image_that_a_camera_turned_goes_into_the_shape_in_which_it_is_seen(tmp_path: Path, tiny_base: Path) -> None:
    image = Image.new("L", (60, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    members = [(tmp_path, Record(file_name="a.jpg", text="CT", modality="CT"))]
    ((height, width),) = choose_buckets(members, open_base(str(tiny_base)), aspect=True).shapes
    assert height > width


def test_with_one_shape_records_are_drawn_as_without_buckets() -> None:
    buckets = Buckets([(32, 32)], np.zeros(17, dtype=np.int64))
    for weights in (None, np.arange(17) / 136):
        for step in (0, 1, 9):
            assert np.array_equal(buckets.picked(3, step, 4, weights), batch_indices(3, step, 4, 17, weights))


def test_a_step_has_one_shape_and_every_record_its_turn() -> None:
    of = np.array([0] * 24 + [1] * 8 + [2] * 8)
    buckets = Buckets([(32, 32), (24, 40), (40, 24)], of)
    seen = Counter[int]()
    for step in range(100):
        picked = buckets.picked(1, step, 4, None)
        assert len(set(of[picked])) == 1
        assert np.array_equal(picked, buckets.picked(1, step, 4, None))
        seen.update(picked.tolist())
    assert len(seen) == 40
    for number, num in ((0, 24), (1, 8), (2, 8)):  # ten times each on average
        counts = [seen[i] for i in np.flatnonzero(of == number)]
        assert max(counts) - min(counts) <= 1, (number, num)
        assert 5 <= np.mean(counts) <= 15


def test_a_record_of_no_weight_is_never_drawn_whatever_its_shape() -> None:
    of = np.array([0, 0, 1, 1])
    buckets = Buckets([(32, 32), (24, 40)], of)
    drawn = {i for step in range(60) for i in buckets.picked(0, step, 4, np.array([0.5, 0.0, 0.0, 0.5])).tolist()}
    assert drawn == {0, 3}


def test_latents_have_the_shape_of_their_record_in_every_view(shaped: Path, tiny_base: Path, tmp_path: Path) -> None:
    base = open_base(str(tiny_base))
    config = FinetuneConfig(data=(shaped,), out=tmp_path / "run", base=str(tiny_base), batch_size=4, views=2)
    trainset = choose_trainset(config)
    buckets = choose_buckets(trainset.train, base, aspect=True)
    assert len(buckets.shapes) == 3
    views = make_views(
        base.pipeline.vae, base.digest, trainset.train, buckets, 2, folder=tmp_path / "cache", quiet=True
    )
    for i, number in enumerate(buckets.of.tolist()):
        height, width = buckets.shapes[number]
        for view in range(2):
            mean, _ = views.latents.of(torch.tensor([views.places[view, i]]))
            assert mean.shape[2:] == (height // 2, width // 2)
    shapes = {draw_batch(config, step, range(4), trainset, views, None, 1000).latents.shape[2:] for step in range(30)}
    assert len(shapes) == 3


def test_a_run_in_buckets_goes_on_with_the_same_losses_after_a_stop(
    config_for: ConfigFor, shaped: Path, tmp_path: Path
) -> None:
    config = config_for(data=(shaped,), aspect_buckets=True, steps=6, save_every=2, num_pictures=2, views=2)
    whole = finetune(config)
    cut = dataclasses.replace(config, out=tmp_path / "cut")
    finetune(cut)
    shutil.rmtree(cut.out / "checkpoints" / "step-00000006")
    again = finetune(cut)
    assert again.validation == whole.validation
    assert (cut.out / "losses.jsonl").read_text() == (config.out / "losses.jsonl").read_text()


@pytest.mark.parametrize("kind", ["tiny_base", "tiny_xl"])
def test_pictures_are_drawn_in_the_size_asked_for(kind: str, request: pytest.FixtureRequest) -> None:
    generator = Generator(str(request.getfixturevalue(kind)), device="cpu")
    tall = generator.draw("Chest CT", size=(48, 24), num=2, seed=1)
    assert [i.shape for i in tall] == [(48, 24, 1)] * 2
    square = generator.draw("Chest CT", seed=1)
    assert np.array_equal(square[0], generator.draw("Chest CT", size=(32, 32), seed=1)[0])
    for size in ((33, 32), (8, 32), (96, 32)):
        with pytest.raises(ValueError, match=rf"size {size[0]} x 32: .* edges of 16 to 64 pixels in steps of"):
            generator.draw("Chest CT", size=size)
