"""What the page offers to choose from, by what the base was trained on; and what it greys out, with the reason."""

from __future__ import annotations

import html

from vesalius.data.counted import counted
from vesalius.data.modality import MODALITIES, modality_in
from vesalius.models.support import SIDES, WEAK, Support

Choices = list[tuple[str, str]]
"""What is read, and what it stands for."""

ANY = ""
"""The choice of no side, or of no finding."""
NONE = "no training image"


def told(name: str, count: int) -> str:
    """A choice with the number of images behind it."""
    if not count:
        return f"{name} ({NONE})"
    images = counted(count, "training image")
    return f"{name} ({images}{', few' if count < WEAK else ''})"


def modality_choices(support: Support) -> Choices:
    """The modalities that the base has seen."""
    return [(told(name, count), name) for name, count in support.modalities.items()]


def finding_choices(support: Support, modality: str) -> Choices:
    """The findings that the base has seen in a modality."""
    return [(told(kind, count), kind) for kind, count in support.findings(modality).items()] or [("any", ANY)]


def side_choices(support: Support, modality: str, finding: str) -> Choices:
    """The sides on which the base has seen a finding, after the choice of none."""
    return [("any", ANY), *((told(s, n), s) for s, n in support.sides(modality, finding).items())]


def side_hint(support: Support, modality: str, finding: str) -> str:
    """Why no side can be chosen; "" where one can."""
    return "" if support.sides(modality, finding) else "No training image names a side."


def wording(support: Support, modality: str, finding: str, side: str) -> str:
    """A prompt as the base has read it in training."""
    return support.example(modality, finding or None, side or None)


def greyed_out(support: Support, modality: str, finding: str) -> str:
    """HTML of what cannot be chosen, each with its reason; "" where nothing is missing.

    Of findings those that another modality shows of an organ that this one shows too, and of sides the other ones of a
    finding that has sides here.
    """
    off = [(m, f"{NONE} of {m}") for m in MODALITIES if not support.ask(m)]
    elsewhere = [
        s for s in support.shown if s.organ and s.modality != modality and support.ask(modality, s.organ) >= WEAK
    ]
    kinds = {f.kind for s in elsewhere for f in s.findings} - set(support.findings(modality))
    off += [(k, f"{NONE} of {modality} shows it") for k in sorted(kinds)]
    sides = support.sides(modality, finding)
    off += [(f"{finding}, {s}", f"{NONE} of {modality} names this side") for s in SIDES if sides and s not in sides]
    if not off:
        return ""
    spans = "".join(
        f'<span role="option" aria-disabled="true" title="{html.escape(reason)}">{html.escape(name)}</span> '
        for name, reason in off
    )
    return f"<p>Not to be had from this base ({NONE}):</p><p>{spans}</p>"


def examples(support: Support | None, usual: tuple[str, ...]) -> list[str]:
    """As many example prompts as usual: those that the base has seen enough for, then wordings of its training."""
    if support is None:
        return list(usual)
    good = [p for p in usual if (m := modality_in(p)) and support.warn(p, m.name) is None]
    rows = sorted((s for s in support.shown if s.num >= WEAK), key=lambda s: -s.num)
    return list(dict.fromkeys([*good, *(s.example for s in rows)]))[: len(usual)]
