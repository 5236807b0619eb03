"""Adapters to draw with, by word: `my-run`, or `my-run:0.7` for a share of it; several are added up.

shares = parse_adapters(["nano-fast", "my-run:0.7"])
digest = apply_adapters(base, shares)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.models.adapters.adapter import (
    TEXT_ENCODERS,
    AdapterCard,
    Sampling,
    adapter_folder,
    apply_adapter,
    part_folders,
    read_card,
)
from vesalius.models.base import Base

PARTS = ("unet", *TEXT_ENCODERS)
Words = str | Path | Sequence[str | Path] | None
"""Adapters as a caller names them: none, one, or several."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """An adapter and how much of it: 1 is as it was trained."""

    adapter: str
    weight: float = 1.0


def parse_adapters(words: Words) -> tuple[Share, ...]:
    """The adapters of words. ValueError where a weight cannot be, or an adapter is named twice."""
    listed: Iterable[str | Path] = () if words is None else [words] if isinstance(words, str | Path) else words
    shares = tuple(_share(str(word)) for word in listed)
    names = [share.adapter for share in shares]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"adapter {twice[0]} is named twice; name it once, with the sum of its weights")
    return shares


def _share(word: str) -> Share:
    """A word's adapter and weight. A folder whose own name ends like a weight is the adapter."""
    place, colon, told = word.rpartition(":")
    try:
        weight = float(told)
    except ValueError:
        return Share(adapter=word)
    if not colon or Path(word).exists():
        return Share(adapter=word)
    if not place or not math.isfinite(weight) or weight == 0:
        raise ValueError(f"adapter '{word}': expected PATH or PATH:WEIGHT, the weight a number other than 0")
    return Share(adapter=place, weight=weight)


def apply_adapters(base: Base, shares: Sequence[Share]) -> str | None:
    """Merge adapters into an opened base, in place; returns their digests and weights, None without any.

    One at full weight has its digest alone, others are "DIGEST*WEIGHT + ...". ValueError as `apply_adapter`, where two
    want to be drawn with in different ways, or where one of several is a DoRA: what it adds depends on the weights that
    it meets.
    """
    check_together(shares)
    if len(shares) > 1 and any(getattr(getattr(base.pipeline, p, None), "weights_on_shelf", False) for p in PARTS):
        raise ValueError(told_apart(len(shares)))
    digests = [apply_adapter(base, share.adapter, share.weight) for share in shares]
    if not shares:
        return None
    if len(shares) == 1 and shares[0].weight == 1:
        return digests[0]
    told = sorted(f"{digest}*{share.weight:g}" for digest, share in zip(digests, shares, strict=True))
    return " + ".join(told)


def told_apart(num: int) -> str:
    """What is said of several adapters where a memory plan has no room for all weights."""
    return (
        f"{num} adapters cannot be added to weights that come and go; raise --memory, or make one of them with "
        "`vesalius adapter merge`"
    )


def check_together(shares: Sequence[Share]) -> None:
    """ValueError where adapters cannot be added up: two want to be drawn with in different ways, or one is a DoRA."""
    sampling_of_adapters(shares)
    for share in shares if len(shares) > 1 else ():
        for place in part_folders(folder := adapter_folder(share.adapter)).values():
            if json.loads((place / "adapter_config.json").read_bytes()).get("use_dora"):
                raise ValueError(
                    f"{folder}: is a DoRA, which cannot be added to others; draw with it alone, or bake it into the "
                    "base with `vesalius adapter fuse` first"
                )


def read_cards(shares: Iterable[Share]) -> list[AdapterCard]:
    """The provenance of those adapters that have one. ValueError where an adapter is missing."""
    cards = [read_card(share.adapter) for share in shares]
    return [card for card in cards if card is not None]


def sampling_of_adapters(shares: Iterable[Share]) -> Sampling | None:
    """How the adapters want to be drawn with; None where none says. ValueError where two say differently."""
    told: list[tuple[Share, Sampling]] = []
    for share in shares:
        card = read_card(share.adapter)
        if card is not None and card.sampling is not None:
            told.append((share, card.sampling))
    for share, sampling in told[1:]:
        if sampling != told[0][1]:
            raise ValueError(
                f"adapters {told[0][0].adapter} and {share.adapter} are made to be drawn with in different ways "
                "(`sampling` in their adapter.json); leave one of them out"
            )
    return told[0][1] if told else None
