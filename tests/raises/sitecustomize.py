"""Records which errors a run of Python raises, in every process of it, at next to no cost.

With `VESALIUS_RAISES=FOLDER` set, each stage's module is compiled with `raise X(...)` read as
`raise __raised__(SITE, X(...))`, which writes the first message of each site to FOLDER/PID.jsonl. Compiled code is
kept in FOLDER/code: Python's own cache would give it to everyone. Python runs a `sitecustomize` that it finds on
PYTHONPATH in every process; `tests/conftest.py` puts this folder there.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[2]


def install(out: str) -> None:
    """Record the errors of all stages' modules that are imported from here on."""
    import builtins
    import json
    from importlib.machinery import SourceFileLoader

    if hasattr(builtins, "__raised__"):
        return
    folder = Path(out)
    (folder / "code").mkdir(parents=True, exist_ok=True)
    told: set[str] = set()
    plain = SourceFileLoader.get_code

    def raised(site: str, error: BaseException) -> BaseException:
        if site not in told:
            told.add(site)
            message = str(getattr(error, "detail", error))  # where a web framework's error keeps it
            line = json.dumps({"site": site, "error": type(error).__name__, "message": message[:2000]}) + "\n"
            with suppress(OSError), open(folder / f"{os.getpid()}.jsonl", "a") as file:  # no room, as a test may ask
                file.write(line)
        return error

    def get_code(self: SourceFileLoader, name: str) -> CodeType | None:
        path = Path(os.path.realpath(self.path))
        if not name.startswith("vesalius.") or not path.is_relative_to(ROOT):
            return plain(self, name)
        return compiled(path, folder / "code")

    builtins.__raised__ = raised  # type: ignore[attr-defined]
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def compiled(path: Path, cache: Path) -> CodeType:
    """A module's code with its errors recorded, from the cache where the file is as it was."""
    import marshal
    import zlib

    source, name = path.read_bytes(), path.relative_to(ROOT).as_posix()
    kept = cache / f"{name.replace('/', '.')}-{sys.implementation.cache_tag}-{zlib.crc32(source):08x}"
    if kept.exists():
        return marshal.loads(kept.read_bytes())  # type: ignore[no-any-return]
    import ast
    import runpy

    tree = ast.parse(source)
    for site, node in runpy.run_path(str(Path(__file__).with_name("raise_sites.py")))["sites_of"](tree, name):
        called = ast.Call(ast.Name("__raised__", ast.Load()), [ast.Constant(site.key), node.exc], [])
        node.exc = ast.copy_location(called, node.exc)
    code: CodeType = compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    with suppress(OSError):
        part.write_bytes(marshal.dumps(code))
        part.replace(kept)
    return code


if os.environ.get("VESALIUS_RAISES"):
    install(os.environ["VESALIUS_RAISES"])
