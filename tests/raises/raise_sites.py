"""Where the code raises an error with a message of its own: a site for every `raise X(...)` below the stages."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One `raise X(...)`: what it is called stays the same while lines move above it."""

    path: str
    line: int
    place: str  # function or method, dotted
    told: str  # the call, as written

    @property
    def key(self) -> str:
        return f"{self.path}\t{self.place}\t{self.told}"


def sites_of(tree: ast.AST, path: str) -> list[tuple[Site, ast.Raise]]:
    """The raise statements of a file that make an exception; those that hand on one made elsewhere are not sites."""
    found: list[tuple[Site, ast.Raise]] = []
    seen: Counter[tuple[str, str]] = Counter()

    def walk(node: ast.AST, place: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            walk(child, (*place, child.name) if named else place)
            if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
                where, told = ".".join(place) or "module", " ".join(ast.unparse(child.exc).split())
                seen[where, told] += 1
                again = f" #{seen[where, told]}" if seen[where, told] > 1 else ""
                found.append((Site(path=path, line=child.lineno, place=where, told=told + again), child))

    walk(tree, ())
    return found


def all_sites(root: Path = ROOT) -> list[Site]:
    """Every site of the stages, in order."""
    files = sorted(p for stage in STAGES for p in (root / stage).rglob("*.py"))
    return [site for p in files for site, _ in sites_of(ast.parse(p.read_bytes()), p.relative_to(root).as_posix())]
