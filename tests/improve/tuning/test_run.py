"""Direct reward fine-tuning, on the real classes at tiny size; and that it learns, with nano."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.finetune.judges.reader import phantoms_of
from vesalius.improve.asking.ask import key_of, write_asks
from vesalius.improve.asking.hard import hard_keys
from vesalius.improve.tuning.config import TuneConfig
from vesalius.improve.tuning.run import choose_asks, tune
from vesalius.inference.generator import Generator
from vesalius.models.adapters.adapter import AdapterCard, Sampling, read_card, write_adapter
from vesalius.models.base import open_base
from vesalius.models.networks.reader import Reader

ConfigFor = Callable[..., TuneConfig]


@pytest.fixture(scope="module")
def another_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded one, moved a little: another by its weights, and as able."""
    reader, folder = Reader.load(), tmp_path_factory.mktemp("readers") / "reader"
    with torch.no_grad():
        for weight in reader.parameters():
            weight.mul_(1.001)
    reader.save(folder)
    return folder


@pytest.fixture(scope="module")
def few_steps(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of two steps on the tiny base."""
    base, folder = open_base(str(tiny_base)), tmp_path_factory.mktemp("few") / "adapter"
    torch.manual_seed(1)
    lora = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False)
    scheduler = {**base.pipeline.scheduler.config, "_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}
    scheduler = {k: v for k, v in scheduler.items() if k == "_class_name" or not k.startswith("_")}
    card = AdapterCard(
        base=str(tiny_base), base_digest=base.digest, data_digest="", depth=1, steps=1,
        sampling=Sampling(steps=2, guidance=1.0, scheduler=scheduler),
    )  # fmt: skip
    write_adapter(folder, get_peft_model(base.pipeline.unet, lora), card)
    return folder


@pytest.fixture
def config_for(phantoms: Path, tiny_base: Path, few_steps: Path, another_reader: Path, tmp_path: Path) -> ConfigFor:
    def make(**fields: Any) -> TuneConfig:
        usual = {
            "data": (phantoms,), "reader": another_reader, "base": str(tiny_base), "beside": (str(few_steps),),
            "out": tmp_path / "run", "num_prompts": 60, "num_validation": 4, "steps": 4, "batch_size": 3, "rank": 2,
            "targets": ("to_q", "to_k"), "warmup": 2, "save_every": 2, "validate_every": 2, "precision": "fp32",
            "device": "cpu", "json": True,
        }  # fmt: skip
        return TuneConfig(**{**usual, **fields})

    return make


def adapter(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_a_run_that_was_stopped_ends_with_the_same_weights(config_for: ConfigFor, tmp_path: Path) -> None:
    whole, stopped = config_for(), config_for(out=tmp_path / "stopped")
    tune(whole)
    tune(stopped)
    for late in ("adapter", "checkpoints/step-00000004"):
        shutil.rmtree(stopped.out / late)
    tune(stopped)
    one, other = adapter(whole.out), adapter(stopped.out)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert any(bool(v.abs().sum()) for k, v in one.items() if "lora_B" in k)  # it moved
    told = json.loads((whole.out / "validation.json").read_text())
    assert [row["step"] for row in told] == [0, 2, 4]
    assert told[0]["distance"] < 1e-9 < told[-1]["distance"]


def test_the_adapter_is_drawn_with_the_one_beside_and_is_one_deeper(config_for: ConfigFor, few_steps: Path) -> None:
    config = config_for()
    tune(config)
    card = read_card(config.out)
    assert card is not None
    assert (card.depth, card.steps, card.sampling) == (2, 4, None)
    generator = Generator(config.base, [str(config.out), str(few_steps)])
    sizes: list[int] = []
    generator.base.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    generator.draw("Chest CT", seed=1)
    assert sizes == [1] * 2  # its steps, without guidance


def test_prompts_are_of_every_stratum_and_none_is_a_hard_one(config_for: ConfigFor, tmp_path: Path) -> None:
    config = config_for(num_prompts=300)
    records = [r for _, r in phantoms_of(config.data, "train")]
    tokenizer = open_base("nano").pipeline.tokenizer
    asks = choose_asks(config, records, tokenizer)
    assert {a.modality for a in asks} == {r.modality for r in records}
    assert max(sum(f.present for f in a.findings) for a in asks) == 3
    assert not {key_of(a.modality, a.text) for a in asks} & hard_keys()
    write_asks(tmp_path / "prompts.jsonl", asks[:20])
    listed = choose_asks(dataclasses.replace(config, prompts=tmp_path / "prompts.jsonl"), records, tokenizer)
    assert sorted(a.text for a in listed) == sorted(a.text for a in asks[:20] if a.findings)


@pytest.mark.parametrize(
    ("lines", "told"),
    [(None, "no such prompts file"), ('{"a": 1}', r"prompts\.jsonl:1"), ('{"prompt": "Chest CT"}', "gives 0 prompts")],
)
def test_a_file_of_prompts_that_says_nothing_is_refused(
    lines: str | None, told: str, config_for: ConfigFor, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    if lines is not None:
        path.write_text(lines)
    with pytest.raises(ValueError, match=told):
        tune(config_for(prompts=path))
    assert not (tmp_path / "run" / "config.json").exists()


def test_prompts_that_do_not_fit_the_text_encoder_are_left_out(config_for: ConfigFor, tiny_base: Path) -> None:
    config, tokenizer = config_for(num_prompts=300), open_base(str(tiny_base)).pipeline.tokenizer
    asks = choose_asks(config, [r for _, r in phantoms_of(config.data, "train")], tokenizer)
    assert 50 < len(asks) < 300
    assert max(len(tokenizer(a.text).input_ids) for a in asks) <= tokenizer.model_max_length


def test_the_reader_that_measures_is_refused(config_for: ConfigFor, tmp_path: Path) -> None:
    Reader.load().save(tmp_path / "copy")
    config = config_for(reader=tmp_path / "copy")
    with pytest.raises(ValueError, match="is the reader that measures"):
        tune(config)
    assert not (config.out / "config.json").exists()


def test_an_adapter_of_many_steps_is_refused(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match="takes an adapter of few steps"):
        tune(config_for(beside=()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_this_machine_lacks_is_refused(config_for: ConfigFor) -> None:
    config = config_for(device="cuda")
    with pytest.raises(ValueError, match="--device cuda: this machine has no such GPU"):
        tune(config)
    assert not (config.out / "config.json").exists()


def test_too_few_prompts_are_refused(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=r"--num-prompts: gives \d prompts .*4 to measure by and 3 a step are needed"):
        tune(config_for(num_prompts=5))


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("rank", 0), ("keep", -1.0), ("loose", float("nan"))])
def test_numbers_that_mean_nothing_are_refused(field: str, value: float, config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match=f"--{field} is {value}"):
        tune(config_for(**{field: value}))


def test_a_reader_that_changed_under_a_run_is_refused(
    config_for: ConfigFor, another_reader: Path, tmp_path: Path
) -> None:
    shutil.copytree(another_reader, tmp_path / "reader")
    config = config_for(reader=tmp_path / "reader")
    tune(config)
    other = Reader.load(config.reader)
    with torch.no_grad():
        other.head[0].bias.add_(1)  # type: ignore[operator]
    other.save(config.reader)
    with pytest.raises(ValueError, match="the reader changed since its step 4"):
        tune(config)


def test_a_loss_that_is_no_number_ends_the_run(config_for: ConfigFor) -> None:
    with pytest.raises(ValueError, match="the loss is nan; lower --learning-rate"):
        tune(config_for(learning_rate=float("inf"), steps=6))


@pytest.mark.slow
def test_nano_fast_learns_to_draw_what_is_asked(another_reader: Path, tmp_path: Path) -> None:
    write_phantoms(PhantomConfig(num=200, seed=9, size=128, out=tmp_path / "data", hounsfield=True, json=True))
    config = TuneConfig(
        data=(tmp_path / "data",), reader=another_reader, out=tmp_path / "run", num_prompts=400, steps=24,
        validate_every=24, json=True,
    )  # fmt: skip
    tune(config)
    before, after = json.loads((config.out / "validation.json").read_text())
    assert after["wrong"] < 0.9 * before["wrong"]
    assert after["distance"] < 0.1  # of latents of unit size
