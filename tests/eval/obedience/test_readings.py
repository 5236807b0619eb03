"""Rows of numbers in place of pictures: what they hold, that each picture is read once, and in how much memory."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
import torch

from vesalius.data.images.image import Uint8
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval import features
from vesalius.eval.config import EvalConfig
from vesalius.eval.context import open_context, open_folders
from vesalius.eval.features import features_of, open_images
from vesalius.eval.gates.scores import Case, JudgeReading, case_of_record, read_images
from vesalius.eval.obedience.readings import ReaderReading, WitnessReading
from vesalius.eval.pixels import part as pixels_part
from vesalius.eval.privacy.copies import Original, Suspect
from vesalius.eval.run import PARTS, evaluate
from vesalius.inference.sample import Sample, sample_lines
from vesalius.models.detectors.detector import JudgeDetector, Window
from vesalius.models.detectors.source import FunctionDetector
from vesalius.models.networks.judge import Judge
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """90 phantoms at 128 pixels, as networks see them, half of them for training."""
    folder = tmp_path_factory.mktemp("readings") / "drawn"
    write_phantoms(PhantomConfig(num=90, seed=7, val=0, test=0.5, out=folder, json=True))
    return folder, [case_of_record(folder, r) for r in load_records(folder)]


@pytest.fixture(scope="module")
def samples(drawn: tuple[Path, list[Case]]) -> Path:
    """A samples folder of 24 other phantoms."""
    folder, root = drawn[0].parent / "others", drawn[0].parent / "samples"
    write_phantoms(PhantomConfig(num=24, seed=99, size=32, val=0, test=0, hounsfield=False, out=folder, json=True))
    (root / "images").mkdir(parents=True)
    rows = []
    for i, record in enumerate(load_records(folder)):
        content, name = (folder / record.file_name).read_bytes(), f"images/{i:05}.png"
        (root / name).write_bytes(content)
        rows.append(
            Sample(
                file_name=name, text=record.caption or record.text, modality=record.modality, seed=i, steps=1,
                guidance=1.0, findings=record.findings, sha256=hashlib.sha256(content).hexdigest(),
            )
        )  # fmt: skip
    (root / "metadata.jsonl").write_bytes(sample_lines(rows))
    return root


def test_rows_hold_what_the_networks_say(drawn: tuple[Path, list[Case]]) -> None:
    cases = [c for m in ("CT", "MRI", "pathology") for c in drawn[1] if c.modality == m][::5]
    images = read_images(cases, 128, "", quiet=True)
    reader, witness = Reader.load(), Witness.load()
    reading = ReaderReading(reader, ("CT", "MRI"))
    found = reading.split(reading.of_cases(images, cases), cases)
    readings = reader.read(images, [c.modality for c in cases])
    assert any(r.findings for r in readings)
    for case, ours, theirs in zip(cases, found, readings, strict=True):
        assert ours == (None if case.modality == "pathology" else theirs.findings)
    embedded, said = WitnessReading(witness).split(WitnessReading(witness)(images))
    assert torch.allclose(embedded, witness.embed(images), atol=1e-5)
    assert set(said) == set(witness.config.heads)
    assert torch.allclose(said["findings/CT"], witness.classify(images, "findings/CT")[0], atol=1e-5)


def test_rows_in_bfloat16_are_near_and_kept_apart(drawn: tuple[Path, list[Case]], tmp_path: Path) -> None:
    images, reading = open_images("pictures", drawn[1][:24], quiet=True), JudgeReading(Judge.load())
    (exact,), (half,) = (features_of([reading], images, tmp_path, half=h, quiet=True) for h in (False, True))
    assert len(list(tmp_path.iterdir())) == 2
    one, other = reading.split(exact)[1], reading.split(half)[1]
    assert 0 < (one - other).norm(dim=1).max() < 0.05 * torch.cdist(one, one)[0, 1:].median()
    few = open_images("pictures", drawn[1][5:8], quiet=True)
    (again,) = features_of([reading], few, None, half=True, quiet=True)
    assert torch.allclose(again, half[5:8], atol=1e-5)  # a copy is a copy, whatever is beside it
    views = Original()
    (exact,), (half,) = (features_of([views], images, None, half=h, quiet=True) for h in (False, True))
    assert torch.equal(exact, half)


def test_threads_that_take_pictures_apart_make_the_same_rows(drawn: tuple[Path, list[Case]]) -> None:
    images, reading = open_images("pictures", drawn[1], quiet=True), JudgeReading(Judge.load())
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(features_of([reading], images, None, quiet=True)[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_a_users_function_is_asked_by_one_thread_alone(drawn: tuple[Path, list[Case]]) -> None:
    asked = set()

    def brightness(images: torch.Tensor) -> torch.Tensor:
        asked.add(threading.get_ident())
        return images.float().mean((2, 3))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        images = open_images("pictures", drawn[1], quiet=True)
        features_of([FunctionDetector(brightness)], images, None, quiet=True)
    finally:
        torch.set_num_threads(before)
    assert asked == {threading.get_ident()}


def test_each_picture_is_read_once_for_all_parts_that_take_one_size(
    drawn: tuple[Path, list[Case]], samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[tuple[str, str, int, Window]] = Counter()
    read = features.read_square

    def counting(case: Case, size: int, window: Window) -> Uint8:
        seen[case.path.parts[-4 if "drawn" in case.path.parts else -3], case.path.name, size, window] += 1
        return read(case, size, window)

    monkeypatch.setattr(features, "read_square", counting)
    evaluate(EvalConfig(samples=samples, real=drawn[0], out=tmp_path / "report", cache=tmp_path / "kept", json=True))
    model = {key: count for key, count in seen.items() if key[3] == "model"}
    for size in {size for *_, size, _ in model}:
        assert sum(key[2] == size for key in model) == 90 + 24, size
    assert set(model.values()) == {1}


def test_training_images_beside_real_ones_are_rows_of_all_of_them(
    drawn: tuple[Path, list[Case]], samples: Path, tmp_path: Path
) -> None:
    config = EvalConfig(samples=samples, real=drawn[0], out=tmp_path / "report", cache=tmp_path / "kept", json=True)
    found = []
    for parts in (("fidelity",), ("fidelity", "privacy")):
        each = dataclasses.replace(config, parts=parts)
        context = open_context(each, open_folders(each, PARTS, needs_train=True))
        rows = context.features("beside", JudgeDetector(context.judge))
        assert len(rows) == len(context.beside.cases) > 20
        found.append((rows, context.beside.cases, context.beside.families))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert found[0][1:] == found[1][1:]


def test_no_part_holds_the_pictures_of_a_set(drawn: tuple[Path, list[Case]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "TOGETHER", 32)
    peaks = []
    for times in (2, 8):
        images = open_images("pictures", drawn[1] * times, quiet=True)
        tracemalloc.start()
        pixels_part.describe(images, sorted(set(images.families)), ["CT"], quiet=True)
        features_of([Suspect()], images, None, quiet=True)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    held = 90 * 6 * 3 * 128**2 / 2**20  # MB that so many more pictures are
    assert peaks[1] - peaks[0] < 0.3 * held  # a few kilobytes of numbers each
