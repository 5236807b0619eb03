"""Errors of measuring: each names its folder, file or flag, what is wrong there, and what to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.data.images.image import write_png
from vesalius.data.record import Record, load_records, write_dataset
from vesalius.eval.config import EvalConfig
from vesalius.eval.context import check_folders, open_folders
from vesalius.eval.explanations.config import ExplainConfig
from vesalius.eval.explanations.map_check import MapCheckConfig, check_maps
from vesalius.eval.explanations.run import Redrawing
from vesalius.eval.explanations.word_maps import watch_words
from vesalius.eval.features import _Rows
from vesalius.eval.fidelity.diversity import vendi_score
from vesalius.eval.fidelity.metrics import MIN_IMAGES, real_floor
from vesalius.eval.pixels.image_metrics import compare_images, ssim_map
from vesalius.eval.privacy.limits import PictureSet, check
from vesalius.eval.privacy.membership_part import made_by
from vesalius.eval.readers import study
from vesalius.eval.readers.answers import read_answers
from vesalius.eval.readers.choice import Candidate, whole
from vesalius.eval.readers.config import ReadersMakeConfig
from vesalius.eval.scorecard.gallery import GalleryConfig
from vesalius.eval.scorecard.material import Material, Missing, ScorecardConfig
from vesalius.eval.scorecard.run import check as check_scorecard
from vesalius.eval.scorecard.sets import drawn_captions
from vesalius.eval.usefulness.classifiers import check_masks, check_probabilities, open_classifier
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.data import read_pool
from vesalius.eval.usefulness.run import measure
from vesalius.inference.request import Request
from vesalius.inference.sample import Sample, load_samples, sample_lines

SAMPLE = Sample(file_name="a.png", text="Chest CT.", modality="CT", seed=1, steps=1, guidance=1.0, base="nano")


@pytest.mark.parametrize(
    ("digest", "own", "told"),
    [
        ("a" * 64, None, "was drawn with an adapter that is not given; give it by --adapter, or --no-words"),
        ("a" * 64, "b" * 64, "was drawn with another adapter; give it by --adapter, or --no-words"),
        (None, "b" * 64, "was drawn without an adapter; leave out --adapter, or --no-words"),
    ],
)
def test_a_sample_of_another_adapter_is_not_drawn_again(
    digest: str | None, own: str | None, told: str, tmp_path: Path
) -> None:
    redrawing = Redrawing(ExplainConfig(image=tmp_path / "a.png", out=tmp_path / "out"))
    sample = dataclasses.replace(SAMPLE, adapter_digest=digest)
    generator = SimpleNamespace(base=SimpleNamespace(digest=""), adapter_digest=own)
    redrawing._made = (("nano", None, sample.precision, sample.reuse), generator)
    with pytest.raises(ValueError, match=f"a.png: {told}"):
        redrawing._generator(sample, tmp_path / "a.png")


def test_a_base_without_attention_has_no_words_to_map() -> None:
    unet = SimpleNamespace(attn_processors={"mid.attn1.processor": None})
    generator: Any = SimpleNamespace(
        base=SimpleNamespace(name="plain", pipeline=SimpleNamespace(unet=unet)), check_size=lambda size: (32, 32)
    )
    with pytest.raises(ValueError, match="base 'plain' has no cross-attention to watch; words cannot be mapped"):
        watch_words(generator, Request(prompt="Chest CT.", seed=1))


def test_measures_of_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="the Vendi score needs at least one image, got none"):
        vendi_score(torch.zeros(0, 4))
    with pytest.raises(ValueError, match=f"needs at least {2 * MIN_IMAGES} images, got 3"):
        real_floor(torch.zeros(3, 4))


@pytest.mark.parametrize("kind", ["patients", "names"])
def test_pictures_of_which_not_each_is_told_are_refused(kind: str) -> None:
    pictures = PictureSet(features={"judge": torch.zeros(2, 4)}, modalities=["CT", "CT"], **{kind: ["a"]})
    with pytest.raises(ValueError, match=f"samples: 1 {kind} for 2 images; give one for each, or none"):
        check("samples", pictures, pictures)


def test_answers_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"study,item\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match=r"a\.csv: not UTF-8 text; save it as CSV in UTF-8, or take the \.jsonl file"):
        read_answers(tmp_path / "a.csv")


@pytest.fixture
def copied(phantoms: Path, tmp_path: Path) -> Path:
    """Samples that are the phantoms' own test images."""
    folder = tmp_path / "samples"
    (folder / "images").mkdir(parents=True)
    drawn = []
    for record in load_records(phantoms):
        name = f"images/{Path(record.file_name).name}"
        (folder / name).write_bytes((phantoms / record.file_name).read_bytes())
        facts = {"text": record.text, "modality": record.modality, "findings": record.findings}
        drawn.append(Sample(file_name=name, seed=0, steps=1, guidance=1.0, sha256=record.sha256 or "", **facts))
    (folder / "metadata.jsonl").write_bytes(sample_lines(drawn))
    return folder


def test_a_study_that_no_telephone_opens_or_without_a_place_is_refused(
    phantoms: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("a file")
    config = ReadersMakeConfig(samples=copied, real=phantoms, out=tmp_path / "out", num=4, split="train")
    with pytest.raises(ValueError, match="out: is a file; choose a folder for --out"):
        study.make_study(config)
    monkeypatch.setattr(study, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="that a telephone opens; give a smaller --num, or a --size below 32"):
        study.make_study(config)


def test_a_scorecard_without_material_says_what_lacks(phantoms: Path, tmp_path: Path) -> None:
    config = ScorecardConfig(real=phantoms, out=tmp_path / "out")
    with pytest.raises(ValueError, match="holds no record of origin 'real'; give a dataset of real images"):
        _ = Material(config).records
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ValueError, match="file: is a file; choose a folder for --out"):
        check_scorecard(dataclasses.replace(config, out=tmp_path / "file"))
    with pytest.raises(Missing, match="none: "):
        _ = Material(dataclasses.replace(config, reader=tmp_path / "none")).reader
    write_dataset(tmp_path / "few", [Record(file_name="train/a.png", text="Mass.", modality="CT", split="train")])
    with pytest.raises(Missing, match="few: no class has the 30 training and 10 test images that a measure needs"):
        _ = Material(dataclasses.replace(config, real=tmp_path / "few")).classes


def usefulness_of(samples: Path, real: Path, out: Path, **fields: Any) -> UsefulnessConfig:
    return UsefulnessConfig(samples=samples, real=real, out=out, **{"label": "finding:nodule", **fields})


def test_a_classifier_that_is_none_is_named(phantoms: Path, copied: Path, tmp_path: Path) -> None:
    config = usefulness_of(copied, phantoms, tmp_path / "out", classifier=f"{tmp_path}/none.py:train")
    with pytest.raises(ValueError, match=r"no such file '.*none\.py'; give MODULE:FUNCTION or FILE\.py:FUNCTION"):
        open_classifier(config, None)


def test_what_is_for_classification_alone_is_left_out_elsewhere(phantoms: Path, copied: Path, tmp_path: Path) -> None:
    config = usefulness_of(copied, phantoms, tmp_path / "out", task="segmentation", self_supervised=True)
    with pytest.raises(ValueError, match="--self-supervised is for classification; leave it out with --task segment"):
        config.check()


def test_a_dataset_without_labels_test_images_or_patients_is_named(
    phantoms: Path, copied: Path, tmp_path: Path
) -> None:
    usual = {"modality": "CT", "organ": "chest"}
    rows = [Record(file_name=f"{s}/{i}.png", text="Chest CT.", split=s, **usual) for i, s in enumerate(("train",) * 2)]
    samples = [json.loads(line) for line in (copied / "metadata.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "grade": "1"}) for row in samples if row["modality"] == "CT"]
    (copied / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    for name in ("mute", "trained"):
        (tmp_path / name / "train").mkdir(parents=True)
        for row in rows:
            write_png(tmp_path / name / row.file_name, np.arange(1024, dtype=np.uint8).reshape(32, 32, 1))
    write_dataset(tmp_path / "mute", rows)
    with pytest.raises(ValueError, match=r"mute: no record has .*; name a column that is there with --label, or fill"):
        read_pool(usefulness_of(copied, tmp_path / "mute", tmp_path / "out", label="grade"))
    labelled = [dataclasses.replace(r, extra={"grade": str(i)}) for i, r in enumerate(rows)]
    write_dataset(tmp_path / "trained", labelled)
    with pytest.raises(ValueError, match=r"trained: split 'test' has no image of CT with .*; both train and test are"):
        read_pool(usefulness_of(copied, tmp_path / "trained", tmp_path / "out", label="modality"))


def test_a_test_split_of_one_patient_has_no_interval(
    phantoms: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = SimpleNamespace(of=lambda role: [], names=lambda pictures: ["a", "a"])
    monkeypatch.setattr("vesalius.eval.usefulness.run.read_pool", lambda config: pool)
    with pytest.raises(ValueError, match="the test split has one patient; an interval needs at least two"):
        measure(usefulness_of(copied, phantoms, tmp_path / "out"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratios": ()}, "--ratios is empty; give at least one, such as 1"),
        ({"shares": (0.5,), "share_ratios": ()}, "--share-ratios is empty; give at least one, or none of --shares"),
        ({"updates": 1}, "--updates 1 and --batch-size .* must be at least 2"),
        ({"task": "retrieval", "size": 24}, "--size 24: --task retrieval expects a multiple of 16"),
    ],
)
def test_settings_of_usefulness_that_cannot_be_are_named(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        usefulness_of(tmp_path, tmp_path, tmp_path / "out", **fields).check()


def test_classifiers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    retrieval = usefulness_of(tmp_path, tmp_path, tmp_path / "out", task="retrieval")
    with pytest.raises(ValueError, match="--task retrieval has networks of its own; leave out your classifier"):
        open_classifier(retrieval, lambda *_: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"--classifier 'mine:': give MODULE:FUNCTION or FILE\.py:FUNCTION"):
        open_classifier(usefulness_of(tmp_path, tmp_path, tmp_path / "out", classifier="mine:"), None)
    with pytest.raises(ValueError, match=r"mine: predicted \(2, 3\) for 2 images; expected \(2, 2\)"):
        check_probabilities(torch.zeros(2, 3), 2, 2, "mine")
    with pytest.raises(ValueError, match=r"mine: predicted \(2, 3\) of torch.float32; expected whole numbers \(2, 2\)"):
        check_masks(torch.zeros(2, 3), (2, 2), "mine")


def test_an_image_of_a_study_that_lacks_or_was_changed_is_named(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"origin": "real", "modality": "CT", "label": "", "text": "", "hounsfield": False}
    candidate = Candidate(path=tmp_path / "a.png", sha256="a" * 64, digest="a" * 64, **facts)
    with pytest.raises(ValueError, match=r"a\.png: no such image file; copy the folder whole, or make it again"):
        whole(candidate)
    (tmp_path / "a.png").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"a\.png: was changed since its folder was written; run the line that made"):
        whole(candidate)
    with pytest.raises(ValueError, match=r"b\.jsonl: no such file of answers; give what the readers' pages saved"):
        read_answers(tmp_path / "b.jsonl")


def test_a_study_of_a_split_without_images_is_refused(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    write_dataset(tmp_path, [Record(file_name="train/a.png", text="Mass.", modality="CT", split="train")])
    with pytest.raises(ValueError, match="split 'test' has no image that is not synthetic; name another"):
        study.make_study(ReadersMakeConfig(samples=copied, real=tmp_path, out=tmp_path / "out"))


def test_counts_that_cannot_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--num-prompts, --num and --num-failures must be at least 1"):
        GalleryConfig(real=tmp_path, out=tmp_path / "out", num=0)
    with pytest.raises(ValueError, match="--num must be at least 1, --seed at least 0, and --networks not empty"):
        check_maps(MapCheckConfig(num=0))


def test_detectors_and_pictures_of_other_sizes_are_told() -> None:
    rows = _Rows(None, 4)
    rows.add(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="a detector made 3 features, then 4; mend the detector"):
        rows.add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"pictures to compare are \(1, 1, 8, 8\) and \(1, 1, 9, 9\)"):
        compare_images(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 9, 9, dtype=torch.uint8))
    with pytest.MonkeyPatch.context() as changed:
        changed.setitem(sys.modules, "torchmetrics.functional.image", None)
        with pytest.raises(ValueError, match="SSIM needs torchmetrics; install it with `pip install torchmetrics`"):
            ssim_map(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))


def test_an_evaluation_of_nothing_or_of_changed_samples_is_refused(
    phantoms: Path, copied: Path, tmp_path: Path
) -> None:
    config = EvalConfig(samples=copied, real=phantoms, out=tmp_path / "out", parts=())
    with pytest.raises(ValueError, match=r"--parts: names nothing to measure \(fidelity\)"):
        open_folders(config, ["fidelity"], needs_train=False)
    samples = load_samples(copied)
    (copied / samples[0].file_name).write_bytes((copied / samples[1].file_name).read_bytes())
    with pytest.raises(ValueError, match="was changed since it was drawn; run its `vesalius generate` line again"):
        check_folders(config, samples)


def test_real_images_of_other_modalities_than_the_samples_are_refused(
    phantoms: Path, copied: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(phantoms, tmp_path / "other")
    write_dataset(other, [dataclasses.replace(r, modality="fundus") for r in load_records(phantoms)])
    config = EvalConfig(samples=copied, real=other, out=tmp_path / "out", parts=("fidelity",))
    with pytest.raises(ValueError, match=r"other: split 'test' has no images of .*which the samples are of; give"):
        open_folders(config, ["fidelity"], needs_train=True)
    config = dataclasses.replace(config, real=phantoms, train=other)
    with pytest.raises(ValueError, match=r"other: no training images of .* to search for copies; give another --train"):
        open_folders(config, ["fidelity"], needs_train=True)


def test_samples_of_several_models_are_not_asked_for_their_members() -> None:
    drawn = [SAMPLE, dataclasses.replace(SAMPLE, base_digest="b")]
    context: Any = SimpleNamespace(drawn=drawn)
    with pytest.raises(ValueError, match="the samples were drawn by several models; evaluate those of each apart"):
        made_by(context)


def test_a_scorecard_of_too_few_test_images_says_so() -> None:
    material: Any = SimpleNamespace(config=SimpleNamespace(real="real"), by_family=lambda split: {})
    with pytest.raises(Missing, match=r"real: no modality has \d+ test images"):
        drawn_captions(material)
