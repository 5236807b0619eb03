"""A round of which nothing was kept: which gate refused most, and what may be done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vesalius.data.command.counted import counted
from vesalius.improve.candidates.selection import Selection

TRAIN = "train longer (--steps) or take more data, so that samples come nearer to real images"
REMEDIES: Mapping[str, str] = {
    "readable": f"look at some samples; {TRAIN}, or lower --guidance",
    "range": f"look at some samples, as too high a --guidance or too few --sampling-steps give such; else {TRAIN}",
    "modality": "check that the base draws this modality at all, and that val has images of it",
    "organ": "check that the data's column organ is right; else ask for organs that the data has",
    "side": "draw more per prompt (--best-of 4); check that no training image is mirrored under a text with a side",
    "negation": "draw more per prompt (--best-of 4), or ask for fewer denied findings (--prompts captions)",
    "exchange": "draw more per prompt (--best-of 4), or ask for what the data shows more often (--aim even)",
    "prompt": f"{TRAIN}, or raise --guidance, so that samples follow their prompts",
    "findings": "draw more per prompt (--best-of 4), or ask for what the data shows more often (--aim even)",
    "agreement": f"{TRAIN}, or raise --guidance, so that samples follow their prompts",
    "copy": "train for fewer --steps or with a lower --rank: the adapter draws its training images again",
    "typical": f"{TRAIN}; look at some samples beside real ones first",
    "text": "take images with burned-in text out of the training data (`vesalius data check`)",
    "veto": "look at what people refused and why (`vesalius improve show`)",
    "depth": "begin a new loop on real images: samples of samples are not added back",
    "duplicate": "ask for more different things (--prompts phantoms, or a file), or lower --guidance",
    "stratum": "draw more candidates (--num) or more per prompt (--best-of 4), or ask for fewer kinds of things",
    "quota": "raise --num, so that a share of each stratum is at least one sample",
}


def why_empty(selection: Selection, folder: Path) -> str:
    """Why nothing of a round was kept: the reason that refused most, an example in words, and what to do.

    folder: of the round, where all verdicts lie.
    """
    reasons = [c.reason for c in selection.candidates if c.reason is not None]
    gates = Counter(reason.split(":")[0] for reason in reasons)
    if not gates:
        return f"{folder.name}: no candidates were drawn; check its prompts.jsonl"
    gate, num = max(gates.items(), key=lambda each: (each[1], each[0]))
    example = next(r for r in reasons if r.startswith(f"{gate}:")).split(":", 1)[1].strip()
    others = ", ".join(f"{name} {n}" for name, n in gates.most_common() if name != gate)
    remedy = REMEDIES.get(gate, "look at the samples and their verdicts")
    return (
        f"{folder.name}: none of {counted(len(reasons), 'candidate')} was kept. The gate '{gate}' refused most, {num} "
        f"(such as: {example}){f'; the rest: {others}' if others else ''}. What to do: {remedy}; with other settings a "
        f"loop begins in a new --out. All verdicts: {folder / 'verdicts.jsonl'}"
    )
