"""Pictures looked at once, features kept by digest, parts of sets, and pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.images.image import write_png
from vesalius.data.record import Finding, Record, load_records
from vesalius.eval.features import features_of, open_images, read_chunks
from vesalius.eval.fidelity.pairs import likeness_within, pick_pairs
from vesalius.eval.gates.scorer import Scorer
from vesalius.eval.gates.scores import Case, JudgeReading, case_of_record, measure_pixels, read_images
from vesalius.eval.strata import read_age, strata_of, subgroups_of, with_labels
from vesalius.models.detectors.detector import TextureDetector
from vesalius.models.networks.judge import Judge


class Counting(TextureDetector):
    """The texture detector, and how many pictures it was shown."""

    def __init__(self, digest: str = "counting", name: str = "counting") -> None:
        self.digest, self.name, self.shown = digest, name, 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shown += len(images)
        return super().__call__(images)


@pytest.fixture
def cases(phantoms: Path) -> list[Case]:
    return [case_of_record(phantoms, r) for r in load_records(phantoms)][:12]


def test_features_are_kept_by_digest_of_pictures_and_detector(cases: list[Case], tmp_path: Path) -> None:
    images, detector = open_images("pictures", cases, quiet=True), Counting()
    (first,) = features_of([detector], images, tmp_path, quiet=True)
    (again,) = features_of([detector], images, tmp_path, quiet=True)
    assert detector.shown == 12
    assert torch.equal(first, again)
    assert [p.suffix for p in tmp_path.iterdir()] == [".npy"]
    features_of([Counting("other weights")], images, tmp_path, quiet=True)
    features_of([detector], open_images("pictures", cases[:11], quiet=True), tmp_path, quiet=True)
    assert detector.shown == 23
    assert len(list(tmp_path.iterdir())) == 3


def test_features_of_a_picture_that_was_changed_are_made_anew(tmp_path: Path) -> None:
    case, detector = Case(path=tmp_path / "a.png", text="Brain MRI", modality="MRI"), Counting()
    write_png(case.path, np.zeros((32, 32, 1), np.uint8))
    (before,) = features_of([detector], open_images("pictures", [case], quiet=True), tmp_path / "kept", quiet=True)
    write_png(case.path, np.full((32, 32, 1), 90, np.uint8))
    (after,) = features_of([detector], open_images("pictures", [case], quiet=True), tmp_path / "kept", quiet=True)
    assert detector.shown == 2
    assert not torch.equal(before, after)


def test_features_that_were_damaged_on_disk_are_made_anew(cases: list[Case], tmp_path: Path) -> None:
    images, detector = open_images("pictures", cases, quiet=True), Counting()
    (whole,) = features_of([detector], images, tmp_path, quiet=True)
    (path,) = tmp_path.iterdir()
    cut = path.read_bytes()[:200]
    path.unlink()  # what is mapped stays whole
    path.write_bytes(cut)
    (again,) = features_of([detector], images, tmp_path, quiet=True)
    assert detector.shown == 24
    assert torch.equal(whole, again)


def test_a_detector_of_unknown_digest_is_not_kept(cases: list[Case], tmp_path: Path) -> None:
    features_of([Counting(digest="")], open_images("pictures", cases, quiet=True), tmp_path / "kept", quiet=True)
    assert not (tmp_path / "kept").exists()


def test_features_in_chunks_are_those_of_all_at_once(cases: list[Case], tmp_path: Path) -> None:
    parts = list(read_chunks(cases, 32, "model", chunk=5))
    assert [len(p) for p in parts] == [5, 5, 2]
    assert torch.equal(torch.cat(parts), read_images(cases, 32, "reading", quiet=True))


def test_a_window_for_people_shows_ct_in_grey(phantoms: Path) -> None:
    ct = [c for c in (case_of_record(phantoms, r) for r in load_records(phantoms)) if c.modality == "CT"][:2]
    (model,), (people,) = (list(read_chunks(ct, 32, window)) for window in ("model", "display"))
    assert not torch.equal(model[:, 0], model[:, 2])
    assert torch.equal(people[:, 0], people[:, 2])


def test_pictures_that_do_not_open_are_named_and_left_out(cases: list[Case], tmp_path: Path) -> None:
    bad = {"cut.png": cases[0].path.read_bytes()[:300], "text.png": b"no picture", "empty.png": b""}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    more = [replace(cases[0], path=tmp_path / name) for name in (*bad, "missing.png")]
    found = open_images("pictures", [more[0], *cases, *more[1:]], quiet=True)
    assert found.kept == list(range(1, 13))
    assert found.cases == cases
    assert len(found.unreadable) == 4
    for name, line in zip((*bad, "missing.png"), found.unreadable, strict=True):
        assert name in line


def test_sizes_and_modes_are_told(tmp_path: Path) -> None:
    shapes = {"a": (32, 32, 1), "b": (32, 48, 3), "c": (32, 32, 1)}
    for name, shape in shapes.items():
        write_png(tmp_path / f"{name}.png", np.zeros(shape, np.uint8))
    found = open_images("x", [Case(path=tmp_path / f"{n}.png", text="", modality="MRI") for n in shapes], quiet=True)
    assert found.sizes == ["32 x 32", "32 x 48", "32 x 32"]
    assert found.modes == ["L", "RGB", "L"]


def test_features_that_are_no_numbers_are_refused_with_the_picture(cases: list[Case]) -> None:
    class Broken(TextureDetector):
        name = "broken"

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            features = super().__call__(images)
            features[7, 0] = float("nan")
            return features

    with pytest.raises(ValueError, match=r"detector 'broken': NaN or infinite features of 1 of 12") as told:
        features_of([Broken()], open_images("pictures", cases, quiet=True), None, quiet=True)
    assert str(cases[7].path) in str(told.value)


def test_the_judge_in_one_pass_scores_as_in_several(cases: list[Case]) -> None:
    judge = Judge.load()
    images = read_images(cases, judge.config.image_size, "reading", quiet=True)
    measures, embedded, modality, attributes = JudgeReading(judge).split(JudgeReading(judge)(images))
    assert torch.allclose(embedded, judge.embed_images(images), atol=1e-4)
    for ours, theirs in zip((modality, attributes), judge.read(images), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    assert torch.equal(measures, measure_pixels(images))
    near = Scorer(judge, cases, reading=JudgeReading(judge)(images))(cases, images)
    assert max(row["nearest_train"] for row in near) < 1e-3


@pytest.mark.parametrize(
    ("value", "band"),
    [("17", "under 18"), ("18", "18 to 39"), ("063Y", "40 to 64"), ("65.0", "65 and over"), ("old", ""), ("", "")],
)
def test_ages_fall_into_bands(value: str, band: str) -> None:
    assert read_age(value) == band


def test_subgroups_come_from_columns_first_and_from_the_text_else() -> None:
    assert subgroups_of({"Gender": "F", "Age": 71, "race": "Asian"}, "a man") == {
        "sex": "female", "age": "65 and over", "ethnicity": "asian",
    }  # fmt: skip
    assert subgroups_of({}, "Chest CT of a 45-year-old woman") == {"sex": "female", "age": "40 to 64"}
    assert subgroups_of({}, "患者男，70岁，胸部CT") == {"sex": "male", "age": "65 and over"}
    assert subgroups_of({}, "Normal chest CT") == {}


def test_samples_have_the_label_that_all_records_of_their_prompt_have() -> None:
    def case(text: str, label: str | None = None, *kinds: str) -> Case:
        findings = tuple(Finding(kind=k) for k in kinds)
        return Case(path=Path("x"), text=text, modality="MRI", label=label, findings=findings)

    records = [case("one", "glioma", "mass"), case("one", "glioma", "mass"), case("two", "a"), case("two", "b")]
    found = with_labels([case("one"), case("two"), case("three")], records)
    assert [c.label for c in found] == ["glioma", None, None]
    assert strata_of(found[0]) == ("shows glioma", "shows mass")
    assert strata_of(found[2]) == ()


def test_a_record_keeps_whose_it_is() -> None:
    record = Record(file_name="a.png", text="x", modality="MRI", patient_id="7", source="here", extra={"sex": "M"})
    case = case_of_record(Path("data"), record)
    assert (case.patient, case.subgroups) == ("here: 7", {"sex": "male"})


def test_pairs_are_of_one_group_and_of_two_persons() -> None:
    groups = ["a", "a", "a", None, "b", "b", "c"]
    persons = ["1", "1", "2", "3", "4", "4", "5"]
    for seed in range(5):
        picked = pick_pairs(groups, persons, seed=seed)
        assert set(picked) == {"a"}
        assert set(picked["a"]) <= {(0, 2), (1, 2)}
    assert set(pick_pairs(groups, [None] * 7, seed=0)) == {"a", "b"}


def test_copies_within_a_prompt_are_alike_and_others_are_not() -> None:
    noise = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    unlike = likeness_within(["p"] * 8, lambda places: noise[list(places)])
    alike = likeness_within(["p"] * 8, lambda places: noise[[0] * len(places)])
    assert len(unlike) == len(alike) == 1
    assert alike[0] == pytest.approx(1, abs=1e-4)
    assert unlike[0] < 0.5
