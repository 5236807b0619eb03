from __future__ import annotations

import json
from pathlib import Path

import pytest

from vesalius.improve.promotion import decide, facts_of


def round_folder(root: Path, index: int, validation: float, kid: float, right: float = 0.8) -> Path:
    folder = root / f"round-{index:02d}"
    (folder / "run").mkdir(parents=True)
    (folder / "eval").mkdir()
    (folder / "run" / "validation.json").write_text(json.dumps([{"step": 1, "loss": validation}]))
    estimate = {"value": kid, "low": kid - 0.01, "high": kid + 0.01}
    rows = [
        {"detector": "witness", "modality": "CT", "kid": estimate},
        {"detector": "judge", "modality": "CT", "kid": {"low": 9.0}},
    ]
    obeyed = {"value": right, "low": right - 0.1, "high": right + 0.1, "num": 60}
    asked = [{"attribute": "side", "network": "reader", "of": "CT", "samples": obeyed}]
    report = {"fidelity": rows, "obedience": {"rows": asked, "gated_by": ["judge"]}}
    (folder / "eval" / "report.json").write_text(json.dumps(report))
    return folder


@pytest.mark.parametrize(
    ("validation", "kid", "right", "promoted"),
    [
        (0.49, 0.05, 0.8, True), (0.5, 0.065, 0.65, True), (0.52, 0.05, 0.8, False), (0.49, 0.08, 0.8, False),
        (0.49, 0.05, 0.55, False),
    ],
)  # fmt: skip
def test_a_round_is_promoted_only_where_nothing_is_worse(
    tmp_path: Path, validation: float, kid: float, right: float, promoted: bool
) -> None:
    first = round_folder(tmp_path, 0, 0.5, 0.05)
    decision = decide(first, first, round_folder(tmp_path, 1, validation, kid, right), 1)
    assert decision["promoted"] is promoted
    assert decision["champion"] == (1 if promoted else 0)
    assert decision["reasons"]


def test_what_the_gates_network_says_of_obedience_promotes_nothing(tmp_path: Path) -> None:
    first = round_folder(tmp_path, 0, 0.5, 0.05, right=0.99)
    report = json.loads((first / "eval" / "report.json").read_text())
    report["obedience"]["gated_by"] = []  # as if the judge had measured too
    (first / "eval" / "report.json").write_text(json.dumps(report))
    assert facts_of(first)["obedience"] == {}
    decision = decide(first, first, round_folder(tmp_path, 1, 0.49, 0.05, right=0.1), 1)
    assert decision["promoted"]
    assert decision["obedience"] == {"side by reader": 0.1}
