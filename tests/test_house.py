"""The house rules that a machine can check: imports, packaging, sizes, and a light `--help`."""

from __future__ import annotations

import ast
import importlib
import inspect
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from vesalius.cli.main import VERBS, Verb, load

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")
HEAVY = ("torch", "numpy", "scipy", "diffusers", "transformers", "peft", "accelerate", "datasets", "gradio", "PIL")
LIGHT = (
    "data.building.run", "data.building.config", "data.check.run", "data.phantoms.config",
    "data.command.recipe", "data.command.fields", "data.command.ending",
    "inference.config", "inference.drawing.config", "inference.augmentation.config", "inference.service.config",
    "eval.config", "eval.pixels.config", "eval.usefulness.config",
    "finetune.config", "finetune.base.config", "finetune.cloud.task",
    "finetune.cloud.config", "finetune.distill.config",
    "finetune.planning.config", "finetune.running.runs", "finetune.planning.cards", "improve.config", "demo.config",
    "improve.tuning.config",
    "models.adapters.config", "cli.adapters", "cli.main", "cli.report", "cli.serve", "cli.plan", "cli.runs",
    "cli.doctor", "eval.explanations.config", "eval.readers.config", "cli.explain", "cli.readers",
    "cli.usefulness", "cli.improve",
)  # fmt: skip
FILES = sorted(p for stage in (*STAGES, "tests") for p in (ROOT / stage).rglob("*.py"))
words = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, level) of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


@pytest.mark.parametrize("stage", STAGES)
def test_imports_point_upstream(stage: str) -> None:
    allowed = STAGES[: STAGES.index(stage) + 1]
    for path in (ROOT / stage).rglob("*.py"):
        for module, level in imports(path):
            assert level == 0, f"{path}: a relative import"
            first, _, rest = module.partition(".")
            if first == "vesalius":
                assert rest.split(".")[0] in allowed, f"{path}: {stage} is upstream of what it imports, {module}"
            assert first not in STAGES, f"{path}: imports {module}, which is vesalius.{module}"


def test_no_module_reaches_for_what_another_keeps_to_itself() -> None:
    """No name with an underscore is imported from another module of ours, nor read off one."""
    for stage in STAGES:
        for path in (ROOT / stage).rglob("*.py"):
            tree, ours = ast.parse(path.read_text(encoding="utf-8")), set[str]()
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vesalius"):
                    ours |= {alias.asname or alias.name for alias in node.names}
                    assert not [a.name for a in node.names if is_private(a.name)], f"{path}:{node.lineno}"
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and is_private(node.attr):
                    assert node.value.id not in ours, f"{path}:{node.lineno}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_data_needs_no_torch() -> None:
    for path in (ROOT / "data").rglob("*.py"):
        assert not {m.partition(".")[0] for m, _ in imports(path)} & {"torch", "diffusers", "transformers"}, path


def test_the_list_of_packages_is_what_is_on_disk() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["setuptools"]["packages"]
    on_disk = {".".join(p.parent.relative_to(ROOT).parts) for s in STAGES for p in (ROOT / s).rglob("__init__.py")}
    assert set(packages) == {f"vesalius.{name}" for name in on_disk}
    assert {name.split(".")[0] for name in on_disk} == set(STAGES)
    assert not (ROOT / "__init__.py").exists()
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert not [name for name in tracked if "/" not in name], "a module at the root would break the editable install"
    hidden = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", *STAGES, "tests"]
    unseen = subprocess.run(hidden, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert not [name for name in unseen if name.endswith(".py")], "a file that git is told to pass over"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_typed_and_linked_for_static_tools(stage: str) -> None:
    assert (ROOT / stage / "py.typed").is_file()
    link = ROOT / "typings" / "vesalius" / stage
    assert link.is_symlink()
    assert link.resolve() == ROOT / stage


@pytest.mark.parametrize("stage", STAGES)
def test_every_name_that_a_stage_exports_is_there(stage: str) -> None:
    package = importlib.import_module(f"vesalius.{stage}")
    modules = {p.stem for p in (ROOT / stage).iterdir()}
    for name in getattr(package, "__all__", ()):
        assert name not in modules, f"vesalius.{stage}.{name} would be the function or the module, by chance"
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


def test_files_are_short() -> None:
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines()) for p in FILES}
    assert {name for name, num in lengths.items() if num > 400} == set()
    assert statistics.median(lengths.values()) < 250


def test_what_is_tracked_stays_small() -> None:
    """A clone takes seconds, and a wheel fits the limits of package indexes, weights included."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    sizes = {name: (ROOT / name).lstat().st_size for name in listed if name and (ROOT / name).is_file()}
    assert sum(sizes.values()) < 60e6
    assert 1e6 < sum(size for name, size in sizes.items() if name.endswith(".safetensors")) < 45e6
    ignored = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--ignored", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    assert ignored.stdout == b"", "tracked and ignored: a new file beside it would be forgotten"


def test_no_folder_has_a_name_that_tools_pass_over(pytestconfig: pytest.Config) -> None:
    passed_over = {*pytestconfig.getini("norecursedirs"), "build", "dist", "site", "venv", "node_modules"}
    names = {part for path in FILES for part in path.relative_to(ROOT).parts[:-1]}
    assert not [name for name in names if any(fnmatch(name, pattern) for pattern in passed_over)]


def test_folders_are_rooms_and_not_halls() -> None:
    folders = Counter(p.parent.relative_to(ROOT).as_posix() for p in FILES if p.parts[-2] != "tests")
    assert {folder: num for folder, num in folders.items() if num > 20} == {}


def test_configuration_modules_import_nothing_heavy() -> None:
    configurations = {p.relative_to(ROOT) for s in STAGES for p in (ROOT / s).rglob("*config*.py")}
    assert set(LIGHT) >= {".".join(p.with_suffix("").parts) for p in configurations}
    assert fresh("; ".join(f"import vesalius.{module}" for module in LIGHT)) == ("", [])


@words
def test_every_verb_names_a_function_of_its_configuration(verb: Verb) -> None:
    (_, kind), *_ = inspect.get_annotations(load(verb.run)).items()
    assert kind.rpartition(".")[2] == verb.config.partition(":")[2]


@words
def test_help_imports_nothing_heavy_and_tells_the_verb(verb: Verb) -> None:
    told, loaded = fresh(f"from vesalius.cli.main import main\nmain({[*verb.words.split(), '--help']})")
    assert told.startswith(f"usage: vesalius {verb.words}")
    assert loaded == []


def test_the_whole_command_tells_its_verbs_and_imports_nothing_heavy() -> None:
    told, loaded = fresh("from vesalius.cli.main import main\nmain(['--help'])", ("tyro", *HEAVY))
    assert loaded == []
    for verb in VERBS:
        assert verb.help
        assert f"vesalius {verb.words}" in told
        assert verb.help in told


def fresh(code: str, names: tuple[str, ...] = HEAVY) -> tuple[str, list[str]]:
    """What some code prints in a new interpreter, and which heavy modules it leaves loaded there."""
    found = f"[m for m in {names!r} if m in sys.modules]"
    exit_hook = f"import atexit, sys\natexit.register(lambda: print('loaded:', *{found}))"
    process = subprocess.run([sys.executable, "-c", f"{exit_hook}\n{code}"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    told, _, loaded = process.stdout.rpartition("loaded:")
    return told, loaded.split()
