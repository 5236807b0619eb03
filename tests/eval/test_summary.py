from __future__ import annotations

from typing import Any

from vesalius.eval.summary import section


def summary(families: list[str]) -> dict[str, list[str]]:
    """The rows of the head of a page on CT, of which these families were compared, by their first cell."""
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "num": 90}
    better = {"value": 0.9, "low": 0.8, "high": 0.95, "num": 90}
    result: dict[str, Any] = {
        "fidelity": {
            "rows": [{"modality": f, "num_samples": 9, "num_real": 8} for f in families],
            "conclusions": [{"modality": f, "question": "distance", "conclusion": "near"} for f in families],
        },
        "obedience": {
            "rows": [{"attribute": "side", "network": "judge", "of": "CT", "samples": share, "real": better}]
        },
        "privacy": {"verdicts": dict.fromkeys(families, "no conclusion"), "copies": []},
    }
    (table,) = section(result, ["CT"]).tables
    assert table.head[-2] == "obeys the prompt?"
    return {row[0]: row[1:] for row in table.rows}


def test_obedience_stands_beside_the_part_of_a_modality_that_was_compared() -> None:
    rows = summary(["CT, greyscale"])
    assert set(rows) == {"CT, greyscale"}
    assert rows["CT, greyscale"][-2] == "less than real images in side"


def test_of_two_parts_each_says_that_obedience_is_of_both() -> None:
    rows = summary(["CT", "CT, greyscale"])
    assert set(rows) == {"CT", "CT, greyscale"}
    assert rows["CT"][-2] == "less than real images in side"
    assert rows["CT, greyscale"][-2] == "less than real images in side (of all CT)"


def test_a_modality_of_one_part_is_told_as_it_is() -> None:
    assert summary(["CT"])["CT"][-2] == "less than real images in side"
