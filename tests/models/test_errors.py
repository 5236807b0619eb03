"""Errors of models: each names its folder, part or flag, what is wrong there, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.configuration_utils import FrozenDict

from vesalius.models.adapters import merge
from vesalius.models.adapters.adapter import apply_adapter, read_card
from vesalius.models.adapters.config import AdapterMergeConfig
from vesalius.models.adapters.export import refuse_more_than_lora
from vesalius.models.adapters.fuse import FILE, read_fused
from vesalius.models.adapters.layers import LoraFile
from vesalius.models.adapters.mix import Share, apply_adapters
from vesalius.models.base import base_folder, drawn_sizes, open_base
from vesalius.models.computing.count import open_shape
from vesalius.models.computing.shelf import open_shelved
from vesalius.models.detectors import vision
from vesalius.models.detectors.source import FunctionDetector, find_function
from vesalius.models.fit import check_base
from vesalius.models.networks.judge import Judge
from vesalius.models.objective import snr_weights, training_scheduler
from vesalius.models.support import Support
from vesalius.models.text import open_tokenizer, tokenize

MakeAdapter = Callable[..., Path]


@pytest.fixture
def damaged(tiny_base: Path, tmp_path: Path) -> Path:
    """A base whose denoiser's configuration is none."""
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_base, folder)
    (folder / "unet" / "config.json").write_text("[]")
    return folder


@pytest.mark.parametrize("run", [drawn_sizes, open_base, open_shape, lambda name: open_shelved(name, {}), check_base])
def test_a_base_of_which_a_part_is_damaged_is_none(run: Callable[[str], Any], damaged: Path) -> None:
    with pytest.raises(ValueError, match=rf"^base '{damaged}'"):
        run(str(damaged))


def test_a_base_without_words_or_with_weights_of_another_shape_is_none(damaged: Path, tiny_base: Path) -> None:
    shutil.copyfile(tiny_base / "unet" / "config.json", damaged / "unet" / "config.json")
    settings = json.loads((damaged / "unet" / "config.json").read_text())
    changed = {**settings, "cross_attention_dim": settings["cross_attention_dim"] * 2}
    (damaged / "unet" / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"has shape \(.*\), not \(.*\)"):
        open_shelved(str(damaged), {})
    (damaged / "unet" / "config.json").write_text(json.dumps(settings))
    shutil.rmtree(damaged / "tokenizer")
    with pytest.raises(ValueError, match=rf"^base '{damaged}'.*tokenizer/ is missing or empty"):
        open_base(str(damaged))


def test_a_rank_of_a_blend_is_at_least_1_and_below_the_exact_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--rank is 0; expected at least 1"):
        AdapterMergeConfig(adapters=(Path("a"), Path("b")), out=tmp_path, rank=0).check()
    model = SimpleNamespace(peft_config={"default": SimpleNamespace(r=4)})
    with pytest.raises(ValueError, match="--rank 4 is not below the exact rank 4; leave it out"):
        merge.shrink(model, 4)


def test_an_adapter_of_another_base_is_not_blended(make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path) -> None:
    run = make_adapter("a")
    config = run / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"to_q"', '"to_z"').replace('"r": 4', '"r": 2'))
    with pytest.raises(ValueError, match=r"adapter: does not fit its base: "):
        merge.blend(open_base(str(tiny_base)).pipeline.unet, [run / "adapter"], [1.0])


def test_adapters_that_peft_does_not_blend_are_refused(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("these targets differ")

    first, second = make_adapter("a"), make_adapter("b", seed=1)
    with monkeypatch.context() as changed:
        changed.setattr(PeftModel, "add_weighted_adapter", refuse, raising=False)
        with pytest.raises(ValueError, match="PEFT cannot blend these: these targets differ"):
            merge.blend(open_base(str(tiny_base)).pipeline.unet, [first / "adapter", second / "adapter"], [1.0, 1.0])
    monkeypatch.setattr(merge, "error_of", lambda *_: 0.5)
    config = AdapterMergeConfig(adapters=(first, second), out=tmp_path / "out", dry_run=True)
    with pytest.raises(ValueError, match="PEFT cannot blend these exactly; their configurations exclude each other"):
        merge.merge_adapters(config)


def test_an_adapter_without_layers_or_turned_round_is_not_exported(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    empty: Any = SimpleNamespace(path=tmp_path / "none", unknown=(), layers=())
    with pytest.raises(ValueError, match="none: holds no layer; train it again"):
        refuse_more_than_lora(empty)
    run = make_adapter("a")
    config = run / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"fan_in_fan_out": false', '"fan_in_fan_out": true'))
    turned: Any = SimpleNamespace(path=run / "adapter", unknown=(), layers=(1,))
    with pytest.raises(ValueError, match="has fan_in_fan_out, which no other program reads; `vesalius adapter fuse`"):
        refuse_more_than_lora(turned)
    assert LoraFile.__dataclass_fields__.keys() >= {"path", "unknown", "layers"}


def test_a_card_of_a_fused_base_that_is_none_is_named(damaged: Path) -> None:
    (damaged / FILE).write_text('{"colour": "blue"}')
    with pytest.raises(ValueError, match=f"{FILE}: is no card of a fused base .*; fuse it again"):
        read_fused(str(damaged))


def test_adapters_are_not_added_to_weights_that_wait_in_their_files() -> None:
    pipeline = SimpleNamespace(unet=SimpleNamespace(weights_on_shelf=True))
    base: Any = SimpleNamespace(pipeline=pipeline)
    shares = [Share(adapter=str(name), weight=1.0) for name in ("nano-fast", "nano-fast")]
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("vesalius.models.adapters.mix.check_together", lambda shares: None)
        with pytest.raises(ValueError, match="2 adapters cannot be added to weights that come and go; raise --memory"):
            apply_adapters(base, shares)


def test_a_detector_that_is_none_or_makes_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"detector 'flat' made \(2, 3, 4\) of 2 pictures; expected a float tensor"):
        FunctionDetector(lambda images: torch.zeros(2, 3, 4), "flat")(torch.zeros(2, 3, 8, 8))
    (tmp_path / "mine.py").write_text("def features(images): ...\n")
    with pytest.raises(ValueError, match="has no function 'featurs'; did you mean 'features'"):
        find_function(f"{tmp_path}/mine.py:featurs")


def test_a_vision_model_that_takes_no_colours_or_is_a_pickle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").touch()
    with pytest.raises(ValueError, match=r"holds no safetensors but model\.bin; pickles run code and are never loaded"):
        vision.vision_folder(str(tmp_path))
    (tmp_path / "model.safetensors").touch()
    model = SimpleNamespace(config=SimpleNamespace(num_channels=1))
    monkeypatch.setattr(vision, "open_vision_model", lambda folder: (model, "pooled"))
    monkeypatch.setattr(vision, "image_settings", lambda folder: {})
    with pytest.raises(ValueError, match="takes pictures of 1 channels; detectors are given three"):
        vision.VisionDetector(str(tmp_path))


def test_an_objective_that_means_nothing_to_a_base_is_refused() -> None:
    config = FrozenDict({"prediction_type": "epsilon"})
    with pytest.raises(ValueError, match="--zero-terminal-snr needs a base that predicts v; this one predicts 'epsil"):
        training_scheduler(config, zero_terminal_snr=True)
    flow = SimpleNamespace(config=SimpleNamespace(prediction_type="flow_prediction"))
    with pytest.raises(ValueError, match="--min-snr-gamma is not defined for a base that predicts a flow; leave it"):
        snr_weights(flow, torch.zeros(1, dtype=torch.long), 5.0)


def test_what_a_base_says_of_its_training_is_named_where_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "support.json").write_text('{"shown": 3}')
    with pytest.raises(ValueError, match=r"support\.json: is no .*; make it again with `python -m vesalius"):
        Support.load(tmp_path)


def test_a_text_longer_than_its_chunks_is_refused(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"a text needs .* chunks of .* tokens, more than 1; shorten it"):
        tokenize(open_tokenizer(str(tiny_base)), ["Nodule in the left lung. " * 60], 1)


def test_a_pair_of_image_and_text_that_gives_no_image_features_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pair:
        pass

    config = SimpleNamespace(vision_config=1, text_config=1)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: config)
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *_, **__: (Pair(), {"missing_keys": []}))
    with pytest.raises(ValueError, match="Pair has no image features; name its vision model"):
        vision.open_vision_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": "1"}, "depth or base_digest is of the wrong type"),
        ({"sampling": {"steps": "4", "guidance": 1.0, "scheduler": None}}, "sampling is of the wrong type"),
    ],
)
def test_a_card_of_an_adapter_of_wrong_types_is_named(
    changes: dict[str, Any], message: str, make_adapter: MakeAdapter
) -> None:
    card = make_adapter("a") / "adapter" / "adapter.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))
    with pytest.raises(ValueError, match=rf"adapter\.json: is no card of a Vesalius adapter \({message}\); remove it"):
        read_card(card.parent)


def test_an_adapter_for_a_part_that_a_base_lacks_is_refused(make_adapter: MakeAdapter, tiny_base: Path) -> None:
    run = make_adapter("a")
    base: Any = SimpleNamespace(
        name=str(tiny_base), digest=open_base(str(tiny_base)).digest, pipeline=SimpleNamespace()
    )
    with pytest.raises(ValueError, match=r"adapter: does not fit base '.*', which has no unet; give its own --base"):
        apply_adapter(base, run)


def test_names_that_are_no_base_tokenizer_judge_or_objective_are_told(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="base 'owner/na me' is neither a folder nor a hub id; give 'nano'"):
        base_folder("owner/na me")
    shutil.rmtree(damaged / "tokenizer")
    with pytest.raises(ValueError, match="tokenizer: no such tokenizer; name another base"):
        open_tokenizer(str(damaged))
    with pytest.raises(ValueError, match=r"no judge there \(config\.json, tokenizer\.json, model\.safetensors\)"):
        Judge.load(tmp_path)
    with pytest.raises(ValueError, match="the base's scheduler predicts 'sample'; training knows 'epsilon'"):
        training_scheduler(FrozenDict({"prediction_type": "sample"}))


def test_a_vision_model_without_weights_or_a_size_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: SimpleNamespace())
    told = {"missing_keys": ["encoder.weight"]}
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *_, **__: (SimpleNamespace(), told))
    with pytest.raises(ValueError, match=r"lacks weights \(encoder\.weight\); fetch it again"):
        vision.open_vision_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="says nowhere how large its pictures are"):
        vision.edge_of({}, tmp_path)
