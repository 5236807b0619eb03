from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.improve.proof.arms import (
    ProofConfig,
    differences,
    end_of,
    run,
    with_interval,
    write_repeated,
)
from vesalius.improve.proof.page import ProofPageConfig, write_proof


def fact(value: float, *, up: bool = True) -> dict[str, Any]:
    return {
        "told": "Findings asked for are shown", "group": "obedience", "value": value, "low": value, "high": value,
        "num": 9, "up": up, "share": True, "decides": True,
    }  # fmt: skip


def result(arm: str, seed: int, *values: float, champion: int | None = None, up: bool = True) -> dict[str, Any]:
    last = len(values) - 1 if champion is None else champion
    rounds = [
        {
            "round": i, "promoted": i <= last, "champion": min(i, last), "alarm": None, "reasons": [],
            "asked": 8 * (i > 0), "accepted": 4 * (i > 0), "facts": {"obeys": fact(v, up=up)},
        }
        for i, v in enumerate(values)
    ]  # fmt: skip
    return {"arm": arm, "seed": seed, "steps": 2, "seconds": 60, "rounds": rounds}


def test_an_arm_ends_with_what_it_stands_by_and_one_without_guard_with_its_last_round() -> None:
    assert end_of(result("loop", 0, 0.5, 0.7, 0.6, champion=1))["round"] == 1
    assert end_of(result("collapse", 0, 0.5, 0.4, 0.3, champion=0))["round"] == 2


@pytest.mark.parametrize("up", [True, False])
def test_changes_are_against_round_0_of_the_loop_of_the_same_seed_and_above_0_where_better(up: bool) -> None:
    results = [
        result("loop", 0, 0.5, 0.75, up=up), result("loop", 1, 0.25, 0.25, up=up), result("longer", 0, 0.625, up=up),
        result("longer", 2, 0.9, up=up),
    ]  # fmt: skip
    sign = 1 if up else -1
    assert differences(results, "obeys") == {"loop": [sign * 0.25, 0.0], "longer": [sign * 0.125]}


def test_the_interval_over_seeds_is_students_and_of_one_seed_there_is_none() -> None:
    mean, low, high = with_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert high - mean == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)  # t of 2 degrees of freedom
    assert mean - low == pytest.approx(high - mean)
    assert with_interval([1.0])[1:] == (-math.inf, math.inf)


def test_longer_training_costs_what_the_loop_does(tmp_path: Path) -> None:
    config = ProofConfig(arm="longer", data=(tmp_path,), out=tmp_path)
    forwards = 3 * (500 * 16 * 3 + 2000 * 4) + 500 * 16 * 3
    assert config.all_steps * 16 * 3 == pytest.approx(forwards, rel=0.01)
    assert (config.loop().steps, config.loop().rounds) == (config.all_steps, 0)


def test_the_page_tells_what_is_clear_and_what_is_not(tmp_path: Path) -> None:
    results = [
        *(result("loop", s, 0.5, 0.7 + s / 100) for s in range(3)),
        *(result("longer", s, 0.5 + s / 10) for s in range(3)),
    ]  # fmt: skip
    paths = []
    for number, row in enumerate(results):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(row))
    told = write_proof(ProofPageConfig(results=tuple(paths), out=tmp_path / "page")).read_text()
    assert "**+21.0 (+18.5 to +23.5)**" in told
    assert "| +10.0 (-14.8 to +34.8) |" in told
    with pytest.raises(ValueError, match="is there twice"):
        write_proof(ProofPageConfig(results=(*paths, paths[0]), out=tmp_path / "page"))
    with pytest.raises(ValueError, match="no arm 'loop'"):
        write_proof(ProofPageConfig(results=tuple(paths[3:]), out=tmp_path / "page"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small") / "data"
    return write_phantoms(PhantomConfig(num=120, seed=5, size=32, val=0.4, test=0.3, out=out, json=True))


def test_as_many_records_are_repeated_as_the_loop_kept_samples_up_to_its_champion(small: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.json").write_text(json.dumps(result("loop", 0, 0.5, 0.6, 0.4, champion=1)))
    config = ProofConfig(
        arm="repeated", data=(small,), out=tmp_path / "arm", like=tmp_path / "loop.json", seed=0, json=True
    )
    known = {r.sha256 for r in load_records(small, "train")}
    assert [r.sha256 in known for r in load_records(write_repeated(config))] == [True] * 4
    with pytest.raises(ValueError, match="expected loop, 1"):
        write_repeated(dataclasses.replace(config, seed=1, out=tmp_path / "other"))


@pytest.mark.slow
def test_all_arms_run_and_resume_at_small_size(tmp_path: Path) -> None:
    data = write_phantoms(PhantomConfig(num=150, seed=6, val=0.4, test=0.3, out=tmp_path / "data", json=True))
    paths = []
    for arm in ("loop", "collapse", "guarded", "longer", "repeated"):
        config = ProofConfig(
            arm=arm, data=(data,), out=tmp_path / arm, like=tmp_path / "loop" / "result.json", rounds=1, num=24,
            best_of=2, steps=2, batch_size=4, num_eval=12, json=True,
        )  # fmt: skip
        first = run(config)
        assert run(config)["rounds"] == first["rounds"]
        paths.append(config.out / "result.json")
    told = {p.parent.name: json.loads(p.read_text()) for p in paths}
    assert [len(told[a]["rounds"]) for a in ("longer", "repeated")] == [1, 1]
    assert all(r["promoted"] for r in told["collapse"]["rounds"])
    assert told["collapse"]["rounds"][1]["accepted"] > told["loop"]["rounds"][1]["accepted"] > 0
    assert told["longer"]["steps"] > told["loop"]["steps"]
    page = write_proof(ProofPageConfig(results=tuple(paths), out=tmp_path / "page")).read_text()
    assert "Better than round 0" in page
