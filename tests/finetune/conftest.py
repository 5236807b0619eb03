"""Short runs on the tiny base."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.finetune import lora
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.buckets import choose_buckets, make_views
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.finetune.learning.validation import fixed_questions
from vesalius.models.base import Base
from vesalius.models.objective import denoising_loss, training_scheduler


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, real_rows: Path) -> tuple[Path, ...]:
    out = tmp_path_factory.mktemp("base") / "phantoms"
    write_phantoms(PhantomConfig(num=24, seed=5, size=32, out=out, val=0.3, test=0, json=True))
    return (out, real_rows)


@pytest.fixture(scope="session")
def real_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms whose rows say that they are real: captions and classes without a need of anybody's images."""
    out = tmp_path_factory.mktemp("real") / "rows"
    write_phantoms(PhantomConfig(num=16, seed=6, size=32, out=out, val=0.3, test=0, json=True))
    for path in out.glob("*/metadata.jsonl"):
        path.write_text(path.read_text().replace('"origin": "phantom"', '"origin": "real"'))
    return out


@pytest.fixture(scope="session")
def short_run(phantoms: Path, tiny_base: Path) -> Callable[..., FinetuneConfig]:
    """A short fp32 run of the tiny base on the phantoms; keywords say where and replace its fields."""

    def make(**fields: Any) -> FinetuneConfig:
        usual = {
            "data": (phantoms,), "base": str(tiny_base), "steps": 4, "batch_size": 4,
            "rank": 4, "alpha": 4, "warmup": 2, "precision": "fp32", "num_validation": 4,
            "num_pictures": 0, "tracker": "none",
            "json": True, "device": "cpu",
        }  # fmt: skip
        return FinetuneConfig(**{**usual, **fields})

    return make


@pytest.fixture
def config_for(short_run: Callable[..., FinetuneConfig], tmp_path: Path) -> Callable[..., FinetuneConfig]:
    """The same in a folder of the test's own."""
    return lambda **fields: short_run(**{"out": tmp_path / "run", **fields})


@pytest.fixture
def stopped_and_continued(
    config_for: Callable[..., FinetuneConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Runs that were stopped in their fourth step, went on, and ended with the losses of one that was not; keywords
    replace fields. Returns the run's folder."""

    def check(**fields: Any) -> Path:
        whole, cut = (config_for(out=tmp_path / name, save_every=1, **fields) for name in ("whole", "cut"))
        lora.finetune(whole)
        taken = lora.backward

        def stops(draw: object, step: int, *rest: object) -> object:
            if step == 3:
                raise KeyboardInterrupt
            return taken(draw, step, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(lora, "backward", stops)
        with pytest.raises(KeyboardInterrupt):
            lora.finetune(cut)
        monkeypatch.undo()
        lora.finetune(cut)
        for name in ("losses.jsonl", "validation.json"):
            assert (whole.out / name).read_text() == (cut.out / name).read_text()
        return cut.out

    return check


@pytest.fixture(scope="session")
def flags_of() -> Callable[[FinetuneConfig], list[str]]:
    """The flags of `vesalius finetune` that say a configuration."""
    return flags


def flags(config: FinetuneConfig) -> list[str]:
    words: list[str] = []
    for name, value in dataclasses.asdict(config).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)] if value else []
        elif value is not None:
            words += [flag, str(value)]
    return words


@pytest.fixture
def validation_of() -> Callable[[Base, FinetuneConfig], float]:
    """The validation loss of an opened base, of a finished run's fixed questions, computed by itself."""
    return loss_of


def loss_of(base: Base, config: FinetuneConfig) -> float:
    trainset, parts = choose_trainset(config), base.pipeline
    held_out = make_views(
        parts.vae, base.digest, trainset.held_out, choose_buckets(trainset.held_out, base, config.aspect_buckets),
        folder=config.out / "cache", quiet=True,
    )  # fmt: skip
    scheduler = training_scheduler(parts.scheduler.config)
    texts = Texts(base, base.pipeline.text_encoder)
    losses = []
    with torch.no_grad():
        for q in fixed_questions(trainset, held_out, config.seed, 1000):
            losses.append(denoising_loss(parts.unet, scheduler, q.latents, q.noise, q.timesteps, texts(q.prompts)))
    return torch.cat(losses).mean().item()
