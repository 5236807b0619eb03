"""Worker processes: the same results in the same order for any number of them, and a crash costs one item."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from vesalius.data.command.workers import Crashed, Workers, batches, num_workers


def called(workers: Workers, items: list[int], function: object = abs) -> list[object]:
    """As a build calls: from a thread, with two workers."""
    return [r for _, each in workers.in_order(batches(items, 3), lambda b: workers.call(function, b)) for r in each]  # type: ignore[arg-type]


def test_a_worker_that_dies_costs_one_item_and_is_replaced() -> None:
    with Workers(2) as workers:
        outcomes = called(workers, [0, 7, 1], os._exit)  # a process ends by the item, so the batch is tried one by one
        assert [type(o) for o in outcomes] == [Crashed] * 3
        assert [str(o) for o in outcomes] == ["exit code 0", "exit code 7", "exit code 1"]
        assert called(workers, [-4]) == [4]
    assert all(process.poll() is not None for process in workers._all)


def test_what_one_item_raises_is_its_own_outcome() -> None:
    for count in (1, 2):
        with Workers(count) as workers:
            first, second = called(workers, [-1, "x"])  # type: ignore[list-item]
            assert first == 1
            assert isinstance(second, TypeError)


def test_results_come_in_order_and_few_are_begun_ahead() -> None:
    begun: list[int] = []

    def tasks() -> Iterator[int]:
        for i in range(100):
            begun.append(i)
            yield i

    def slow(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return -i

    with Workers(3) as workers:
        for i, (task, result) in enumerate(workers.in_order(tasks(), slow)):
            assert (task, result) == (i, -i)
            assert len(begun) <= i + 13


def test_few_items_start_no_worker() -> None:
    assert num_workers(0, 10) == 1
    assert num_workers(5, 10) == 5
    with Workers(0) as workers:
        list(workers.in_order([[-1]], lambda b: workers.call(abs, b), num_items=10))
        assert not workers._all


@pytest.mark.parametrize("used", [True, False])
def test_workers_begun_ahead_are_used_and_end(used: bool) -> None:
    with Workers(2) as workers:
        workers.begin(1, "image")
        begun = list(workers._all)
        if used:
            assert called(workers, [-1, -2]) == [1, 2]
            assert workers._all == begun
    assert len(begun) == 2
    assert all(process.poll() is not None for process in begun)


def test_one_worker_is_this_process() -> None:
    with Workers(1) as workers:
        workers.begin(1000, "image")
        assert called(workers, [-1] * 10) == [1] * 10
        assert not workers._all
