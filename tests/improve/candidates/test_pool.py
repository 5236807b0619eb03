from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.images.image import Picture, read_hu
from vesalius.data.record import load_records
from vesalius.finetune.config import WEIGHT
from vesalius.improve.candidates.pool import DIGEST, pool_facts, settle_pools, write_accepted
from vesalius.improve.config import ImproveConfig
from vesalius.improve.people.ratings import Rating
from vesalius.improve.people.review import accepted_samples
from vesalius.inference.sample import Sample
from vesalius.inference.writing.sinks import write_sample


def test_accepted_ct_is_added_back_in_hounsfield_units(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    drawn = Sample(file_name="images/0.png", text="Chest CT", modality="CT", seed=0, steps=1, guidance=1.0)
    (tmp_path / "samples" / "images").mkdir(parents=True)
    samples = [
        write_sample(tmp_path / "samples", dataclasses.replace(drawn, file_name=f"images/{i}.png", text=text), picture)
        for i, (text, picture) in enumerate(
            [("Chest CT", Picture(image=ramp, hu=ramp[..., 0].astype(np.float32))), ("CT", Picture(image=ramp))]
        )
    ]
    write_accepted(tmp_path / "accepted", tmp_path / "samples", samples)
    known, unknown = load_records(tmp_path / "accepted")
    assert (known.hounsfield, unknown.hounsfield) == (True, False)
    assert read_hu(tmp_path / "accepted" / known.file_name).max() == 63
    assert known.sha256 == samples[0].raw16_sha256
    assert known.extra[DIGEST] == samples[0].sha256
    assert unknown.sha256 == samples[1].sha256
    assert check_dataset(CheckConfig(folder=tmp_path / "accepted")).problems == ()


@pytest.fixture
def accepted(judged_loop: Callable[..., Path]) -> Path:
    """A loop of two rounds whose accepted samples are let in."""
    out = judged_loop(2)
    for folder in (out / "round-01", out / "round-02"):
        write_accepted(folder / "accepted", folder / "samples", accepted_samples(folder))
    return out


def config(out: Path, ratings: list[Rating], **changes: object) -> ImproveConfig:
    path = out.parent / "ratings.jsonl"
    path.write_text("".join(json.dumps(r.to_json()) + "\n" for r in ratings))
    told = {"data": (out,), "out": out, "ratings": (path,), **changes}
    return ImproveConfig(**told)  # type: ignore[arg-type]


def digests(out: Path) -> list[str]:
    return [r.extra[DIGEST] for i in (1, 2) for r in load_records(out / f"round-{i:02d}" / "accepted")]


def test_without_ratings_a_round_trains_on_all_that_was_accepted_as_it_is(accepted: Path) -> None:
    pools = settle_pools(config(accepted, []), accepted, 2)
    assert pools == (accepted / "round-01" / "accepted", accepted / "round-02" / "accepted")
    assert pool_facts(accepted / "round-02")["num"] == 6


def test_a_low_rating_that_comes_later_keeps_a_sample_out_of_later_rounds(accepted: Path) -> None:
    low = Rating(sha256=digests(accepted)[0], rater="A", level="student", realism=1)
    pools = settle_pools(config(accepted, [low]), accepted, 2)
    assert pools == (accepted / "round-02" / "pool-01", accepted / "round-02" / "accepted")
    assert [r.extra[DIGEST] for p in pools for r in load_records(p)] == digests(accepted)[1:]
    assert pool_facts(accepted / "round-02")["vetoed"] == {low.sha256: "ratings: realism 1 of 5 by A, student"}
    assert check_dataset(CheckConfig(folder=pools[0])).problems == ()
    assert len(load_records(accepted / "round-01" / "accepted")) == 3


def test_what_a_round_trains_on_is_settled_once(accepted: Path) -> None:
    first = settle_pools(config(accepted, []), accepted, 2)
    low = [Rating(sha256=d, rater="A", realism=1) for d in digests(accepted)]
    assert settle_pools(config(accepted, low), accepted, 2) == first


def test_ratings_that_leave_nothing_are_an_error_that_says_so(accepted: Path) -> None:
    low = [Rating(sha256=d, rater="A", realism=1) for d in digests(accepted)]
    with pytest.raises(ValueError, match="veto all 6 accepted samples"):
        settle_pools(config(accepted, low), accepted, 2)


def test_only_weighted_learning_writes_weights(accepted: Path) -> None:
    doubt = [Rating(sha256=digests(accepted)[0], rater="A", teach=False)]
    plain = settle_pools(config(accepted, doubt), accepted, 1)
    assert [r.extra.get(WEIGHT) for p in plain for r in load_records(p)] == [None] * 3
    weighted = settle_pools(config(accepted, doubt, learn="weighted"), accepted, 2)
    assert [r.extra.get(WEIGHT) for p in weighted for r in load_records(p)] == [0.5, 1, 1, None, None, None]
