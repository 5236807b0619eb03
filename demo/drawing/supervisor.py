"""Keeps one worker alive for as long as the server is, and says why nothing is drawn where it is not.

A worker that dies is started again, after pauses that grow; its job goes back to its place. Where the files of base or
adapter are gone the worker is ended, since what it draws could not be drawn again, and jobs wait until they are back.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vesalius.data.record import hold
from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing.model import Model
from vesalius.demo.store.clearing import sweep
from vesalius.demo.store.jobs import put_back
from vesalius.demo.store.schema import ROOM, Store
from vesalius.models.adapters.adapter import adapter_folder
from vesalius.models.adapters.mix import parse_adapters
from vesalius.models.base import base_folder

log = logging.getLogger(__name__)
PROGRAM = (sys.executable, "-m", "vesalius.demo.drawing.worker")
LOOK_SECONDS = 0.5
PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a worker is started again that died so many times in a row."""
STEADY_SECONDS = 60.0
"""Of life, after which a death is the first one again."""
END_SECONDS = 5.0
"""That a worker has to end."""
TROUBLE = {
    "disk": (
        "The server's disk is full. Jobs wait until its owner has made room.",
        "服务器磁盘已满。在管理员腾出空间之前，任务将等待。",
    ),
    "gone": (
        "Files of the model are gone from the server ({name}). Jobs wait, and go on by themselves once they are back.",
        "服务器上的模型文件缺失（{name}）。任务将等待，文件恢复后自动继续。",
    ),
    "other": (
        "The model's files on the server are no longer those that this page was opened with. Jobs wait until they are "
        "back, or until the page is started again.",
        "服务器上的模型文件与本页启动时不同。任务将等待，直到文件恢复或重新启动本页。",
    ),
    "dead": (
        "The drawing process ended and is being started again. Jobs wait meanwhile; nothing is lost.",
        "绘图进程已结束，正在重新启动。任务将等待，不会丢失。",
    ),
    "shut": (
        "The model does not open: {error}. Jobs wait; it is tried again every half a minute.",
        "模型无法打开：{error}。任务将等待，每半分钟重试一次。",
    ),
}


class Supervisor:
    """Starts the worker of a store, and ends it when it is left.

    >>> with Supervisor(DemoConfig()) as supervisor:  # doctest: +SKIP
    ...     model = supervisor.ready()
    """

    def __init__(self, config: DemoConfig, program: Sequence[str] = PROGRAM) -> None:
        self.config, self._program = config, tuple(program)
        self._told = json.dumps(dataclasses.asdict(config), default=str)
        self._guard, self._left = threading.Lock(), threading.Event()
        self._stack = ExitStack()
        self._thread: threading.Thread | None = None
        self._said: tuple[str, dict[str, str]] | None = None

    def __enter__(self) -> Self:
        """ValueError where another server has the store."""
        try:
            self._stack.enter_context(hold(self.config.store))
        except ValueError:
            raise ValueError(
                f"{self.config.store}: another `vesalius demo` is open on this store; use its page, end it, or give "
                "--store another folder"
            ) from None
        try:
            self._store = Store(self.config.store)
            put_back(self._store, died=False)  # of a server that was killed
            sweep(self._store)
            self._files = model_files(self.config)
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        with self._guard:
            self._end()
        if self._thread is not None:
            self._thread.join()
        put_back(self._store, died=False)
        sweep(self._store)
        self._stack.close()

    def ready(self) -> Model:
        """Wait until the worker can draw. ValueError where base or adapter cannot be opened."""
        told = self._hear()
        if isinstance(told, str):
            raise ValueError(told)
        self._model = told
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)
        self._thread.start()
        return told

    def trouble(self) -> str:
        """Why nothing is drawn at present, in English and Chinese; "" where all is well."""
        said = self._said
        if said is None and shutil.disk_usage(self.config.store).free < ROOM:
            said = ("disk", {})
        return "" if said is None else " · ".join(each.format(**said[1]) for each in TROUBLE[said[0]])

    @property
    def worker_pid(self) -> int:
        """The process that draws."""
        return self._process.pid

    def _keep_alive(self) -> None:
        deaths = 0
        while not self._left.wait(LOOK_SECONDS):
            if gone := next((path for path in self._files if not path.exists()), None):
                self._said = ("gone", {"name": gone.name})
                if self._process.poll() is None:
                    self._end()
                    put_back(self._store, self._name, died=False)
                deaths = 0
            elif self._process.poll() is None:
                self._said = None
                deaths = 0 if time.monotonic() - self._since > STEADY_SECONDS else deaths
            else:
                if self._said is None:
                    log.error("the drawing process ended (%d); it is started again", self._process.returncode)
                    self._said = ("dead", {})
                put_back(self._store, self._name)
                if self._left.wait(PAUSES[min(deaths, len(PAUSES) - 1)]):
                    return
                deaths += 1
                self._start_again()

    def _start_again(self) -> None:
        with self._guard:
            if self._left.is_set():
                return
            self._start()
        told = self._hear()
        if isinstance(told, str):
            self._said = ("shut", {"error": told})
        elif told != self._model:
            self._said = ("other", {})
        else:
            return
        self._end()

    def _start(self) -> None:
        self._name, self._since = secrets.token_hex(8), time.monotonic()
        self._process = subprocess.Popen(
            [*self._program, self._told, self._name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C is for the server, which ends the worker then
        )  # fmt: skip

    def _end(self) -> None:
        """End the worker: its standard input ends, and it knows what that means."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _hear(self) -> Model | str:
        """The model that the worker opened, or why it could not."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._process.stdout.close()
        told = json.loads(line) if line else {"error": "the drawing process ended before it could draw; see above"}
        return str(told["error"]) if "error" in told else Model(**told)


def model_files(config: DemoConfig) -> tuple[Path, ...]:
    """The files without which base and adapters cannot be opened. ValueError where they are missing now."""
    folders = [base_folder(config.base), *(adapter_folder(s.adapter) for s in parse_adapters(config.adapter))]
    kinds = (".safetensors", ".json", ".txt")
    return tuple(sorted(p for folder in folders for p in folder.rglob("*") if p.suffix in kinds and p.is_file()))
