"""An explanation of samples and of pictures that carry no recipe."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.images.image import write_png
from vesalius.data.record import load_records
from vesalius.eval.explanations.config import ExplainConfig
from vesalius.eval.explanations.overlay import overlay, stretched
from vesalius.eval.explanations.run import CAVEATS, explain
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples

pytest.importorskip("captum", reason="needs captum")


@pytest.fixture(scope="module")
def samples(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of one prompt."""
    out = tmp_path_factory.mktemp("explained") / "samples"
    config = GenerateConfig(
        prompt=("Chest CT with a nodule in the left lung.",), num=2, seed=4, base=str(tiny_base), out=out, steps=2,
        device="cpu", json=True,
    )  # fmt: skip
    draw_samples(config)
    return out


def test_a_sample_has_maps_of_its_words_and_of_findings(samples: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = explain(ExplainConfig(image=samples, out=out, base=str(tiny_base), num=1, device="cpu"))
    assert result == json.loads((out / "explanation.json").read_text()) | {"images": result["images"]}
    (row,) = result["images"]
    assert row["notes"] == []
    assert {"nodule", "left"} <= set(row["words"])
    assert {(f["network"], f["method"]) for f in row["findings"]} == {
        (n, m) for n in ("judge", "witness") for m in ("gradcam", "hirescam")
    }
    page = (out / "explanation.html").read_text("utf-8")
    assert "Synthetic images: not for diagnosis" in page
    assert CAVEATS[0] in page
    assert "at one level alone" in page
    assert page.count("<figure>") == 1 + 9 + len(row["findings"])
    with np.load(out / row["maps"], allow_pickle=False) as maps:
        assert maps["words"].shape[0] == len(maps["word_names"]) == len(row["words"])
        assert str(maps["finding_names"][0]).startswith("judge gradcam CT/")
        np.testing.assert_allclose(maps["words"].sum(0) + maps["marks"], 1, atol=1e-4)
    explain(ExplainConfig(image=samples, out=out, base=str(tiny_base), num=1, device="cpu"))


def test_one_picture_of_a_samples_folder_is_explained_too(samples: Path, tiny_base: Path, tmp_path: Path) -> None:
    picture = next((samples / "images").glob("*.png"))
    config = ExplainConfig(
        image=picture, out=tmp_path / "a", base=str(tiny_base), findings=("CT/nodule",), network="judge",
        method="hirescam", device="cpu",
    )  # fmt: skip
    (row,) = explain(config)["images"]
    assert [f["finding"] for f in row["findings"]] == ["CT/nodule"]
    alone = Path(shutil.copy(picture, tmp_path / "alone.png"))
    (row,) = explain(ExplainConfig(image=alone, out=tmp_path / "b", base=str(tiny_base), network="judge"))["images"]
    assert row["notes"] == []


def test_a_picture_without_a_recipe_has_maps_of_findings_alone(phantoms: Path, tmp_path: Path) -> None:
    record = next(r for r in load_records(phantoms) if r.modality == "MRI")
    config = ExplainConfig(image=phantoms / record.file_name, modality="mr", out=tmp_path / "out", method="gradcam")
    (row,) = explain(config)["images"]
    assert row["words"] == {}
    assert "carries no recipe" in row["notes"][0]
    assert all(f["finding"].startswith("MRI/") for f in row["findings"])
    assert len(row["findings"]) == 4
    page = (tmp_path / "out" / "explanation.html").read_text("utf-8")
    assert "Not for diagnosis" in page
    assert "Synthetic images" not in page


def test_what_cannot_be_explained_is_said(
    samples: Path, phantoms: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = phantoms / load_records(phantoms)[0].file_name
    (tmp_path / "bad.png").write_bytes(b"no picture")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    out = ("--out", tmp_path / "out")
    for line, words in (
        ((picture, *out), "carries no recipe that says its modality; give --modality"),
        ((picture, "--modality", "CTT", *out), "modality 'CTT' is not known"),
        ((picture, "--modality", "CT", "--findings", "CT/nodul", *out), "did you mean 'CT/nodule'"),
        ((tmp_path / "bad.png", "--modality", "CT", *out), "bad.png: not an image"),
        ((tmp_path / "nowhere.png", *out), "no such image file"),
        ((tmp_path, *out), "no samples there"),
        ((samples, "--num", 0, *out), "--num 0"),
        ((samples, *out), "was drawn with another base than"),
        ((picture, "--modality", "CT", "--out", full), "choose another --out"),
    ):
        capsys.readouterr()
        extra = ("--base", "nano") if "another base" in words else ()
        assert main(["explain", *map(str, (*line, *extra))]) == USAGE, words
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_fetched_that_only_a_picture_names(tiny_base: Path, tmp_path: Path) -> None:
    recipe = {
        "file_name": "images/a.png", "text": "Chest CT.", "modality": "CT", "seed": 1, "steps": 2, "guidance": 1.0,
        "base": "someone/something", "synthetic": True,
    }  # fmt: skip
    write_png(tmp_path / "a.png", np.zeros((32, 32, 1), np.uint8), recipe)
    config = ExplainConfig(image=tmp_path / "a.png", out=tmp_path / "out", network="judge")
    with pytest.raises(ValueError, match="was drawn with base 'someone/something'; give its folder or id by --base"):
        explain(config)
    (row,) = explain(dataclasses.replace(config, words=False))["images"]
    assert row["words"] == {}
    (row,) = explain(dataclasses.replace(config, base=str(tiny_base)))["images"]
    assert "drawn again it differs by up to" in row["notes"][0]
    write_png(tmp_path / "a.png", np.zeros((32, 32, 1), np.uint8), {**recipe, "seed": "one"})
    with pytest.raises(ValueError, match=r"a.png: its recipe is damaged \(seed\)"):
        explain(config)


def test_a_dry_run_looks_and_writes_nothing(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(samples), "--out", str(tmp_path / "out"), "--dry-run", "--json"]) == DONE
    assert len(json.loads(capsys.readouterr().out)["images"]) == 2
    assert not (tmp_path / "out").exists()


def test_an_overlay_is_the_picture_where_the_map_is_nothing() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    flat = overlay(image, np.zeros((8, 8), np.float32))
    assert flat.shape == (384, 384, 3)
    assert (flat[..., 0] == flat[..., 2]).all()
    spot = np.zeros((8, 8), np.float32)
    spot[2:4, 2:4] = 1
    drawn = overlay(image, spot).astype(int)
    assert (drawn[130, 130] != drawn[130, 130][0]).any()
    assert (drawn == 255).all(2).any(), "a line runs at one half"
    assert (drawn[300:, 300:] == flat[300:, 300:]).all()


def test_colours_rise_in_lightness_for_every_eye() -> None:
    ramp = np.tile(np.linspace(0, 1, 384, dtype=np.float32), (384, 1))
    drawn = overlay(np.zeros((384, 384, 1), np.uint8), ramp)[5, :180].astype(float)
    luminance = drawn @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance[::12]) >= -0.5).all()


def test_a_stretched_map_spans_zero_to_one_and_a_flat_one_is_nothing() -> None:
    shown = stretched(np.array([[0.2, 0.3], [0.4, 0.6]], np.float32))
    assert (shown.min(), shown.max()) == (0, 1)
    assert not stretched(np.full((2, 2), 0.3, np.float32)).any()


def test_hounsfield_units_and_grey_are_shown_in_one_way(tmp_path: Path) -> None:
    from vesalius.data.hounsfield import hu_png, show
    from vesalius.eval.shown import shown_image

    hu = np.linspace(-1000, 1000, 1024, dtype=np.float32).reshape(32, 32)
    (tmp_path / "hu.png").write_bytes(hu_png(hu))
    write_png(tmp_path / "grey.png", np.repeat(show(np.rint(hu))[..., None], 3, axis=2))
    first = shown_image(tmp_path / "hu.png", "CT", 32, hounsfield=True)
    second = shown_image(tmp_path / "grey.png", "CT", 32)
    assert first.shape == second.shape == (32, 32, 1)
    assert np.abs(first.astype(int) - second).max() <= 1
    lung = shown_image(tmp_path / "hu.png", "CT", 32, hounsfield=True, window="lung")
    assert np.abs(first.astype(int) - lung).max() > 50
