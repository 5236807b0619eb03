"""A second copy of a run's checkpoints, on another disk or in a bucket, written in the background."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILES = ("tensors.safetensors", "state.json")
"""What a checkpoint holds; the state comes last, so that a copy with a state is whole."""


class Mirror:
    """Copies checkpoints of a run to `url`: a folder, or what fsspec opens (s3://, gs://). None: to nowhere.

    What cannot be copied is told and never stops the run: the checkpoint on the run's own disk is whole. ValueError for
    a URL that fsspec cannot open.
    """

    def __init__(self, url: str | None, run: Path) -> None:
        self.run, self._pool = run, ThreadPoolExecutor(1)
        self._files: Any = None
        self._last: Future[None] | None = None
        if url is not None:
            self._files, self._root = open_url(url)

    def fetch(self) -> None:
        """Bring the newest copy back where the run has no checkpoint of its own: on a fresh machine."""
        if self._files is None or any((self.run / "checkpoints").glob("step-*")):
            return
        root = f"{self._root}/checkpoints"
        found = sorted(self._files.ls(root, detail=False)) if self._files.isdir(root) else []
        for source in reversed([f for f in found if self._files.exists(f"{f.rstrip('/')}/{FILES[-1]}")]):
            name = source.rstrip("/").rsplit("/", 1)[-1]
            temporary = self.run / "checkpoints" / f".{name}.fetched.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for file in FILES:
                self._files.get_file(f"{source.rstrip('/')}/{file}", str(temporary / file))
            temporary.rename(temporary.with_name(name))
            print(f"vesalius: took {name} from {self._root}", file=sys.stderr)
            return

    def push(self, checkpoint: Path) -> None:
        """Begin to copy a checkpoint; one that is still being copied is waited for, so that none is overtaken."""
        if self._files is not None:
            self.wait()
            self._last = self._pool.submit(self._copy, checkpoint)

    def wait(self) -> None:
        """Until the last copy is whole. What went wrong with it is told."""
        if self._last is not None:
            try:
                self._last.result()
            except Exception as error:  # fsspec's back ends raise errors of their own kinds
                print(f"vesalius: {self._root}: the checkpoint was not copied: {error}", file=sys.stderr)
            self._last = None

    def _copy(self, checkpoint: Path) -> None:
        target = f"{self._root}/checkpoints/{checkpoint.name}"
        self._files.makedirs(target, exist_ok=True)
        for file in FILES:
            self._files.put_file(str(checkpoint / file), f"{target}/{file}")
        kept = {p.name for p in checkpoint.parent.glob("step-*")} | {checkpoint.name}
        for other in self._files.ls(f"{self._root}/checkpoints", detail=False):
            if other.rstrip("/").rsplit("/", 1)[-1] not in kept:
                self._files.rm(other, recursive=True)


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL or a folder, and the path in it. ValueError where there is none for it."""
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"--sync {url}: {first}; give a folder, or install its back end") from None
    return files, str(root).rstrip("/")
