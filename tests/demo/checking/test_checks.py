"""Badges: what networks see of phantoms whose truth is known, and what they may not claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vesalius.data.images.image import Picture
from vesalius.data.phantoms.phantom import KINDS, Phantom, draw_phantom
from vesalius.data.record import Finding
from vesalius.demo.checking.check_rates import error_of, measure
from vesalius.demo.checking.checks import Checker, Rate, Rates
from vesalius.demo.config import DemoConfig
from vesalius.demo.store.pictures import Check
from vesalius.inference.sample import Sample

NODULE = Finding(kind="nodule", side="left", size_mm=30.0)


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(DemoConfig(base="nano"))


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return draw_phantom(5, "CT", size=128, findings=(NODULE,))


def checked(checker: Checker, text: str, phantom: Phantom, modality: str = "CT") -> dict[str, Check]:
    sample = Sample(file_name="a.png", text=text, modality=modality, seed=0, steps=1, guidance=1.0)
    found = checker.check(sample, Picture(image=phantom.image, hu=phantom.hu))
    return {check.asked: check for check in found}


def test_a_picture_that_shows_what_was_asked_says_yes_with_a_rate(checker: Checker, phantom: Phantom) -> None:
    found = checked(checker, "Chest CT with a 30 mm nodule in the left lung. No pneumothorax.", phantom)
    names = ("CT", "nodule", "nodule, left", "nodule, 30 mm", "nodule, count 1", "no pneumothorax")
    assert {name: found[name].said for name in names} == dict.fromkeys(names, "yes")
    assert all(0 < (found[name].error_rate or 0) < 0.05 for name in names)
    assert found["nodule, left"].checker == "phantom reader"


def test_a_picture_that_shows_something_else_says_no_and_what_is_seen(checker: Checker, phantom: Phantom) -> None:
    found = checked(checker, "Chest CT with a 14 mm nodule in the right lung and a pneumothorax on the left.", phantom)
    assert (found["nodule, right"].said, found["nodule, right"].seen) == ("no", "left")
    assert found["nodule, 14 mm"].said == "no"
    assert (found["pneumothorax"].said, found["pneumothorax"].seen) == ("no", "not seen")
    assert (found["pneumothorax, left"].said, found["pneumothorax, left"].seen) == ("unsure", "not in sight")


def test_a_normal_picture_is_told_from_one_that_is_not(checker: Checker, phantom: Phantom) -> None:
    normal = draw_phantom(6, "CT", size=128, findings=tuple(Finding(kind=k, present=False) for k in KINDS["CT"]))
    assert checked(checker, "Normal chest CT.", normal)["no finding"].said == "yes"
    assert checked(checker, "Normal chest CT.", phantom)["no finding"].seen == "nodule"


def test_what_no_network_knows_or_knows_too_badly_cannot_be_checked(checker: Checker, phantom: Phantom) -> None:
    found = checked(checker, "Fundus photograph with diabetic retinopathy.", phantom, "fundus")
    assert (found["diabetic retinopathy"].said, found["diabetic retinopathy"].seen) == ("unsure", "no network")
    found = checked(checker, "Chest X-ray, viral pneumonia.", phantom, "X-ray")
    assert (found["viral pneumonia"].said, found["viral pneumonia"].seen) == ("unsure", "too often wrong")


def test_grey_ct_and_unknown_bases_are_never_sure(phantom: Phantom, tiny_base: Path, checker: Checker) -> None:
    text = "Chest CT with a nodule in the left lung."
    grey = checker.check(
        Sample(file_name="a.png", text=text, modality="CT", seed=0, steps=1, guidance=1.0), phantom.image
    )
    assert {c.said for c in grey} == {"unsure"}
    other = checked(Checker(DemoConfig(base=str(tiny_base))), text, phantom)
    assert (other["nodule"].said, other["nodule"].error_rate) == ("unsure", None)


def test_an_error_rate_weighs_misses_and_false_alarms_alike() -> None:
    assert error_of([True] * 100, [False] * 100) == {"error": 0.5, "num": 200}, "one that always says yes"
    assert error_of([True] * 20, [True] * 100) == {"error": 0.05, "num": 120}, "twenty images tell no better"
    assert error_of([True] * 5, [True] * 100) is None
    assert error_of([False] * 10 + [True] * 10, []) == {"error": 0.5, "num": 20}


def test_the_rates_of_the_package_are_of_its_networks(checker: Checker) -> None:
    import json
    from importlib import resources

    told = json.loads((resources.files("vesalius.demo.checking") / "check_rates.json").read_text())
    eyes = checker.eyes
    assert told["networks"] == {
        "judge": eyes.judge.digest, "witness": eyes.witness.digest, "phantom reader": eyes.reader.digest,
    }, "weights are new: measure again with `python -m vesalius.demo.checking.check_rates`"  # fmt: skip
    assert Rates.load().rates["phantom/side/CT/nodule/phantom reader"] == Rate(0.0213, 47)
    assert min(rate.num for rate in Rates.load().rates.values()) >= 10


def test_rates_are_measured_on_a_dataset_of_phantoms(phantoms: Path) -> None:
    found = measure((phantoms, "train"), None, most=40)
    assert found["num_images"] == {"phantom": 40}
    assert all(0 < rate["error"] <= 1 and np.isfinite(rate["error"]) for rate in found["rates"].values())
