"""Labels that cannot be are told; phantoms, whose labels are true, are not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vesalius.data.check.plausible import implausible
from vesalius.data.phantoms.phantom import draw_phantom
from vesalius.data.record import Finding, Record


def record(text: str = "A picture.", modality: str = "CT", **fields: Any) -> Record:
    findings = tuple(fields.pop("findings", ()))
    return Record(file_name="a.png", text=text, modality=modality, findings=findings, **fields)


NODULE = Finding(kind="nodule", side="left", size_mm=12)
POSSIBLE = [
    record("No effusion. A 12 mm nodule in the left lung.", organ="chest", findings=[NODULE]),
    record("Nodules in both lungs, left and right.", organ="lung", findings=[NODULE]),
    record("A nodule cannot be excluded.", organ="chest", findings=[Finding(kind="nodule", present=False)]),
    record("Left breast, invasive carcinoma.", "pathology", organ="breast", label="carcinoma"),
    record("OCT of a coronary artery.", "OCT", organ="heart"),
    record("Compared with the MRI of last year, the CT is the same.", organ="brain"),
    record("左肺见结节，未见胸腔积液。", organ="chest", findings=[NODULE]),
    record("A nodule in the left lung without effusion.", organ="chest", findings=[NODULE]),
    record("No change of the nodule in the left lung.", organ="chest", findings=[NODULE]),
    record("No effusion, but a left nodule.", organ="chest", findings=[NODULE]),
    record("Nodule is not seen.", organ="chest", findings=[Finding(kind="nodule", present=False)]),
    record("A scan of 900 mm length.", organ="chest"),
    record("An organ that nobody knows.", organ="glabella", label="unheard-of"),
]
IMPOSSIBLE = [
    (record(modality="fundus", organ="lung"), "fundus cannot show organ 'lung'"),
    (record(modality="fundus", label="Pneumothorax"), "fundus cannot show 'pneumothorax'"),
    (record(modality="MRI", organ="brain", label="drusen"), "organ 'brain' cannot have 'drusen'"),
    (record(organ="blood"), "CT cannot show organ 'blood'"),
    (record(modality="blood smear", findings=[NODULE]), "a blood smear has no side"),
    (record(modality="OCT", findings=[Finding(kind="x", side="bilateral")]), "OCT shows one eye"),
    (record(organ="spleen", findings=[Finding(kind="cyst", side="right")]), "does not lie on the right"),
    (record(organ="brain", findings=[Finding(kind="mass", size_mm=700)]), "at most 250 mm"),
    (record(findings=[Finding(kind="mass", size_mm=-3)]), "-3 mm: expected more than 0"),
    (record(findings=[Finding(kind="mass", size_mm=float("nan"))]), "nan mm"),
    (record(findings=[Finding(kind="mass", count=0)]), "present 0 times"),
    (record("A nodule of 900 cm."), "its text says 900 cm"),
    (record("A chest X-ray.", "MRI"), "its text names X-ray"),
    (record("Normal.", label="normal", findings=[NODULE]), "label 'normal', but 'nodule' is present"),
    (record("No nodule.", findings=[NODULE]), "'nodule' is present, its text says: No nodule"),
    (record("未见结节。", findings=[NODULE]), "'nodule' is present, its text says"),
    (record("There is a nodule.", findings=[Finding(kind="nodule", present=False)]), "'nodule' is absent"),
    (record("A nodule in the right lung.", findings=[NODULE]), "'nodule' is left, its text says"),
    (record("右肺见结节。", findings=[NODULE]), "'nodule' is left, its text says"),
]


@pytest.mark.parametrize("possible", POSSIBLE, ids=lambda r: r.text)
def test_what_is_possible_is_not_told(possible: Record) -> None:
    assert implausible(possible) == []


@pytest.mark.parametrize(("wrong", "reason"), IMPOSSIBLE, ids=lambda value: getattr(value, "text", value))
def test_what_cannot_be_is_told(wrong: Record, reason: str) -> None:
    assert any(reason in told for told in implausible(wrong)), implausible(wrong)


def test_phantoms_are_possible_and_with_another_side_they_are_not() -> None:
    sides = found = 0
    for seed in range(120):
        modality = ("CT", "MRI", "pathology")[seed % 3]
        phantom = draw_phantom(seed, modality, size=32)
        whole = record(phantom.text, modality, organ=phantom.organ, findings=phantom.findings)
        assert implausible(whole) == []
        for finding in phantom.findings:
            if finding.present and finding.side in ("left", "right"):
                other = dataclasses.replace(finding, side="right" if finding.side == "left" else "left")
                swapped = [other if f is finding else f for f in phantom.findings]
                sides += 1
                found += bool(implausible(dataclasses.replace(whole, findings=tuple(swapped))))
    assert sides > 40
    assert found == sides
