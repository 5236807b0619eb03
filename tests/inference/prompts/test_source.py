"""Pictures drawn from pictures: as far from them as the strength says, and outside a mask not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vesalius.data.images.image import Uint8, read_hu, read_image, write_png
from vesalius.data.record import load_records
from vesalius.inference import GenerateConfig, Generator, Sample, generate
from vesalius.inference.drawing.schedulers import SCHEDULERS
from vesalius.inference.request import Request, Source
from vesalius.inference.sample import load_samples

PROMPT = "Brain MRI with a 20 mm mass on the left."
ABLE = ("ddim", "dpm++", "euler", "euler-a", "lcm", "unipc")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey ramp with a bright square, 32 px."""
    image = np.tile(np.linspace(20, 200, 32, dtype=np.uint8), (32, 1))
    image[4:12, 4:12] = 250
    write_png(tmp_path / "picture.png", image[..., None])
    return tmp_path / "picture.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A disc of 9 pixels across, right of the middle."""
    down, right = np.mgrid[:32, :32]
    disc = np.where((down - 16) ** 2 + (right - 22) ** 2 < 25, 255, 0).astype(np.uint8)
    write_png(tmp_path / "mask.png", disc[..., None])
    return tmp_path / "mask.png"


def draw(base: Path, source: Source, *, steps: int = 6, num: int = 1, **fields: Any) -> list[Uint8]:
    return Generator(str(base), **fields).draw(PROMPT, source=source, steps=steps, num=num)


def far(one: Uint8, two: Uint8) -> float:
    return float(np.abs(one.astype(float) - two.astype(float)).mean())


def test_the_stronger_the_further_from_the_picture(tiny_base: Path, picture: Path) -> None:
    there = read_image(picture)
    steps = [far(draw(tiny_base, Source(image=picture, strength=s))[0], there) for s in (0.17, 0.5, 1.0)]
    assert steps[0] < steps[1] < steps[2]
    assert steps[0] < 25


@pytest.mark.parametrize("scheduler", ABLE)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_outside_the_mask_no_grey_changes_and_inside_it_does(
    tiny_base: Path, picture: Path, mask: Path, scheduler: str, strength: float
) -> None:
    source = Source(image=picture, strength=strength, mask=mask)
    there, inside = read_image(picture), read_image(mask) > 127
    for drawn in draw(tiny_base, source, scheduler=scheduler, num=2):
        assert np.array_equal(drawn[~inside], there[~inside])
        assert not np.array_equal(drawn[inside], there[inside])


@pytest.mark.parametrize("masked", [False, True])
def test_a_picture_from_a_picture_does_not_depend_on_its_batch(
    tiny_base: Path, picture: Path, mask: Path, masked: bool
) -> None:
    generator = Generator(str(tiny_base))
    source = Source(image=picture, strength=0.7, mask=mask if masked else None)
    requests = [Request(prompt=PROMPT, seed=seed, source=source) for seed in range(3)]
    requests.insert(1, Request(prompt=PROMPT, seed=9))  # from noise alone, between them
    alone, together = (
        {(r.seed): p.image.astype(int) for r, p in generator.draw_all(requests, steps=4, batch_size=size)}
        for size in (1, 4)
    )
    assert all(np.abs(alone[seed] - together[seed]).max() <= 1 for seed in (0, 1, 2, 9))


def test_a_base_of_sdxl_draws_from_pictures_too(tiny_xl: Path, picture: Path, mask: Path) -> None:
    there, inside = read_image(picture), read_image(mask) > 127
    size = Generator(str(tiny_xl)).base.image_size
    assert size == 32
    drawn = draw(tiny_xl, Source(image=picture, strength=0.8, mask=mask), steps=4)[0]
    assert np.array_equal(drawn[~inside], there[~inside])
    assert far(draw(tiny_xl, Source(image=picture, strength=0.5), steps=4)[0], there) > 0


def test_a_ct_keeps_its_hounsfield_units_outside_the_mask(
    windowed_base: Path, phantoms: Path, mask: Path, tmp_path: Path
) -> None:
    record = next(r for r in load_records(phantoms) if r.hounsfield)
    image = phantoms / record.file_name
    run = GenerateConfig(
        prompt=("Chest CT with a nodule in the left lung.",), out=tmp_path / "s", base=str(windowed_base), steps=3,
        image=image, mask=mask, json=True,
    )  # fmt: skip
    generate(run)
    (sample,) = load_samples(run.out)
    assert sample.raw16
    there, drawn, inside = read_hu(image), read_hu(run.out / sample.raw16), read_image(mask)[..., 0] > 127
    seen = (there > -1000) & (there < 1000)  # what three windows hold
    assert np.abs(drawn - there)[~inside & seen].max() <= 10


def config(base: Path, picture: Path, out: Path, **changes: Any) -> GenerateConfig:
    usual = GenerateConfig(prompt=(PROMPT,), out=out, base=str(base), num=2, steps=4, image=picture, json=True)
    return dataclasses.replace(usual, **changes)


def samples_of(run: GenerateConfig) -> list[Sample]:
    generate(run)
    return load_samples(run.out)


def test_samples_tell_what_they_were_drawn_from(tiny_base: Path, picture: Path, mask: Path, tmp_path: Path) -> None:
    plain, masked = (samples_of(config(tiny_base, picture, tmp_path / str(m is None), mask=m)) for m in (None, mask))
    assert {(s.source, s.strength, s.mask_sha256) for s in plain} == {("picture.png", 0.6, "")}
    assert {s.strength for s in masked} == {1.0}
    assert all(len(s.source_sha256) == len(s.mask_sha256) == 64 for s in masked)
    again = samples_of(config(tiny_base, picture, tmp_path / "True"))  # whole already
    assert again == plain
    assert str(tmp_path) not in (tmp_path / "True" / "metadata.jsonl").read_text()


def test_what_is_drawn_from_a_synthetic_picture_is_a_generation_deeper(tiny_base: Path, tmp_path: Path) -> None:
    first = samples_of(config(tiny_base, None, tmp_path / "first"))[0]  # type: ignore[arg-type]
    second = samples_of(config(tiny_base, tmp_path / "first" / first.file_name, tmp_path / "second"))[0]
    assert (first.depth, second.depth) == (1, 2)


def test_a_folder_begun_from_another_picture_is_not_taken_up(tiny_base: Path, picture: Path, tmp_path: Path) -> None:
    run = config(tiny_base, picture, tmp_path / "s")
    generate(run)
    write_png(picture, read_image(picture)[::-1])
    with pytest.raises(ValueError, match="image_sha256"):
        generate(run)


def test_a_picture_may_move_between_runs(tiny_base: Path, picture: Path, tmp_path: Path) -> None:
    run = config(tiny_base, picture, tmp_path / "s")
    before = samples_of(run)
    (run.out / before[0].file_name).unlink()
    (tmp_path / "moved").mkdir()
    moved = picture.rename(tmp_path / "moved" / picture.name)
    assert samples_of(dataclasses.replace(run, image=moved)) == before


def spoil(name: str, picture: Path, mask: Path) -> dict[str, Any]:
    """What is wrong, by a word."""
    black, large = mask.with_name("black.png"), mask.with_name("large.png")
    write_png(black, np.zeros((32, 32, 1), np.uint8))
    write_png(large, np.full((32, 33, 1), 255, np.uint8))
    mask.with_name("torn.png").write_bytes(picture.read_bytes()[:60])
    shutil.copyfile(picture, mask.with_name("text.txt"))
    return {
        "mask of another size": {"mask": large},
        "black mask": {"mask": black},
        "no mask": {"mask": mask.with_name("none.png")},
        "mask alone": {"mask": mask, "image": None},
        "strength alone": {"strength": 0.5, "image": None},
        "torn picture": {"image": mask.with_name("torn.png")},
        "no picture": {"image": mask.with_name("none.png")},
        "strength of nothing": {"strength": 0.0},
        "strength over 1": {"strength": 1.5},
        "strength of no number": {"strength": float("nan")},
        "strength of no step": {"strength": 0.2},
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask of another size", r"large\.png: is 32 x 33 pixels .* and .*picture\.png 32 x 32"),
        ("black mask", r"black\.png: is black all over, at most 0; paint white"),
        ("no mask", r"none\.png: no such image file"),
        ("mask alone", "--mask needs --image"),
        ("strength alone", "--strength needs --image"),
        ("torn picture", r"torn\.png: corrupt or truncated"),
        ("no picture", r"none\.png: no such image file"),
        ("strength of nothing", "--strength 0: expected a number above 0, up to 1"),
        ("strength over 1", r"--strength 1\.5: expected a number above 0"),
        ("strength of no number", "--strength nan: expected a number above 0"),
        ("strength of no step", r"--strength 0\.2 of 4 steps leaves none to draw; raise it to 0\.25 or more"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_source_that_cannot_be_used_is_refused_before_anything_is_written(
    tiny_base: Path, picture: Path, mask: Path, tmp_path: Path, name: str, message: str, dry_run: bool
) -> None:
    run = config(tiny_base, picture, tmp_path / "s", dry_run=dry_run, **spoil(name, picture, mask))
    with pytest.raises(ValueError, match=message):
        generate(run)
    assert not run.out.exists()


def test_a_mask_is_fitted_as_its_image(tiny_base: Path, tmp_path: Path) -> None:
    """Pathology is cropped at its middle: a wide image loses both ends, and the mask with it."""
    wide = np.random.default_rng(0).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    write_png(tmp_path / "wide.png", wide)
    ends = np.zeros((32, 64, 1), np.uint8)
    ends[:, :10] = 255
    write_png(tmp_path / "ends.png", ends)
    source = Source(image=tmp_path / "wide.png", mask=tmp_path / "ends.png", strength=1.0)
    with pytest.raises(ValueError, match=r"ends\.png: what is white lies outside of what is drawn"):
        Generator(str(tiny_base)).draw("H&E tile with two glands.", source=source, steps=2)
    ends[:, 30:40] = 255
    write_png(tmp_path / "more.png", ends)
    source = dataclasses.replace(source, mask=tmp_path / "more.png")
    drawn = Generator(str(tiny_base)).draw("H&E tile with two glands.", source=source, steps=2)[0]
    assert np.array_equal(drawn[:, :14], wide[:, 16:30])
    assert not np.array_equal(drawn[:, 14:24], wide[:, 30:40])


def test_what_is_transparent_in_a_mask_is_not_painted(tiny_base: Path, picture: Path, mask: Path) -> None:
    from PIL import Image

    white = Image.new("RGBA", (32, 32), "white")
    white.putalpha(Image.open(mask))
    white.save(mask.with_name("clear.png"))
    one, two = (
        draw(tiny_base, Source(image=picture, strength=1.0, mask=path))[0]
        for path in (mask, mask.with_name("clear.png"))
    )
    assert np.array_equal(one, two)


def test_a_picture_that_changed_is_read_again(tiny_base: Path, picture: Path) -> None:
    generator, source = Generator(str(tiny_base)), Source(image=picture, strength=0.5)
    first = generator.draw(PROMPT, source=source, steps=4)[0]
    told = generator.sample_of(Request(prompt=PROMPT, seed=1, source=source), steps=4, guidance=1.0)
    write_png(picture, 255 - read_image(picture))
    assert not np.array_equal(first, generator.draw(PROMPT, source=source, steps=4)[0])
    again = generator.sample_of(Request(prompt=PROMPT, seed=1, source=source), steps=4, guidance=1.0)
    assert again.source_sha256 != told.source_sha256


def test_the_schedulers_tried_here_are_known() -> None:
    assert {*ABLE} <= {*SCHEDULERS}


def test_a_recipe_draws_the_same_again_from_the_same_picture(tiny_base: Path, picture: Path, tmp_path: Path) -> None:
    one, two = (samples_of(config(tiny_base, picture, tmp_path / name, strength=0.5)) for name in "ab")
    assert [s.sha256 for s in one] == [s.sha256 for s in two]
    rows = [json.loads(line) for line in (tmp_path / "a" / "metadata.jsonl").read_text().splitlines()]
    assert {row["strength"] for row in rows} == {0.5}


def test_what_is_transparent_in_a_picture_is_black_and_told(
    tiny_base: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What colours hide there does not show."""
    from PIL import Image

    shown = np.asarray(Image.open(picture))
    clear = np.zeros((32, 32), np.uint8)
    clear[:16] = 255
    write_png(tmp_path / "black.png", np.where(clear > 0, shown, 0).astype(np.uint8)[..., None])
    for hidden in (0, 200):
        layers = [np.where(clear > 0, shown, hidden).astype(np.uint8)] * 3
        Image.fromarray(np.stack([*layers, clear], axis=2)).save(tmp_path / f"{hidden}.png")
        Image.fromarray(np.stack([layers[0], clear], axis=2), "LA").save(tmp_path / f"grey-{hidden}.png")
    names = ("black", "0", "200", "grey-0", "grey-200")
    runs = [config(tiny_base, tmp_path / f"{name}.png", tmp_path / name, num=1) for name in names]
    assert len({s.read_bytes() for s in (tmp_path / f"{name}.png" for name in names)}) == 5
    pictures = [read_image(run.out / samples_of(run)[0].file_name) for run in runs]
    for other in pictures[1:]:
        assert np.array_equal(pictures[0], other)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"note: {run.image}: transparent in places, which are taken for black" for run in runs[1:]]
