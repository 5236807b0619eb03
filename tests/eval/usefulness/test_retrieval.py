"""Images find their texts, by encoders that learn it from nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.run import measure, measure_usefulness


def quick(phantoms: Path, out: Path, **changes: Any) -> UsefulnessConfig:
    """Other phantoms as samples."""
    settled: dict[str, Any] = {
        "task": "retrieval", "ratios": (0.5,), "shares": (), "seeds": 2, "updates": 4, "batch_size": 8, "size": 16,
        "json": True,
    }  # fmt: skip
    others = out.parent / "others"
    if not others.exists():
        write_phantoms(PhantomConfig(num=60, seed=900, size=32, out=others, json=True))
    return UsefulnessConfig(samples=others, real=phantoms, out=out, **settled | changes)


def test_images_find_their_texts(phantoms: Path, tmp_path: Path) -> None:
    config = quick(phantoms, tmp_path / "out")
    result = measure_usefulness(config)
    assert result["metric"] == "recall_5"
    for row in result["regimes"][0]["arms"]:
        shares = [row["metrics"][f"recall_{k}"]["value"] for k in (1, 5, 10)]
        assert 0 <= shares[0] <= shares[1] <= shares[2] <= 1
    assert "then" in {row["kind"] for row in result["regimes"][0]["arms"]}
    assert f"among the first k of {result['num_texts']} different ones" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(ValueError, match="networks of its own"):
        measure(dataclasses.replace(config, classifier="witness"))


@pytest.mark.slow
def test_encoders_learn_to_find_texts(tmp_path: Path) -> None:
    """Whether it is a CT, an MRI or a tile is soon learnt, and leaves a third of the texts."""
    phantoms = write_phantoms(PhantomConfig(num=160, seed=5, size=32, test=0.4, out=tmp_path / "p", json=True))
    config = quick(phantoms, tmp_path / "out", updates=60, batch_size=16, size=32)
    result = measure(config)
    found = next(a for a in result["regimes"][0]["arms"] if a["kind"] == "real")["metrics"]["recall_10"]["value"]
    assert found > 1.8 * 10 / result["num_texts"]
