"""Drawing that is watched: the same pictures, each step told, looks on the way, and an end within a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.inference.drawing.watching import LOOK_PIXELS, Progress
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request, Source

REQUESTS = [Request(prompt="Chest CT with a nodule in the left lung", seed=s) for s in (1, 2)]


@pytest.fixture(scope="module")
def generator(tiny_base: Path) -> Generator:
    return Generator(str(tiny_base), device="cpu")


@pytest.mark.parametrize("scheduler", [None, "ddim", "euler", "lcm", "unipc"])
def test_watching_changes_no_picture_and_looks_come_nearer_to_it(tiny_base: Path, scheduler: str | None) -> None:
    drawer = Generator(str(tiny_base), device="cpu", scheduler=scheduler)
    (plain,) = [picture.image for _, picture in drawer.draw_all(REQUESTS[:1], steps=6)]
    looks: list[np.ndarray] = []
    told: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        told.append((progress.number, progress.steps))
        looks.append(progress.look()[0].image.astype(float))

    (seen,) = [picture.image for _, picture in drawer.draw_all(REQUESTS[:1], steps=6, watch=watch)]
    assert np.array_equal(plain, seen)
    assert told == [(n, 6) for n in range(1, 7)]
    gaps = [float(np.abs(look - plain).mean()) for look in looks]
    assert gaps[-1] <= gaps[0]
    assert gaps[-1] < 12  # of 256 greys: the last look is the picture
    assert all(look.shape == plain.shape and max(look.shape) <= LOOK_PIXELS for look in looks)


def test_what_a_watch_raises_ends_the_drawing_at_once(generator: Generator) -> None:
    class EndedError(Exception):
        pass

    told: list[int] = []

    def watch(progress: Progress) -> None:
        told.append(progress.number)
        if progress.number == 2:
            raise EndedError

    with pytest.raises(EndedError):
        list(generator.draw_all(REQUESTS[:1], steps=6, watch=watch))
    assert told == [1, 2]
    told.clear()
    assert len(list(generator.draw_all(REQUESTS, steps=1, watch=watch))) == 2  # and leaves nothing behind
    assert told[0] == 1


def test_what_lies_outside_a_mask_stays_where_it_is_watched(generator: Generator, tmp_path: Path) -> None:
    size = generator.base.image_size
    for name, greys in (("image", np.full((size, size), 90)), ("mask", np.tri(size) * 255)):
        Image.fromarray(greys.astype(np.uint8)).save(tmp_path / f"{name}.png")
    source = Source(image=tmp_path / "image.png", mask=tmp_path / "mask.png", strength=0.7)
    request = Request(prompt="Brain MRI", seed=3, source=source)
    (plain,) = [picture.image for _, picture in generator.draw_all([request], steps=4)]
    told: list[int] = []
    watched = generator.draw_all([request], steps=4, watch=lambda progress: told.append(progress.number))
    assert np.array_equal(plain, next(watched)[1].image)
    assert told == [*range(1, len(told) + 1)] != []


def test_a_base_that_draws_no_numbers_is_told_by_the_prompt(tiny_base: Path) -> None:
    spoilt = Generator(str(tiny_base), device="cpu")
    spoilt.base.pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"prompt 'Chest CT with a nodule .*not numbers; lower --guidance, or look"):
        list(spoilt.draw_all(REQUESTS[:1], steps=1))
