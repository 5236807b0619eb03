"""Which records a run may see, and how often."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.record import Record, write_dataset
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.finetune.feeding.trainset import (
    WEIGHT,
    choose_trainset,
    choose_wording,
    data_digest,
    origin_weights,
    sampling_weights,
)


def record(i: int, **fields: Any) -> Record:
    split = fields.get("split", "train")
    usual = {
        "file_name": f"{split}/{fields.get('origin', 'real')}{i}.png", "text": f"CT number {i}.", "modality": "CT",
        "sha256": f"{i:064d}",
    }  # fmt: skip
    return Record(**{**usual, **fields})


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., FinetuneConfig]:
    """A run over these records."""

    def make(records: list[Record], **fields: Any) -> FinetuneConfig:
        write_dataset(tmp_path / "set", records)
        return FinetuneConfig(data=(tmp_path / "set",), out=tmp_path / "run", **fields)

    return make


Run = Callable[..., FinetuneConfig]


def test_only_the_wanted_modalities_and_organs_are_trained_on(run: Run) -> None:
    kinds = [("CT", "chest"), ("MR", "brain"), ("CT", "brain"), ("histology", "colon")]
    records = [record(i, modality=m, organ=o, split=s) for s in ("train", "val") for i, (m, o) in enumerate(kinds * 3)]
    both = choose_trainset(run(records, modalities=("MRI", "ct"), organs=("brain",)))
    assert {(r.modality, r.organ) for _, r in both.train + both.held_out} == {("CT", "brain"), ("MRI", "brain")}
    assert len(choose_trainset(run(records, modalities=("pathology",))).train) == 3
    assert len(choose_trainset(run(records)).train) == 12


def test_a_selection_that_leaves_nothing_is_an_error_that_says_so(run: Run) -> None:
    with pytest.raises(ValueError, match="no training records of MRI, chest"):
        choose_trainset(run([record(0), record(1, split="val")], modalities=("MRI",), organs=("chest",)))


def test_the_validation_split_is_held_out_and_the_test_split_unseen(run: Run) -> None:
    chosen = choose_trainset(run([record(i, split=s) for s in ("train", "val", "test") for i in range(5)]))
    assert {r.split for _, r in chosen.train} == {"train"}
    assert {r.split for _, r in chosen.held_out} == {"val"}


def test_without_a_validation_split_whole_patients_are_held_out(run: Run) -> None:
    records = [record(i, patient_id=f"p{i // 4}") for i in range(400)]
    chosen = choose_trainset(run(records, num_validation=10**6))
    train, held_out = ({r.patient_id for _, r in part} for part in (chosen.train, chosen.held_out))
    assert not train & held_out
    assert 4 <= len(held_out) <= 20
    assert len(chosen.train) + len(chosen.held_out) == 400
    more = choose_trainset(run([*records, *(record(i, patient_id=f"q{i}") for i in range(400, 500))]))
    assert {r.patient_id for _, r in more.train} & held_out == set()


def test_too_few_records_to_hold_some_out_is_an_error(run: Run) -> None:
    with pytest.raises(ValueError, match="too few records"):
        choose_trainset(run([record(0, patient_id="only one")]))


def test_a_run_validates_on_no_more_than_it_was_told_to(run: Run) -> None:
    records = [record(0), *(record(i, split="val") for i in range(50))]
    chosen = [choose_trainset(run(records, num_validation=7, seed=s)).held_out for s in (0, 0, 1)]
    assert len(chosen[0]) == 7
    assert chosen[0] == chosen[1] != chosen[2]


def test_synthetic_records_are_never_validated_on(run: Run) -> None:
    synthetic = [record(i, origin="synthetic", depth=1, split=s) for i in range(40) for s in ("train", "val")]
    reals = [record(i) for i in range(100)]
    chosen = choose_trainset(run([*reals, *synthetic]))
    assert {r.origin for _, r in chosen.held_out} == {"real"}
    assert sum(r.origin == "synthetic" for _, r in chosen.train) == 40


def test_a_sample_that_is_too_deep_is_refused(run: Run) -> None:
    reals = [record(0), record(1, split="val")]
    assert choose_trainset(run([*reals, record(2, origin="synthetic", depth=3)])).depth == 3
    with pytest.raises(ValueError, match=r"synthetic3\.png: generation depth 4 is over 3"):
        choose_trainset(run([*reals, record(3, origin="synthetic", depth=4)]))


def test_a_record_without_text_is_named(run: Run) -> None:
    with pytest.raises(ValueError, match=r"real2\.png: has no text to train on, as 2 records in all"):
        choose_trainset(run([record(0), record(1, split="val"), record(2, text=""), record(3, text="___")]))


@pytest.mark.parametrize("share", [0.49, 0.0, 1.01])
def test_a_real_share_under_the_floor_is_refused(run: Run, share: float) -> None:
    with pytest.raises(ValueError, match=r"--real-share is .* expected 0.5 to 1"):
        run([record(0)], real_share=share).check()


@given(real=st.integers(1, 200), phantom=st.integers(0, 50), synthetic=st.integers(1, 400), share=st.floats(0.5, 1))
def test_synthetic_records_never_have_more_than_their_share(
    real: int, phantom: int, synthetic: int, share: float
) -> None:
    origins = ["real"] * real + ["phantom"] * phantom + ["synthetic"] * synthetic
    weights = origin_weights([record(i, origin=o) for i, o in enumerate(origins)], share)
    made_up = np.array([o == "synthetic" for o in origins])
    if weights is None:  # every record once an epoch
        assert made_up.mean() <= 1 - share
        return
    assert np.isclose(weights.sum(), 1)
    assert weights[made_up].sum() <= 1 - share + 1e-9
    assert (weights >= 0).all()


def test_the_share_holds_in_what_is_drawn() -> None:
    records = [record(i, origin="real" if i < 20 else "synthetic") for i in range(200)]
    weights = origin_weights(records, 0.5)
    drawn = np.concatenate([batch_indices(0, s, 16, 200, weights) for s in range(500)])
    assert abs((drawn >= 20).mean() - 0.5) < 0.02


origins = st.sampled_from(["real", "phantom", "synthetic"])
own = st.none() | st.sampled_from([0, 0.0, 0.1, 1, 2.5, 1e6])


@given(
    members=st.lists(st.tuples(origins, own), min_size=2, max_size=60), share=st.floats(0.5, 1),
    balance=st.sampled_from(["none", "label"]),
)  # fmt: skip
def test_records_own_weights_never_push_the_real_share_under_its_floor(
    members: list[tuple[Any, float | None]], share: float, balance: Any
) -> None:
    records = [
        record(i, origin=o, label="ab"[i % 2], extra={} if w is None else {WEIGHT: w})
        for i, (o, w) in enumerate(members)
    ]
    config = FinetuneConfig(data=(Path("set"),), out=Path("run"), real_share=share, balance=balance)
    real = [o != "synthetic" for o, _ in members]
    drawable = [w != 0 for _, w in members]
    if not any(r and d for r, d in zip(real, drawable, strict=True)):
        with pytest.raises(ValueError, match=r"synthetic|sampling_weight"):
            sampling_weights([(Path("set"), r) for r in records], config)
        return
    weights = sampling_weights([(Path("set"), r) for r in records], config)
    if weights is None:  # every record once an epoch
        assert np.mean(real) >= share or all(real)
        return
    assert np.isclose(weights.sum(), 1)
    assert (weights >= 0).all()
    assert weights[np.array(real)].sum() >= share - 1e-9
    assert not weights[[w == 0 for _, w in members]].any()


def test_among_samples_their_own_weights_hold_and_equal_ones_change_nothing() -> None:
    def weigh(*own: float) -> Any:
        samples = [record(i, origin="synthetic", extra={WEIGHT: w}) for i, w in enumerate(own)]
        config = FinetuneConfig(data=(Path("set"),), out=Path("run"))
        return sampling_weights([(Path("set"), r) for r in [*(record(i) for i in range(6)), *samples]], config)

    found = weigh(1, 0.5, 0)
    assert found[6] == pytest.approx(2 * found[7])
    assert found[8] == 0
    assert found[0] == pytest.approx(found[6])
    assert weigh(1, 1, 1) is None


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "much", True])
def test_a_weight_that_is_none_is_refused_with_its_record(value: Any) -> None:
    members = [(Path("set"), record(i, extra={WEIGHT: value} if i else {})) for i in range(2)]
    with pytest.raises(ValueError, match=r"set/train/real1\.png: sampling_weight is .* expected 0 to 1,000,000"):
        sampling_weights(members, FinetuneConfig(data=(Path("set"),), out=Path("run")))


def test_the_data_digest_knows_weights() -> None:
    members = [(Path("set"), record(0)), (Path("set"), record(0, extra={WEIGHT: 0.5}))]
    assert len({data_digest([m]) for m in members}) == 2


def test_synthetic_records_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="all training records are synthetic"):
        origin_weights([record(0, origin="synthetic")], 0.5)


def test_wordings_are_chosen_in_their_shares(run: Run) -> None:
    config = run([record(0)], caption_dropout=0.2, caption_share=0.5)
    chances = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    chosen = [choose_wording(("caption", "report", "impression", "findings"), u, config) for u in chances]
    share = {w: chosen.count(w) / len(chosen) for w in set(chosen)}
    assert share[""] == pytest.approx(0.2, abs=0.01)
    assert share["caption"] == pytest.approx(0.8 * (0.5 + 0.5 / 4), abs=0.015)
    assert share["findings"] == pytest.approx(0.8 * 0.5 / 4, abs=0.01)


@given(count=st.integers(1, 1000))
def test_the_largest_uniform_number_still_chooses_a_wording(count: int) -> None:
    config = FinetuneConfig(data=(Path("a"),), out=Path("b"), caption_dropout=0.0, caption_share=0.0)
    largest = torch.full((4,), 1 - 2.0**-24)
    assert choose_wording([str(i) for i in range(count)], largest, config) == str(count - 1)


def test_the_data_digest_changes_with_image_text_caption_modality_and_order() -> None:
    members = [(Path("set"), record(i)) for i in range(2)]
    changes = [{"sha256": "f" * 64}, {"text": "other"}, {"caption": "c"}, {"modality": "MRI"}]
    variants = [[(members[0][0], dataclasses.replace(members[0][1], **c)), members[1]] for c in changes]  # type: ignore[arg-type]
    digests = [data_digest(m) for m in (members, members[::-1], *variants)]
    assert len(set(digests)) == len(digests)
    assert data_digest([(Path("moved"), r) for _, r in members]) == digests[0]


def test_many_records_without_a_validation_split_are_chosen_quickly(run: Run) -> None:
    config = run([record(i, patient_id=f"p{i}") for i in range(20_000)])
    chosen = choose_trainset(config)
    assert len(chosen.train) > 17_000
