from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.phantoms.phantom import KINDS, sample_findings
from vesalius.data.record import Finding, Record
from vesalius.eval.gates.scores import Case, case_of_record
from vesalius.improve.asking.strata import pooled, prompt_strata, strata, strata_of_case, stratum_of, wider_of

NODULE = Finding(kind="nodule", side="left", size_mm=13.0)
NO_MASS = Finding(kind="mass", present=False)


@pytest.mark.parametrize(
    ("findings", "label", "name"),
    [
        ([NODULE], None, "CT: nodule under 20 mm, left"),
        ([Finding(kind="nodule", side="right", size_mm=20.0), NO_MASS], None, "CT: nodule of 20 mm or more, right"),
        ([Finding(kind="nodule", side="bilateral", size_mm=13.0, count=3)], None, "CT: nodule, several, both sides"),
        ([Finding(kind="mitotic figures")], None, "CT: mitotic figures"),
        ([Finding(kind="pneumothorax"), NODULE], "mass", "CT: nodule and pneumothorax"),
        ([Finding(kind=k) for k in "cab"], None, "CT: a, b and c"),
        ([Finding(kind=k) for k in "cabd"], None, "CT: over three findings"),
        ([NO_MASS], None, "CT: normal"),
        ([NO_MASS], "glioma", "CT: glioma"),
        ([], "No_Finding", "CT: normal"),
        ([], "Effusion|Mass", "CT: effusion and mass"),
        ([], "adipose", "CT: adipose"),
        ([], "CT_adipose", "CT: adipose"),
        ([], None, "CT: not told"),
    ],
)
def test_a_stratum_is_named_as_a_clinician_reads_it(findings: list[Finding], label: str | None, name: str) -> None:
    record = Record(file_name="a.png", text="x", modality="CT", findings=tuple(findings), label=label)
    assert stratum_of(record) == name
    assert strata_of_case(case_of_record(Path(), record))[0] == name


def test_a_stratum_lies_in_wider_ones() -> None:
    assert strata("CT", [NODULE]) == ("CT: nodule under 20 mm, left", "CT: nodule", "CT")
    assert strata("CT", [NODULE, Finding(kind="mass")]) == ("CT: mass and nodule", "CT: two findings", "CT")


@given(seed=st.integers(0, 10**6), modality=st.sampled_from(list(KINDS)), num=st.integers(0, 4))
def test_the_wider_strata_can_be_told_by_the_name_alone(seed: int, modality: str, num: int) -> None:
    findings = [f for f in sample_findings(seed, modality) if f.present]
    findings += [Finding(kind=f"other {i}") for i in range(num)]
    names = strata(modality, findings)
    wider = [names[0]]
    while (name := wider_of(wider[-1])) is not None:
        wider.append(name)
    assert tuple(wider) == names


def test_thin_strata_are_counted_together() -> None:
    asked = {
        "CT: nodule, left": 9, "CT: nodule, right": 2, "CT: nodule, several, left": 3, "CT: a and b": 2,
        "CT: a and c": 1, "MRI: mass": 1, "MRI: infarct, left": 1,
    }  # fmt: skip
    place = pooled(asked, 4)
    assert place["CT: nodule, left"] == "CT: nodule, left"
    assert place["CT: nodule, right"] == place["CT: nodule, several, left"] == "CT: nodule, other"
    assert place["CT: a and b"] == place["CT: a and c"] == "CT, other"
    assert place["MRI: mass"] == place["MRI: infarct, left"] == "MRI, other"


def test_a_sample_has_the_findings_of_the_records_whose_caption_was_its_prompt() -> None:
    case = Case(path=Path("a.png"), text="x", modality="CT", shows=("nodule",))
    assert strata_of_case(case)[0] == "CT: nodule"


@given(seed=st.integers(0, 10**6), modality=st.sampled_from(list(KINDS)), order=st.randoms())
def test_neither_language_nor_order_nor_denials_make_a_stratum(seed: int, modality: str, order: object) -> None:
    findings = list(sample_findings(seed, modality))
    name = strata(modality, findings)
    order.shuffle(findings)  # type: ignore[attr-defined]
    assert strata(modality, findings) == name
    present = [f for f in findings if f.present]
    assert not present or strata(modality, present) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Chest CT with a 13 mm nodule in the left lung, no pleural effusion.", "CT: nodule under 20 mm, left"),
        ("胸部CT示左肺结节，直径约13 mm，未见胸腔积液。", "CT: nodule under 20 mm, left"),
        ("Chest CT.", "CT: not told"),
    ],
)
def test_a_prompt_without_findings_is_read(text: str, name: str) -> None:
    assert prompt_strata(text, "CT")[0] == name
