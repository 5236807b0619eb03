"""What draws, as the worker tells the page; apart, so that the worker need not import the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Model:
    """What draws here, as the worker tells it: names and digests, without the folders of this machine."""

    base: str
    base_digest: str
    adapter_digest: str | None
    image_size: int
    steps: int
    guidance: float
