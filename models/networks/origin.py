"""Where the weights of judge and witness come from: told in the metadata of their file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RANDOM = "random"
"""What a file tells of weights that began as random numbers."""


def digest_weights(path: Path) -> str:
    """sha256 over names, types, shapes and numbers of a safetensors file, whatever its metadata say."""
    with path.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        total = hashlib.sha256()
        for name, tensor in sorted((k, v) for k, v in head.items() if k != "__metadata__"):
            total.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
            first, last = tensor["data_offsets"]
            file.seek(start + first)
            total.update(file.read(last - first))
    return total.hexdigest()


def digest_run(settings: Mapping[str, Any], data: str) -> str:
    """What names a training run: its settings but for where it is written, and the digest of its data."""
    own = {k: v for k, v in settings.items() if k not in ("out", "save_every")}
    return hashlib.sha256(json.dumps([own, data], sort_keys=True, default=str).encode()).hexdigest()
