"""The reference is as the code is, and nothing that a user can reach is missing from it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vesalius.cli.main import VERBS, Verb, load
from vesalius.cli.reference.commands import modules
from vesalius.cli.reference.files import FOLDERS, SET, TESTS, VARIABLES
from vesalius.cli.reference.python import STAGES, Member, fields_of, members_of, methods_of
from vesalius.cli.reference.write import pages
from vesalius.data.command import ending
from vesalius.data.command.flags import field_texts, flags_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
ALL = "\n".join(PAGES.values())
MEMBERS = [(stage, member) for stage in STAGES for member in members_of(stage).values()]
ARRAY = re.compile(r"\b(torch\.Tensor|Uint8|Float32|Float64|NDArray)\b")
SHAPE = re.compile(r"\[[A-Z0-9]+(, [^\]]+)?\]|\b(N?[C3]?HW[C13]?|CHW)\b|\buint8\b|\bfloat(32|64)?\b")
public = pytest.mark.parametrize(
    ("stage", "member"), MEMBERS, ids=[f"{stage}.{member.name}" for stage, member in MEMBERS]
)


def test_the_pages_are_what_the_code_makes() -> None:
    made = pages()
    assert PAGES.keys() == made.keys()
    stale = [name for name, text in made.items() if PAGES[name] != text]
    assert stale == [], "write them again: python -m vesalius.cli.reference.write docs/reference"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_every_verb_and_every_flag_is_told_with_its_help(verb: Verb) -> None:
    kind = load(verb.config)
    _, found, rest = ALL.partition(f"\n## `vesalius {verb.words}`\n")
    assert found
    section = rest.split("\n## ")[0]
    told = flags_of(kind)
    assert {flag.name for flag in told} == {field.name for field in dataclasses.fields(kind)}
    for flag in told:
        assert f"\n| `{flag.usage}`".replace("|", "\\|").replace("\n\\|", "\n|") in section
        assert len(flag.help) > 3, f"{verb.words}: {flag.word} has no help"


def test_every_module_with_a_line_of_its_own_is_told_with_its_flags() -> None:
    named = subprocess.run(["git", "grep", "-l", "run_module(", "--", "*.py"], cwd=ROOT, capture_output=True, text=True)
    paths = {Path(line).with_suffix("") for line in named.stdout.split() if Path(line).parts[0] in STAGES}
    assert {name for name, _ in modules()} == {f"vesalius.{'.'.join(p.parts)}" for p in paths if p.name != "ending"}
    for name, kind in modules():
        assert f"\n## `{name}`\n" in PAGES["commands-modules.md"]
        assert [flag.word for flag in flags_of(kind) if len(flag.help) < 3] == [], f"{name}: flags without help"


@pytest.mark.parametrize("stage", STAGES)
def test_every_public_name_is_on_the_page_of_its_stage(stage: str) -> None:
    names = importlib.import_module(f"vesalius.{stage}").__all__
    assert names
    told = re.findall(r"^## `(\w+)`", PAGES[f"python-{stage}.md"], re.MULTILINE)
    assert sorted(told) == sorted(names)


def test_every_link_of_a_page_leads_to_a_heading() -> None:
    anchors = {}
    for name, text in PAGES.items():
        headings = re.findall(
            r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
        )
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert len(slugs) == len(set(slugs)), f"{name}: two headings of one name"
        anchors[name] = set(slugs)
    for name, text in PAGES.items():
        for page, place in re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", text):
            assert place in anchors[page or name], f"{name}: {page}#{place}"


@public
def test_every_public_name_says_what_it_is(stage: str, member: Member) -> None:
    assert len(member.text) > 10
    if isinstance(member.node, ast.ClassDef):
        untold = [m.name for m in methods_of(member.node) if not ast.get_docstring(m)]
        assert untold == [], "methods without a docstring"


@public
def test_public_functions_say_shapes_and_errors(stage: str, member: Member) -> None:
    for function, text in functions(member):
        kinds = [a.annotation for a in (*function.args.args, *function.args.kwonlyargs)] + [function.returns]
        if any(kind is not None and ARRAY.search(ast.unparse(kind)) for kind in kinds):
            assert SHAPE.search(text), f"{function.name}: of which shape and type are its arrays?"
        raised = {ast.unparse(n.exc.func) for n in ast.walk(function) if isinstance(n, ast.Raise) and called(n)}
        for error in raised & {"ValueError", "OSError", "ImportError"}:
            assert error in text, f"{function.name}: when does it raise {error}?"


def called(node: ast.Raise) -> bool:
    return isinstance(node.exc, ast.Call)


def functions(member: Member) -> Iterator[tuple[ast.FunctionDef, str]]:
    """A public function, or the public methods of a class, each with its docstring; that of the class holds too."""
    if isinstance(member.node, ast.FunctionDef):
        yield member.node, member.text
    elif isinstance(member.node, ast.ClassDef):
        yield from ((m, member.text + (ast.get_docstring(m) or "")) for m in methods_of(member.node))


@public
def test_every_field_of_a_public_dataclass_is_explained(stage: str, member: Member) -> None:
    if isinstance(member.node, ast.ClassDef):
        fields = fields_of(member.node, member.module)
        untold = [n for n, (_, _, text) in fields.items() if not text and not re.search(rf"\b{n}\b", member.text)]
        assert untold == []


@pytest.mark.parametrize("place", [place for _, _, rows in FOLDERS.values() for place in rows])
def test_every_column_on_disk_is_explained(place: str) -> None:
    kind = load(place)
    texts = field_texts(kind)
    assert [field.name for field in dataclasses.fields(kind) if not texts.get(field.name)] == []
    for name in texts:
        assert f"\n| `{name}` | " in PAGES["files.md"]


def test_every_variable_of_the_environment_is_told_and_none_that_is_not_there() -> None:
    read, ours = set(), set()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for path in (ROOT / name for name in listed if not name.startswith(("docs/", "typings/"))):
        if path.suffix in (".py", ".sh", ".toml", ".yaml", "") and path.is_file() and path.name != "files.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            ours |= set(re.findall(r"\bVESALIUS_[A-Z_]+\b", text))
            if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (*STAGES, "cli"):
                read |= set(re.findall(r"environ(?:\.get\(|\.setdefault\(|\[)\"([A-Z0-9_]+)\"", text))
                read |= set(re.findall(r"\"([A-Z0-9_]+)\" (?:not )?in os\.environ", text))
    told = {*VARIABLES, *SET, *TESTS}
    assert read | ours <= told
    assert {name for name in told if name.startswith("VESALIUS_")} == ours
    for name in told:
        assert f"\n| `{name}` | " in PAGES["environment.md"]


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(ending).items() if name.isupper() and isinstance(value, int)}
    assert codes == {0, 2, 3, 4, 75}
    told = re.findall(r"^\| (\d+) \| \w", PAGES["environment.md"], re.MULTILINE)
    assert {int(code) for code in told} == codes
