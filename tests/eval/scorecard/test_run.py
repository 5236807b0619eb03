from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from vesalius.data.images.image import png_bytes
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.data.record import Record, load_records, write_dataset
from vesalius.eval.scorecard.material import Material
from vesalius.eval.scorecard.run import SECTIONS, ScorecardConfig, scorecard
from vesalius.models.architecture import TINY, make_autoencoder, make_denoiser, make_scheduler, make_text_encoder
from vesalius.models.networks.reader import Reader, ReaderConfig
from vesalius.models.networks.witness import Witness, WitnessConfig, learnable_classes
from vesalius.models.text import train_tokenizer

Sections = dict[str, dict[str, Any]]
COUNTS = {"train": 31, "val": 6, "test": 26}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of brain MRI with enough images of either split to be measured."""
    folder = tmp_path_factory.mktemp("scorecard") / "real"
    records = []
    for label in ("glioma", "meningioma"):
        for split, num in COUNTS.items():
            for index in range(num):
                name = f"{split}/images/{label}-{index}.png"
                seed = len(records)
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png_bytes(draw_phantom(seed, "MRI", size=32).image))
                records.append(
                    Record(
                        file_name=name, text=f"Brain MRI with a {label}.", modality="MRI", organ="brain", label=label,
                        split=split, patient_id=f"{split}-{index}",
                    )
                )  # fmt: skip
    write_dataset(folder, records)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of random weights whose vocabulary has room for Chinese."""
    torch.manual_seed(0)
    sizes = dataclasses.replace(TINY, vocabulary=640)
    tokenizer = train_tokenizer(["No nodule is seen in the left lung."], sizes)
    text_encoder = make_text_encoder(sizes, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id)
    folder = tmp_path_factory.mktemp("models") / "base"
    StableDiffusionPipeline(
        vae=make_autoencoder(sizes), text_encoder=text_encoder, tokenizer=tokenizer, unet=make_denoiser(sizes),
        scheduler=make_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def config(real: Path, base: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> ScorecardConfig:
    """A scorecard with networks of random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    heads = learnable_classes(load_records(real)) | {"modality": ("CT", "MRI"), "organ": ("CT/lung", "MRI/brain")}
    Witness(WitnessConfig(image_size=32, width=16, depth=1, attention_heads=2, local=4, heads=heads)).save(folder / "w")
    Reader(ReaderConfig(image_size=32, widths=(8, 8))).save(folder / "r")
    return ScorecardConfig(
        real=real, phantoms=phantoms, out=folder / "card", base=str(base), steps=1, num=34, num_texts=12,
        witness=folder / "w", reader=folder / "r", json=True,
        sections=tuple(name for name in SECTIONS if name != "text"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def card(config: ScorecardConfig) -> Sections:
    """What was measured, by section and "what, of"."""
    scorecard(config)
    sections = json.loads((config.out / "scorecard.json").read_text())["sections"]
    return {
        name: {f"{row['what']}, {row['of']}": row for row in part["rows"]} | {"part": part}
        for name, part in sections.items()
    }


def test_every_section_is_measured(card: Sections, config: ScorecardConfig) -> None:
    assert set(card) == set(config.sections)
    for name, rows in card.items():
        assert rows["part"]["refused"] is None, name
        assert len(rows) > 1, name


def test_every_number_has_its_count_and_interval(card: Sections) -> None:
    for rows in card.values():
        for row in rows["part"]["rows"]:
            for measured in (row["measured"], *filter(None, row["beside"])):
                assert measured["num"] > 0
                assert measured["low"] <= measured["value"] <= measured["high"]


def test_drawings_are_counted_beside_real_test_images(card: Sections) -> None:
    row = card["classes"]["class right, all classes"]
    assert row["measured"]["num"] == 34
    assert row["beside"][0]["num"] == 2 * COUNTS["test"]
    assert card["copies"]["nearer, witness, all"]["measured"]["num"] == 34 + 10
    assert card["utility"]["drawings alone, MRI/brain"]["beside"][0]["num"] == 2 * COUNTS["test"]
    for detector in ("judge", "witness", "texture"):
        assert card["fidelity"][f"KID, {detector}, MRI"]["beside"][0]["num"] == 2 * COUNTS["train"]
    assert card["autoencoder"]["PSNR, MRI"]["measured"]["num"] == 2 * COUNTS["test"]
    assert "HU error, CT phantoms" in card["autoencoder"]


def test_the_pages_tables_are_whole(card: Sections, config: ScorecardConfig) -> None:
    lines = (config.out / "scorecard.md").read_text().splitlines()
    widths = [line.count("|") for line in lines if line.startswith("|")]
    assert len(widths) == sum(len(rows["part"]["rows"]) + 2 for rows in card.values())
    assert any("| >= 99.0 % |" in line for line in lines)


def test_a_second_run_draws_nothing_and_finds_the_same(card: Sections, config: ScorecardConfig) -> None:
    drawn = {p: p.stat().st_mtime_ns for p in (config.out / "samples").rglob("*.png")}
    scorecard(dataclasses.replace(config, sections=("classes", "phantoms")))
    assert {p: p.stat().st_mtime_ns for p in (config.out / "samples").rglob("*.png")} == drawn
    again = json.loads((config.out / "scorecard.json").read_text())["sections"]
    assert again == {name: card[name]["part"] for name in ("classes", "phantoms")}


def test_a_section_without_its_network_is_refused_and_the_others_go_on(config: ScorecardConfig, tmp_path: Path) -> None:
    poor = dataclasses.replace(
        config, out=tmp_path / "card", phantoms=None, witness=tmp_path / "none", sections=("classes", "autoencoder")
    )
    sections = scorecard(poor)["sections"]
    assert "no witness there" in sections["classes"]["refused"]
    assert sections["autoencoder"]["refused"] is None
    assert "Not measured: " in (poor.out / "scorecard.md").read_text()


def test_other_drawings_in_the_folder_are_not_taken_for_these(config: ScorecardConfig, tmp_path: Path) -> None:
    material = Material(dataclasses.replace(config, out=tmp_path / "card", num=2))
    asked = material.drawn_classes().asked
    again = Material(material.config)
    with pytest.raises(ValueError, match="the prompts have changed, so give another --out"):
        again.draw("classes", [dataclasses.replace(a, text=f"{a.text} Follow-up.") for a in asked])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sections": ("fidelty",)}, "not known"),
        ({"num": 0}, "must be at least 1"),
        ({"real": Path("nowhere")}, "no finished dataset"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(
    config: ScorecardConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scorecard(dataclasses.replace(config, **change))  # type: ignore[arg-type]


def test_one_class_with_test_images_shows_no_use(config: ScorecardConfig, real: Path, tmp_path: Path) -> None:
    for split in COUNTS:
        (tmp_path / split).symlink_to(real / split)
    write_dataset(tmp_path, [r for r in load_records(real) if r.label == "glioma" or r.split == "train"])
    poor = dataclasses.replace(config, real=tmp_path, out=tmp_path / "card", sections=("utility",))
    refused = scorecard(poor)["sections"]["utility"]["refused"]
    assert "no task has two classes that can be measured; add test images of a second class" in refused
    assert not (poor.out / "samples").exists()
