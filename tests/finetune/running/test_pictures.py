"""What a run leaves to be looked at: pictures on its way, its curves, and its card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.finetune.lora import finetune
from vesalius.finetune.running.pictures import choose_requests
from vesalius.models.base import open_base

ConfigFor = Callable[..., FinetuneConfig]


def test_a_run_draws_at_its_first_and_last_step_and_between(config_for: ConfigFor) -> None:
    config = config_for(num_pictures=3, draw_every=2, learning_rate=5e-2)
    finetune(config)
    rows = {p.name: np.asarray(Image.open(p)) for p in (config.out / "pictures").iterdir()}
    assert sorted(rows) == ["step-00000000.png", "step-00000002.png", "step-00000004.png"]
    assert {r.shape for r in rows.values()} == {(32, 3 * 36 - 4, 3)}
    assert (rows["step-00000000.png"] != rows["step-00000004.png"]).any()
    assert Image.open(config.out / "pictures.png").size[0] > 100


def test_drawing_does_not_change_what_is_trained(config_for: ConfigFor, tmp_path: Path) -> None:
    runs = [config_for(out=tmp_path / str(n), num_pictures=n, draw_every=1) for n in (0, 2)]
    for config in runs:
        finetune(config)
    ours, theirs = ((c.out / "losses.jsonl").read_text() for c in runs)
    assert ours == theirs


def test_pictures_are_of_all_modalities_unless_prompts_are_named(config_for: ConfigFor) -> None:
    config = config_for(num_pictures=3, num_validation=60)
    trainset, base = choose_trainset(config), open_base(config.base)
    there = {r.modality for _, r in trainset.held_out}
    assert len(there) > 1
    assert {r.modality for r in choose_requests(config, trainset, base)} == there
    named = dataclasses.replace(config, prompts=("Chest CT", "Brain MRI"))
    assert [r.prompt for r in choose_requests(named, trainset, base)] == ["Chest CT", "Brain MRI"]
    with pytest.raises(ValueError, match="prompt 'a cat' names no modality"):
        finetune(dataclasses.replace(config, prompts=("a cat",)))


def test_the_card_holds_sources_losses_and_what_was_changed_of_the_recipe(config_for: ConfigFor) -> None:
    config = config_for(num_pictures=1)
    summary = finetune(config)
    card = (config.out / "README.md").read_text()
    assert f"{summary.validation[0][1]:.4f} at step 0" in card
    assert "vesalius phantom, CC0-1.0" in card
    assert "not for diagnosis" in card
    made = json.loads(card.split("```json")[1].split("```")[0])
    assert made["rank"] == 4
    assert "seed" not in made
    assert str(config.out.parent) not in card
    assert (config.out / "curve.png").is_file()


def test_tensorboard_has_every_loss_once_after_a_run_was_continued(config_for: ConfigFor) -> None:
    reader = pytest.importorskip("tensorboardX.proto.event_pb2")
    config = config_for(tracker="tensorboard", validate_every=2)
    summary = finetune(config)
    assert summary.finished
    (path,) = (config.out / "logs" / "finetune").glob("events*")
    content, at, found = path.read_bytes(), 0, dict[str, list[int]]()
    while at < len(content):  # TFRecord: length, its checksum, the event, its checksum
        size = int.from_bytes(content[at : at + 8], "little")
        event = reader.Event.FromString(content[at + 12 : at + 12 + size])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append(event.step)
        at += 16 + size
    assert found["loss"] == [1, 2, 3, 4]
    assert found["validation_loss"] == [0, 2, 4]


def test_a_tracker_that_is_not_installed_is_told_with_its_remedy(config_for: ConfigFor) -> None:
    import importlib.util

    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed here")
    with pytest.raises(ValueError, match=r'--tracker wandb is not installed; `pip install "vesalius\[wandb\]"`'):
        finetune(config_for(tracker="wandb"))
