"""CT in Hounsfield units, from the base's pixels to the samples folder and on to who reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vesalius.data.images.image import load_square, read_hu, read_image, read_recipe
from vesalius.data.modality import MODALITIES
from vesalius.eval.gates.scores import case_of_sample
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import Sample, load_samples

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "Chest CT, lung window.")
HU = 40.0


def config(windowed_base: Path, out: Path) -> GenerateConfig:
    return GenerateConfig(prompt=PROMPTS, out=out, base=str(windowed_base), steps=2, seed=5, json=True)


def test_ct_is_written_as_a_picture_and_as_hounsfield_units(windowed_base: Path, tmp_path: Path) -> None:
    chest, brain, lung = draw_samples(config(windowed_base, tmp_path / "s"))
    assert brain.raw16 is brain.raw16_sha256 is None
    assert chest.raw16 == "raw16/00000-0000.png"
    values = read_hu(tmp_path / "s" / chest.raw16)
    assert values.shape == read_image(tmp_path / "s" / chest.file_name).shape[:2] == (32, 32)
    assert abs(float(np.median(values)) - HU) < 60
    # the window that a prompt names changes the picture for eyes alone
    assert lung.raw16 is not None
    means = [float(read_image(tmp_path / "s" / s.file_name).mean()) for s in (chest, lung)]
    assert means[1] > means[0] + 50
    assert abs(float(np.median(read_hu(tmp_path / "s" / lung.raw16))) - HU) < 60


def test_the_recipe_inside_the_picture_names_its_hounsfield_units(windowed_base: Path, tmp_path: Path) -> None:
    sample = draw_samples(config(windowed_base, tmp_path / "s"))[0]
    recipe = read_recipe(tmp_path / "s" / sample.file_name)
    assert recipe["raw16"] == sample.raw16
    assert not {"sha256", "raw16_sha256"} & set(recipe)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_sample_is_whole_only_with_both_its_files(windowed_base: Path, tmp_path: Path, damage: str) -> None:
    run = config(windowed_base, tmp_path / "s")
    samples = draw_samples(run)
    assert samples[0].raw16 is not None
    raw16 = tmp_path / "s" / samples[0].raw16
    content = raw16.read_bytes()
    raw16.unlink() if damage == "gone" else raw16.write_bytes(content[:100])
    assert [s.is_whole(tmp_path / "s") for s in samples] == [False, True, True]
    assert draw_samples(run) == samples
    assert {s.file_name: s for s in load_samples(tmp_path / "s")} == {s.file_name: s for s in samples}
    assert raw16.read_bytes() == content


def test_a_folder_with_hounsfield_units_opens_as_an_imagefolder(windowed_base: Path, tmp_path: Path) -> None:
    import datasets

    draw_samples(config(windowed_base, tmp_path / "s"))
    places = {"data_dir": str(tmp_path / "s"), "cache_dir": str(tmp_path / "cache")}
    opened = datasets.load_dataset("imagefolder", **places)["train"]
    assert opened["text"] == list(PROMPTS)
    assert [bool(name) for name in opened["raw16"]] == [True, False, True]
    assert {image.mode for image in opened["image"]} == {"L"}


def test_the_evaluation_sees_the_windows_that_the_model_drew(windowed_base: Path, tmp_path: Path) -> None:
    chest, brain, lung = (
        case_of_sample(tmp_path / "s", s) for s in draw_samples(config(windowed_base, tmp_path / "s"))
    )
    assert brain.path == tmp_path / "s" / "images" / "00001-0000.png"
    for case in (chest, lung):
        red, green, blue = load_square(case.path, MODALITIES["CT"], 32).reshape(-1, 3).mean(0)
        assert red > green > blue


def test_a_line_of_another_release_has_no_hounsfield_units() -> None:
    row = Sample(file_name="a.png", text="Chest CT", modality="CT", seed=0, steps=1, guidance=1.0).to_json()
    old = {k: v for k, v in row.items() if not k.startswith("raw16")}
    assert Sample.from_json(old).raw16 is None
    with pytest.raises(TypeError, match="raw16"):
        Sample.from_json({**row, "raw16": 3})
