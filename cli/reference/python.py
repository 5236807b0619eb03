"""Pages of the reference: what each stage exports, read from the source, so that nothing heavy is imported."""

from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.command.exports import homes_of
from vesalius.data.command.flags import texts_below

STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo")
WIDTH = 100
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Member:
    """A public name. node: where its module defines it; text: what is told of it."""

    name: str
    module: str
    node: ast.stmt
    text: str


@functools.lru_cache(maxsize=16)
def members_of(stage: str) -> dict[str, Member]:
    """The public names of a stage, in alphabetical order."""
    found = {}
    for name, module in sorted(homes_of(f"vesalius.{stage}").items(), key=lambda pair: pair[0].lower()):
        tree = parsed(module)
        node = next(n for n in tree.body if name in _names(n))
        told = (
            ast.get_docstring(node) if isinstance(node, Function | ast.ClassDef) else texts_below(tree.body).get(name)
        )
        found[name] = Member(name=name, module=module, node=node, text=told or "")
    return found


@functools.lru_cache(maxsize=256)
def parsed(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def stage_page(stage: str) -> str:
    """The page of a stage: each public name with its signature and what is told of it."""
    doc = ast.get_docstring(parsed(f"vesalius.{stage}")) or ""
    members = members_of(stage)
    lines = [
        f"# `vesalius.{stage}`", "", doc, "",
        f"`from vesalius.{stage} import ...`: a name is imported when it is asked for. What stands deeper may",
        "change without notice.", "",
        *(f"- [`{m.name}`](#{anchor(m, members)}): {first(m.text)}" for m in members.values()),
    ]  # fmt: skip
    for member in members.values():
        lines += ["", *member_lines(member, members)]
    return "\n".join(lines)


def anchor(member: Member, members: Mapping[str, Member]) -> str:
    """Where a name is on its page; of a class beside a function, as `Plan` beside `plan`, apart from that."""
    twin = isinstance(member.node, ast.ClassDef) and member.name.lower() in members
    return f"{member.name.lower()}{'-class' if twin else ''}"


def member_lines(member: Member, members: Mapping[str, Member]) -> list[str]:
    """One public name."""
    node = member.node
    if isinstance(node, Function):
        code, more = signature(node), []
    elif isinstance(node, ast.ClassDef):
        fields = fields_of(node, member.module).items()
        inside = [f"    {name}: {kind}{f' = {default}' if default else ''}" for name, (kind, default, _) in fields]
        code, more = "\n".join([class_head(node) + ":" * bool(inside), *inside]), class_lines(node, member.module)
    else:
        value = node.annotation if isinstance(node, ast.AnnAssign) else None
        code, more = f"{member.name}: {ast.unparse(value)}" if value else member.name, []
    apart = " (class)" if anchor(member, members).endswith("-class") else ""
    return [f"## `{member.name}`{apart}", "", "```python", code, "```", "", *markdown(member.text), *more]


def class_lines(node: ast.ClassDef, module: str) -> list[str]:
    """Texts of fields, and public methods."""
    told = [f"- `{name}`: {text}" for name, (_, _, text) in fields_of(node, module).items() if text]
    lines = ["", *told] if told else []
    for method in methods_of(node):
        doc = ast.get_docstring(method) or ""
        lines += ["", f"**`{node.name}.{method.name}`**", "", "```python", signature(method), "```", "", *markdown(doc)]
    return lines


def methods_of(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Public methods, and the constructor where it says something."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and (
            not each.name.startswith("_")
            or each.name == "__call__"
            or (each.name == "__init__" and ast.get_docstring(each))
        ):
            yield each


def fields_of(node: ast.ClassDef, module: str) -> dict[str, tuple[str, str, str]]:
    """Fields of a dataclass and of those that it is made from: type, default and text."""
    if not any("dataclass" in ast.unparse(mark) for mark in node.decorator_list):
        return {}
    found: dict[str, tuple[str, str, str]] = {}
    for base in node.bases:
        if (place := _found(ast.unparse(base), module)) is not None:
            found |= fields_of(*place)
    texts = texts_below(node.body)
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id[:1] != "_":
            default = ast.unparse(each.value) if each.value is not None else ""
            found[each.target.id] = (plain(ast.unparse(each.annotation)), default, texts.get(each.target.id, ""))
    return found


def _found(name: str, module: str) -> tuple[ast.ClassDef, str] | None:
    """The class that a name means in a module, and the module that defines it; None of what is not ours."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, module
        if isinstance(node, ast.ImportFrom) and node.module and name in {a.name for a in node.names}:
            return _found(name, node.module) if node.module.startswith("vesalius.") else None
    return None


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The line of a function without its body, an argument a line where it is long."""
    head = f"def {node.name}" if not _is_property(node) else f"{node.name}"
    answer = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    if _is_property(node):
        return f"{head}: {ast.unparse(node.returns) if node.returns else ''}"
    whole = f"{head}({ast.unparse(node.args)}){answer}"
    if len(whole) <= WIDTH:
        return whole
    return "\n".join([f"{head}(", *(f"    {each}," for each in _arguments(node.args)), f"){answer}"])


def _arguments(given: ast.arguments) -> Iterator[str]:
    plain_ones = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain_ones) - len(given.defaults)) + list(given.defaults)
    for name, default in zip(plain_ones, defaults, strict=True):
        yield _argument(name, default)
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for name, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(name, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(name: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(name) + (f" = {ast.unparse(default)}" if default is not None else "")


def class_head(node: ast.ClassDef) -> str:
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    kind = next((f"@{ast.unparse(m)}\n" for m in node.decorator_list if "dataclass" in ast.unparse(m)), "")
    return f"{kind}class {node.name}{bases}"


def markdown(text: str) -> list[str]:
    """A docstring as Markdown: what it indents, and its examples, as code."""
    parts: list[str] = []
    for is_code, block in itertools.groupby(text.splitlines(), lambda line: line.startswith(("  ", ">>> ", "... "))):
        lines = list(block)
        told = "\n".join(lines).strip("\n")
        if is_code:
            told = f"```{'pycon' if lines[0].startswith('>') else 'text'}\n{textwrap.dedent(told)}\n```"
        parts += [told] if told.strip() else []
    return "\n\n".join(parts).splitlines()


def first(text: str) -> str:
    """The first sentence of a text."""
    line = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<! al)\. ", line)[0].removesuffix(".") + "." if line else ""


def plain(kind: str) -> str:
    """A type without what it tells the command line alone."""
    for mark in ("tyro.conf.Positional[", "Annotated["):
        if kind.startswith(mark):
            kind = kind.removeprefix(mark).removesuffix("]").removesuffix(", tyro.conf.Positional")
    return kind.split(", tyro.conf.arg")[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {t.id for t in targets if isinstance(t, ast.Name)}


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(mark) in ("property", "cached_property") for mark in node.decorator_list)
