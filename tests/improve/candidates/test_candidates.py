from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.finetune.feeding.trainset import MAX_DEPTH
from vesalius.improve.asking.plan import Ask, RoundPlan
from vesalius.improve.candidates import candidates
from vesalius.improve.candidates.candidates import Judged, judge_candidates
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import Material, read_material
from vesalius.improve.proof.plants import read_picture, told_of, write_picture
from vesalius.inference.sample import Sample, sample_lines

NUM = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("candidates") / "data"
    return write_phantoms(PhantomConfig(num=120, seed=21, out=out, val=0.5, test=0.2, hounsfield=True, json=True))


@pytest.fixture(scope="module")
def material(data: Path) -> Material:
    return read_material([data])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loop's folder that all tests here share, so that its training images are looked at once."""
    return tmp_path_factory.mktemp("candidates") / "loop"


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where tesseract is not installed, which is slow."""
    monkeypatch.setattr(candidates, "can_search", lambda: False)


def draw(folder: Path, material: Material) -> list[Sample]:
    """Samples that are held-out phantoms under their own captions."""
    return [
        write_picture(folder, f"{i:05d}", read_picture(member), told_of(member[1]))
        for i, member in enumerate(material.decide[:NUM])
    ]


def judge(folder: Path, samples: list[Sample], material: Material, out: Path, **changes: object) -> Judged:
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    asks = [Ask(text=s.text, modality=s.modality, findings=s.findings, stratum=s.modality) for s in samples]
    veto = changes.pop("veto", ())
    config = dataclasses.replace(ImproveConfig(data=(out,), out=out, num=len(samples), json=True), **changes)
    return judge_candidates(config, folder, RoundPlan(asks=asks, quotas={}), material, veto=veto)  # type: ignore[arg-type]


def test_honest_pictures_mostly_pass_with_all_scores_and_embeddings(
    material: Material, cache: Path, tmp_path: Path
) -> None:
    judged = judge(tmp_path, draw(tmp_path, material), material, cache)
    assert sum(c.reason is None for c in judged.candidates) >= NUM / 3, [c.reason for c in judged.candidates]
    for each in judged.candidates:
        assert {"contrast", "modality", "agreement", "nearest_train", "nearest_pixels"} <= set(each.scores)
        assert "text" in each.abstained
        assert ("hu_low" in each.scores) == (each.sample.modality == "CT")
    assert judged.embeddings.norm(dim=1) == pytest.approx(torch.ones(NUM), abs=1e-3)


def test_what_does_not_open_or_is_not_as_drawn_is_refused_by_name_and_stops_nothing(
    material: Material, cache: Path, tmp_path: Path
) -> None:
    samples = draw(tmp_path, material)
    grey = next(i for i, s in enumerate(samples) if s.modality == "MRI")
    files = [tmp_path / (s.raw16 or s.file_name) for s in samples]

    def becomes(place: int, content: bytes) -> None:
        files[place].write_bytes(content)
        name = "raw16_sha256" if samples[place].raw16 else "sha256"
        samples[place] = dataclasses.replace(samples[place], **{name: hashlib.sha256(content).hexdigest()})

    words = {}
    free = [i for i in range(NUM) if i != grey]
    becomes(free[0], files[free[0]].read_bytes()[:300])
    words[free[0]] = "corrupt or truncated"
    becomes(free[1], b"no image")
    words[free[1]] = "not an image"
    files[free[2]].unlink()
    words[free[2]] = "no such image file"
    samples[free[3]] = dataclasses.replace(samples[free[3]], height=64, width=64)
    words[free[3]] = "128 x 128 pixels, and was drawn at 64 x 64"
    files[free[4]].write_bytes(files[free[5]].read_bytes())
    words[free[4]] = "changed since it was drawn"
    Image.open(files[grey]).convert("RGBA").save(files[grey])
    becomes(grey, files[grey].read_bytes())
    words[grey] = "mode RGBA"
    judged = judge(tmp_path, samples, material, cache)
    for place, told in words.items():
        reason = judged.candidates[place].reason
        assert reason is not None
        assert reason.startswith("readable: ")
        assert told in reason
        assert str(tmp_path) not in reason
        assert not judged.embeddings[place].any()
    assert all(c.scores for i, c in enumerate(judged.candidates) if i not in words)
    let = judge(tmp_path, samples, material, cache, without=("gates",))
    assert {i for i, c in enumerate(let.candidates) if c.reason is not None} == set(words)


def test_a_folder_of_which_nothing_opens_is_refused_picture_by_picture(
    material: Material, cache: Path, tmp_path: Path
) -> None:
    samples = draw(tmp_path, material)[:2]
    for sample in samples:
        (tmp_path / (sample.raw16 or sample.file_name)).write_bytes(b"")
    judged = judge(tmp_path, samples, material, cache)
    assert [str(c.reason).split(":")[0] for c in judged.candidates] == ["readable", "readable"]


def test_without_gates_all_that_opens_passes_and_keeps_its_scores(
    material: Material, cache: Path, tmp_path: Path
) -> None:
    samples = draw(tmp_path, material)
    others = {"CT": "MRI", "MRI": "pathology", "pathology": "CT"}
    samples = [dataclasses.replace(s, modality=others[s.modality]) for s in samples]
    assert all(c.reason is not None for c in judge(tmp_path, samples, material, cache).candidates)
    let = judge(tmp_path, samples, material, cache, without=("gates",)).candidates
    assert all(c.reason is None and c.scores["modality"] < 0.5 for c in let)


def test_a_veto_and_the_depth_hold_without_gates_too(material: Material, cache: Path, tmp_path: Path) -> None:
    samples = draw(tmp_path, material)
    samples[1] = dataclasses.replace(samples[1], depth=MAX_DEPTH + 1)
    judged = judge(tmp_path, samples, material, cache, without=("gates",), veto={samples[0].sha256})
    assert judged.candidates[0].reason == "veto: a person refused it"
    assert str(judged.candidates[1].reason).startswith("depth: ")
    assert [c.reason for c in judged.candidates[2:]] == [None] * (NUM - 2)


def test_verdicts_do_not_depend_on_chunks_and_a_second_run_reads_what_the_first_kept(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "loop"
    samples = draw(tmp_path, material)
    first = judge(tmp_path, samples, material, out)
    kept = {p: p.stat().st_mtime_ns for p in (out / "features").iterdir()}
    again = judge(tmp_path, samples, material, out)
    assert {p: p.stat().st_mtime_ns for p in (out / "features").iterdir()} == kept
    assert again.candidates == first.candidates
    monkeypatch.setattr(candidates, "CHUNK", 5)
    chunked = judge(tmp_path, samples, material, out)
    assert [c.reason for c in chunked.candidates] == [c.reason for c in first.candidates]
    for one, other in zip(chunked.candidates, first.candidates, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
