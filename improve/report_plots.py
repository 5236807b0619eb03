"""Curves over the rounds of a loop, each with the band of its intervals, as SVG for its page."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

INK, LIKED, SEEN = "#1d5fa8", "#c77700", "#b3372b"
Curve = tuple[Sequence[int], Sequence[float], Sequence[float], Sequence[float]]
"""Rounds, values, and the ends of their intervals."""


def rounds_svg(curves: Mapping[str, Curve], *, title: str, better: str, percent: bool, refused: Sequence[int]) -> str:
    """Values over rounds with their bands. better: which way it counts, in a word. refused: rounds that were rolled
    back, marked with a cross."""
    figure, axes = _axes(title)
    for place, (name, (rounds, values, lows, highs)) in enumerate(curves.items()):
        scale = 100 if percent else 1
        ys, low, high = ([scale * v for v in row] for row in (values, lows, highs))
        colour = INK if len(curves) == 1 else f"C{place}"
        axes.plot(rounds, ys, marker="o", color=colour, label=name, linewidth=2)
        axes.fill_between(rounds, low, high, color=colour, alpha=0.16, linewidth=0)
        back = [(r, y) for r, y in zip(rounds, ys, strict=True) if r in refused]
        if back:
            axes.plot(
                *zip(*back, strict=True), linestyle="", marker="x", markersize=12, markeredgewidth=2.5, color=SEEN
            )
    _rounds(axes, sorted({r for rounds, *_ in curves.values() for r in rounds}))
    axes.set_ylabel(f"{'per cent, ' if percent else ''}{better} is better", fontsize=11)
    if not percent:
        axes.ticklabel_format(axis="y", useOffset=False)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=10)
    return _as_text(figure)


def gamed_svg(liked: Curve, seen: Curve, seen_told: str) -> str:
    """What the gates' network says of the samples, beside what the witness finds: gamed gates part the two."""
    figure, axes = _axes("Gates against witness")
    rounds, values, lows, highs = liked
    (first,) = axes.plot(rounds, values, marker="o", color=LIKED, linewidth=2, label="liked by the gates' network")
    axes.fill_between(rounds, lows, highs, color=LIKED, alpha=0.16, linewidth=0)
    axes.set_ylabel("agreement by the gates (left)", fontsize=11, color=LIKED)
    other = axes.twinx()
    rounds, values, lows, highs = seen
    (second,) = other.plot(rounds, values, marker="s", color=SEEN, linewidth=2, linestyle="--", label=seen_told)
    other.fill_between(rounds, lows, highs, color=SEEN, alpha=0.12, linewidth=0)
    other.set_ylabel("distance by the witness (right)", fontsize=11, color=SEEN)
    other.spines["top"].set_visible(False)
    axes.legend(handles=[first, second], frameon=False, fontsize=10)
    _rounds(axes, sorted(set(liked[0]) | set(seen[0])))
    return _as_text(figure)


def _axes(title: str) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.8, 3.2), layout="constrained")
    axes.set_title(title, fontsize=12, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    return figure, axes


def _rounds(axes: Any, rounds: Sequence[int]) -> None:
    axes.set_xticks(rounds, [str(r) for r in rounds])
    axes.set_xlim(min(rounds) - 0.3, max(rounds) + 0.3)
    axes.set_xlabel("round", fontsize=11)


def _as_text(figure: Any) -> str:
    from matplotlib import pyplot

    buffer = BytesIO()
    with warnings.catch_warnings():  # a script that the font lacks is no matter for the reader
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
