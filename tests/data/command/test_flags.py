"""What `--help` says of a configuration: every flag as one would type it, its default, and its text in one piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from vesalius.cli.main import find_verb, parse
from vesalius.data.command.flags import Flag, flags_of, help_text, usage_of, without_none


@dataclass(frozen=True, kw_only=True)
class Base:
    """Nothing in particular."""

    seed: int = 0
    """seed of the work"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a network."""

    width: int = 8
    """channels"""


@dataclass(frozen=True, kw_only=True)
class Some(Base):
    """Do some work, which is told here.

    And more of it.
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """what is read"""
    out: Path
    """where it goes"""
    size: tuple[int, int] | None = None
    """height and width; none: as they are,
    with the second line of a text"""
    stain: Literal["macenko"] | None = None
    """how it is stained"""
    kind: Literal["one", "two"] = "one"
    """which of them"""
    names: tuple[str, ...] = ()
    """who"""
    veto: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE")] = ()
    """what is left out"""
    mirror: bool = True
    """turn it round"""
    json: bool = False
    """print JSON"""
    rate: float = 1e-4
    """how fast"""
    sizes: Sizes = Sizes()
    """of what is trained"""


FLAGS = {flag.name: flag for flag in flags_of(Some)}


@pytest.mark.parametrize(
    ("name", "usage", "default"),
    [
        ("seed", "--seed N", "0"),
        ("sources", "SOURCE ...", ""),
        ("out", "--out PATH", ""),
        ("size", "--size N N", "none"),
        ("stain", "--stain none|macenko", "none"),
        ("kind", "--kind one|two", "one"),
        ("names", "--names TEXT ...", ""),
        ("veto", "--veto FILE ...", ""),
        ("mirror", "--[no-]mirror", "on"),
        ("json", "--json", ""),
        ("rate", "--rate NUMBER", "0.0001"),
        ("sizes.width", "--sizes.width N", "8"),
    ],
)
def test_a_flag_is_told_as_one_types_it(name: str, usage: str, default: str) -> None:
    assert (FLAGS[name].usage, FLAGS[name].default) == (usage, default)


def test_help_says_what_is_needed_first_and_a_text_in_one_piece() -> None:
    told = help_text("vesalius some", Some)
    assert told.startswith(
        "usage: vesalius some SOURCE ... --out PATH [options]\n\nDo some work, which is told here.\n"
    )
    assert told.index("--out PATH   ") < told.index("--seed N")
    assert "as they are, with the second line" in " ".join(told.split())
    assert "[default: none]" in told
    assert "--no- form" in told


def test_a_recipe_changes_the_defaults_that_help_shows() -> None:
    given = Some(sources=(), out=Path("o"), seed=7)
    assert {f.name: f.default for f in flags_of(Some, given)}["seed"] == "7"


def test_a_line_without_options_has_no_word_for_them() -> None:
    flag = Flag(name="out", value="PATH", default="", help="", required=True, positional=False, optional=False)
    assert usage_of("x", [flag]) == "x --out PATH"


def test_none_means_without_on_the_command_line_too() -> None:
    assert without_none(["--stain", "none", "--names", "none", "--size=none"], Some) == [
        "--stain", "None", "--names", "none", "--size=None",
    ]  # fmt: skip
    verb, words = find_verb(["finetune", "--data", "d", "--out", "o", "--section", "none", "--balance", "none"])
    assert verb is not None
    config = parse(verb, words)
    assert (config.section, config.balance) == (None, "none")
