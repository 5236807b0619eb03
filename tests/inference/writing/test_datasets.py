"""Samples as datasets: folders and shards that open, train, and survive a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.inference.writing import killed_sinks
from tests.inference.writing.killed_sinks import PROMPTS
from vesalius.data.datasets.streamed import dataset_records, place_of
from vesalius.data.record import load_records
from vesalius.finetune.feeding.examples import gather, load_images
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import load_samples

SHARDED = ("parquet", "webdataset")
KILLED = ("dicom", "imagefolder", *SHARDED)
sharded = pytest.mark.parametrize("sink", SHARDED)
sinks = pytest.mark.parametrize("sink", ["imagefolder", *SHARDED])


def config(base: Path, out: Path, sink: str, **changes: object) -> GenerateConfig:
    return dataclasses.replace(killed_sinks.config(base, out, sink), **{"num": 3, **changes})  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, str]:
    """Digest of every file by its name."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and ".generate" not in p.parts
    }


@sinks
def test_a_dataset_of_samples_is_read_like_any_other(windowed_base: Path, tmp_path: Path, sink: str) -> None:
    samples = draw_samples(config(windowed_base, tmp_path / "s", sink))
    records = list(dataset_records(tmp_path / "s"))
    assert [r.text for r in records] == [p for p in PROMPTS for _ in range(3)]
    assert {(r.origin, r.depth, r.split) for r in records} == {("synthetic", 1, "train")}
    assert {r.modality: r.hounsfield for r in records} == {"CT": True, "MRI": False, "pathology": False}
    for sample, record in zip(samples, records, strict=True):
        content = place_of(tmp_path / "s", record.file_name).open().read() if sink != "imagefolder" else (
            tmp_path / "s" / record.file_name
        ).read_bytes()  # fmt: skip
        assert hashlib.sha256(content).hexdigest() == sample.sha256 == record.sha256
        texts = Image.open(io.BytesIO(content)).text
        assert json.loads(texts["vesalius"]) == sample.recipe()
        assert texts["Comment"] == "Synthetic: not for diagnosis"
        told = ("seed", "steps", "guidance", "base", "base_digest", "scheduler", "synthetic")
        assert {k: record.extra[k] for k in told} == {k: getattr(sample, k) for k in told}
    with pytest.raises(ValueError, match="--sink png"):
        load_samples(tmp_path / "s")


@sinks
def test_datasets_opens_it_and_finetune_takes_it(windowed_base: Path, tmp_path: Path, sink: str) -> None:
    import datasets

    draw_samples(config(windowed_base, tmp_path / "s", sink))
    places = {"data_dir": str(tmp_path / "s"), "cache_dir": str(tmp_path / "cache")}
    if sink == "imagefolder":
        opened = datasets.load_dataset("imagefolder", **places)["train"]
        assert list(opened["text"]) == [p for p in PROMPTS for _ in range(3)]
    elif sink == "parquet":
        rows = list(datasets.load_dataset(str(tmp_path / "s"), split="train", streaming=True))
        assert [row["text"] for row in rows] == [p for p in PROMPTS for _ in range(3)]
    assert load_images(gather([tmp_path / "s"], "train"), 32, quiet=True).shape == (9, 3, 32, 32)


@sharded
def test_shards_have_the_size_that_was_asked_for_and_nothing_else_is_left(
    windowed_base: Path, tmp_path: Path, sink: str
) -> None:
    draw_samples(config(windowed_base, tmp_path / "s", sink))
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert [facts["num_records"] for facts in manifest["shards"].values()] == [4, 4, 1]
    assert set(files(tmp_path / "s")) == {"config.json", "manifest.json", "README.md", *manifest["shards"]}
    assert {p.name for p in (tmp_path / "s" / ".generate").iterdir()} == {"plan.json", "shards"}


@sinks
def test_a_finished_dataset_is_left_as_it_is_and_a_damaged_one_mended(
    windowed_base: Path, tmp_path: Path, sink: str
) -> None:
    run = config(windowed_base, tmp_path / "s", sink, guidance=2.0)
    samples, before = draw_samples(run), files(tmp_path / "s")
    assert draw_samples(run) == samples
    assert files(tmp_path / "s") == before
    damaged = next(p for p in sorted((tmp_path / "s" / "train").rglob("*0000*")) if p.is_file())
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert draw_samples(run) == samples
    assert files(tmp_path / "s") == before


@pytest.fixture(scope="module")
def killed(windowed_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of runs that were killed, by sink."""
    folder = tmp_path_factory.mktemp("killed")
    line = [sys.executable, killed_sinks.__file__, str(windowed_base), str(folder), *KILLED]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return folder


@pytest.mark.parametrize("sink", KILLED)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    windowed_base: Path, killed: Path, tmp_path: Path, sink: str
) -> None:
    whole = draw_samples(killed_sinks.config(windowed_base, tmp_path / "whole", sink))
    out = killed / sink
    assert not (out / "manifest.json").exists()
    shards = out / ".generate" / "shards"
    marked = [row for path in shards.glob("*.jsonl") for row in map(json.loads, path.read_text().splitlines())]
    assert len(marked) >= 4
    if sink in SHARDED:
        marked = [json.loads(path.read_text()) for path in shards.glob("*.json")]
    for row in marked:  # the file of each is whole
        name = row.get("name") or ("train/" * (sink == "imagefolder") + row["file_name"])
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == row["sha256"]
    with pytest.raises(ValueError, match="unfinished"):
        load_records(out)

    assert draw_samples(killed_sinks.config(windowed_base, out, sink)) == whole
    ours, theirs = files(out), files(tmp_path / "whole")
    assert set(ours) == set(theirs)
    named = {"config.json", "README.md"}  # which tell the folder's name
    assert {n for n in ours if ours[n] != theirs[n]} <= named


def test_a_shard_of_nothing_is_refused(windowed_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--shard-size 0"):
        draw_samples(config(windowed_base, tmp_path / "s", "parquet", shard_size=0))


def test_a_line_of_a_shard_that_is_none_is_named(windowed_base: Path, tmp_path: Path) -> None:
    run = config(windowed_base, tmp_path / "s", "parquet")
    draw_samples(run)
    lines = tmp_path / "s" / ".generate" / "shards" / "00001.jsonl"
    lines.write_text('{"shard": 0}\n' + lines.read_text())
    with pytest.raises(ValueError, match=r"00001\.jsonl:1: not a sample"):
        draw_samples(run)


def test_a_shard_that_was_not_marked_is_drawn_again_with_the_same_bytes(windowed_base: Path, tmp_path: Path) -> None:
    run = config(windowed_base, tmp_path / "s", "webdataset")
    samples, before = draw_samples(run), files(tmp_path / "s")
    (tmp_path / "s" / ".generate" / "shards" / "00002.jsonl").unlink()
    (tmp_path / "s" / "manifest.json").unlink()
    (tmp_path / "s" / "train" / ".00002.tar.77.tmp").write_bytes(b"half a shard")
    assert draw_samples(run) == samples
    assert files(tmp_path / "s") == before
