"""What an image service is: one frozen dataclass, from which the command line is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vesalius.inference.drawing.config import DrawConfig

KEY_VARIABLE = "VESALIUS_API_KEY"
"""The environment variable that holds the key; a flag would be seen in the list of processes."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig(DrawConfig):
    """Serve images over HTTP, in the words of OpenAI's images API. A key is read from $VESALIUS_API_KEY."""

    host: str = "127.0.0.1"
    """address to listen on; any but this machine's own needs a key, or --insecure"""
    port: int = 8000
    """port to listen on; 0: one that is free, which is printed"""
    batch_wait_ms: int = 5
    """milliseconds that a first request waits for others to be drawn with"""
    max_queue: int = 64
    """images that may wait; requests beyond them are told when to come back (429)"""
    max_images: int = 10
    """images of one request"""
    max_steps: int = 100
    """denoising steps that a request may ask for"""
    timeout: float = 120.0
    """seconds until a request is given up (504)"""
    insecure: bool = False
    """listen on other addresses without a key: whoever reaches them may draw"""
    json: bool = False
    """print one JSON object where the address would be told"""
    dry_run: bool = False
    """check address, base and adapter, serve nothing"""

    def __post_init__(self) -> None:
        """ValueError where a value cannot be."""
        super().__post_init__()
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port {self.port}: expected 1 to 65535, or 0 for one that is free")
        for name in ("batch_size", "max_queue", "max_images", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least 1")
        if self.max_steps > 1000:
            raise ValueError(f"--max-steps {self.max_steps}: expected at most 1000, of which a base's schedule is made")
        if self.max_images > self.max_queue:
            raise ValueError(
                f"--max-images {self.max_images} would never fit into --max-queue {self.max_queue}; lower the one or "
                "raise the other"
            )
        if not 0 <= self.batch_wait_ms <= 1000:
            raise ValueError(f"--batch-wait-ms {self.batch_wait_ms}: expected 0 to 1000")
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ValueError(f"--timeout {self.timeout:g}: expected seconds, more than 0")
