"""People in the loop, by the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.record import hold, load_records, write_json
from vesalius.improve.candidates.pool import DIGEST, write_accepted
from vesalius.improve.ledger import Ledger, read_ledger
from vesalius.improve.people.ratings import read_ratings
from vesalius.improve.people.review import accepted_samples, review_vetoes, stood_by, waiting, write_review
from vesalius.improve.telling.show import MOST, lines_of, show_round
from vesalius.improve.telling.status import champion_run, read_status
from vesalius.inference.sample import load_samples

JudgedLoop = Callable[..., Path]


@pytest.fixture
def waits(judged_loop: JudgedLoop) -> Path:
    """A loop whose round 1 waits for review."""
    return judged_loop(1, review=True)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and what was told."""
    capsys.readouterr()
    code = main(["improve", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out + told.err


def decide(out: Path, index: int, promoted: bool, champion: int) -> None:
    decision = {"round": index, "promoted": promoted, "reasons": [f"reason {index}"], "champion": champion}
    (out / f"round-{index:02d}").mkdir(exist_ok=True)
    write_json(out / f"round-{index:02d}" / "decision.json", decision)


def entries(out: Path, event: str) -> list[dict[str, Any]]:
    return [e for e in read_ledger(out / "ledger.jsonl") if e["event"] == event]


def test_the_page_and_the_table_of_a_review_hold_what_passed(waits: Path) -> None:
    page = write_review(waits / "round-01").read_text()
    samples = list(accepted_samples(waits / "round-01"))
    assert len(samples) == page.count("<img") == 3
    assert all(s.sha256[:12] in page and s.text in page for s in samples)
    assert "http" not in page.replace("http://www.w3.org", "")
    rows = list(csv.DictReader((waits / "round-01" / "review.csv").open()))
    assert [r["sha256"] for r in rows] == [s.sha256 for s in samples]


def test_the_table_of_a_review_comes_back_as_ratings(waits: Path) -> None:
    write_review(waits / "round-01")
    path = waits / "round-01" / "review.csv"
    assert read_ratings([path]) == []
    rows = list(csv.DictReader(path.open()))
    rows[1] |= {"rater": "A", "realism": "1", "teach": "no"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (found,) = read_ratings([path])
    assert (found.sha256, found.realism, found.teach) == (rows[1]["sha256"], 1, False)


def test_an_approval_is_kept_with_its_vetoes_and_changes_nothing_twice(
    waits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = accepted_samples(waits / "round-01")
    line = ("approve", waits, "--veto", first.file_name, second.sha256[:10], "--by", "A. Reader", "--reason", "blurred")
    assert run(capsys, *line) == (
        DONE, f"round 1: 1 sample let in, 2 kept out\ngo on with: vesalius improve resume {waits}\n",
    )  # fmt: skip
    before = (waits / "ledger.jsonl").read_bytes()
    assert not waiting(waits / "round-01")
    assert [e["name"] for e in entries(waits, "veto")] == sorted([first.sha256, second.sha256])
    assert entries(waits, "review")[0]["by"] == "A. Reader"
    assert review_vetoes(waits / "round-01")[first.sha256] == "review: vetoed (blurred; by A. Reader)"
    assert run(capsys, *line)[1].startswith("unchanged: round 1 was approved with 2 vetoes")
    assert (waits / "ledger.jsonl").read_bytes() == before
    code, told = run(capsys, "approve", waits)
    assert code == USAGE
    assert "was approved already, with 2 vetoes" in told


def test_what_a_review_kept_out_is_in_no_training_data(waits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = waits / "round-01"
    first, *others = accepted_samples(folder)
    assert run(capsys, "approve", waits, "--veto", Path(first.file_name).name)[0] == DONE
    write_accepted(folder / "accepted", folder / "samples", accepted_samples(folder), vetoed=review_vetoes(folder))
    assert [r.extra[DIGEST] for r in load_records(folder / "accepted")] == [s.sha256 for s in others]
    assert json.loads((folder / "accepted" / "manifest.json").read_text())["vetoed"] == {first.sha256: "review: vetoed"}


def test_a_veto_that_names_no_sample_is_refused_with_the_nearest(
    waits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run(capsys, "approve", waits, "--veto", "images/00001-000.png")
    assert code == USAGE
    assert "names no sample of round-01; did you mean 'images/00001-000" in told
    assert waiting(waits / "round-01")
    assert "review.csv lists them" in run(capsys, "approve", waits, "--veto", "ö")[1]


def test_nothing_can_be_approved_where_nothing_waits(
    judged_loop: JudgedLoop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run(capsys, "approve", judged_loop(1))
    assert code == USAGE
    assert "no round waits for review; only a loop that runs with --review waits" in told
    assert "no loop there" in run(capsys, "approve", tmp_path / "nowhere")[1]
    assert not (tmp_path / "nowhere").exists()


def test_a_running_loop_is_left_alone(waits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(waits):
        code, told = run(capsys, "approve", waits)
    assert code == USAGE
    assert "another run is writing there" in told


def test_a_kill_between_the_approval_and_its_ledger_line_is_mended(
    waits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "approve", waits, "--by", "A")[0] == DONE
    (waits / "ledger.jsonl").unlink()
    (waits / "ledger.head").unlink()
    assert run(capsys, "approve", waits, "--by", "A")[0] == DONE
    assert len(entries(waits, "review")) == 1


def test_a_waiting_loop_says_so_and_how_to_go_on(waits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ledger(waits / "ledger.jsonl")
    assert read_status(waits)["waiting"] == 1
    for verb in (("status", waits), ("show", waits, 1)):
        assert f"vesalius improve approve {waits}" in run(capsys, *verb)[1]


def test_a_round_is_shown_in_words_and_as_json(judged_loop: JudgedLoop, capsys: pytest.CaptureFixture[str]) -> None:
    out = judged_loop(2)
    decide(out, 1, False, 0)
    code, told = run(capsys, "show", out, 1)
    assert code == DONE
    for words in (
        "round-01: 3 of 12 samples passed", "CT: 3 (at most 3) of 12 samples under 3 prompts", "refused by copy: 3",
        "round 1: rolled back to round 0", "why: reason 1", str(out / "round-01" / "samples"),
    ):  # fmt: skip
        assert words in told
    facts = json.loads(run(capsys, "show", out, 2, "--json")[1])
    assert facts["refused"] == {"agreement": 3, "copy": 3, "quota": 3}
    assert facts["decision"] is None
    assert facts["scores"]["agreement"]["accepted"][1] == pytest.approx(0.9)
    code, told = run(capsys, "show", out, 7)
    assert code == USAGE
    assert "has no round 7; it has round-00, round-01, round-02" in told


def test_going_back_makes_an_earlier_round_the_champion_until_the_next_decision(
    judged_loop: JudgedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    out = judged_loop(2)
    decide(out, 1, True, 1)
    decide(out, 2, True, 2)
    (out / "test").mkdir()
    assert champion_run(out) == out / "round-02" / "run"
    code, told = run(capsys, "rollback", out, "--by", "A", "--reason", "too smooth")
    assert code == DONE
    assert told.startswith("the loop stands by round 1 in place of 2")
    assert champion_run(out) == out / "round-01" / "run"
    assert "someone went to round 1" in run(capsys, "status", out)[1]
    assert run(capsys, "rollback", out, "--to", 1)[1] == "unchanged: the loop stands by round 1\n"
    write_json(out / "test" / "reading.json", {"round": 2})
    assert "test was read for round 2" in run(capsys, "rollback", out)[1]
    assert champion_run(out) == out / "round-00" / "run"
    assert run(capsys, "rollback", out, "--to", 2)[0] == DONE
    acts = [(e["round"], e["name"], e["from"]) for e in entries(out, "rollback")]
    assert acts == [(1, "1", 2), (0, "2", 1), (2, "3", 0)]
    assert entries(out, "rollback")[0]["reason"] == "too smooth"
    assert run(capsys, "rollback", out, "--to", 0)[0] == DONE
    assert stood_by(out, 3, 2) == 0
    decide(out, 3, False, 0)
    assert stood_by(out, 4, 0) == 0
    decide(out, 3, True, 3)
    assert champion_run(out) == out / "round-03" / "run"


@pytest.mark.parametrize(
    ("to", "words"),
    [(5, "no such round is decided; there are 0 to 1"), (1, "was rolled back itself (reason 1); choose one of 0")],
)
def test_only_a_round_that_was_promoted_can_be_gone_back_to(
    judged_loop: JudgedLoop, capsys: pytest.CaptureFixture[str], to: int, words: str
) -> None:
    out = judged_loop(2)
    decide(out, 1, False, 0)
    code, told = run(capsys, "rollback", out, "--to", to)
    assert code == USAGE
    assert words in told
    assert "there is none to go back to" in run(capsys, "rollback", out)[1]
    assert len(load_samples(out / "round-01" / "samples")) == 12


def test_long_lists_of_a_round_are_shortened(waits: Path) -> None:
    facts = show_round(waits, 1)
    skipped = {f"stratum {i}": "too few" for i in range(MOST + 5)}
    lines = lines_of({**facts, "skipped": skipped}, waits / "round-01")
    assert sum("not asked for" in line for line in lines) == MOST
    assert "  ... and 5 more of these; --json has them all" in lines
