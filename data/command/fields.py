"""Fields of configurations as people write them in Python: a list or one word for a tuple, a word for a path."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from functools import lru_cache
from pathlib import Path
from typing import Any


class Settled:
    """What a configuration, a frozen dataclass, inherits so that its paths and tuples are such, whoever made it."""

    def __post_init__(self) -> None:
        """A path, or a text where one is declared, may be given as either; a tuple as a list, or as its one member.

        ValueError names the field where something else stands there, such as a text for a number.
        """
        kind: Any = type(self)
        for name, hint in _hints(kind).items():
            value = getattr(self, name)
            if not _is_missing(value) and (fitted := _fit(value, hint, f"{kind.__name__}: {name}")) is not value:
                object.__setattr__(self, name, fitted)


@lru_cache(maxsize=64)
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The declared types of fields that hold paths, texts, tuples or one of some words."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if _settles(hints[f.name])}


def _settles(hint: Any) -> bool:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return any(map(_settles, typing.get_args(hint)))
    return hint in (Path, str) or typing.get_origin(hint) in (tuple, typing.Literal)


def _is_missing(value: Any) -> bool:
    """Whether a value is tyro's mark of a flag that was not given."""
    return type(value).__module__.partition(".")[0] == "tyro"


def _fit(value: Any, hint: Any, where: str) -> Any:
    """A value as the declared type; itself where it is of that. ValueError where it is neither."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return value
        (hint,) = (each for each in arguments if each is not type(None))
        return _fit(value, hint, where)
    if typing.get_origin(hint) is tuple:
        return _fit_tuple(value, arguments, where)
    if typing.get_origin(hint) is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}; expected one of {', '.join(map(repr, arguments))}")
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} is {value!r}; expected {_told(hint)}")
    return value


def _fit_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    many = arguments[-1] is Ellipsis
    if many and isinstance(value, str | os.PathLike):
        value = (value,)
    if isinstance(value, set | frozenset | dict) or not (hasattr(value, "__iter__") and not isinstance(value, str)):
        raise ValueError(f"{where} is {value!r}; expected {_listed(arguments)}")
    members = value if isinstance(value, tuple) else tuple(value)
    if not many and len(members) != len(arguments):
        raise ValueError(f"{where} is {value!r}; expected {_listed(arguments)}")
    hints = (arguments[0],) * len(members) if many else arguments
    fitted = tuple(_fit(each, hint, where) for each, hint in zip(members, hints, strict=True))
    same = isinstance(value, tuple) and all(a is b for a, b in zip(fitted, value, strict=True))
    return value if same else fitted


def _listed(arguments: tuple[Any, ...]) -> str:
    if arguments[-1] is Ellipsis:
        return f"a list of {_told(arguments[0])}s"
    return f"{len(arguments)} of them, each {_told(arguments[0])}"


def _told(hint: Any) -> str:
    words = {Path: "path", str: "text", int: "whole number", float: "number"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
