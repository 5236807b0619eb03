"""The loop of a fine-tuning run, on the real classes at tiny size."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vesalius.data.record import Record, load_records, read_rows, write_dataset
from vesalius.finetune.base.denoiser import write_base
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.lora import finetune
from vesalius.models.adapters.adapter import apply_adapter, read_card
from vesalius.models.base import Base, open_base

ConfigFor = Callable[..., FinetuneConfig]
ValidationOf = Callable[[Base, FinetuneConfig], float]


def adapter(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def losses(run: Path) -> list[dict[str, Any]]:
    return list(read_rows(run / "losses.jsonl"))


FlagsOf = Callable[[FinetuneConfig], list[str]]
LINE = [sys.executable, "-m", "vesalius.cli.main", "finetune"]


def wait_for(there: Callable[[], bool], child: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_loss_falls_on_a_run_that_may_memorise(config_for: ConfigFor, phantoms: Path, tmp_path: Path) -> None:
    few = [r for r in load_records(phantoms) if r.split == "train"][:4]
    records = [*few, *(dataclasses.replace(r, file_name=r.file_name.replace("train", "val"), split="val") for r in few)]
    for r in records:
        target = tmp_path / "few" / r.file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((phantoms / r.file_name.replace("val/", "train/")).read_bytes())
    write_dataset(tmp_path / "few", [dataclasses.replace(r, mask=None) for r in records])
    config = config_for(data=(tmp_path / "few",), steps=60, rank=16, alpha=16, learning_rate=5e-3, caption_dropout=0.0)
    summary = finetune(config)
    assert summary.finished
    assert summary.validation[-1][1] < 0.93 * summary.validation[0][1]
    rows = [r["loss"] for r in losses(config.out)]
    assert np.mean(rows[-15:]) < np.mean(rows[:15])


def test_validation_at_step_0_is_the_loss_of_the_base(
    config_for: ConfigFor, validation_of: ValidationOf, tiny_base: Path
) -> None:
    config = config_for(steps=1)
    summary = finetune(config)
    assert summary.validation[0] == (0, pytest.approx(validation_of(open_base(str(tiny_base)), config), rel=1e-5))


def test_the_base_stays_as_it_is_and_only_the_adapter_is_written(config_for: ConfigFor, tiny_base: Path) -> None:
    before = open_base(str(tiny_base)).digest
    config = config_for()
    finetune(config)
    assert open_base(str(tiny_base)).digest == before
    names = adapter(config.out)
    assert names
    assert all(".lora_A." in n or ".lora_B." in n for n in names)
    saved = next((config.out / "checkpoints").glob("step-00000004")) / "tensors.safetensors"
    assert {k.split(".")[0] for k in load_file(saved)} == {"denoiser", "optimizer"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_small_learning_rate_moves_nearly_all_entries_of_an_fp32_adapter(
    config_for: ConfigFor, precision: str, tmp_path: Path
) -> None:
    gentle = {"precision": precision, "learning_rate": 1e-5, "warmup": 0, "weight_decay": 0.0}
    runs = [config_for(out=tmp_path / f"{steps}", steps=steps, **gentle) for steps in (1, 4)]
    for config in runs:
        finetune(config)
    first, later = (adapter(config.out) for config in runs)
    assert {t.dtype for t in later.values()} == {torch.float32}
    moved = torch.cat([(first[k] != later[k]).flatten() for k in later]).float().mean().item()
    assert moved > 0.98


def test_gradient_clipping_clips(config_for: ConfigFor, tmp_path: Path) -> None:
    free, clipped = (
        config_for(out=tmp_path / str(norm), clip_norm=norm, weight_decay=0.0, steps=3) for norm in (1e6, 1e-13)
    )
    for config in (free, clipped):
        finetune(config)
    # AdamW divides by the gradient's size, so clipping shows only once its epsilon of 1e-8 outweighs the gradient.
    far, near = (torch.cat([t.flatten() for k, t in adapter(c.out).items() if "lora_B" in k]) for c in (free, clipped))
    assert far.abs().max() > 1e-5
    assert near.abs().max() < 1e-3 * far.abs().max()
    assert all(row["gradient_norm"] > 1e-6 for row in losses(clipped.out))


@pytest.mark.slow
def test_a_run_killed_and_resumed_equals_one_that_was_not(
    flags_of: FlagsOf, config_for: ConfigFor, tmp_path: Path
) -> None:
    whole, cut = (config_for(out=tmp_path / n, steps=40, save_every=4, validate_every=20) for n in ("whole", "cut"))
    finetune(whole)
    child = subprocess.Popen([*LINE, *flags_of(cut)], stderr=subprocess.PIPE, text=True)
    wait_for((cut.out / "checkpoints" / "step-00000008").is_dir, child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (cut.out / "adapter").exists()
    with (cut.out / "losses.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # as a full disk leaves it
    again = subprocess.run([*LINE, *flags_of(cut)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert losses(cut.out) == losses(whole.out)
    assert [r["step"] for r in losses(whole.out)] == list(range(1, 41))
    ours, theirs = adapter(whole.out), adapter(cut.out)
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert (whole.out / "validation.json").read_text() == (cut.out / "validation.json").read_text()


def test_sigterm_leaves_a_checkpoint_and_says_that_the_same_line_continues(
    flags_of: FlagsOf, config_for: ConfigFor
) -> None:
    config = config_for(steps=100_000, save_every=100_000)
    child = subprocess.Popen([*LINE, *flags_of(config)], stdout=subprocess.PIPE, text=True)
    log = config.out / "losses.jsonl"
    wait_for(lambda: log.is_file() and log.stat().st_size > 0, child)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 75
    step = len(losses(config.out))
    told = json.loads(said)
    assert (told["step"], told["finished"]) == (step, False)
    assert (config.out / "checkpoints" / f"step-{step:08d}").is_dir()
    assert not (config.out / "adapter").exists()


def test_bad_input_is_one_line_and_exit_code_2(flags_of: FlagsOf, config_for: ConfigFor) -> None:
    done = subprocess.run([*LINE, *flags_of(config_for(real_share=0.2))], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("vesalius: --real-share is 0.2")
    assert len(done.stderr.splitlines()) == 1


def test_sigterm_is_the_callers_again_after_a_run_and_after_an_error(config_for: ConfigFor) -> None:
    def mine(number: int, frame: object) -> None: ...

    former = signal.signal(signal.SIGTERM, mine)
    try:
        finetune(config_for(steps=1))
        assert signal.getsignal(signal.SIGTERM) is mine
        with pytest.raises(ValueError, match="loss is"):
            finetune(config_for(out=config_for().out / "nan", learning_rate=1e30, clip_norm=1e30, steps=20))
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_finished_run_is_not_run_again(config_for: ConfigFor) -> None:
    config = config_for()
    first = finetune(config)
    before = (config.out / "losses.jsonl").read_bytes()
    again = finetune(config)
    assert again.finished
    assert again.validation == first.validation
    assert (config.out / "losses.jsonl").read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(config_for: ConfigFor) -> None:
    finetune(config_for(steps=1))
    with pytest.raises(ValueError, match=r"another configuration \(learning_rate, seed differ\)"):
        finetune(config_for(steps=1, seed=5, learning_rate=1e-4))
    with pytest.raises(ValueError, match="--resume is never"):
        finetune(config_for(steps=1, resume="never"))


def test_a_folder_with_other_files_is_refused(config_for: ConfigFor) -> None:
    config = config_for()
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty and no run folder"):
        finetune(config)


def test_data_that_changed_under_a_run_is_refused(config_for: ConfigFor, phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    records = load_records(phantoms)
    for r in records:
        (copy / r.file_name).parent.mkdir(parents=True, exist_ok=True)
        os.link(phantoms / r.file_name, copy / r.file_name)
    records = [dataclasses.replace(r, mask=None) for r in records]
    write_dataset(copy, records)
    finetune(config_for(data=(copy,)))
    write_dataset(copy, [dataclasses.replace(records[0], text="CT of something else."), *records[1:]])
    with pytest.raises(ValueError, match="the data changed since its step 4"):
        finetune(config_for(data=(copy,)))


def test_a_dry_run_writes_nothing(config_for: ConfigFor) -> None:
    summary = finetune(config_for(dry_run=True))
    assert not summary.out.exists()
    assert (summary.step, summary.finished) == (0, False)


def test_a_target_that_the_base_lacks_is_named(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"no layer 'to_w' \(it has .*to_q"):
        finetune(config_for(targets=("to_q", "to_w"), dry_run=True))


def test_runs_of_different_precision_follow_each_other_in_one_process(config_for: ConfigFor, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        out = tmp_path / f"{precision}{time.monotonic_ns()}"
        assert finetune(config_for(out=out, precision=precision, steps=1)).finished


def test_alpha_other_than_rank_reloads_exactly(
    config_for: ConfigFor, validation_of: ValidationOf, tiny_base: Path
) -> None:
    from peft import PeftModel

    config = config_for(rank=4, alpha=13, learning_rate=1e-2, steps=6)
    finetune(config)
    plain, merged, wrapped = (open_base(str(tiny_base)) for _ in range(3))
    assert len(apply_adapter(merged, config.out)) == 64
    denoiser = PeftModel.from_pretrained(wrapped.pipeline.unet, config.out / "adapter")
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 4, 16, 16, generator=generator)
    ((_, text, *_),) = Texts(plain, plain.pipeline.text_encoder)(["Chest CT", "Brain MRI"])
    with torch.no_grad():
        drawn = [
            d(noisy, torch.tensor([9, 900]), text).sample for d in (plain.pipeline.unet, merged.pipeline.unet, denoiser)
        ]
    assert torch.allclose(drawn[1], drawn[2], atol=1e-5)
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)
    last_validation = json.loads((config.out / "validation.json").read_text())[-1]["loss"]
    assert last_validation == pytest.approx(validation_of(merged, config), rel=1e-4)


def test_the_card_says_what_the_adapter_was_trained_on(config_for: ConfigFor, tiny_base: Path) -> None:
    config = config_for(modalities=("CT", "MRI"), steps=2)
    finetune(config)
    card = read_card(config.out)
    assert card is not None
    assert card.base_digest == open_base(str(tiny_base)).digest
    assert (card.depth, card.steps, card.modalities, len(card.data_digest)) == (0, 2, ("CT", "MRI"), 64)


def test_an_adapter_of_another_base_is_refused(config_for: ConfigFor, tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(steps=1)
    finetune(config)
    parts = open_base(str(tiny_base)).pipeline
    torch.nn.init.zeros_(parts.unet.conv_out.bias)
    with torch.no_grad():
        parts.unet.conv_in.weight += 1
    write_base(tmp_path / "other", parts.vae, parts.tokenizer, parts.text_encoder, parts.unet, parts.scheduler)
    with pytest.raises(ValueError, match=r"trained on base '.*tiny'.*give --base"):
        apply_adapter(open_base(str(tmp_path / "other")), config.out)


def test_a_loss_that_is_not_finite_names_the_record(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"step \d+: loss is .*, at train/images/.*; lower --learning-rate") as caught:
        finetune(config_for(learning_rate=1e30, clip_norm=1e30, steps=20))
    assert "images" in str(caught.value)


def test_min_snr_weighting_lowers_the_training_loss_and_not_the_validation_loss(
    config_for: ConfigFor, tmp_path: Path
) -> None:
    plain, weighted = (config_for(out=tmp_path / str(g), steps=1, min_snr_gamma=g) for g in (None, 5.0))
    ours, theirs = finetune(plain), finetune(weighted)
    assert ours.validation[0] == theirs.validation[0]
    assert losses(weighted.out)[0]["loss"] < losses(plain.out)[0]["loss"]


def test_a_long_report_is_trained_on_whole(config_for: ConfigFor, phantoms: Path, tmp_path: Path) -> None:
    from PIL import Image

    records = []
    for split, i in (("train", 0), ("train", 1), ("val", 2)):
        name = f"{split}/images/{i}.png"
        (tmp_path / "long" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 80 * i, dtype=np.uint8)).save(tmp_path / "long" / name)
        text = "The lungs are clear. A nodule of 1.8 cm lies in the left upper lobe. " * (1 + 8 * (i % 2))
        records.append(Record(file_name=name, text=text, modality="CT", split=split))
    write_dataset(tmp_path / "long", records)
    summary = finetune(config_for(data=(tmp_path / "long",), batch_size=2))
    assert summary.finished
    assert all(np.isfinite(v) for _, v in summary.validation)


def test_text_coverage_is_said_before_training(config_for: ConfigFor, capsys: pytest.CaptureFixture[str]) -> None:
    finetune(config_for(json=False, dry_run=True))
    said = capsys.readouterr().err
    assert "training and" in said
    assert "100 % of tokens kept" in said
