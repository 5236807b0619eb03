"""Recipes: TOML files that fill a stage's configuration dataclass; flags override them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from vesalius.data.record import read_state, write_json

C = TypeVar("C")


def read_recipe_file(path: Path, kind: type[C], *, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a configuration that a TOML file sets, with their types checked; `given` wins over the file.

    The word "none" means None. ValueError names the file, the key, what was got and what was expected.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such recipe; give a TOML file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as a recipe: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "leave it out, or see --help"
            raise ValueError(f"{path}: '{key}' is no field of {kind.__name__}; {hint}")
        values[key] = _fit(value, hints[key], f"{path}: {key}")
    return {**values, **(given or {})}


def _fit(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as the type that a field declares. ValueError where it is of another."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _fit(value, arguments[0], where)
    if origin in (types.UnionType, typing.Union):
        if value == "none" and type(None) in arguments:
            return None
        choices = [a for a in arguments if a is not type(None)]
        for choice in choices[:-1]:
            try:
                return _fit(value, choice, where)
            except ValueError:
                continue
        return _fit(value, choices[-1], where)
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_fit(v, arguments[0], where) for v in items)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}; expected one of {', '.join(map(repr, arguments))}")
        return value
    if hint is Path and isinstance(value, str):
        return Path(os.path.expanduser(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}")
    return value


def check_place(folder: Path) -> None:
    """ValueError where no folder can be made or written to there: said before the work rather than after it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a folder for --out")
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise ValueError(f"{folder}: {nearest} is a file, in which no folder can be; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: {nearest} may not be written to; change its permissions, or choose another --out")


def claim(folder: Path, settings: dict[str, Any], *, kind: str, free: tuple[str, ...] = (), write: bool = True) -> None:
    """Take up a folder that the same settings began, or begin one: `config.json` is its mark, written before all else.

    Settings named in `free` may change. write False: only look. ValueError where the folder holds something else, or
    where other settings began it, naming them.
    """
    check_place(folder)
    path = folder / "config.json"
    wanted = json.loads(json.dumps(settings, default=str))
    if path.is_file():
        former = read_state(path, "give another --out")
        changed = sorted(k for k in {*former, *wanted} - {*free} if former.get(k) != wanted.get(k))
        if changed and 2 * len({*former} & {*wanted}) < len({*former} | {*wanted}):
            raise ValueError(f"{folder}: its config.json is of something else, no {kind}; give another --out")
        if changed:
            raise ValueError(
                f"{folder}: is a {kind} folder with another configuration ({', '.join(changed)} differ); "
                "give another --out, or the same line to continue"
            )
    elif folder.is_dir():
        torn = list(folder.glob(".config.json.*.tmp"))  # by a run that was killed as it wrote the mark
        if any(p not in torn for p in folder.iterdir()):
            raise ValueError(f"{folder}: is not empty and no {kind} folder; give a new --out")
        for each in torn if write else ():
            each.unlink(missing_ok=True)
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
