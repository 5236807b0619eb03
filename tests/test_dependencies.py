"""What is imported is declared, what is declared is told on its page, and what lacks is named with its remedy."""

from __future__ import annotations

import ast
import re
import socket
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from benchmarks.dependencies import STAGES, floors, imports, read, reasons, users_of
from vesalius.cli.main import DONE, USAGE, main

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
PROMPT = "Chest CT with a nodule in the left lung."


def test_every_import_from_outside_is_of_a_declared_dependency() -> None:
    distributions = metadata.packages_distributions()
    declared = {canonicalize_name(d.name.partition("[")[0]) for d in read()}
    for module, files in imports().items():
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        assert names & declared, f"{module} is imported by {files[0]} and declared nowhere"


def test_every_dependency_is_imported_or_told_through_which_one() -> None:
    distributions = {canonicalize_name(d.name.partition("[")[0]) for d in read()}
    for dependency in read():
        through, by = dependency.told.get("through"), dependency.told.get("by")
        assert bool(dependency.users) + (through is not None) + (by is not None) == 1, dependency.name
        assert through is None or through in distributions, dependency.name
        assert by is None or (ROOT / by).is_file(), dependency.name


def test_what_only_an_extra_brings_is_imported_where_it_is_used() -> None:
    optional = {d.module for d in read() if d.extra} - {d.module for d in read() if not d.extra}
    for path in (p for stage in STAGES for p in (ROOT / stage).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:  # at the head of the module, not in a function
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            # its own module of cryptography, imported when signing is asked for
            late = path.name == "content_credentials.py"
            assert late or not {name.split(".")[0] for name in names} & optional, path


def test_the_page_tells_the_reasons_floors_and_users_of_today() -> None:
    core, extras = [d for d in read() if not d.extra], [d for d in read() if d.extra]
    for name, lines in (("core", reasons(core)), ("extras", reasons(extras)), ("floors", floors(read()))):
        assert "\n".join(lines) in PAGE, f"table {name}: run `make dependencies`"
    told = dict(re.findall(r"^\| `([^`]+)` \| ((?:`[^`]+`|through|\d+ files)[^|]*) \| [\d.]* \|", PAGE, re.MULTILINE))
    assert told == {d.name: users_of(d) for d in read()}, "run `make dependencies`"


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"^\| `((?:\w+/)+[\w.]*)` \|", PAGE, re.MULTILINE)
    assert len(named) > 8
    for name in named:
        assert (ROOT / name).exists(), name


def test_what_is_pinned_is_no_older_than_its_floor() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pins = {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}
    installed = [d for d in read() if d.extra not in ("inception", "wandb", "xformers")]
    for dependency in installed:
        assert pins[canonicalize_name(Requirement(dependency.name).name)] >= Version(dependency.floor), dependency.name


LACKS = {
    "c2pa": ("generate", PROMPT, "--base", "{base}", "--out", "{out}", "--c2pa-cert", "{file}", "--c2pa-key", "{file}"),
    "captum": ("explain", "{file}", "--out", "{out}"),
    "dicomweb_client": ("demo", "--store", "{out}", "--pacs", "http://127.0.0.1:9/dicom-web", "--port", "{port}"),
    "ray": ("generate", PROMPT, "--base", "{base}", "--out", "{out}", "--engine", "ray"),
    "tiffslide": ("data", "build", "{slide}", "--modality", "pathology", "--out", "{out}"),
    "torchstain": ("data", "build", "{slide}", "--modality", "pathology", "--stain", "macenko", "--out", "{out}"),
    "torch_fidelity": (
        "eval", "{samples}", "--real", "{many}", "--parts", "fidelity",
        "--detector", "inception", "--out", "{out}",
    ),
    "wandb": (
        "finetune", "--data", "{data}", "--base", "{base}", "--out", "{out}", "--steps", "1", "--tracker", "wandb",
        "--device", "cpu",
    ),
    "xformers": ("generate", PROMPT, "--base", "{base}", "--out", "{out}", "--attention", "xformers"),
}  # fmt: skip
"""A command line for each library of an extra that a file imports or a flag asks for."""


def extra_of(module: str) -> str:
    (extra,) = {d.extra for d in read() if d.module == module}
    return extra


@pytest.mark.parametrize("module", LACKS)
def test_an_extra_that_lacks_is_named_in_one_sentence(
    module: str,
    tiny_base: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as Python remembers what cannot be imported
    words = {"base": tiny_base, "data": phantoms, "out": tmp_path / "out", "samples": tmp_path / "samples"}
    words["many"] = tmp_path / "many"
    words |= {"file": tmp_path / "file", "slide": tmp_path / "slide.svs"}
    words["file"].write_bytes(b"-")
    words["slide"].write_bytes(b"II*\0")
    if "{samples}" in LACKS[module]:
        small = ("--num", "1", "--steps", "1", "--base", str(tiny_base), "--device", "cpu")
        assert main(["generate", PROMPT, *small, "--out", str(words["samples"])]) == DONE
        assert (
            main(["data", "phantom", "--num", "200", "--seed", "3", "--size", "32", "--out", str(words["many"])])
            == DONE
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    capsys.readouterr()
    assert main([word.format(port=port, **words) for word in LACKS[module]]) == USAGE
    told = capsys.readouterr().err.strip()
    assert f"vesalius[{extra_of(module)}]" in told
    assert told.count("\n") == 0, told


def test_every_extra_for_users_has_such_a_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {extra_of(module) for module in LACKS} == set(project["optional-dependencies"]) - {"dev", "fuzz"}
