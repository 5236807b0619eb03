"""Errors of the loop: each names its file, row or flag, what is wrong there, and what to do."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vesalius.data.record import Record, write_dataset, write_json
from vesalius.improve import loop
from vesalius.improve.asking.hard import hard_prompts
from vesalius.improve.asking.plan import check_sources
from vesalius.improve.asking.sources import _modality
from vesalius.improve.candidates.candidates import _all_open
from vesalius.improve.config import ImproveConfig, ResumeConfig, RollbackConfig
from vesalius.improve.deciding import evaluation, final
from vesalius.improve.deciding.evaluation import facts_at
from vesalius.improve.material import records_of
from vesalius.improve.people.rating_store import RatingStore
from vesalius.improve.people.ratings import parse_rating, read_ratings
from vesalius.improve.people.review import resolve, rollback
from vesalius.improve.proof.arms import ProofConfig, write_repeated
from vesalius.improve.proof.planted import PlantedConfig
from vesalius.improve.resuming import settled_config
from vesalius.improve.telling import status
from vesalius.inference.prompts.read import Prompt

ONE = "1" * 64


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"withdraws": ONE}, "r.csv:2: has no rater; a rating is withdrawn by who gave it"),
        ({"sha256": ONE, "realism": 4}, "r.csv:2: has no rater; write who rated, or a pseudonym"),
        ({"sha256": ONE, "rater": "A", "realism": 6}, "r.csv:2: realism '6' is not 1 to 5, where 5 is the best; mend"),
        (
            {"sha256": ONE, "rater": "A", "artefact": "minro"},
            "r.csv:2: artefact 'minro' is not known; did you mean 'minor'?",
        ),
        ({"sha256": ONE, "rater": "A"}, "r.csv:2: says nothing; expected at least one of "),
        ({"sha256": "2", "rater": "A", "realism": 4}, "r.csv:2: sha256 '2' is no digest of a sample"),
        ({"sha256": ONE, "rater": "A", "teach": "perhaps"}, "r.csv:2: teach 'perhaps' is neither yes nor no"),
    ],
)
def test_a_rating_that_says_what_cannot_be_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        parse_rating(row, "r.csv:2")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sha256,rater,realism\n\xff\xfe,A,4\n", r"r\.csv: not UTF-8 text; save it as CSV in UTF-8"),
        (
            b"sha256,rater,realsim\n",
            r"r\.csv:1: column 'realsim' is not known; did you mean 'realism'\? If not",
        ),
        (b'sha256,rater,realism\n"' + b"1" * 140_000 + b'",A,4\n', r"r\.csv:\d: not CSV \(.*\); save it anew"),
    ],
)
def test_a_table_of_ratings_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    before = csv.field_size_limit(131_072)  # the library's own, which readers of reports raise
    try:
        with pytest.raises(ValueError, match=message):
            read_ratings([tmp_path / "r.csv"])
    finally:
        csv.field_size_limit(before)


def test_a_rating_that_was_never_given_cannot_be_withdrawn(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = RatingStore(tmp_path / "store" / "ratings.jsonl")
    with pytest.raises(ValueError, match=f"A has given no rating {ONE[:12]} that stands; give the key of one"):
        store.withdraw(ONE, "A")


def test_images_of_reference_that_do_not_open_are_named() -> None:
    images: Any = SimpleNamespace(unreadable=["a.png: damaged"], name="test images")
    with pytest.raises(ValueError, match=r"a\.png: damaged \(1 of the test images do not open; replace them\)"):
        _all_open(images)


@pytest.mark.parametrize("name", ["num", "best_of", "num_eval", "patience"])
def test_counts_of_a_loop_are_at_least_1(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is 0; expected at least 1"):
        ImproveConfig(data=(tmp_path,), out=tmp_path / "out", **{name: 0}).check()


def test_planted_faults_are_at_least_1(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--num is 0; expected at least 1"):
        PlantedConfig(data=(tmp_path,), out=tmp_path / "out", num=0)


def test_a_round_of_which_nothing_passed_ends_the_loop_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").touch()
    write_json(tmp_path / "selection.json", {"empty": "round 1: agreement refused all; lower --num"})
    nothing: Any = None
    with pytest.raises(ValueError, match="round 1: agreement refused all; lower --num"):
        loop.draw_and_gate(nothing, tmp_path, tmp_path, nothing, nothing, 1)


def test_a_configuration_that_lacks_what_a_loop_needs_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"seed": 1})
    with pytest.raises(ValueError, match=r"config\.json: is no configuration of a loop \(.*\); give the loop's whole"):
        settled_config(ResumeConfig(folder=tmp_path))


def loop_of(folder: Path, **fields: Any) -> ImproveConfig:
    return ImproveConfig(data=(folder,), out=folder / "out", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"best_of": 9, "num": 8}, "--best-of is 9; expected at most --num, 8"),
        ({"prompts": ()}, r"--prompts names nothing to ask for \(captions, phantoms, or files\)"),
        ({"learn": "preferences", "best_of": 4, "beside": ("a",)}, "--learn preferences makes a base of its own"),
    ],
)
def test_a_loop_whose_settings_exclude_each_other_is_refused(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        loop_of(tmp_path, **fields).check()


def test_sources_of_prompts_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--prompts captions is there twice; name each source once"):
        check_sources(loop_of(tmp_path, prompts=("captions", "captions")))
    with pytest.raises(ValueError, match="--prompts captoins: no such file; did you mean captions"):
        check_sources(loop_of(tmp_path, prompts=("captoins",)))
    with pytest.raises(ValueError, match=r"99999 hard prompts of CT: there are .*; ask for fewer"):
        hard_prompts(99999, modalities=("CT",))
    with pytest.raises(ValueError, match=r"--prompts p\.txt: 'A nodule\.' names no modality; name one in it"):
        _modality(Prompt(text="A nodule."), Path("p.txt"))


def test_data_of_a_loop_has_every_split_and_no_samples(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no records in split 'none'; a loop needs train, val and test"):
        records_of([phantoms], "none")
    drawn = Record(file_name="train/a.png", text="Mass.", modality="CT", split="train", origin="synthetic", depth=1)
    write_dataset(tmp_path / "drawn", [drawn])
    with pytest.raises(ValueError, match=r"a\.png: is a sample; --data takes real images and phantoms"):
        records_of([tmp_path / "drawn"], "train")


def test_test_is_not_read_twice_nor_of_a_round_without_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="run: holds no adapter; run the loop's line again to finish its round"):
        final.digest_of(tmp_path / "run")
    before = {"round": 1, "adapters": {"champion": "a"}, "data": "d"}
    monkeypatch.setattr(final, "was_read", lambda out: before)
    with pytest.raises(ValueError, match="test was read over other data than these; begin a new loop"):
        final.refuse_second(tmp_path, {**before, "data": "e"})
    with pytest.raises(ValueError, match="test was read for the adapter of round 1, and a second reading for that of"):
        final.refuse_second(tmp_path, {**before, "round": 2, "adapters": {"champion": "b"}})


def test_a_loop_that_has_only_begun_has_no_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "read_status", lambda folder: {"champion": None})
    with pytest.raises(ValueError, match="round 0 is not finished yet; run the loop's line again"):
        status.champion_run(tmp_path)
    write_json(tmp_path / "config.json", {})
    with pytest.raises(ValueError, match="round 0 is not finished yet; run the loop's line again"):
        rollback(RollbackConfig(folder=tmp_path))
    with pytest.raises(ValueError, match=r"--arm repeated: give --like, the result.json of the loop of this seed"):
        write_repeated(ProofConfig(arm="repeated", data=(tmp_path,), out=tmp_path / "arm"))


def test_a_veto_that_names_several_samples_is_refused() -> None:
    known = {"images/a.png": "1" * 64, "other/a.png": "2" * 64}
    with pytest.raises(ValueError, match=r"--veto a\.png: names 2 samples of round-01; give the whole name or digest"):
        resolve(["a.png"], known, Path("round-01"))


def test_a_round_is_not_decided_without_a_picture_that_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged: Any = SimpleNamespace(unreadable=["val/7.png: damaged"])
    monkeypatch.setattr(evaluation, "open_folders", lambda *_, **__: None)
    monkeypatch.setattr(evaluation, "open_context", lambda *_: damaged)
    nothing: Any = None
    with pytest.raises(ValueError, match=r"val/7\.png: damaged; a round is decided by all of its pictures.*start a"):
        facts_at(loop_of(tmp_path), nothing, [], nothing, tmp_path, [])
