"""Keeps one worker alive for as long as the server is."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Self

from vesalius.demo.config import DemoConfig
from vesalius.demo.page import Model


class Supervisor:
    """Starts the worker, and ends it when it is left."""

    def __init__(self, config: DemoConfig) -> None:
        self.config = config

    def __enter__(self) -> Self:
        told = json.dumps(dataclasses.asdict(self.config), default=str)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vesalius.demo.worker", told],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def ready(self) -> Model:
        """Wait until the worker can draw. ValueError where base or adapter cannot be opened."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {"error": "the drawing process ended before it could draw; see above"}
        if "error" in told:
            raise ValueError(told["error"])
        return Model(**told)
