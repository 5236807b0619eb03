"""What a run trains: every kind of adapter, the text encoder, and all weights."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vesalius.data.record import load_records, write_dataset
from vesalius.finetune import lora
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.lora import finetune
from vesalius.finetune.running import replicas
from vesalius.models.adapters.adapter import apply_adapter, read_card
from vesalius.models.adapters.fuse import fused_depth
from vesalius.models.base import Base, open_base

ConfigFor = Callable[..., FinetuneConfig]
ValidationOf = Callable[[Base, FinetuneConfig], float]
FAST = {"steps": 3, "learning_rate": 1e-2, "alpha": 7}


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("train_text", [False, True])
def test_every_kind_of_adapter_draws_as_it_was_trained(
    config_for: ConfigFor, validation_of: ValidationOf, tiny_base: Path, kind: str, train_text: bool
) -> None:
    config = config_for(kind=kind, train_text=train_text, **FAST)
    summary = finetune(config)
    base = open_base(str(tiny_base))
    before = validation_of(base, config)
    apply_adapter(base, config.out)
    assert validation_of(base, config) == pytest.approx(summary.validation[-1][1], rel=1e-4)
    assert summary.validation[-1][1] != pytest.approx(before, rel=1e-4)
    assert (config.out / "adapter" / "text_encoder" / "adapter_config.json").is_file() == train_text


def test_a_full_fine_tuning_is_a_base_of_its_own(config_for: ConfigFor, validation_of: ValidationOf) -> None:
    config = config_for(kind="full", train_text=True, steps=3, learning_rate=1e-4)
    summary = finetune(config)
    base = open_base(str(config.out / "base"))
    assert validation_of(base, dataclasses.replace(config, base=str(config.out / "base"))) == pytest.approx(
        summary.validation[-1][1], rel=1e-4
    )
    assert not (config.out / "adapter").exists()
    assert finetune(config).finished  # once more over the same folder
    assert fused_depth(str(config.out / "base")) == 0
    saved = load_file(config.out / "checkpoints" / "step-00000003" / "tensors.safetensors")
    assert {k.split(".")[0] for k in saved} == {"denoiser", "text_encoder", "optimizer"}


@pytest.mark.parametrize("fields", [{"kind": "full"}, {"kind": "dora", "train_text": True}, {"views": 3}])
def test_every_kind_goes_on_as_if_it_had_not_stopped(
    stopped_and_continued: Callable[..., Path], fields: dict[str, object]
) -> None:
    stopped_and_continued(validate_every=2, **fields)


def test_a_stop_in_the_last_validation_is_not_the_end_of_a_run(
    config_for: ConfigFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, asked = config_for(), replicas.validate

    def stopped(*arguments: object) -> float | None:
        count.append(1)
        return None if len(count) > 1 else asked(*arguments)  # type: ignore[arg-type]

    count: list[int] = []
    monkeypatch.setattr(replicas, "validate", stopped)
    summary = finetune(config)
    assert (summary.step, summary.finished) == (4, False)
    assert not (config.out / "adapter").exists()
    monkeypatch.undo()
    again = finetune(config)
    assert again.finished
    assert [step for step, _ in again.validation] == [0, 4]


def test_a_rank_larger_than_a_layer_is_refused(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"--rank 4000 is larger than layer .*expected at most \d+"):
        finetune(config_for(rank=4000, dry_run=True))


def test_a_target_that_the_text_encoder_lacks_is_named(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"--text-targets: base .* has no layer 'to_q' \(it has .*q_proj"):
        finetune(config_for(train_text=True, text_targets=("to_q",), dry_run=True))


@pytest.mark.parametrize(("asked", "ran"), [("auto", "AttnProcessor"), ("sdpa", "AttnProcessor2_0")])
def test_the_attention_that_ran_is_recorded_and_changes_nothing(
    config_for: ConfigFor, tmp_path: Path, asked: str, ran: str
) -> None:
    config, plain = config_for(attention=asked, steps=2), config_for(out=tmp_path / "eager", attention="eager", steps=2)
    ours, theirs = finetune(config), finetune(plain)
    assert json.loads((config.out / "machine.json").read_text())["attention"] == ran
    assert [v for _, v in ours.validation] == pytest.approx([v for _, v in theirs.validation], rel=1e-5)


def test_xformers_where_it_cannot_run_is_refused_with_the_remedy(config_for: ConfigFor) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it may run")
    with pytest.raises(ValueError, match=r"--attention xformers: .*or use sdpa"):
        finetune(config_for(attention="xformers"))


def test_less_memory_makes_the_micro_batch_smaller_and_the_run_the_same(
    config_for: ConfigFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, small, starved = (config_for(out=tmp_path / n, micro_batch=m) for n, m in (("w", 0), ("s", 1), ("o", 0)))
    finetune(whole)
    finetune(small)
    loss = lora.denoising_loss

    def at_most_one(denoiser: object, scheduler: object, latents: torch.Tensor, *rest: object) -> torch.Tensor:
        if len(latents) > 1 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(denoiser, scheduler, latents, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(lora, "denoising_loss", at_most_one)
    finetune(starved)
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert said == [f"vesalius: step 0: out of memory; from here {n} images at a time" for n in (2, 1)]
    assert (starved.out / "losses.jsonl").read_text() == (small.out / "losses.jsonl").read_text()
    ours, theirs = (load_file(c.out / "adapter" / "adapter_model.safetensors") for c in (whole, small))
    assert all(torch.allclose(ours[k], theirs[k], atol=1e-5) for k in ours)


def test_zero_terminal_snr_is_trained_and_drawn_with(config_for: ConfigFor) -> None:
    config = config_for(zero_terminal_snr=True, steps=1)
    finetune(config)
    card = read_card(config.out)
    assert card is not None
    assert card.sampling is not None
    assert card.sampling.scheduler["rescale_betas_zero_snr"] is True


@pytest.mark.parametrize(
    "fields", [{"offset_noise": 0.1}, {"mask_weight": 5.0}, {"kept_share": 0.5}, {"section": "findings"}]
)
def test_a_choice_of_objective_changes_the_training_and_not_the_validation(
    config_for: ConfigFor, tmp_path: Path, fields: dict[str, object]
) -> None:
    plain, other = config_for(out=tmp_path / "plain", steps=2), config_for(out=tmp_path / "other", steps=2, **fields)
    ours, theirs = finetune(plain), finetune(other)
    assert ours.validation[0] == theirs.validation[0]
    assert (plain.out / "losses.jsonl").read_text() != (other.out / "losses.jsonl").read_text()


def test_samples_that_are_held_to_the_base_have_no_loss_before_the_first_step(config_for: ConfigFor) -> None:
    config = config_for(kept_share=1.0, steps=1)
    finetune(config)
    assert json.loads((config.out / "losses.jsonl").read_text())["loss"] < 1e-10


def test_a_damaged_shard_of_the_cache_is_named_and_made_again(
    config_for: ConfigFor, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_for(steps=1)
    finetune(config)
    for shard in (config.out / "cache").iterdir():
        half = shard.read_bytes()[:500]
        shard.unlink()
        shard.write_bytes(half)
    finetune(dataclasses.replace(config))
    assert capsys.readouterr().err.count("damaged; its latents are made again") == 2


def test_datasets_are_drawn_by_their_weights_and_values_equally(config_for: ConfigFor, phantoms: Path) -> None:
    from vesalius.finetune.feeding.trainset import choose_trainset

    trainset = choose_trainset(config_for(balance="modality"))
    assert trainset.weights is not None
    shares: dict[str, float] = {}
    for (_, record), weight in zip(trainset.train, trainset.weights.tolist(), strict=True):
        shares[record.modality] = shares.get(record.modality, 0.0) + weight
    assert list(shares.values()) == pytest.approx([1 / len(shares)] * len(shares))


def test_weights_of_datasets_are_their_shares(config_for: ConfigFor, phantoms: Path, tmp_path: Path) -> None:
    from vesalius.finetune.feeding.trainset import choose_trainset

    few = [dataclasses.replace(r, mask=None) for r in load_records(phantoms) if r.split == "train"][:3]
    for r in few:
        (tmp_path / "few" / r.file_name).parent.mkdir(parents=True, exist_ok=True)
        os.link(phantoms / r.file_name, tmp_path / "few" / r.file_name)
    write_dataset(tmp_path / "few", few)
    trainset = choose_trainset(config_for(data=(phantoms, tmp_path / "few"), data_weights=(1.0, 3.0)))
    assert trainset.weights is not None
    mine = [w for (f, _), w in zip(trainset.train, trainset.weights.tolist(), strict=True) if f != phantoms]
    assert mine == pytest.approx([0.25] * 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data_weights": (1.0, 2.0)}, "expected a number above 0 for each of --data"),
        ({"kind": "full", "kept_share": 0.2}, "--kept-share and --pairs need an adapter"),
        ({"views": 2, "mask_weight": 2.0}, "exclude each other"),
        ({"section": "gossip"}, "--section 'gossip' is not known"),
        ({"sync": "nowhere://bucket"}, r"--sync nowhere://bucket: .*give a folder"),
        ({"micro_batch": -1}, "--micro-batch is -1; expected 0 or more"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_written(
    config_for: ConfigFor, fields: dict[str, object], said: str
) -> None:
    config = config_for(**fields)
    with pytest.raises(ValueError, match=said):
        finetune(config)
    assert not (config.out / "cache").exists()
