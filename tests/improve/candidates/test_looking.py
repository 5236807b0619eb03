from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.improve.asking.plan import Ask, RoundPlan
from vesalius.improve.candidates import candidates, looking
from vesalius.improve.candidates.candidates import judge_candidates
from vesalius.improve.candidates.looking import LookJob, look
from vesalius.improve.config import ImproveConfig
from vesalius.improve.loop import improve
from vesalius.improve.material import read_material
from vesalius.improve.proof.plants import read_picture, told_of, write_picture
from vesalius.inference.sample import sample_lines

NUM = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("looking") / "data"
    return write_phantoms(PhantomConfig(num=120, seed=23, size=64, out=out, val=0.5, test=0.25, json=True))


def test_what_several_processes_look_at_is_judged_afterwards_without_a_picture(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (candidates, looking):
        monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(candidates, "can_search", lambda: False)
    material, folder = read_material([data]), tmp_path / "round" / "samples"
    samples = [
        write_picture(folder, f"{i:05d}", read_picture(member), told_of(member[1]))
        for i, member in enumerate(material.decide[:NUM])
    ]
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    config = ImproveConfig(data=(data,), out=tmp_path / "loop", num=NUM, workers=2, json=True)
    plan = RoundPlan(
        asks=[Ask(text=s.text, modality=s.modality, findings=s.findings, stratum="all") for s in samples], quotas={}
    )
    alone = judge_candidates(dataclasses.replace(config, out=tmp_path / "alone"), folder, plan, material)

    job = LookJob(spread=config, samples=folder, num=NUM, folder=os.getcwd())
    job.work.folder.mkdir()
    for rank in (1, 0):
        worker = job.worker()
        for shard in range(rank, job.total, 2):
            assert worker.take(shard)
    assert (job.total, job.work.count(), job.work.undone()) == (3, 3, [])
    kept = {p.name for p in (config.out / "features").iterdir()}
    monkeypatch.setattr("vesalius.eval.features.read_square", lambda *_: pytest.fail("a picture was read"))
    look(config, folder, NUM)  # nothing is left to be looked at
    assert judge_candidates(config, folder, plan, material).candidates == alone.candidates
    assert {p.name for p in (config.out / "features").iterdir()} == kept


def test_one_process_leaves_no_marks(data: Path, tmp_path: Path) -> None:
    look(ImproveConfig(data=(data,), out=tmp_path / "loop"), tmp_path / "round" / "samples", NUM)
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_a_launcher_started_several_times_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"started 4 times; start it once.*--workers"):
        improve(ImproveConfig(data=(data,), out=tmp_path / "loop"))
    assert not (tmp_path / "loop").exists()
