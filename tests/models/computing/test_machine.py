"""What a machine says of its memory, and a container of its share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from vesalius.models.computing import machine
from vesalius.models.computing.machine import free_memory, held_memory, machine_memory, out_of_memory


def test_a_process_holds_what_another_library_counts_and_the_machine_has_more() -> None:
    assert held_memory() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert held_memory() < free_memory() <= machine_memory() + held_memory()


def test_what_was_freed_goes_back() -> None:
    """In a process of its own: threads and caches that other tests left take and free memory at any time."""
    code = """
        import numpy as np
        from vesalius.models.computing.machine import held_memory, return_memory

        np.ones(1 << 21)  # once 16 MB are freed, glibc takes smaller blocks from its heap
        before = held_memory()
        pieces = [np.ones(1 << 16) for _ in range(400)]  # 0.5 MB each
        del pieces[:-1]  # one above them in the heap, so that glibc keeps theirs
        assert held_memory() > before + 150_000_000
        return_memory()
        assert held_memory() < before + 20_000_000
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
