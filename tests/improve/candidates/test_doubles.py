from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vesalius.improve.candidates.doubles import Double, distinct, read_seen, write_seen


def plain(
    embeddings: NDArray[np.float32], prompts: list[int], limit: float, pool: NDArray[np.float32]
) -> list[Double | bool]:
    """The loop that `distinct` must equal, pair by pair."""
    rows = np.concatenate([pool, embeddings]).astype(np.float64)
    accepted, answered, found = list(range(len(pool))), set[int](), list[Double | bool]()
    for place, prompt in enumerate(prompts, start=len(pool)):
        apart = [float(np.sqrt(np.square(rows[place] - rows[k]).sum())) for k in accepted]
        near = next(((k, d) for k, d in zip(accepted, apart, strict=True) if d * d < limit * limit), None)
        if prompt in answered:
            found.append(False)
        elif near is not None:
            found.append(Double(of=near[0] - len(pool) if near[0] >= len(pool) else None, distance=near[1]))
        else:
            accepted.append(place)
            answered.add(prompt)
            found.append(True)
    return found


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), num=st.integers(0, 60), pool=st.integers(0, 20), block=st.integers(1, 64),
    limit=st.sampled_from([0.0, 0.05, 0.4, 1.0, 2.0]), per_prompt=st.integers(1, 4), grid=st.booleans(),
)  # fmt: skip
def test_blocks_give_what_a_plain_loop_gives(
    seed: int, num: int, pool: int, block: int, limit: float, per_prompt: int, grid: bool
) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(pool + num, 3))
    made = drawn.round(1) if grid else drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    rows: NDArray[np.float32] = np.asarray(made, dtype=np.float32)
    prompts = sorted(int(p) for p in rng.integers(0, max(1, num // per_prompt), num))
    found = distinct(rows[pool:], prompts, limit=limit, pool=rows[:pool], block=block)
    expected = plain(rows[pool:], prompts, limit, rows[:pool])
    assert found == expected


def test_none_that_is_accepted_lies_near_another_and_each_double_does() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 4)).astype(np.float32)
    found = distinct(rows, range(400), limit=0.8)
    kept = rows[[f is True for f in found]].astype(np.float64)
    apart = np.linalg.norm(kept[:, None] - kept[None], axis=-1) + 9 * np.eye(len(kept))
    assert apart.min() >= 0.8
    doubles = [f for f in found if isinstance(f, Double)]
    assert doubles
    assert all(d.of is not None and d.distance < 0.8 for d in doubles)


def test_a_collapsed_batch_costs_no_more_than_a_varied_one() -> None:
    rows = np.random.default_rng(0).normal(size=(1, 64)).repeat(20_000, 0).astype(np.float32)
    start = time.monotonic()
    found = distinct(rows, range(len(rows)), limit=0.1)
    assert found.count(True) == 1
    assert time.monotonic() - start < 30


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [0, 5000])
def test_a_hundred_thousand_candidates_are_compared_in_minutes(clusters: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(clusters or 100_000, 96)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if clusters:
        rows = rows[rng.integers(0, clusters, 100_000)] + 0.01 * rng.normal(size=(100_000, 96)).astype(np.float32)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = distinct(rows, [i // 2 for i in range(100_000)], limit=0.13 if clusters else 0.1)
    assert 1000 < found.count(True) <= 50_000
    # Measured: 50 to 60 seconds of one core, 150 MiB, where half of them is kept in one modality
    assert time.process_time() - start < 400
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 1000


def test_what_rounds_accepted_is_read_back(tmp_path: Path) -> None:
    folders = [tmp_path / "round-01", tmp_path / "round-02", tmp_path / "round-03"]
    for folder in folders:
        folder.mkdir()
    rows = torch.randn(5, 4)
    write_seen(folders[0], {"CT": rows[:2], "MRI": rows[2:3]})
    write_seen(folders[2], {"CT": rows[3:]})
    seen = read_seen(folders)
    assert torch.equal(seen["CT"], torch.cat([rows[:2], rows[3:]]))
    assert torch.equal(seen["MRI"], rows[2:3])
    assert read_seen([tmp_path]) == {}
    write_seen(folders[1], {})
    assert read_seen(folders[1:2]) == {}
