"""Pages of the reference: the verbs of the command, and the modules that have a line of their own."""

from __future__ import annotations

import ast
import functools
import inspect
import os
from pathlib import Path
from typing import Any

from vesalius.cli.main import RECIPES, VERBS, Verb, load
from vesalius.cli.reference.python import STAGES, members_of
from vesalius.data.command.flags import Flag, flags_of, usage_of

GROUPS = {
    "data": ("Datasets", ("data",)),
    "finetune": ("Fine-tuning, its plan and its runs", ("plan", "finetune", "runs", "cloud")),
    "generate": ("Drawing, augmenting, serving", ("generate", "augment", "serve")),
    "eval": ("Measuring and explaining", ("eval", "explain", "readers", "compare", "usefulness")),
    "adapter": ("Adapters", ("adapter",)),
    "improve": ("The loop", ("improve",)),
    "demo": ("The browser application, and this machine", ("demo", "doctor")),
}
"""Page -> its title, and the first words of the verbs on it, in order."""
ALSO = {
    "augment": (("inference", "augment"),),
    "serve": (("inference", "build_service"),),
    "improve status": (("improve", "read_status"),),
    "improve show": (("improve", "show_round"),),
}
"""Public functions that do what a verb does without its configuration: verb -> (stage, name)."""
FOLDER = Path(__file__).resolve().parents[2]


def group_page(name: str) -> str:
    """The page of a group of verbs."""
    title, words = GROUPS[name]
    verbs = [verb for word in words for verb in VERBS if verb.words.split()[0] == word]
    listed = [f"- [`vesalius {v.words}`](#vesalius-{v.words.replace(' ', '-')}): {v.help}" for v in verbs]
    return "\n".join([f"# {title}", "", *listed, *(line for verb in verbs for line in ["", *verb_lines(verb)])])


def verb_lines(verb: Verb) -> list[str]:
    """One verb: what it does, how it is called, in Python too, and its flags."""
    kind: type[Any] = load(verb.config)
    called = f"vesalius {verb.words}{' [RECIPE.toml]' if verb.words in RECIPES else ''}"
    flags = flags_of(kind)
    return [
        f"## `vesalius {verb.words}`", "", sentence(inspect.getdoc(kind) or ""), "",
        "```text", usage_of(called, flags), "```", "", *in_python(verb, kind), *flag_table(flags),
    ]  # fmt: skip


def in_python(verb: Verb, kind: type[Any]) -> list[str]:
    """The public functions that do this, each with a link; nothing where none is."""
    also = [f"[`vesalius.{stage}.{name}`](python-{stage}.md#{name})" for stage, name in ALSO.get(verb.words, ())]
    found = also + [
        f"[`vesalius.{stage}.{name}`](python-{stage}.md#{name.lower()})"
        for stage in STAGES
        for name, member in members_of(stage).items()
        if isinstance(member.node, ast.FunctionDef) and takes(member.node, kind.__name__)
    ]
    told = f" of a [`{kind.__name__}`](python-{home}.md#{kind.__name__.lower()})" if (home := home_of(kind)) else ""
    return [f"In Python: {', '.join(found)}{told}.", ""] if found else []


def takes(function: ast.FunctionDef, name: str) -> bool:
    first = function.args.args[:1]
    return bool(first and first[0].annotation and ast.unparse(first[0].annotation) == name)


def home_of(kind: type[Any]) -> str | None:
    """The stage that exports a configuration."""
    return next((stage for stage in STAGES if kind.__name__ in members_of(stage)), None)


def flag_table(flags: list[Flag]) -> list[str]:
    """Each flag with what follows it, its default and its help."""
    home = os.environ.get("VESALIUS_HOME") or str(Path.home() / ".cache" / "vesalius")
    rows = ["| flag | default | what it is |", "|---|---|---|"]
    for f in flags:
        shown = f.default.replace(home, "$VESALIUS_HOME") if f.default.startswith(home) else f.default
        default = "needed" if f.required else f"`{shown}`" if shown and f.value else "on" if shown else ""
        rows.append(f"| `{cell(f.usage)}` | {default} | {cell(sentence(f.help))} |")
    return rows


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def sentence(text: str) -> str:
    """A text in one line, which ends as a sentence does."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?", ":")) or not line else f"{line}."


def modules_page() -> str:
    """The modules that are run by `python -m`, by stage."""
    lines = [
        "# Modules with a line of their own", "",
        "What makes the embedded models, measures them and proves the loop is no verb: each is a module that Python",
        "runs, with flags made as those of verbs are, and the same [exit codes](environment.md#exit-codes).",
    ]  # fmt: skip
    for module, kind in modules():
        flags = flags_of(kind)
        doc = (inspect.getdoc(inspect.getmodule(kind)) or "").split("\n\n")[0]
        about = sentence(inspect.getdoc(kind) or doc)
        lines += [
            "", f"## `{module}`", "", about, "", "```text", usage_of(f"python -m {module}", flags), "```", "",
            *flag_table(flags),
        ]  # fmt: skip
    return "\n".join(lines)


@functools.lru_cache(maxsize=1)
def modules() -> tuple[tuple[str, type[Any]], ...]:
    """Every module that `run_module` ends, with the class of its configuration."""
    found = []
    for stage in STAGES:
        for path in sorted((FOLDER / stage).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "__main__" in text and (call := _run_module(ast.parse(text))) is not None:
                module = ".".join(["vesalius", *path.relative_to(FOLDER).with_suffix("").parts])
                found.append((module, load(f"{module.removeprefix('vesalius.')}:{ast.unparse(call.args[0])}")))
    return tuple(found)


def _run_module(tree: ast.Module) -> ast.Call | None:
    calls = (node for node in ast.walk(tree.body[-1]) if isinstance(node, ast.Call))
    return next((c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "run_module"), None)
