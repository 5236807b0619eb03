"""Drawing for a loop: its settings as those of `vesalius generate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vesalius.data.record import read_state
from vesalius.finetune.feeding.trainset import MAX_DEPTH
from vesalius.improve.config import ImproveConfig
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import generate
from vesalius.models.adapters.adapter import read_card
from vesalius.models.adapters.fuse import fused_depth
from vesalius.models.adapters.mix import parse_adapters

PREFERRED_BASE = "preferred-base"
"""Folder, in that of a loop, of the base that preference tuning starts from (`vesalius.improve.people.preferences`)."""


def base_of(run: Path, usual: str) -> str:
    """The base that a round's adapter was trained on: the loop's, save after preference tuning."""
    path = run / "config.json"
    told = read_state(path, "run the loop's line again").get("base", usual) if path.is_file() else usual
    return str(run.parents[1] / PREFERRED_BASE) if Path(told).name == PREFERRED_BASE else usual


def draw(config: ImproveConfig, prompts: Path, out: Path, run: Path, *, seed: int, num: int = 1) -> None:
    """Draw all prompts of a file, `num` pictures of each, or what is left of them.

    KeyboardInterrupt where it is stopped before all are there.
    """
    drawing = GenerateConfig(
        prompts=prompts, out=out, base=base_of(run, config.base), adapter=(str(run), *config.beside), seed=seed,
        num=num,
        steps=config.sampling_steps, guidance=config.guidance, device=config.device, engine=config.engine,
        workers=config.workers, json=config.json,
    )  # fmt: skip
    if not generate(drawing).finished:
        raise KeyboardInterrupt


def artist(config: ImproveConfig, champion: Path, between: Sequence[Path]) -> Path:
    """The round whose adapter draws the next candidates: the champion, or where its samples would be too deep to be
    trained on, the last one promoted before it of which they are not.

    between: the rounds promoted between round 0 and the champion, in order.
    """
    beside = [card.depth for share in parse_adapters(config.beside) if (card := read_card(share.adapter))]
    least = max([fused_depth(config.base), *beside])
    for folder in (champion, *reversed(between), champion.with_name("round-00")):
        card = read_card(folder / "run")
        if 1 + max(least, card.depth if card else 0) <= MAX_DEPTH:
            return folder
    return champion
