"""Several adapters in one drawing: their changes are added up, each by its weight."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.inference import Generator
from vesalius.inference.drawing.memory import plan_memory
from vesalius.models import AdapterMergeConfig, apply_adapter, merge_adapters, open_base, read_card
from vesalius.models.adapters.adapter import Sampling
from vesalius.models.adapters.check import ask_denoiser, ask_text, largest
from vesalius.models.adapters.mix import Share, apply_adapters, parse_adapters, sampling_of_adapters

MakeAdapter = Callable[..., Path]


def give_sampling(run: Path, sampling: Sampling) -> None:
    path = run / "adapter" / "adapter.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling": dataclasses.asdict(sampling)}))


@pytest.mark.parametrize(
    ("words", "shares"),
    [
        (None, ()),
        ((), ()),
        ("run", (Share(adapter="run"),)),
        (Path("a/run"), (Share(adapter="a/run"),)),
        (["nano-fast", "run:0.7"], (Share(adapter="nano-fast"), Share(adapter="run", weight=0.7))),
        (["C:/runs/one", "b:-1.5"], (Share(adapter="C:/runs/one"), Share(adapter="b", weight=-1.5))),
    ],
)
def test_adapters_are_named_by_words(words: object, shares: tuple[Share, ...]) -> None:
    assert parse_adapters(words) == shares  # type: ignore[arg-type]


@given(weight=st.floats(-10, 10).filter(bool), name=st.text("abc/._-", min_size=1))
def test_any_weight_comes_back_as_it_was_written(weight: float, name: str) -> None:
    assert parse_adapters(f"{name}:{weight!r}") == (Share(adapter=name, weight=weight),)


def test_a_folder_that_is_called_like_a_weight_is_the_adapter(tmp_path: Path) -> None:
    (tmp_path / "run:2").mkdir()
    assert parse_adapters(tmp_path / "run:2") == (Share(adapter=f"{tmp_path}/run:2"),)


@pytest.mark.parametrize("word", ["run:0", "run:nan", "run:inf", ":0.5"])
def test_a_weight_that_cannot_be_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"expected PATH or PATH:WEIGHT, the weight a number other than 0"):
        parse_adapters(word)


def test_an_adapter_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="adapter run is named twice"):
        parse_adapters(["run:0.5", "run:0.2"])


def test_adapters_add_up_by_their_weights_as_their_blend_does(
    make_adapter: MakeAdapter, tiny_base: Path, tmp_path: Path
) -> None:
    one, two = make_adapter("one", text={}), make_adapter("two", seed=1, target_modules=["to_q", "conv1"])
    merge_adapters(AdapterMergeConfig(adapters=(one, two), out=tmp_path / "blend", weights=(0.7, -0.4)))
    blended, both = open_base(str(tiny_base)), open_base(str(tiny_base))
    apply_adapter(blended, tmp_path / "blend")
    apply_adapters(both, parse_adapters([f"{one}:0.7", f"{two}:-0.4"]))
    assert largest(ask_denoiser(blended.pipeline), ask_denoiser(both.pipeline)) < 1e-5
    assert largest(ask_text(blended.pipeline), ask_text(both.pipeline)) < 1e-5


def test_the_digest_tells_adapters_and_weights_but_not_their_order(make_adapter: MakeAdapter, tiny_base: Path) -> None:
    one, two = make_adapter("one"), make_adapter("two", seed=1)

    def digest(*words: str) -> str | None:
        return apply_adapters(open_base(str(tiny_base)), parse_adapters(words))

    assert digest(str(one)) == apply_adapter(open_base(str(tiny_base)), one)
    assert digest(f"{one}:0.5") != digest(str(one)) != digest(str(two))
    assert digest(f"{one}:0.5") == f"{digest(str(one))}*0.5"
    assert digest(f"{one}:0.5", str(two)) == digest(str(two), f"{one}:0.5") != digest(str(one), f"{two}:0.5")
    assert digest() is None


def test_a_picture_tells_the_deepest_adapter_that_drew_it(make_adapter: MakeAdapter, tiny_base: Path) -> None:
    one, two = make_adapter("one"), make_adapter("two", seed=1)
    path = two / "adapter" / "adapter.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "depth": 2}))
    assert Generator(str(tiny_base), [one, two]).depth == 3


def test_one_adapter_may_say_how_all_are_drawn_with_but_not_two_differently(
    make_adapter: MakeAdapter, tiny_base: Path
) -> None:
    one, two = make_adapter("one"), make_adapter("two", seed=1)
    config = dict(open_base(str(tiny_base)).pipeline.scheduler.config)
    give_sampling(one, Sampling(steps=3, guidance=1.0, scheduler=config))
    generator = Generator(str(tiny_base), [one, two])
    assert (generator.steps, generator.guidance) == (3, 1.0)
    give_sampling(two, Sampling(steps=3, guidance=1.0, scheduler=config))
    assert sampling_of_adapters(parse_adapters([one, two])) == read_card(one).sampling  # type: ignore[union-attr]
    give_sampling(two, Sampling(steps=4, guidance=1.0, scheduler=config))
    with pytest.raises(ValueError, match=r"one.* and .*two are made to be drawn with in different ways"):
        Generator(str(tiny_base), [one, two])


def test_a_dora_draws_alone_and_is_refused_beside_others(make_adapter: MakeAdapter, tiny_base: Path) -> None:
    one, dora = make_adapter("one"), make_adapter("dora", seed=1, use_dora=True)
    half = Generator(str(tiny_base), f"{dora}:0.5").draw("Chest CT", steps=2)[0]
    assert np.isfinite(half).all()
    with pytest.raises(ValueError, match=r"dora/adapter: is a DoRA, which cannot be added to others"):
        Generator(str(tiny_base), [one, dora])


def test_a_share_of_an_adapter_stays_beside_weights_that_come_and_go(
    make_adapter: MakeAdapter, tiny_base: Path
) -> None:
    one, two = make_adapter("one", use_rslora=True), make_adapter("two", seed=1)
    plan = plan_memory(str(tiny_base), device="cpu", budget=10**10, precision="fp32")
    plan = dataclasses.replace(plan, offload="model")
    ours, theirs = (
        Generator(str(tiny_base), f"{one}:0.3", device="cpu", memory=each).draw("Chest CT", steps=2)[0].astype(int)
        for each in (plan, None)
    )
    assert np.abs(ours - theirs).max() <= 1
    with pytest.raises(ValueError, match="2 adapters cannot be added to weights that come and go; raise --memory"):
        Generator(str(tiny_base), [one, two], device="cpu", memory=plan)
