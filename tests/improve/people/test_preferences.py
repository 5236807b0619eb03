from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.data.record import read_rows, write_json
from vesalius.finetune.feeding.pairs import load_pairs
from vesalius.improve.candidates.drawing import base_of
from vesalius.improve.config import ImproveConfig
from vesalius.improve.people.preferences import num_pairs, pairs_file, training_config, write_pairs
from vesalius.improve.people.ratings import Rating
from vesalius.improve.people.review import read_review
from vesalius.inference.sample import load_samples


def config(out: Path, ratings: tuple[Rating, ...] = (), **changes: object) -> ImproveConfig:
    path = out.parent / "ratings.jsonl"
    path.write_text("".join(json.dumps(r.to_json()) + "\n" for r in ratings))
    told = {"data": (out,), "out": out, "ratings": (path,), "learn": "preferences", "best_of": 4, **changes}
    return ImproveConfig(**told)  # type: ignore[arg-type]


def test_pairs_are_the_accepted_sample_against_those_refused_for_their_content(
    judged_loop: Callable[..., Path],
) -> None:
    out = judged_loop(2)
    assert write_pairs(config(out), out, 2) == 6
    rows = list(read_rows(pairs_file(out, 2)))
    assert {(Path(r["better"]).stem[-1], Path(r["worse"]).stem[-1]) for r in rows} == {("0", "1")}
    better, worse = load_pairs([pairs_file(out, 2)])
    assert [r.depth for _, r in better] == [1, 1, 1, 2, 2, 2]
    assert all((folder / r.file_name).is_file() for folder, r in (*better, *worse))
    assert num_pairs(out, 2) == {"gates": 6}


def test_clinicians_pairs_are_added_and_a_vetoed_sample_is_never_the_better_one(
    judged_loop: Callable[..., Path],
) -> None:
    out = judged_loop(1)
    samples = load_samples(out / "round-01" / "samples")
    said = (
        Rating(sha256=samples[2].sha256, other=samples[3].sha256, rater="A", preference="second"),
        Rating(sha256=samples[2].sha256, other=samples[1].sha256, rater="A", preference="tie"),
        Rating(sha256=samples[4].sha256, other=samples[8].sha256, rater="A", preference="first"),  # other prompts
        Rating(sha256=samples[4].sha256, rater="B", level="student", agreement=1),
    )
    write_pairs(config(out, said), out, 1)
    rows = list(read_rows(pairs_file(out, 1)))
    assert [(r["better"][-8:-4], r["worse"][-8:-4]) for r in rows if r["from"] == "ratings"] == [("0003", "0002")]
    assert f"round-01/samples/{samples[4].file_name}" not in {r["better"] for r in rows}


def test_clinicians_overrule_gates_but_never_prefer_a_copy_of_a_patient(judged_loop: Callable[..., Path]) -> None:
    out = judged_loop(1)
    samples = load_samples(out / "round-01" / "samples")
    said = (
        Rating(sha256=samples[1].sha256, other=samples[0].sha256, rater="A", preference="first"),
        Rating(sha256=samples[6].sha256, other=samples[4].sha256, rater="A", preference="first"),
    )
    write_pairs(config(out, said), out, 1)
    rows = [(r["better"][-14:-4], r["worse"][-14:-4], r["from"]) for r in read_rows(pairs_file(out, 1))]
    assert rows == [
        ("00001-0000", "00001-0001", "gates"), ("00002-0000", "00002-0001", "gates"),
        ("00000-0001", "00000-0000", "ratings"),
    ]  # fmt: skip


def test_a_sample_that_the_review_kept_out_is_in_no_pair(judged_loop: Callable[..., Path]) -> None:
    out = judged_loop(1)
    first = load_samples(out / "round-01" / "samples")[0]
    write_json(out / "round-01" / "review.json", {"round": 1, "vetoes": {first.sha256: first.file_name}})
    assert read_review(out / "round-01")["vetoes"]
    assert write_pairs(config(out), out, 1) == 2


@pytest.mark.parametrize(("best_of", "words"), [(1, "--best-of 1"), (4, "no other of their prompts was refused")])
def test_a_round_without_pairs_says_why(judged_loop: Callable[..., Path], best_of: int, words: str) -> None:
    out = judged_loop(1)
    path = out / "round-01" / "verdicts.jsonl"
    rows = [{**row, "reason": row["reason"] and f"copy: {row['reason']}"} for row in read_rows(path)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=words):
        write_pairs(config(out, best_of=best_of), out, 1)


def test_preferences_without_rivals_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        ImproveConfig(data=(tmp_path,), out=tmp_path / "loop", learn="preferences").check()
    with pytest.raises(ValueError, match="no ratings to weigh by"):
        ImproveConfig(data=(tmp_path,), out=tmp_path / "loop", learn="weighted").check()


def test_round_0_learns_from_the_data_alone_whatever_follows(judged_loop: Callable[..., Path]) -> None:
    out = judged_loop(1)
    assert training_config(config(out), out / "round-00") == config(out).finetune(out / "round-00" / "run", ())


def test_a_run_is_drawn_with_on_the_base_that_it_was_trained_on(tmp_path: Path) -> None:
    run = tmp_path / "loop" / "round-01" / "run"
    run.mkdir(parents=True)
    assert base_of(run, "nano") == "nano"
    write_json(run / "config.json", {"base": "elsewhere/preferred-base"})
    assert base_of(run, "nano") == str(tmp_path / "loop" / "preferred-base")
    write_json(run / "config.json", {"base": "nano"})
    assert base_of(run, "nano") == "nano"
