from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.cli.main import main
from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import Picture, write_png
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.eval.pixels.compare import compare
from vesalius.eval.pixels.config import CompareConfig
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import Sample, sample_lines
from vesalius.inference.writing.sinks import write_sample

NUM = 21


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The same 21 brain slices twice, the second a little noisy, as plain folders."""
    rng = np.random.default_rng(0)
    for name in ("truth", "drawn"):
        (tmp_path / name).mkdir()
    for i in range(NUM):
        image = draw_phantom(i, "MRI", size=64).image
        noisy = (image.astype(int) + rng.integers(-8, 9, image.shape)).clip(0, 255).astype(np.uint8)
        write_png(tmp_path / "truth" / f"{i}.png", image)
        write_png(tmp_path / "drawn" / f"{i}.png", noisy)
    return tmp_path / "drawn", tmp_path / "truth"


def test_two_folders_are_paired_by_name_and_measured(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *map(str, folders), "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 0
    assert "would compare 21 pairs" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main(words) == 0
    assert "PSNR" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["metrics"]["PSNR"]["num"] == NUM
    assert 25 < found["metrics"]["PSNR"]["value"] < 45
    assert {r["what"] for r in found["pixels"]["rows"]} == {"noise power", "grey levels"}
    assert "Least alike" in (tmp_path / "out" / "report.html").read_text()
    assert main([*words, "--json"]) == 0  # its own report may be written anew
    assert json.loads(capsys.readouterr().out)["num"] == NUM


def test_what_an_inpainting_left_alone_is_equal(tiny_base: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, truth = folders
    (tmp_path / "masks").mkdir()
    mask = np.zeros((64, 64, 1), np.uint8)
    mask[20:44, 20:44] = 255
    write_png(tmp_path / "masks" / "3.png", mask)
    config = GenerateConfig(
        prompt=("Brain MRI with a mass",), image=truth / "3.png", mask=tmp_path / "masks" / "3.png", num=2, steps=2,
        base=str(tiny_base), out=tmp_path / "samples", json=True, device="cpu",
    )  # fmt: skip
    draw_samples(config)
    found = compare(
        CompareConfig(
            drawn=tmp_path / "samples", truth=truth, masks=tmp_path / "masks", out=tmp_path / "out", json=True
        )
    )
    assert found["num"] == 2
    assert found["metrics"]["equal outside"]["value"] == 1
    assert found["metrics"]["PSNR inside"]["value"] < 40 < found["metrics"]["PSNR outside"]["value"]
    assert "needs 20 pairs" in found["pixels"]["note"]


def test_hounsfield_units_are_compared_in_the_three_windows(tmp_path: Path) -> None:
    for name, shift in (("truth", 0), ("drawn", 60)):
        (tmp_path / name).mkdir()
        for i in range(NUM):
            hu = draw_phantom(i, "CT", size=64).hu
            assert hu is not None
            (tmp_path / name / f"{i}.png").write_bytes(hu_png(hu + np.float32(shift)))
    config = CompareConfig(
        drawn=tmp_path / "drawn", truth=tmp_path / "truth", modality="CT", out=tmp_path / "out", json=True
    )
    rows = {r["what"]: r for r in compare(config)["pixels"]["rows"]}
    assert rows["Hounsfield units"]["value"]["value"] == pytest.approx(60, abs=15)


def test_two_runs_of_the_same_seeds_are_compared_though_each_has_its_units_beside_its_pictures(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
        phantom = draw_phantom(0, "CT", size=64)
        sample = Sample(
            file_name="images/0.png", text="Chest CT", modality="CT", seed=0, steps=1, guidance=1.0, height=64, width=64
        )
        kept = write_sample(tmp_path / name, sample, Picture(image=phantom.image, hu=phantom.hu))
        assert kept.raw16
        (tmp_path / name / "metadata.jsonl").write_bytes(sample_lines([kept]))
    result = compare(CompareConfig(drawn=tmp_path / "one", truth=tmp_path / "two", out=tmp_path / "out", json=True))
    assert result["num"] == 1


def test_what_cannot_be_paired_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    drawn, truth = folders

    def said(**fields: object) -> str:
        with pytest.raises(ValueError) as error:  # noqa: PT011 (what it says is asserted by each line)
            compare(CompareConfig(**{"drawn": drawn, "truth": truth, "out": tmp_path / "out", "json": True, **fields}))  # type: ignore[arg-type]
        return str(error.value)

    write_png(drawn / "9.png", np.zeros((32, 32, 1), np.uint8))
    assert "9.png: is 32 x 32 pixels" in said()
    (truth / "7.png").unlink()
    assert "1 of 21 pictures have no partner of their name" in said()
    assert "no such folder" in said(truth=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in said(truth=tmp_path / "empty")
    (truth / "more").mkdir()
    write_png(truth / "more" / "8.png", np.zeros((64, 64, 1), np.uint8))
    assert "two images are named 8.png" in said()
    assert "is not empty and holds no report" in said(out=drawn)
    assert "did you mean" in said(modality="MRJ")


def test_a_mask_of_another_size_and_samples_that_are_no_pngs_are_told(
    folders: tuple[Path, Path], tiny_base: Path, tmp_path: Path
) -> None:
    drawn, truth = folders
    (tmp_path / "masks").mkdir()
    for path in truth.iterdir():
        write_png(tmp_path / "masks" / path.name, np.full((32, 32, 1), 255, np.uint8))
    config = CompareConfig(drawn=drawn, truth=truth, masks=tmp_path / "masks", out=tmp_path / "out", json=True)
    with pytest.raises(ValueError, match=r"masks/0.png: is 32 x 32 pixels .* 64 x 64; give a mask of its size"):
        compare(config)
    draw_samples(
        GenerateConfig(
            prompt="Brain MRI", steps=2, base=tiny_base, out=tmp_path / "dicom", sink="dicom", json=True, device="cpu"
        )  # type: ignore[arg-type]
    )
    with pytest.raises(ValueError, match=r"\.dcm: is no PNG, which alone can be looked at here; draw with --sink png"):
        compare(CompareConfig(drawn=tmp_path / "dicom", truth=truth, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_deep_greys_are_compared_by_their_values(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).integers(0, 60_000, (64, 64)).astype(np.uint16)
    for name, values in (("truth", truth), ("drawn", truth // 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "a.png")
    found = compare(CompareConfig(drawn=tmp_path / "drawn", truth=tmp_path / "truth", out=tmp_path / "out", json=True))
    assert found["metrics"]["PSNR"]["value"] < 15  # each through a window of its own they would be equal


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_place_that_may_not_be_written_is_refused_before_the_work(folders: tuple[Path, Path], tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(ValueError, match=r"closed may not be written to; change its permissions"):
        compare(CompareConfig(drawn=folders[0], truth=folders[1], out=closed / "out", dry_run=True))


def test_a_folder_below_a_file_is_refused_before_the_work(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0\.png is a file, in which no folder can be; choose another --out"):
        compare(CompareConfig(drawn=folders[0], truth=folders[1], out=folders[0] / "0.png" / "out", dry_run=True))
