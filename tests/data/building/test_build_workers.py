"""A build on many workers: the same folder for any number of them, also after it was killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import BuildSummary, build_dataset
from vesalius.data.check.run import CheckConfig, check_dataset

COMMAND = """
import sys
from pathlib import Path
from vesalius.data.building.run import build_dataset
from vesalius.data.building.config import BuildConfig
build_dataset(BuildConfig(sources=(Path(sys.argv[1]),), out=Path(sys.argv[2]), json=True, workers=int(sys.argv[3])))
"""


def source(folder: Path, count: int) -> Path:
    """An image folder of `count` patients with two images each."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(count * 2):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "text": f"Case {i}.", "modality": "CT", "patient_id": f"p{i // 2}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def run(folder: Path, out: Path, workers: int, keep_going: bool = False) -> BuildSummary:
    return build_dataset(BuildConfig(sources=(folder,), out=out, workers=workers, keep_going=keep_going, json=True))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def num_lines(journal: Path) -> int:
    try:
        return journal.read_bytes().count(b'"key"')
    except FileNotFoundError:
        return 0


def test_the_folder_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 40)
    (folder / "7.png").write_bytes(b"no image")
    trees = []
    for workers in (1, 2, 3):
        summary = run(folder, out=tmp_path / str(workers) / "out", workers=workers, keep_going=True)
        assert summary.num_quarantined == len(summary.quarantined) == 1
        trees.append(tree(tmp_path / str(workers) / "out"))
    assert trees[0] == trees[1] == trees[2]


def test_the_first_bad_image_in_order_stops_the_build_whatever_the_workers(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 20)
    for number in (21, 9, 33):
        (folder / f"{number}.png").write_bytes(b"no image")
    for workers in (1, 3):
        with pytest.raises(ValueError, match=r"metadata\.jsonl:10: .*9\.png: not an image"):
            run(folder, out=tmp_path / str(workers), workers=workers)


@pytest.mark.parametrize(("workers", "patients"), [(1, 60), (2, 150)])
def test_killed_build_goes_on_to_the_same_folder(tmp_path: Path, workers: int, patients: int) -> None:
    folder = source(tmp_path / "a", patients)
    rng, kills = random.Random(1), 0
    for _ in range(3):
        job = subprocess.Popen([sys.executable, "-c", COMMAND, str(folder), str(tmp_path / "out"), str(workers)])
        journal, seen = (
            tmp_path / "out" / ".build" / "journal.jsonl",
            patients // 15 + patients * kills // 2 + rng.randrange(patients // 3),
        )
        until = time.monotonic() + 60
        while job.poll() is None and time.monotonic() < until:
            if num_lines(journal) >= seen:
                job.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        job.wait()
    assert kills
    assert (
        not (tmp_path / "out" / "manifest.json").exists()
        or check_dataset(CheckConfig(folder=tmp_path / "out", json=True)).ok
    )
    summary = run(folder, out=tmp_path / "out", workers=workers)
    assert summary.num_reused or summary.unchanged
    run(folder, out=tmp_path / "fresh" / "out", workers=1)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh" / "out")
    assert check_dataset(CheckConfig(folder=tmp_path / "out", json=True, dry_run=True)).ok
