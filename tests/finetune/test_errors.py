"""Errors of training: each names its recipe, record or flag, what is wrong there, and what to do."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.data.record import Record, write_dataset
from vesalius.finetune.base.config import BaseConfig
from vesalius.finetune.base.denoiser import fixed_questions, open_parts
from vesalius.finetune.base.linear_start import start_linear
from vesalius.finetune.base.text import by_length
from vesalius.finetune.cloud.config import CloudConfig
from vesalius.finetune.cloud.task import read_run
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.consistency import Consistency
from vesalius.finetune.distill.pairs import choose_pairs
from vesalius.finetune.feeding import pack as packing
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.feeding.latents import _encoded
from vesalius.finetune.feeding.pack import PackConfig, pack
from vesalius.finetune.feeding.pairs import load_pairs
from vesalius.finetune.feeding.stream import balanced_weights
from vesalius.finetune.feeding.trainset import WEIGHT, choose_trainset, own_weights, sampling_weights
from vesalius.finetune.judges.judge import JudgeTraining, train_judge
from vesalius.finetune.judges.reader import KINDS, load_masks, phantoms_of
from vesalius.finetune.learning.trained import check_targets
from vesalius.finetune.lora import claim_run
from vesalius.finetune.running.launch import make_accelerator
from vesalius.finetune.running.sharding import sharding_asked
from vesalius.models.base import open_base
from vesalius.models.text import open_tokenizer

ConfigFor = Callable[..., FinetuneConfig]
ROOT = Path(__file__).resolve().parents[2]


def record(i: int, **fields: Any) -> Record:
    usual = {"file_name": f"train/{i}.png", "text": f"CT number {i}.", "modality": "CT", "split": "train"}
    return Record(**{**usual, **fields})


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., FinetuneConfig]:
    """A run over records that have no images."""

    def make(records: list[Record], **fields: Any) -> FinetuneConfig:
        write_dataset(tmp_path / "set", records)
        return FinetuneConfig(data=(tmp_path / "set",), out=tmp_path / "run", **fields)

    return make


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected a number above 0"),
        ({"caption_dropout": 1.5}, "--caption-dropout is 1.5; expected a share between 0 and 1"),
        ({"warmup": -1}, "--warmup is -1; expected 0 or more"),
        ({"steps": 0}, "--steps is 0; expected at least 1"),
    ],
)
def test_numbers_of_a_run_that_cannot_be_are_named(
    changes: dict[str, Any], message: str, config_for: ConfigFor
) -> None:
    with pytest.raises(ValueError, match=message):
        config_for(**changes).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps is 0; expected at least 1"),
        ({"real_share": 1.5}, "--real-share is 1.5; expected a number from 0 to 1"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected a number of 0 or more"),
    ],
)
def test_numbers_of_a_base_that_cannot_be_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        BaseConfig(data=(tmp_path,), out=tmp_path / "run", **changes).check(1)


def test_a_base_says_which_of_its_parts_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name --autoencoder and --text, or --init with a base folder"):
        open_parts(BaseConfig(data=(tmp_path,), out=tmp_path / "run"))
    with pytest.raises(ValueError, match=r"vae: no \*\.safetensors there; --init is to name another folder"):
        open_parts(BaseConfig(data=(tmp_path,), out=tmp_path / "run", init=tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "consistency", "huber": 0.0}, "--huber is 0.0; expected a number above 0"),
        ({"sampling_steps": 0}, "--sampling-steps is 0; expected at least 1"),
    ],
)
def test_numbers_of_a_distillation_that_cannot_be_are_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        DistillConfig(data=(tmp_path,), out=tmp_path / "run", **changes).check()


def test_steps_of_a_solver_divide_the_noise_levels(tiny_base: Path, tmp_path: Path) -> None:
    config = DistillConfig(data=(tmp_path,), out=tmp_path / "run", method="consistency", solver_steps=33)
    with pytest.raises(ValueError, match="--solver-steps 33 is no divisor of the 1000 noise levels of base"):
        Consistency.scheduler(config, open_base(str(tiny_base)))


def test_texts_that_fit_no_context_are_no_pairs(data: tuple[Path, ...], tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(str(tiny_base))
    tokenizer.model_max_length = 3
    config = DistillConfig(data=data, out=tmp_path / "run", num_trajectories=1)
    with pytest.raises(ValueError, match="hardly a text of split 'train' fits the text encoder's context; shorten"):
        choose_pairs(config, "train", tokenizer)
    with pytest.raises(ValueError, match="tokens does not fit the context of 3; shorten it"):
        next(by_length(tokenizer, ["A chest CT with a nodule."]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_price": 0.0}, "--max-price is 0.0; expected US dollars per hour above 0"),
        ({"gpu": "A10O:1"}, "--gpu: 'A10O' is not known; did you mean 'A10'"),
        ({"gpu": "A100:17"}, "--gpu A100:17: expected a number of GPUs on one machine, 1 to 16"),
        ({"bucket": "ftp://b"}, "--bucket is 'ftp://b'; expected s3://BUCKET or gs://BUCKET"),
    ],
)
def test_machines_that_nobody_rents_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = CloudConfig(recipe=tmp_path / "r.toml", to="skypilot", out=tmp_path / "t.yaml", package=str(ROOT))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **changes).check()


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("", {}, "names no data; give --data DIR, s3://BUCKET/DIR or gs://BUCKET/DIR"),
        ('pairs = ["p.jsonl"]', {"data": ("s3://b/d",)}, "pairs are files here, which the rented machine lacks"),
        ('resume = "never"', {"data": ("s3://b/d",)}, "resume is 'never', but a machine may be taken away"),
        ('device = "cpu"', {"data": ("s3://b/d",)}, "device is 'cpu', but GPUs are rented; leave it out"),
        ("dry_run = true", {"data": ("s3://b/d",)}, "dry_run would rent a GPU and train nothing; leave it out"),
        ("", {"data": ("ftp://b/d",)}, "--data 'ftp://b/d': expected a folder, s3://BUCKET/DIR or gs://BUCKET/DIR"),
        ("", {"data": ("nowhere",)}, "--data 'nowhere': no such folder here"),
        ("", {"data": (str(ROOT / "runs"),), "to": "dstack"}, "dstack uploads 2 MB at most; put it into a bucket"),
    ],
)
def test_a_recipe_that_cannot_be_rented_is_refused(
    recipe: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(recipe + "\n")
    usual: dict[str, Any] = {"recipe": tmp_path / "r.toml", "to": "skypilot", "out": tmp_path / "t.yaml"}
    with pytest.raises(ValueError, match=re.escape(message)):
        read_run(CloudConfig(**{**usual, **changes}))


def test_records_that_are_all_excluded_are_told(phantoms: Path) -> None:
    with pytest.raises(ValueError, match=r"no records of split 'none' in .* after excluding \[\]; give anoth"):
        gather([phantoms], "none")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": 0}, "--quality 0: expected 1 to 100"),
        ({"size": 8}, "--size 8: expected 16 to 1024 pixels"),
        ({"data": None}, "give either --data DIR to pack it, or --unpack FILE to open it"),
    ],
)
def test_numbers_of_a_packed_set_that_cannot_be_are_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        PackConfig(**{"out": tmp_path / "a", "data": tmp_path, **changes})


def test_a_packed_set_of_nothing_or_too_much_is_refused(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"no record may be packed \(60 .*\); give another dataset"):
        pack(PackConfig(out=tmp_path / "a", data=phantoms))
    small = tmp_path / "small"
    (small / "train").mkdir(parents=True)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(small / "train" / "1.png")
    write_dataset(small, [record(1, license="CC-BY-4.0", source="a hospital")])
    with pytest.raises(ValueError, match=r"over --max-mb 0\.0001; lower --quality"):
        pack(PackConfig(out=tmp_path / "a", data=small, size=32, max_mb=1e-4))
    monkeypatch.setattr(packing.features, "check", lambda _: False)
    with pytest.raises(ValueError, match="this Pillow knows no AVIF or JPEG 2000; install Pillow's own wheel"):
        pack(PackConfig(out=tmp_path / "a", data=small))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"better": None}, r"pairs\.jsonl:1: has no better; a pair needs text, modality, better, worse"),
        ({"modality": "XT"}, r"pairs\.jsonl:1: modality 'XT' is not known"),
        ({"depth": -1}, r"pairs\.jsonl:1: depth -1 is no whole number of generations; mend the row"),
        ({"worse": "a.png"}, r"pairs\.jsonl:1: better and worse are the same picture 'a\.png'; delete the row"),
        (None, r"pairs\.jsonl: holds no pairs; add rows of text, modality, better, worse"),
    ],
)
def test_pairs_that_are_none_are_named(row: dict[str, Any] | None, message: str, tmp_path: Path) -> None:
    usual = {"text": "Chest CT.", "modality": "CT", "better": "a.png", "worse": "b.png"}
    (tmp_path / "pairs.jsonl").write_text("" if row is None else json.dumps({**usual, **row}) + "\n")
    with pytest.raises(ValueError, match=message):
        load_pairs([tmp_path / "pairs.jsonl"])


def test_a_factor_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="--weigh CT: is named twice; give it one factor"):
        balanced_weights([record(1)], {"real": 1.0}, ["CT=2", "CT=3"])


@pytest.mark.parametrize(
    ("records", "fields", "message"),
    [
        ([record(1)], {"organs": ("chest",)}, "no training records of chest; give another dataset"),
        ([record(1, origin="synthetic", depth=9)], {}, "generation depth 9 is over 3; train on less derived records"),
        ([record(i, text="") for i in range(9)], {}, "has no text to train on, as .* records in all; fill in `text`"),
    ],
)
def test_a_set_that_cannot_be_trained_on_is_refused(
    records: list[Record], fields: dict[str, Any], message: str, run_of: Callable[..., FinetuneConfig]
) -> None:
    held_out = [record(i, split="val", file_name=f"val/{i}.png") for i in range(90, 93)]
    with pytest.raises(ValueError, match=message):
        choose_trainset(run_of([*records, *([] if "organs" in fields else held_out)], **fields))


def test_weights_that_draw_nothing_are_refused(run_of: Callable[..., FinetuneConfig]) -> None:
    real = [record(i, extra={WEIGHT: 0}) for i in range(2)]
    drawn = [record(9, origin="synthetic", depth=1)]
    config = run_of(real, balance="label")
    with pytest.raises(ValueError, match="--balance label: no training record has a label; leave it out"):
        sampling_weights([(Path("set"), record(1))], config)
    with pytest.raises(ValueError, match=f"all training records have a {WEIGHT} of 0, so none would be drawn"):
        own_weights([(Path("set"), each) for each in real])
    with pytest.raises(ValueError, match=f"all real training records have a {WEIGHT} of 0, so none would be drawn"):
        sampling_weights([(Path("set"), each) for each in (*real, *drawn)], dataclasses.replace(config, balance="none"))


def test_a_mask_of_other_values_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 200, np.uint8)).save(tmp_path / "m.png")
    config: Any = SimpleNamespace(image_size=32, labels=[f"CT/{kind}" for kind in KINDS["CT"]])
    with pytest.raises(ValueError, match=rf"m\.png: value 200 is not within 0 and {len(KINDS['CT'])}; draw them anew"):
        load_masks([(tmp_path, record(1, mask="m.png"))], config)


def test_a_target_that_is_no_layer_or_a_rank_too_large_is_named(config_for: ConfigFor) -> None:
    network = torch.nn.Sequential()
    network.add_module("to_q", torch.nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"--targets: base '.*' has no layer 'to_z' \(it has to_q, \.\.\.\)"):
        check_targets(network, ("to_z",), "--targets", config_for())
    with pytest.raises(ValueError, match=r"--rank 4 is larger than layer to_q .* \(4 to 2\); expected at most 2"):
        check_targets(network, ("to_q",), "--targets", config_for())


def test_a_launch_that_shards_in_a_way_that_is_none_is_told(
    config_for: ConfigFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "NO_SUCH_POLICY")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match=r"the launch's file of FSDP: Invalid auto wrap policy: .*; see "):
        sharding_asked(config_for(kind="full"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ()}, "--data is empty; give at least one dataset folder"),
        ({"targets": ()}, "--targets or --text-targets is empty; name at least one kind of layer, such as to_q"),
    ],
)
def test_a_run_of_nothing_is_refused(changes: dict[str, Any], message: str, config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=message):
        config_for(**changes).check()


def test_sets_too_small_or_without_what_is_asked_are_refused(run_of: Callable[..., FinetuneConfig]) -> None:
    with pytest.raises(ValueError, match="too few records to hold some out for validation; add a val split"):
        choose_trainset(run_of([record(1)]))
    held_out = [record(i, split="val", file_name=f"val/{i}.png") for i in range(90, 93)]
    with pytest.raises(ValueError, match=r"--synthetic-alone: .* has no synthetic training record"):
        choose_trainset(run_of([record(1), *held_out], synthetic_alone=True))
    config = run_of([record(1)], data_weights=(1.0,))
    with pytest.raises(ValueError, match=r"--data-weights: .* has no training record to be drawn"):
        sampling_weights([(Path("elsewhere"), record(1))], config)


def test_judges_and_readers_learn_from_what_is_known_alone(tmp_path: Path, phantoms: Path) -> None:
    synthetic = record(1, origin="synthetic", depth=1)
    write_dataset(tmp_path / "drawn", [synthetic])
    with pytest.raises(ValueError, match="the judge never trains on generated images; give datasets without"):
        train_judge(JudgeTraining(data=(tmp_path / "drawn",), out=tmp_path / "judge"))
    with pytest.raises(ValueError, match="no phantoms with masks in split 'train', and the reader learns from nothing"):
        phantoms_of([tmp_path / "drawn"], "train")


def test_numbers_that_do_not_fit_a_base_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--batch-size 3 does not divide among 2 processes; give a multiple"):
        BaseConfig(data=(tmp_path,), out=tmp_path / "run", batch_size=3).check(2)
    with pytest.raises(ValueError, match="split 'val' has no real image and no phantom to validate with; give a datas"):
        fixed_questions(BaseConfig(data=(tmp_path,), out=tmp_path / "run"), [])
    narrow: Any = SimpleNamespace(
        config=SimpleNamespace(block_out_channels=(2, 2), latent_channels=4, norm_num_groups=4)
    )
    with pytest.raises(ValueError, match="is too narrow to start linear; widen it"):
        start_linear(narrow, torch.zeros(1, 3, 32, 32))


def test_a_run_that_is_never_resumed_needs_a_new_folder(config_for: ConfigFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.finetune.lora.load_checkpoint", lambda out: (1, {}, {}))
    with pytest.raises(ValueError, match="holds checkpoints and --resume is never; give another --out"):
        claim_run(config_for(resume="never"), write=False)


def test_a_tracker_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'--tracker wandb is not installed; `pip install "vesalius\[wandb\]"`'):
        make_accelerator("fp32", "cpu", tracker="wandb", folder=tmp_path)


def test_latents_that_are_no_numbers_name_their_image() -> None:
    posterior = SimpleNamespace(mean=torch.full((1, 4, 2, 2), torch.nan), std=torch.ones(1, 4, 2, 2))
    autoencoder = SimpleNamespace(
        encode=lambda pixels: SimpleNamespace(latent_dist=posterior), config=SimpleNamespace(scaling_factor=1.0)
    )
    batch, images = [(Path("set"), record(1))], torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"set/train/1\.png: its latents are not finite; look at the image, or remove"):
        _encoded(autoencoder, batch, images, torch.device("cpu"), False)
