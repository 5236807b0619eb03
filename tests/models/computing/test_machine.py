"""What a machine says of its memory, and a container of its share."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from vesalius.models.computing import machine
from vesalius.models.computing.machine import free_memory, held_memory, machine_memory, out_of_memory, return_memory


def test_a_process_holds_less_than_it_ever_did_and_the_machine_has_more() -> None:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0.5 * most < held_memory() < 1.1 * most  # the system counts in steps
    assert held_memory() < free_memory() <= machine_memory() + held_memory()


def test_what_was_freed_goes_back() -> None:
    return_memory()  # what other tests freed would be used again, and nothing would grow
    before = held_memory()
    pieces = [np.ones(1 << 16) for _ in range(400)]  # 0.5 MB each, which glibc would keep
    assert held_memory() > before + 150_000_000
    del pieces
    return_memory()
    assert held_memory() < before + 50_000_000


@pytest.mark.parametrize("limit", ["1000000", "max"])
def test_a_container_has_its_limit(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = machine_memory()
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    assert machine_memory() == (usual if limit == "max" else 1_000_000)
    if limit != "max":
        assert abs(free_memory() - held_memory() - 600_000) < 10_000_000


@pytest.mark.parametrize(
    ("error", "told"),
    [(MemoryError(), True), (RuntimeError("CUDA out of memory"), True), (ValueError("out of memory"), False),
     (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True), (RuntimeError("shapes"), False)],
)  # fmt: skip
def test_errors_that_say_that_memory_ran_out(error: Exception, told: bool) -> None:
    assert out_of_memory(error) is told
