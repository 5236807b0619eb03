"""Records which `raise` statements a run of Python fires, in every process of it, at next to no cost.

With `VESALIUS_RAISES=FOLDER` set, each stage's module is compiled with `raise X(...)` read as `raise __raised__(SITE, X(...))`,
which writes the first of each site's messages to FOLDER/provoked.jsonl. The compiled code is kept in FOLDER/code, since
pyc files would keep it for everyone. Python runs a `sitecustomize` that it finds on PYTHONPATH in every process, and
`tests/conftest.py` puts this folder there.
"""

from __future__ import annotations

import os

STAGES = ("data", "models", "inference", "eval", "finetune", "improve", "demo", "cli")


def install(out: str) -> None:
    """Compile what is imported from here on with its raises recorded in a folder."""
    import builtins
    import importlib.machinery
    import json
    import types
    from pathlib import Path

    if hasattr(builtins, "__raised__"):
        return
    root = Path(__file__).resolve().parents[2]
    folder = Path(out)
    (folder / "code").mkdir(parents=True, exist_ok=True)
    told: set[str] = set()

    def raised(site: str, error: BaseException) -> BaseException:
        if site not in told:
            told.add(site)
            message = str(getattr(error, "detail", error))  # a web framework's error keeps it there
            line = json.dumps({"site": site, "error": type(error).__name__, "message": message}) + "\n"
            # One write of less than a page at the end of a file: processes do not cut into each other's lines.
            with open(folder / "provoked.jsonl", "ab", buffering=0) as file:
                file.write(line.encode())
        return error

    def get_code(self: importlib.machinery.SourceFileLoader, name: str) -> types.CodeType | None:
        path = os.path.realpath(self.path)
        if not path.startswith(f"{root}{os.sep}") or Path(path).relative_to(root).parts[0] not in STAGES:
            return plain(self, name)
        return compiled(Path(path), root, folder / "code")

    plain = importlib.machinery.SourceFileLoader.get_code
    builtins.__raised__ = raised  # type: ignore[attr-defined]
    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def compiled(path, root, cache):  # type: ignore[no-untyped-def]
    """A module's code with its raises recorded, from the cache where its file is as it was."""
    import marshal
    import sys
    import zlib

    source = path.read_bytes()
    name = path.relative_to(root).as_posix()
    kept = cache / f"{name.replace('/', '.')}-{sys.implementation.cache_tag}-{zlib.crc32(source):08x}"
    if kept.exists():
        return marshal.loads(kept.read_bytes())
    import ast

    class Recorded(ast.NodeTransformer):
        def visit_Raise(self, node: ast.Raise) -> ast.Raise:
            if isinstance(node.exc, ast.Call):
                called = ast.Call(ast.Name("__raised__", ast.Load()), [ast.Constant(f"{name}:{node.lineno}"), node.exc], [])
                node.exc = ast.copy_location(called, node.exc)
            return node

    code = compile(ast.fix_missing_locations(Recorded().visit(ast.parse(source))), str(path), "exec", dont_inherit=True)
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    part.write_bytes(marshal.dumps(code))
    part.replace(kept)
    return code


if os.environ.get("VESALIUS_RAISES"):
    install(os.environ["VESALIUS_RAISES"])
