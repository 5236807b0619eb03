"""One tiny loop, to its end: facts, decision, the test split read once, status and page."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.improve.config import ImproveConfig
from vesalius.improve.deciding.evaluation import found_by_stratum
from vesalius.improve.deciding.facts import read_facts
from vesalius.improve.deciding.final import read_once, report_test
from vesalius.improve.deciding.promotion import compare
from vesalius.improve.loop import improve
from vesalius.improve.material import read_material
from vesalius.improve.telling.report import write_report
from vesalius.improve.telling.status import champion_run, read_status, still_holds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> ImproveConfig:
    """A loop that was run to the point where test is read, whose images were no images until then."""
    root = tmp_path_factory.mktemp("rounds")
    data = write_phantoms(PhantomConfig(num=240, seed=11, size=32, out=root / "data", val=0.55, test=0.2, json=True))
    config = ImproveConfig(
        data=(data,), out=root / "loop", base=str(tiny_base), num=6, num_eval=30, steps=2, batch_size=2, rank=2,
        sampling_steps=2, seed=2, without=("gates",), json=True,
    )  # fmt: skip
    shutil.copytree(data / "test", root / "kept")
    for record in load_records(data, "test"):
        (data / record.file_name).write_bytes(b"no image at all")
    with pytest.raises(ValueError, match="readable"):
        improve(config)
    decided = [p.name for p in sorted(config.out.glob("round-*")) if (p / "decision.json").is_file()]
    assert decided == ["round-00", "round-01"]  # the rounds did not look at test
    shutil.copytree(root / "kept", data / "test", dirs_exist_ok=True)
    improve(config)
    return config


def test_rounds_are_decided_without_a_look_at_test(config: ImproveConfig) -> None:
    assert (config.out / "test" / "report.json").is_file()


def test_a_round_has_facts_of_every_group_with_their_intervals(config: ImproveConfig) -> None:
    facts = read_facts(config.out / "round-01")
    assert {f.group for f in facts.facts} >= {
        "validation", "distance", "coverage", "copies", "obedience", "hard prompts", "gates"
    }  # fmt: skip
    assert all(f.low <= f.value <= f.high for f in facts.facts)
    assert all(f.num > 0 for f in facts.facts)
    assert not any(f.decides for f in facts.of("gates"))
    assert all("judge" not in f.name for f in facts.facts)


def test_rounds_are_pairs_and_one_beside_itself_differs_by_nothing(config: ImproveConfig) -> None:
    first, second = (read_facts(config.out / f"round-{i:02d}") for i in range(2))
    assert first.paired == second.paired
    decision = json.loads((config.out / "round-01" / "decision.json").read_text())
    assert all(d["paired"] for row in decision["rows"] for d in row["differences"].values())
    same = compare(first, first, first, 1)
    assert not same["promoted"]
    assert {row["told"] for row in same["rows"]} == {"no clear difference"}
    assert all(d["value"] == 0 for row in same["rows"] for d in row["differences"].values())


def test_what_was_right_is_known_by_stratum(config: ImproveConfig) -> None:
    found = found_by_stratum(config.out / "round-01")
    assert {"CT", "MRI", "pathology"} <= set(found)
    assert all(0 <= right.value <= 1 and right.num > 0 for right in found.values())
    assert found_by_stratum(config.out / "nowhere") == {}


def test_status_tells_the_decision_in_words(config: ImproveConfig) -> None:
    status = read_status(config.out)
    assert status["test"] == status["champion"]
    assert status["rounds"][1]["samples"] == 6
    lines = "\n".join(status["lines"])
    assert "before," in lines
    assert f"the loop stands by round {status['champion']}" in lines
    assert champion_run(config.out).parent.name == f"round-{status['champion']:02d}"


def test_the_page_shows_decision_curves_refusals_test_and_ledger(config: ImproveConfig) -> None:
    page = write_report(config.out).read_text()
    for words in ("Test, read once", "not for diagnosis", "<svg", "by the witness", "hash of the last", "same prompts"):
        assert words in page
    assert 'src="http' not in page
    assert page.count("<img") >= 12


def test_an_alarm_is_large_on_the_page_and_in_status(config: ImproveConfig, tmp_path: Path) -> None:
    shutil.copytree(config.out, tmp_path / "loop", symlinks=True)
    path = tmp_path / "loop" / "round-01" / "decision.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "alarm": "gates up, witness <down>"}))
    page = write_report(tmp_path / "loop").read_text()
    assert 'role="alert"' in page
    assert "gates up, witness &lt;down&gt;" in page
    assert read_status(tmp_path / "loop")["alarm"] == "gates up, witness <down>"


def test_test_is_read_once_for_one_adapter(config: ImproveConfig) -> None:
    material = read_material(config.data)
    champion = config.out / f"round-{read_status(config.out)['champion']:02d}"
    other = config.out / ("round-01" if champion.name == "round-00" else "round-00")
    before = (config.out / "test" / "report.json").stat().st_mtime_ns
    assert report_test(config, material, champion)["round"] == int(champion.name[-2:])
    assert (config.out / "test" / "report.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="second reading"):
        report_test(config, material, other)
    with pytest.raises(ValueError, match="other data"):
        report_test(config, dataclasses.replace(material, test=[], digests={"elsewhere": "0"}), champion)


def test_a_loop_that_goes_on_does_not_read_test_again(config: ImproveConfig) -> None:
    material = read_material(config.data)
    champion = config.out / f"round-{read_status(config.out)['champion']:02d}"
    other = config.out / ("round-01" if champion.name == "round-00" else "round-00")
    before = {p: p.stat().st_mtime_ns for p in (config.out / "test").rglob("*") if p.is_file()}
    assert read_once(config, material, other) is None
    assert read_once(config, material, champion) is not None
    assert {p: p.stat().st_mtime_ns for p in (config.out / "test").rglob("*") if p.is_file()} == before
    assert still_holds({"round": 1}, 1) == "test was read for round 1"
    assert "would choose by it" in still_holds({"round": 1}, 2)
