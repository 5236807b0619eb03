from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import Finding, Record, load_records
from vesalius.eval.gates.scores import Case, case_of_record, read_images
from vesalius.eval.obedience.page import sections, shares, tables
from vesalius.eval.obedience.questions import (
    answers,
    contrasts,
    independent,
    measure_obedience,
    networks,
    phantom_like,
    phantoms_of,
)
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness

ALL = ("CT", "MRI", "pathology")
Shown = tuple[list[Case], torch.Tensor]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """54 phantoms at 128 pixels, as the networks learnt them, of seeds that they have not."""
    folder = tmp_path_factory.mktemp("obedience") / "phantoms"
    write_phantoms(PhantomConfig(num=54, seed=77, size=128, out=folder, hounsfield=True, json=True))
    cases = [case_of_record(folder, r) for r in load_records(folder)]
    return cases, read_images(cases, 128, "", quiet=True)


@pytest.fixture(scope="module")
def found(shown: Shown) -> dict[str, object]:
    cases, images = shown
    net = networks(Judge.load(), Witness.load(), Reader.load())
    return measure_obedience(cases, images, cases, images, net, phantoms=ALL)


def rates(found: dict[str, object], of: str = "all") -> dict[tuple[str, str], float]:
    return {(r["attribute"], r["network"]): r["samples"]["value"] for r in found["rows"] if r["of"] == of}  # type: ignore[attr-defined]


def rates_of(cases: list[Case], images: torch.Tensor) -> dict[tuple[str, str], float]:
    """Rates of a set alone."""
    told: dict[tuple[str, str], list[bool]] = {}
    for answer in answers(cases, images, networks(Judge.load(), Witness.load(), Reader.load()), phantoms=ALL):
        told.setdefault((answer.attribute, answer.network), []).append(answer.right)
    return {key: sum(right) / len(right) for key, right in told.items()}


def test_pictures_of_what_was_asked_obey_by_every_network_and_equal_sets_score_alike(found: dict[str, object]) -> None:
    measured = rates(found)
    assert measured["modality", "judge"] > 0.95
    assert measured["modality", "witness"] > 0.95
    for network in ("judge", "witness", "reader"):
        assert measured["finding present", network] > 0.7
        assert measured["finding absent", network] > 0.7
        assert measured["side", network] > 0.8
    assert measured["side exchanged", "judge"] > 0.8
    assert measured["other prompt exchanged", "judge"] > 0.7
    assert measured["size within 25 %", "reader"] > 0.7
    assert {"negation exchanged", "finding exchanged"} <= {attribute for attribute, _ in measured}
    for row in found["rows"]:  # type: ignore[attr-defined]
        if row["network"] != "reader":
            assert row["samples"] == row["real"]
        elif row["of"] == "all":  # its own error, on other phantoms of the same findings
            assert row["real"]["value"] == pytest.approx(row["samples"]["value"], abs=0.25)
            assert row["real"]["num"] > 10
    json.dumps(found)


def test_mirrored_pictures_are_of_the_wrong_side(shown: Shown, found: dict[str, object]) -> None:
    cases, images = shown
    sided = [i for i, c in enumerate(cases) if c.modality != "pathology"]
    mirrored = rates_of([cases[i] for i in sided], images[sided].flip(3))
    for key in (("side", "judge"), ("side", "witness"), ("side", "reader"), ("side exchanged", "judge")):
        assert mirrored[key] < 0.5 < rates(found)[key]


def test_pictures_of_something_else_obey_less_in_everything(shown: Shown, found: dict[str, object]) -> None:
    cases, images = shown
    groups = {m: [i for i, c in enumerate(cases) if c.modality == m] for m in ALL}
    moved = images.clone()
    for places in groups.values():
        moved[places] = images[places[1:] + places[:1]]
    wrong, right = rates_of(cases, moved), rates(found)
    for key in right:
        if key[0] != "modality":
            assert wrong.get(key, 0) < right[key], key


def test_a_contrast_is_false_in_one_thing_alone() -> None:
    findings = (Finding(kind="mass", side="left", size_mm=20), Finding(kind="infarct", present=False))
    cases = [
        Case(path=Path("a"), text="Brain MRI with a 20 mm mass on the left", modality="MRI", findings=findings),
        Case(path=Path("b"), text="Brain MRI", modality="MRI"),
        Case(path=Path("c"), text="Chest X-ray", modality="X-ray"),
    ]
    told = contrasts(cases)
    assert {(c.place, c.attribute) for c in told} == {
        (0, "side"), (0, "negation"), (0, "finding"), (0, "other prompt"), (1, "other prompt")
    }  # fmt: skip
    side = next(c for c in told if c.attribute == "side")
    assert (side.true, side.false) == (cases[0].text, "Brain MRI with a 20 mm mass on the right")
    finding = next(c for c in told if c.attribute == "finding")
    assert "mass" in finding.true
    assert "infarct" in finding.false or "hemorrhage" in finding.false
    assert told == contrasts(cases)


def test_another_prompt_is_any_but_its_own() -> None:
    texts = ["b", "a", "c", "a"]
    cases = [Case(path=Path("x"), text=text, modality="X-ray") for text in texts]
    found: set[tuple[str, str]] = set()
    for seed in range(20):
        told = contrasts(cases, seed=seed)
        assert [c.place for c in told] == [0, 1, 2, 3]
        found |= {(c.true, c.false) for c in told}
    assert found == {(one, other) for one in "abc" for other in "abc" if one != other}
    assert contrasts([cases[1], cases[3]]) == []


def test_what_gated_may_not_measure() -> None:
    assert independent([]) == ("judge", "witness", "reader")
    assert independent(["judge"]) == ("witness", "reader")
    assert independent(["judge"], ["judge", "medsiglip"]) == ("medsiglip",)
    with pytest.raises(ValueError, match="judge gated these samples, and no other network is there"):
        independent(["judge"], ["judge"])
    with pytest.raises(ValueError, match="gated by juge: no such network; name it of judge, witness, reader"):
        independent(["juge"])


def test_a_set_that_the_judge_gated_is_measured_by_the_others_alone(shown: Shown) -> None:
    cases, images = shown[0][:30], shown[1][:30]
    net = networks(Judge.load(), Witness.load())
    gated = measure_obedience(cases, images, cases, images, net, gated_by=["judge"])
    assert {row["network"] for row in gated["rows"]} == {"witness"}
    assert "gated by the judge" in " ".join(sections(gated)[0].text)
    with pytest.raises(ValueError, match="no other network"):
        measure_obedience(cases, images, cases, images, networks(Judge.load()), gated_by=["judge"])


def test_what_is_read_elsewhere_is_over_all_modalities_and_the_page_folds_the_rest(found: dict[str, object]) -> None:
    whole = shares(found)
    assert {f"{attribute} by {network}" for attribute, network in rates(found)} == set(whole)
    assert whole["side by reader"]["num"] > 10
    first, apart = tables(found)
    assert (first.folded, {row[2] for row in first.rows}) == ("", {"all"})
    assert "By modality" in apart.folded
    assert {row[2] for row in apart.rows} == set(ALL)
    one = {**found, "rows": [r for r in found["rows"] if r["of"] == "CT"]}  # type: ignore[attr-defined]
    assert shares(one)
    assert [t.folded for t in tables(one)] == [""]
    assert shares({}) == {}
    assert set(found["networks"]) == {"judge", "witness", "reader"}  # type: ignore[call-overload]


def test_the_reader_measures_pictures_like_phantoms_alone(shown: Shown) -> None:
    cases, images = shown
    net = networks(reader=Reader.load())
    assert answers(cases, images, net) == []
    assert {cases[a.place].modality for a in answers(cases, images, net, phantoms=("MRI",))} == {"MRI"}
    drawn = Record(file_name="a", text="", modality="MRI", origin="phantom")
    assert phantom_like([drawn, replace(drawn, modality="CT")]) == ("CT", "MRI")
    assert phantom_like([drawn, replace(drawn, origin="real")]) == ()


def test_findings_that_no_phantom_has_are_passed_over() -> None:
    known = Case(path=Path("a"), text="", modality="MRI", findings=(Finding(kind="mass", side="left"),))
    cases = [known, replace(known, findings=(Finding(kind="fracture"),)), replace(known, modality="X-ray")]
    kept, images = phantoms_of(cases, ("MRI", "X-ray"), seed=0)
    assert kept == [0]
    assert images.shape == (1, 3, 128, 128)


def test_pictures_that_do_not_fit_the_prompts_are_refused(shown: Shown) -> None:
    cases, images = shown
    with pytest.raises(ValueError, match="54 samples, and 53 pictures"):
        measure_obedience(cases, images[1:], cases, images, networks(reader=Reader.load()))
