"""Errors of drawing: each names its row, file or flag, what is wrong there, and what to do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from vesalius.data.images.image import Picture, write_png
from vesalius.inference.augmentation.config import AugmentConfig
from vesalius.inference.augmentation.run import augment_dataset
from vesalius.inference.config import GenerateConfig
from vesalius.inference.drawing.memory import MemoryPlan
from vesalius.inference.prompts import grid, read
from vesalius.inference.prompts.grid import grid_prompts
from vesalius.inference.prompts.pictures import start_of_record
from vesalius.inference.prompts.read import stream_prompts
from vesalius.inference.prompts.source import check_source
from vesalius.inference.prompts.starts import start_digests
from vesalius.inference.request import Source
from vesalius.inference.running import engines
from vesalius.inference.running.run import check_models, stream_requests
from vesalius.inference.running.work import Plan
from vesalius.inference.running.worker import REFUSED
from vesalius.inference.sample import Sample
from vesalius.inference.service.app import _drawn
from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.listening import listen
from vesalius.inference.service.request import RequestError
from vesalius.inference.writing.content_credentials import _algorithm
from vesalius.inference.writing.secondary_capture import MAX_COMMENT, dicom_bytes, read_recipe

SAMPLE = Sample(file_name="a.png", text="Chest CT.", modality="CT", seed=1, steps=1, guidance=1.0)


def grey(path: Path, height: int = 32, width: int = 32, value: int = 255) -> Path:
    write_png(path, np.full((height, width, 1), value, np.uint8))
    return path


def test_an_augmented_dataset_does_not_replace_a_file(phantoms: Path, tmp_path: Path) -> None:
    out = grey(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: is a file; choose a folder for --out"):
        augment_dataset(AugmentConfig(folder=phantoms, out=out, steps=1, json=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("modality=XT", "finding=mass"), "--grid modality=XT: modality 'XT' is not known"),
        (("modality=CT", "finding=nodule", "size=big"), "size=big: expected millimetres, such as 2"),
        (("modality=CT", "finding=nodule", "count=1.5"), "count=1.5: expected a whole number, such as 2"),
    ],
)
def test_a_word_of_a_grid_that_cannot_be_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_prompts(words)


def test_a_grid_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MOST", 3)
    with pytest.raises(ValueError, match="--grid and --vary make over 3 combinations; give fewer words"):
        grid_prompts(("modality=CT", "finding=nodule", "count=1,2", "side=left,right"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", b"[]", r"p\.json: expected JSON lines; write one object a line and name the file \.jsonl"),
        ("p.parquet", b"PAR1 and no more", r"p\.parquet: no Parquet file that can be read \(.*\); copy it again"),
        ("p.csv", b"text,modality\nNodule.,XT\n", r"p\.csv:2: modality 'XT' is not known"),
        ("p.jsonl", b'{"text": "Nodule.", "modality": "CT", "image": 3}', r"p\.jsonl:1: image is no path; give one"),
        ("p.csv", b"text,modality,image\nNodule.,CT,https://a/b.png\n", r"p\.csv:2: image https.* is a remote address"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(stream_prompts(tmp_path / name))


def test_a_line_of_prompts_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.txt").write_text("Nodule.\n")
    monkeypatch.setattr(read, "MAX_LINE", 4)
    with pytest.raises(ValueError, match=r"p\.txt:1: a line of over 4 characters; write one prompt a line"):
        list(stream_prompts(tmp_path / "p.txt"))


def test_an_empty_prompt_is_counted(tmp_path: Path) -> None:
    run = GenerateConfig(prompt=("Chest CT.", " "), out=tmp_path / "out", num=1)
    with pytest.raises(ValueError, match="prompt 2 is empty; say what to draw, or remove it"):
        list(stream_requests(run))


def test_a_mask_that_cannot_be_read_names_its_row(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"metadata\.jsonl:3: .*mask\.png: not an image"):
        start_of_record(grey(tmp_path / "a.png"), tmp_path / "mask.png", "mask", "metadata.jsonl:3")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: {"image": f / "none.png"}, r"p\.csv:2: .*none\.png: no such image file"),
        (lambda f: {"image": f}, r"p\.csv:2: .*: is a folder; name an image in it"),
        (lambda f: {"image": f / ("long" * 100)}, r"cannot be read \(File name too long\); name another file"),
        (
            lambda f: {"image": grey(f / "a.png"), "mask": grey(f / "m.png", 16, 32)},
            r"m\.png: is 16 x 32 pixels \(height x width\), and .*a\.png 32 x 32; a mask has the size of its image",
        ),
    ],
)
def test_a_picture_to_start_from_that_cannot_serve_is_named(
    make: Callable[[Path], dict[str, Path]], message: str, tmp_path: Path
) -> None:
    source = Source(where="p.csv:2", strength=0.5, **make(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        check_source(source, 10, "CT", (32, 32))


def test_a_mask_outside_of_what_is_drawn_is_refused(tmp_path: Path) -> None:
    image, painted = grey(tmp_path / "a.png", 32, 128), np.zeros((32, 128, 1), np.uint8)
    painted[:, :8] = 255
    write_png(tmp_path / "m.png", painted)
    source = Source(image=image, mask=tmp_path / "m.png", strength=0.5)
    with pytest.raises(ValueError, match=r"m\.png: what is white lies outside of what is drawn, 32 x 32 pixels"):
        check_source(source, 10, "pathology", (32, 32))


@pytest.mark.parametrize(
    ("place", "message"), [("none.png", r"none\.png: no such image file"), ("", "is a folder; name an image in it")]
)
def test_the_picture_of_a_run_is_named_where_it_is_none(place: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        start_digests(GenerateConfig(prompt=("Chest CT.",), out=tmp_path / "out", image=tmp_path / place))


def test_adapters_are_not_added_where_weights_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryPlan(
        device="cpu", budget=1, peak=1, precision="fp32", batch_size=1, attention="sdpa", offload="none", casts=True,
        slicing=False, tile=None, costs=(),
    )  # fmt: skip
    monkeypatch.setattr("vesalius.models.fit.check_adapters", lambda *_: None)
    run = GenerateConfig(prompt=("Chest CT.",), out=tmp_path / "out", adapter=("one", "two"))
    with pytest.raises(ValueError, match="2 adapters cannot be added to weights that come and go; raise --memory"):
        check_models(run, Plan(num_requests=1, shard_size=1, digest=""), memory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": 3}, "text is no text"),
        ({"depth": "1"}, "depth is no whole number"),
        ({"raw16": 3, "raw16_sha256": "a"}, "raw16 is no text"),
    ],
)
def test_a_sample_of_wrong_types_names_its_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Sample.from_json({**SAMPLE.to_json(), **changes})


@pytest.mark.parametrize("kind", [ValueError, MemoryError, RuntimeError])
def test_a_refusal_of_a_worker_is_the_run_s(kind: type[Exception]) -> None:
    answer = json.dumps({"kind": kind.__name__, "error": "--size 33 x 32: no"})
    code = f"import sys; sys.stdin.read(); print({answer!r}, end=''); sys.exit({REFUSED})"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    with pytest.raises(kind, match="--size 33 x 32: no"):
        engines._ended(SimpleNamespace(name="s"), process, 0, 0)  # type: ignore[arg-type]


def test_what_only_drawing_refuses_is_the_client_s_error() -> None:
    async def ask() -> None:
        pictures: asyncio.Future[list[Picture]] = asyncio.get_running_loop().create_future()
        pictures.set_exception(ValueError("guidance 1e38: made no numbers; lower it"))
        await _drawn(pictures)

    with pytest.raises(RequestError, match="lower it") as caught:
        asyncio.run(ask())
    assert (caught.value.code, caught.value.status) == ("not_drawable", 400)


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"no such host:0 cannot be listened on .*; give another --port or --host"):
        listen(ServeConfig(host="no such host", port=0), None)


def test_a_recipe_too_long_for_dicom_is_refused() -> None:
    picture = Picture(image=np.zeros((8, 8, 1), np.uint8))
    long = dataclasses.replace(SAMPLE, text="Nodule. " * (MAX_COMMENT // 8 + 1))
    with pytest.raises(ValueError, match=f"of which a DICOM file holds {MAX_COMMENT}; shorten the prompt"):
        dicom_bytes(long, picture)
    other = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    with pytest.raises(ValueError, match=re.escape(f"{other}: carries no Vesalius recipe; give a file of")):
        read_recipe(other)


@pytest.mark.parametrize("flag", ["mask", "strength"])
def test_what_belongs_to_a_picture_needs_one(flag: str, tmp_path: Path) -> None:
    from vesalius.inference.prompts.starts import check_starts

    run = GenerateConfig(
        prompt=("Chest CT.",), out=tmp_path / "out", **{flag: tmp_path / "m.png" if flag == "mask" else 0.5}
    )
    with pytest.raises(ValueError, match=f"--{flag} needs --image, the picture to start from"):
        check_starts(run)


def test_keys_with_which_c2pa_does_not_sign_are_refused(tmp_path: Path) -> None:
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    with pytest.raises(ValueError, match=r"a\.key: C2PA signs with no such key; expected P-256"):
        _algorithm(ec.generate_private_key(ec.SECP224R1()), tmp_path / "a.key")
