"""Training from shards as they stand: to the last digit what it is from the folder that they were exported from."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.datasets.streamed import place_of, shards_of
from vesalius.data.images.image import write_png
from vesalius.data.record import load_records, write_dataset
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.examples import gather, load_images
from vesalius.finetune.feeding.latents import cached_views
from vesalius.finetune.feeding.masks import lesion_grid
from vesalius.finetune.feeding.trainset import choose_trainset, data_digest
from vesalius.finetune.judges.reader import load_masks
from vesalius.finetune.lora import finetune
from vesalius.finetune.planning.measure import few_of
from vesalius.finetune.planning.plan import read_seconds
from vesalius.models.adapters.adapter import read_card
from vesalius.models.networks.reader import ReaderConfig

ConfigFor = Callable[..., FinetuneConfig]
Kind = Literal["parquet", "webdataset"]
kinds = pytest.mark.parametrize("kind", ["parquet", "webdataset"])


def export(folder: Path, out: Path, kind: Kind) -> Path:
    return export_shards(ExportConfig(folder=folder, out=out, shards=kind, json=True)).path


def adapter(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def files(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}


def assert_same(one: Path, two: Path) -> None:
    ours, theirs = adapter(one), adapter(two)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    cards = [read_card(run) for run in (one, two)]
    assert cards[0] is not None
    assert cards[0] == cards[1]  # the digest of the data too
    for name in ("losses.jsonl", "validation.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_run_is_the_same_from_the_folder_and_from_either_kind_of_shards(
    config_for: ConfigFor, phantoms: Path, tmp_path: Path
) -> None:
    usual = config_for(mask_weight=3.0, steps=2)
    finetune(usual)
    both: tuple[Kind, Kind] = ("parquet", "webdataset")
    for kind in both:
        shards = export(phantoms, tmp_path / kind, kind)
        run = dataclasses.replace(usual, data=(shards,), out=tmp_path / f"run-{kind}")
        assert finetune(run).finished
        assert_same(usual.out, run.out)
        assert files(run.out / "cache").keys() == files(usual.out / "cache").keys()
        assert not list(shards.rglob("*.png")), "nothing is unpacked"


@kinds
def test_views_of_a_folder_and_of_shards_with_weights_are_those_of_two_folders(
    config_for: ConfigFor, phantoms: Path, real_rows: Path, tmp_path: Path, kind: Kind
) -> None:
    usual = config_for(data=(phantoms, real_rows), data_weights=(1.0, 3.0), views=3, steps=2, seed=4)
    mixed = dataclasses.replace(
        usual, data=(phantoms, export(real_rows, tmp_path / "shards", kind)), out=tmp_path / "mixed"
    )
    finetune(usual)
    finetune(mixed)
    assert_same(usual.out, mixed.out)


@kinds
def test_latents_of_the_folder_serve_its_shards_and_nothing_is_encoded_twice(
    config_for: ConfigFor, phantoms: Path, real_rows: Path, tmp_path: Path, kind: Kind
) -> None:
    usual = config_for(data=(real_rows, phantoms), views=2, steps=1)
    finetune(usual)
    shards = (export(real_rows, tmp_path / "real", kind), export(phantoms, tmp_path / "phantoms", kind))
    run = dataclasses.replace(usual, data=shards, out=tmp_path / "other")
    shutil.copytree(usual.out / "cache", tmp_path / "cache")
    before, members = files(tmp_path / "cache"), choose_trainset(run).train
    card = read_card(usual.out)
    assert card is not None
    # Without an autoencoder
    cached_views(None, card.base_digest, members, (32, 32), 2, folder=tmp_path / "cache", quiet=True)
    assert files(tmp_path / "cache") == before


@kinds
def test_what_is_drawn_how_often_and_the_floor_of_real_records_are_those_of_folders(
    config_for: ConfigFor, phantoms: Path, real_rows: Path, tmp_path: Path, kind: Kind
) -> None:
    made = tmp_path / "made"
    shutil.copytree(phantoms, made)
    write_dataset(made, [dataclasses.replace(r, origin="synthetic", depth=1) for r in load_records(phantoms)])
    usual = config_for(data=(real_rows, made), data_weights=(1.0, 9.0), real_share=0.6)
    shards = export(made, tmp_path / "shards", kind)
    ours, theirs = (choose_trainset(dataclasses.replace(usual, data=(real_rows, f))) for f in (made, shards))
    assert [r for _, r in ours.train] == [r for _, r in theirs.train]
    assert [r for _, r in ours.held_out] == [r for _, r in theirs.held_out]
    assert ours.weights is not None
    assert theirs.weights is not None
    assert np.array_equal(ours.weights, theirs.weights)
    assert theirs.weights[[r.origin == "real" for _, r in theirs.train]].sum() == pytest.approx(0.6)
    assert data_digest(ours.train) == data_digest(theirs.train)
    bare = [(f, dataclasses.replace(r, sha256=None)) for f, r in theirs.train]
    assert data_digest(bare) == data_digest(theirs.train), "a digest that a record lacks is taken of the shard's image"


@kinds
def test_a_changed_image_of_a_shard_is_refused_by_its_name(
    config_for: ConfigFor, phantoms: Path, tmp_path: Path, kind: Kind
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(phantoms, copy)
    record = load_records(copy, "train")[3]
    write_png(copy / record.file_name, np.full((32, 32, 1), 7, np.uint8))
    shards = export(copy, tmp_path / "shards", kind)
    place = place_of(shards, record.file_name)
    assert record.file_name in str(place)
    with pytest.raises(ValueError, match=rf"{place}: was changed since its dataset was made; make that again"):
        finetune(config_for(data=(shards,)))


@kinds
def test_shards_that_are_cut_short_or_unfinished_end_the_line_with_one_message(
    phantoms: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    shards = export(phantoms, tmp_path / "shards", kind)
    small = ["--steps", "1", "--num-pictures", "0", "--tracker", "none", "--device", "cpu", "--json"]
    words = ["finetune", "--data", str(shards), "--base", str(tiny_base), "--out", str(tmp_path / "run"), *small]
    path = shards / next(name for name in shards_of(shards) if name.startswith("train/"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert main(words) == USAGE
    told = capsys.readouterr().err
    assert f"{path}: damaged or missing" in told
    assert "copy it again, or export the dataset again" in told
    assert told.count("\n") == 1
    path.write_bytes(whole)
    manifest = (shards / "manifest.json").read_bytes()
    (shards / "manifest.json").unlink()
    assert main(words) == USAGE
    assert f"{shards}: is unfinished; run the line that was making it again" in capsys.readouterr().err
    (shards / "manifest.json").write_bytes(manifest)
    assert main(words) == DONE


@kinds
def test_a_plan_counts_shards_as_it_counts_the_folder(
    config_for: ConfigFor, phantoms: Path, tmp_path: Path, kind: Kind
) -> None:
    both = [choose_trainset(config_for(data=(f,))) for f in (phantoms, export(phantoms, tmp_path / "shards", kind))]
    assert len({(len(t.train), len(t.held_out), frozenset(t.texts)) for t in both}) == 1
    assert read_seconds(both[1], 32) > 0
    few = [few_of(t) for t in both]
    assert torch.equal(*(load_images(t.train, 32, quiet=True) for t in few))


@kinds
def test_what_trains_a_base_and_a_reader_gathers_from_shards_too(phantoms: Path, tmp_path: Path, kind: Kind) -> None:
    both = [gather([folder], "train") for folder in (phantoms, export(phantoms, tmp_path / "shards", kind))]
    assert [r for _, r in both[0]] == [r for _, r in both[1]]
    assert torch.equal(*(load_images(members, 32, quiet=True) for members in both))
    assert torch.equal(*(lesion_grid(members, (32, 32), 2) for members in both))
    assert torch.equal(*(load_masks(members, ReaderConfig()) for members in both))
