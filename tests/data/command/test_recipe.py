"""Recipes fill a configuration, with their types checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from vesalius.data.command.recipe import claim, read_recipe_file
from vesalius.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """One field of each kind."""

    out: Path = Path("out")
    folders: tuple[Path, ...] = ()
    steps: int = 1
    rate: float = 0.1
    gamma: float | None = 5.0
    name: str = "a"
    fast: bool = False
    mode: Literal["auto", "never"] = "auto"
    memory: int | str = "auto"


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    def read(text: str, kind: type[Any] = Kitchen, **given: Any) -> dict[str, Any]:
        (tmp_path / "r.toml").write_text(text, encoding="utf-8")
        return read_recipe_file(tmp_path / "r.toml", kind, **given)

    return read


def test_every_kind_of_field_is_read_with_its_type(recipe: Any) -> None:
    values = recipe(
        'out = "~/run"\nfolders = ["a", "b"]\nsteps = 3\nrate = 1e-5\n'
        'gamma = "none"\nname = "x"\nfast = true\nmode = "never"\n'
    )
    assert values == {
        "out": Path("~/run").expanduser(), "folders": (Path("a"), Path("b")), "steps": 3, "rate": 1e-5, "gamma": None,
        "name": "x", "fast": True, "mode": "never",
    }  # fmt: skip
    assert Kitchen(**values).rate == 0.00001


def test_a_whole_number_is_a_float_and_one_word_a_list_where_that_is_asked(recipe: Any) -> None:
    values = recipe('rate = 2\nfolders = "a"\ngamma = 3')
    assert values == {"rate": 2.0, "folders": (Path("a"),), "gamma": 3.0}
    assert isinstance(values["rate"], float)


def test_a_field_of_two_types_takes_either(recipe: Any) -> None:
    assert recipe("memory = 4") == {"memory": 4}
    assert recipe('memory = "4GB"') == {"memory": "4GB"}


def test_none_is_a_word_like_others_where_a_field_cannot_lack(recipe: Any) -> None:
    assert recipe('name = "none"\nmemory = "none"') == {"name": "none", "memory": "none"}


def test_what_is_given_wins_over_the_file(recipe: Any) -> None:
    assert recipe("steps = 3\nrate = 0.5", given={"steps": 7, "fast": True}) == {"steps": 7, "rate": 0.5, "fast": True}


def test_an_empty_recipe_sets_nothing(recipe: Any) -> None:
    assert recipe("# nothing yet\n") == {}


def test_a_byte_order_mark_as_editors_on_windows_write_it_is_read_over(recipe: Any) -> None:
    assert recipe("\ufeffsteps = 2") == {"steps": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", r"r\.toml: 'stepz' is no field of Kitchen; did you mean 'steps'\?"),
        ("qqqq = 3", r"r\.toml: 'qqqq' is no field of Kitchen; leave it out, or see --help"),
        ('steps = "3"', r"r\.toml: steps is '3'; expected int"),
        ("steps = 3.5", r"r\.toml: steps is 3\.5; expected int"),
        ("steps = true", r"r\.toml: steps is True; expected int"),
        ("rate = true", r"r\.toml: rate is True; expected float"),
        ("fast = 1", r"r\.toml: fast is 1; expected bool"),
        ('rate = "none"', r"r\.toml: rate is 'none'; expected float"),
        ('mode = "later"', r"r\.toml: mode is 'later'; expected one of 'auto', 'never'"),
        ("folders = [1]", r"r\.toml: folders is 1; expected Path"),
        ('gamma = "five"', r"r\.toml: gamma is 'five'; expected float"),
        ("[out]\na = 1", r"r\.toml: out is \{'a': 1\}; expected Path"),
        ("steps = ", r"r\.toml: not TOML: "),
    ],
)
def test_a_wrong_line_is_an_error_that_names_file_key_and_what_was_expected(
    recipe: Any, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(text)


def test_a_missing_recipe_a_folder_and_other_encodings_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml: no such recipe"):
        read_recipe_file(tmp_path / "none.toml", Kitchen)
    with pytest.raises(ValueError, match="cannot be read as a recipe"):
        read_recipe_file(tmp_path, Kitchen)
    (tmp_path / "utf16.toml").write_bytes("steps = 1".encode("utf-16"))
    with pytest.raises(ValueError, match="not TOML"):
        read_recipe_file(tmp_path / "utf16.toml", Kitchen)


def test_a_recipe_of_the_fine_tuning_run_is_read(recipe: Any) -> None:
    values = recipe(
        'data = ["set"]\nout = "run"\nlearning_rate = 1e-4\nmin_snr_gamma = "none"\ntargets = ["to_q"]', FinetuneConfig
    )
    config = FinetuneConfig(**values)
    assert (config.data, config.learning_rate, config.min_snr_gamma, config.targets) == (
        (Path("set"),),
        1e-4,
        None,
        ("to_q",),
    )


def test_a_folder_with_the_torn_mark_of_a_killed_run_is_taken_up_and_one_with_anything_else_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / ".config.json.123.tmp").write_text("{")
    claim(tmp_path, {"seed": 1}, kind="run", write=False)
    claim(tmp_path, {"seed": 1}, kind="run")
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
    (tmp_path / "config.json").unlink()
    (tmp_path / ".config.json.123.tmp").write_text("{")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and no run folder"):
        claim(tmp_path, {"seed": 1}, kind="run")
    assert (tmp_path / ".config.json.123.tmp").exists()


def test_a_folder_of_another_stage_is_called_that_rather_than_compared_field_by_field(tmp_path: Path) -> None:
    claim(tmp_path, {"seed": 1, "prompt": "CT", "num": 4}, kind="samples")
    with pytest.raises(ValueError, match="is of something else, no run; give another --out"):
        claim(tmp_path, {"seed": 1, "data": "dataset", "steps": 5}, kind="run")
    with pytest.raises(ValueError, match=r"is a samples folder with another configuration \(num differ\)"):
        claim(tmp_path, {"seed": 1, "prompt": "CT", "num": 5}, kind="samples")
