"""The flags of a configuration, told: what `--help` shows, and the reference. tyro parses them; its own help is of many
brackets, shows an empty list as nothing and none as `None`, and leaves the line breaks of the source in the texts.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDEST = 110
COLUMN = 26
"""Where the texts begin, in letters."""
LAST = ("json", "dry_run")
WORDS = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One field of a configuration as the command line has it.

    value: what follows it, such as PATH, N ... or auto|cpu; "" of a switch. default: as one would type it; "" where it
    is required, or where it is a switch that is off or an empty list. optional: whether it may be `none`.
    """

    name: str
    value: str
    default: str
    help: str
    required: bool
    positional: bool
    optional: bool

    @property
    def word(self) -> str:
        """--keep-going, or --[no-]mirror of a switch that is on, or FOLDER of what needs no flag."""
        if self.positional:
            return self.value
        no = "[no-]" if not self.value and self.default == "on" else ""
        return f"--{no}{self.name.replace('_', '-')}"

    @property
    def usage(self) -> str:
        """The flag with what follows it."""
        return self.word if self.positional else f"{self.word} {self.value}".rstrip()

    @property
    def text(self) -> str:
        """Its help in one paragraph, with the default."""
        return f"{self.help} [default: {self.default}]" if self.default else self.help


def flags_of(kind: type[Any], given: Any = None) -> list[Flag]:
    """The flags of a configuration's class: what is needed, its own, those of classes that it is made from, and how
    it is told at the end. given: an instance whose values are the defaults."""
    hints, texts = typing.get_type_hints(kind, include_extras=True), field_texts(kind)
    flags = []
    for field in dataclasses.fields(kind):
        hint, positional, named = hints[field.name], False, None
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
            positional = any("Positional" in str(mark) for mark in marks)
            named = next((m.metavar for m in marks if hasattr(m, "metavar")), None)
        required = _lacks_default(field)
        default = getattr(given, field.name) if given is not None else _default_of(field)
        if dataclasses.is_dataclass(hint):
            inner = flags_of(typing.cast(type[Any], hint), default)
            flags += [dataclasses.replace(flag, name=f"{field.name}.{flag.name}") for flag in inner]
            continue
        value = _value_of(hint)
        if named is not None:
            value = f"{named} ..." if value.endswith(" ...") else named
        elif positional:
            many = value.endswith(" ...")
            value = field.name.upper().removesuffix("S" if many else "") + (" ..." if many else "")
        flags.append(
            Flag(
                name=field.name, value=value, default="" if required else _typed(default), required=required,
                help=texts.get(field.name, ""), positional=positional, optional=type(None) in typing.get_args(hint),
            )
        )  # fmt: skip
    own = kind.__annotations__
    return sorted(flags, key=lambda f: (not f.positional, not f.required, f.name in LAST, f.name not in own))


def field_texts(kind: type[Any]) -> dict[str, str]:
    """What stands below each field of a dataclass, or of those that it is made from, as one line."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each):
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
            found |= texts_below(typing.cast(ast.ClassDef, tree.body[0]).body)
    return found


def texts_below(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Names that are given a value or a type in a body, with the string that follows each, as one line."""
    found = {}
    for node, after in itertools.pairwise(body):
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = " ".join(str(after.value.value).split())
    return found


def usage_of(words: str, flags: Sequence[Flag]) -> str:
    """The line that says how a verb is called: what it needs, and that there is more."""
    needed = [f.usage if f.required else f"[{f.usage}]" for f in flags if f.positional]
    needed += [f.usage for f in flags if f.required and not f.positional]
    more = ["[options]"] if any(not f.required and not f.positional for f in flags) else []
    return " ".join([words, *needed, *more])


def help_text(words: str, kind: type[Any], given: Any = None) -> str:
    """What `--help` prints. given: an instance whose values are shown as the defaults, such as a recipe's."""
    width = min(WIDEST, max(60, shutil.get_terminal_size().columns))
    flags = flags_of(kind, given)
    about = [textwrap.fill(" ".join(part.split()), width) for part in (inspect.getdoc(kind) or "").split("\n\n")]
    lines = [f"usage: {usage_of(words, flags)}", "", *("\n".join([*about, ""]).splitlines())]
    for title, part in (
        ("", [f for f in flags if f.positional]),
        ("needed:", [f for f in flags if f.required and not f.positional]),
        ("options:", [f for f in flags if not f.required and not f.positional]),
    ):
        if part:
            lines += ["", *([title] if title else []), *(line for flag in part for line in _lines(flag, width))]
    if any(not f.value and not f.positional for f in flags):
        lines += ["", "Each switch has a --no- form, which takes it back where a recipe or an earlier word set it."]
    return "\n".join(lines)


def asks_for_help(words: Sequence[str]) -> bool:
    return not {"-h", "--help"}.isdisjoint(words)


def without_none(words: Sequence[str], kind: type[Any]) -> list[str]:
    """The words of a line in which `none`, where it means without, is as tyro reads it."""
    may = {f"--{f.name.replace('_', '-')}" for f in flags_of(kind) if f.optional}
    return [
        "None" if word == "none" and before in may else word.replace("=none", "=None") if word[:-5] in may else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def _lines(flag: Flag, width: int) -> Iterator[str]:
    head = f"  {flag.usage}"
    whole = flag.text.replace("[default: ", "[default:\N{NO-BREAK SPACE}")  # and no line ends within
    text = [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(whole, width - COLUMN)]
    if len(head) >= COLUMN - 1:
        yield head
        head = ""
    for i, line in enumerate(text):
        yield f"{head if i == 0 else '':<{COLUMN}}{line}"


def _lacks_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _value_of(hint: Any) -> str:
    """What a flag of a type is followed by; "" of a switch."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return ""
    if origin in (typing.Union, types.UnionType):
        values = [_value_of(each) for each in arguments if each is not type(None)]
        listed = any(typing.get_origin(each) is typing.Literal for each in arguments)
        return "|".join(["none", *values] if listed else values)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin is tuple:
        of = [_value_of(each) for each in arguments if each is not Ellipsis]
        return f"{of[0]} ..." if arguments[-1] is Ellipsis else " ".join(of)
    return WORDS.get(hint, "VALUES ...")


def _typed(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, tuple):
        return " ".join(map(_typed, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
