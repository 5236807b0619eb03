"""What base and adapters tell without their weights: the same as what opening them would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vesalius.inference.config import GenerateConfig
from vesalius.inference.generator import Generator
from vesalius.inference.running.run import generate
from vesalius.models.adapters.mix import parse_adapters
from vesalius.models.fit import check_adapters, check_base

MakeAdapter = Callable[..., Path]


def test_what_fits_is_said_nothing_of(tiny_base: Path, tiny_xl: Path, make_adapter: MakeAdapter) -> None:
    for base in ("nano", str(tiny_base), str(tiny_xl)):
        check_base(base)
    check_adapters("nano", parse_adapters("nano-fast"))
    one, two = make_adapter("one", text={}), make_adapter("two", target_modules=["to_k"])
    check_adapters(str(tiny_base), parse_adapters([f"{one}:0.5", two]))
    large = make_adapter("large", place=tiny_xl, text={}, text_2={})
    check_adapters(str(tiny_xl), parse_adapters(large))


def code(base: Path) -> None:
    (base / "unet" / "model.py").write_text("print('here')")


def cut(base: Path) -> None:
    path = base / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:9000])


def no_weights(base: Path) -> None:
    next((base / "vae").glob("*.safetensors")).unlink()


def no_encoder(base: Path) -> None:
    shutil.rmtree(base / "text_encoder")


def no_object(base: Path) -> None:
    (base / "unet" / "config.json").write_text("[]")


def no_tokenizer(base: Path) -> None:
    shutil.rmtree(base / "tokenizer")


@pytest.mark.parametrize("spoil", [code, cut, no_weights, no_encoder, no_object, no_tokenizer])
def test_a_base_that_does_not_open_is_told_before(
    tiny_base: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    spoil(base)
    for ask in (check_base, Generator):
        with pytest.raises(ValueError, match=r"never loaded|damaged|could not be opened"):
            ask(str(base))


def test_an_adapter_of_another_base_is_told_before(
    tiny_base: Path, tiny_xl: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    run = make_adapter()
    other = shutil.copytree(tiny_base, tmp_path / "other")
    (other / "scheduler" / "note.json").write_text("{}")
    for ask in (lambda: check_adapters(str(other), parse_adapters(run)), lambda: Generator(str(other), run)):
        with pytest.raises(ValueError, match=r"trained on base .* not on '.*other'"):
            ask()
    (run / "adapter" / "adapter.json").unlink()  # as another tool's, which tells no base
    for ask in (lambda: check_adapters(str(tiny_xl), parse_adapters(run)), lambda: Generator(str(tiny_xl), run)):
        with pytest.raises(ValueError, match="does not fit base"):
            ask()
    card = make_adapter("text", text={}) / "adapter"
    shutil.rmtree(other / "text_encoder")
    (card / "adapter.json").unlink()
    with pytest.raises(ValueError, match="which has no text_encoder; give its own --base"):
        check_adapters(str(other), parse_adapters(card))


def test_adapters_that_cannot_be_opened_or_added_up_are_told_before(tiny_base: Path, make_adapter: MakeAdapter) -> None:
    dora, plain, torn = make_adapter("dora", use_dora=True), make_adapter("plain"), make_adapter("torn")
    weights = torn / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:300])
    pickled = make_adapter("pickled")
    (pickled / "adapter" / "adapter_model.bin").write_bytes(b"x")
    elsewhere = make_adapter("elsewhere", card={"sampling": {"steps": 4, "guidance": 1.0, "scheduler": {}}})
    for words, message in (
        ([dora, plain], "is a DoRA"), ([torn], "damaged"), ([pickled], "never loaded"), ([elsewhere], "no scheduler"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_adapters(str(tiny_base), parse_adapters(words))


def test_a_dry_run_tells_what_the_run_would(tiny_base: Path, make_adapter: MakeAdapter, tmp_path: Path) -> None:
    run = make_adapter()
    other = shutil.copytree(tiny_base, tmp_path / "other")
    scheduler = other / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text())))
    for dry_run in (True, False):
        config = GenerateConfig(
            prompt="Chest CT", base=other, adapter=run, out=tmp_path / "s", json=True, dry_run=dry_run, steps=1
        )  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="trained on base"):
            generate(config)
        assert not config.out.exists()


def test_an_adapter_of_which_no_layer_is_in_the_base_is_told_before(tiny_base: Path, make_adapter: MakeAdapter) -> None:
    path = make_adapter() / "adapter" / "adapter_model.safetensors"
    save_file({name.replace("attn", "other"): t for name, t in load_file(path).items() if "attn" in name}, path)
    with pytest.raises(ValueError, match=r"adapter: does not fit base .* has none of its layers; give its own --base"):
        check_adapters(str(tiny_base), parse_adapters(path.parents[1]))
