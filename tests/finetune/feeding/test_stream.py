"""Order and chance are pure functions of seed, step and slot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vesalius.data.record import Record
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices, slot_generator, slot_seed

SEEDS = st.integers(0, 2**31)


@given(seed=SEEDS, batch=st.integers(1, 9), records=st.integers(1, 40), epochs=st.integers(1, 3))
def test_every_record_comes_once_per_epoch(seed: int, batch: int, records: int, epochs: int) -> None:
    steps = -(-epochs * records // batch)
    drawn = np.concatenate([batch_indices(seed, s, batch, records) for s in range(steps)])
    for epoch in range(epochs):
        assert sorted(drawn[epoch * records : (epoch + 1) * records]) == list(range(records))


@given(seed=SEEDS, step=st.integers(0, 10**6), batch=st.integers(1, 16), records=st.integers(1, 50))
def test_a_step_is_the_same_however_the_run_came_to_it(seed: int, step: int, batch: int, records: int) -> None:
    first = batch_indices(seed, step, batch, records)
    batch_indices(seed + 1, 3, batch, records + 1)
    assert np.array_equal(first, batch_indices(seed, step, batch, records))


@given(seed=SEEDS, step=st.integers(0, 1000), half=st.integers(1, 8), records=st.integers(1, 30))
def test_two_half_batches_are_one_whole_batch(seed: int, step: int, half: int, records: int) -> None:
    halves = [batch_indices(seed, 2 * step + i, half, records) for i in range(2)]
    assert np.array_equal(np.concatenate(halves), batch_indices(seed, step, 2 * half, records))


def test_epochs_differ_in_their_order() -> None:
    epochs = [batch_indices(0, epoch, 50, 50).tolist() for epoch in range(3)]
    assert len({tuple(e) for e in epochs}) == 3


def test_weights_give_shares() -> None:
    weights = np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    drawn = np.concatenate([batch_indices(3, s, 100, 5, weights) for s in range(200)])
    assert np.abs(np.bincount(drawn, minlength=5) / len(drawn) - weights).max() < 0.01
    assert not np.isin(drawn, [1, 4]).any()


@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=20).filter(lambda w: sum(w) > 0), step=st.integers(0, 99)
)
@example(weights=[5e-324], step=0)
def test_a_record_of_no_weight_is_never_drawn(weights: list[float], step: int) -> None:
    drawn = batch_indices(0, step, 32, len(weights), np.array(weights))
    assert all(weights[i] > 0 for i in drawn)


def test_slot_seeds_are_distinct() -> None:
    seeds = {slot_seed(run, step, slot) for run in range(4) for step in range(100) for slot in range(64)}
    assert len(seeds) == 4 * 100 * 64


@given(seed=SEEDS, step=st.integers(0, 10**6), slot=st.integers(0, 4096))
@settings(max_examples=20)
def test_a_slot_draws_the_same_numbers_again(seed: int, step: int, slot: int) -> None:
    draws = [torch.randn(8, generator=slot_generator(seed, step, slot)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.randn(8, generator=slot_generator(seed, step, slot + 1)))


def record(origin: str, organ: str) -> Record:
    return Record(file_name="a.png", text="a", modality="CT", origin=origin, organ=organ)  # type: ignore[arg-type]


def test_origins_get_their_shares_and_groups_the_root_of_their_size() -> None:
    records = [record("real", "chest")] * 90 + [record("real", "brain")] * 10 + [record("phantom", "chest")] * 400
    weights = balanced_weights(records, {"real": 0.35, "phantom": 0.65})
    assert np.isclose(weights.sum(), 1)
    assert np.isclose(weights[:100].sum(), 0.35)
    assert np.isclose(weights[:90].sum() / weights[90:100].sum(), 3)  # sqrt(90 / 10)


def test_the_share_of_an_absent_origin_goes_to_the_others() -> None:
    weights = balanced_weights([record("phantom", "chest")] * 4, {"real": 0.35, "phantom": 0.65})
    assert np.allclose(weights, 0.25)


def test_phantoms_of_a_modality_drawn_twice_as_often_leave_the_real_share_as_it_is() -> None:
    records = [record("real", "brain")] * 10 + [record("phantom", "chest")] * 20 + [record("phantom", "brain")] * 20
    records = [replace(r, modality="MRI") if r.organ == "brain" else r for r in records]
    weights = balanced_weights(records, {"real": 0.5, "phantom": 0.5}, weigh=("MRI=2",))
    assert np.isclose(weights[:10].sum(), 0.5)
    assert np.isclose(weights[30:].sum() / weights[10:30].sum(), 2)


def test_real_records_of_a_label_drawn_twice_as_often_leave_the_phantoms_share_as_it_is() -> None:
    records = [replace(record("real", "brain"), label=name) for name in ("glioma", "meningioma")] * 10
    records += [replace(record("phantom", "brain"), label="glioma")] * 20
    weights = balanced_weights(records, {"real": 0.5, "phantom": 0.5}, weigh=("glioma=2",))
    assert np.isclose(weights[20:].sum(), 0.5)
    assert np.isclose(weights[:20:2].sum() / weights[1:20:2].sum(), 2)
