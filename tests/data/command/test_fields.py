"""Configurations made in Python: lists, words and paths stand for tuples, paths and words."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
import tyro

from vesalius.cli.main import VERBS, load
from vesalius.data.building.config import BuildConfig
from vesalius.data.command.fields import Settled, _fit, _hints
from vesalius.finetune.config import FinetuneConfig
from vesalius.inference.config import GenerateConfig
from vesalius.inference.request import Request, Source
from vesalius.models.adapters.config import AdapterMergeConfig


def made(**fields: Any) -> GenerateConfig:
    return GenerateConfig(**{"out": Path("s"), **fields})


def test_words_become_paths_and_lists_become_tuples() -> None:
    plain = made(prompt=("a", "b"), prompts=Path("p.csv"), adapter=("run",), size=(64, 128), image=Path("a.png"))
    loose = made(
        prompt=["a", "b"], prompts="p.csv", adapter=[Path("run")], size=[64, 128], image="a.png", out="s",
    )  # fmt: skip
    assert loose == plain
    assert hash(loose) == hash(plain)
    assert (loose.out, loose.base) == (Path("s"), "nano")
    assert dataclasses.replace(loose, out="t").out == Path("t")  # type: ignore[arg-type]


def test_a_source_and_a_request_take_words_and_lists_too() -> None:
    source = Source(image="a.png", mask="b.png")  # type: ignore[arg-type]
    assert source == Source(image=Path("a.png"), mask=Path("b.png"))
    assert Request(prompt="CT", seed=1, size=[64, 32]).size == (64, 32)  # type: ignore[arg-type]


def test_one_word_or_path_is_a_tuple_of_one() -> None:
    assert made(prompt="Chest CT", adapter=Path("run"), base=Path("b")) == made(
        prompt=("Chest CT",), adapter=("run",), base="b"
    )
    assert BuildConfig(sources="here", out="o").sources == (Path("here"),)  # type: ignore[arg-type]
    assert FinetuneConfig(data="d", out="o").data == (Path("d"),)  # type: ignore[arg-type]
    merged = AdapterMergeConfig(adapters=["a", "b"], out="o", weights=[1, 0.5])  # type: ignore[arg-type]
    assert (merged.adapters, merged.weights) == ((Path("a"), Path("b")), (1.0, 0.5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 512}, "GenerateConfig: size is 512; expected 2 of them, each whole number"),
        ({"size": (512,)}, r"GenerateConfig: size is \(512,\); expected 2 of them"),
        ({"size": "512x512"}, "GenerateConfig: size is '512x512'; expected 2 of them"),
        ({"size": (512.0, 512)}, r"GenerateConfig: size is 512\.0; expected whole number"),
        ({"out": 3}, "GenerateConfig: out is 3; expected path"),
        ({"out": None}, "GenerateConfig: out is None; expected path"),
        ({"prompt": 7}, "GenerateConfig: prompt is 7; expected a list of texts"),
        ({"prompt": ["a", 7]}, "GenerateConfig: prompt is 7; expected text"),
        ({"prompt": {"a"}}, "GenerateConfig: prompt is {'a'}; expected a list of texts"),
        ({"base": 1}, "GenerateConfig: base is 1; expected text"),
        ({"sink": "jpeg"}, "GenerateConfig: sink is 'jpeg'; expected one of 'png', 'dicom'"),
        ({"split": ["train"]}, r"GenerateConfig: split is \['train'\]; expected one of 'train', 'val', 'test'"),
    ],
)
def test_what_cannot_be_meant_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        made(**fields)


def test_of_a_type_that_is_right_nothing_is_copied() -> None:
    words = ("a", "b")
    assert made(prompt=words).prompt is words


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_every_configuration_with_paths_or_tuples_is_settled(verb: Any) -> None:
    kind = load(verb.config)
    assert dataclasses.is_dataclass(kind)
    hints = _hints(kind)
    assert not hints or issubclass(kind, Settled)
    for hint in hints.values():  # of alternatives there is one beside None
        kinds = [a for a in typing.get_args(hint) if a is not type(None)]
        assert typing.get_origin(hint) in (tuple, typing.Literal) or len(kinds) < 2
    required = {f.name: tyro.MISSING for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    assert all(getattr(kind(**required), name) is tyro.MISSING for name in required)


def test_numbers_in_place_of_flags_are_not_taken() -> None:
    with pytest.raises(ValueError, match="expected whole number"):
        _fit((True, 2), tuple[int, int], "x")
