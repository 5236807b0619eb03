"""Pictures to be rated: drawn ones that nobody drew, and held-out phantoms in the place of real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from vesalius.data.images.image import Picture
from vesalius.demo import DemoConfig
from vesalius.demo.page import Desk, Model
from vesalius.demo.server import make_app
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample, sample_lines
from vesalius.inference.writing.sinks import write_sample

TEXTS = ("Chest CT with a nodule.", "Brain MRI with a mass.", "Chest CT, normal.", "H&E-like tile with tumour cells.")
MODALITIES = ("CT", "MRI", "CT", "pathology")


def write_samples(folder: Path, num: int, *, seed: int = 0, size: int = 32) -> Path:
    """A samples folder of noise, four prompts in turn."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(num):
        modality = MODALITIES[i % 4]
        channels = 3 if modality == "pathology" else 1
        told = Sample(
            file_name=f"images/{i:05d}.png", text=TEXTS[i % 4], modality=modality, seed=i, steps=1, guidance=1.0,
            base="noise", height=size, width=size,
        )  # fmt: skip
        noise = rng.integers(0, 255, (size, size, channels), np.uint8)
        samples.append(write_sample(folder, told, Picture(image=noise)))
    (folder / "metadata.jsonl").write_bytes(sample_lines(samples))
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A samples folder of 16."""
    return write_samples(tmp_path_factory.mktemp("drawn") / "samples", 16)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 phantoms of 48 px, most of them held out."""
    from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms

    out = tmp_path_factory.mktemp("real") / "phantoms"
    return write_phantoms(PhantomConfig(num=40, seed=5, size=48, out=out, val=0.4, test=0.4, json=True))


@pytest.fixture
def desk_of(tmp_path: Path, drawn: Path, held_out: Path) -> Callable[..., Desk]:
    """A desk over a store of its own, without a worker."""

    def make(**changes: Any) -> Desk:
        config = DemoConfig(**{"store": tmp_path / "store", "rate": (drawn,), "real": (held_out,), **changes})
        model = Model(
            base="tiny", base_digest="", adapter_digest=None, image_size=32, steps=1, guidance=1.0
        )  # fmt: skip
        return Desk(config=config, store=Store(config.store), model=model, support=None)

    return make


@pytest.fixture
def page_of(desk_of: Callable[..., Desk]) -> Callable[..., tuple[Desk, TestClient]]:
    """A desk and a browser at its application, without a socket."""

    def make(**changes: Any) -> tuple[Desk, TestClient]:
        desk = desk_of(**changes)
        return desk, TestClient(make_app(desk), base_url="http://127.0.0.1")

    return make
