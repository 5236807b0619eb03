"""Curves over the rounds of a loop, each with the band of its intervals, as SVG for its page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from vesalius.improve.deciding.facts import LEAST

INK, LIKED, SEEN = "#1d5fa8", "#c77700", "#b3372b"
Curve = tuple[Sequence[int], Sequence[float], Sequence[float], Sequence[float]]
"""Rounds, values, and the ends of their intervals."""


def rounds_svg(
    curve: Curve, *, title: str, better: str, percent: bool, refused: Sequence[int],
    told: Callable[[str], str] | None = None,
) -> str:  # fmt: skip
    """A number over rounds with its band. better: which way it counts, in a word, or "". refused: rounds that were
    rolled back, marked with a cross. told: tells words in another language; they are written as text then, and not
    drawn, for the reader's machine has the letters and matplotlib's font may not."""
    say = told or str
    figure, axes = _axes(say(title))
    rounds, scale = curve[0], 100 if percent else 1
    values, lows, highs = ([scale * v for v in row] for row in curve[1:])
    axes.plot(rounds, values, marker="o", color=INK, linewidth=2)
    axes.fill_between(rounds, lows, highs, color=INK, alpha=0.16, linewidth=0)
    back = [i for i, r in enumerate(rounds) if r in refused]
    axes.plot(
        [rounds[i] for i in back], [values[i] for i in back], linestyle="", marker="x", markersize=12,
        markeredgewidth=2.5, color=SEEN,
    )  # fmt: skip
    _rounds(axes, rounds, say("round"))
    words = ["per cent"] * percent + [f"{better} is better"] * bool(better)
    axes.set_ylabel(say(", ".join(words)), fontsize=11)
    if not percent:
        axes.ticklabel_format(axis="y", useOffset=False)
    return _as_text(figure, fonts="path" if told is None else "none")


def gamed_svg(liked: Curve, seen: Curve, seen_told: str) -> str:
    """What the gates' network says of the samples, beside what the witness finds: gamed gates raise both curves.

    Without bands, which would hide them.
    """
    figure, axes = _axes("Gates against witness: gamed where both rise")
    (first,) = axes.plot(*liked[:2], marker="o", color=LIKED, linewidth=2, label="liked by the gates' network")
    axes.set_ylabel("agreement by the gates (left)", fontsize=11, color=LIKED)
    other = axes.twinx()
    (second,) = other.plot(*seen[:2], marker="s", color=SEEN, linewidth=2, linestyle="--", label=seen_told)
    other.set_ylabel("distance by the witness (right)", fontsize=11, color=SEEN)
    other.tick_params(labelsize=11)
    other.spines["top"].set_visible(False)
    for each, (_, values, lows, highs) in ((axes, liked), (other, seen)):
        # So wide that what is no difference beside the number's own interval looks like none.
        widest = max(high - low for low, high in zip(lows, highs, strict=True))
        half = max(0.75 * (max(values) - min(values)), LEAST * widest, 1e-9)
        middle = (max(values) + min(values)) / 2
        each.set_ylim(middle - half, middle + half)
        each.ticklabel_format(axis="y", useOffset=False)
    axes.legend(handles=[first, second], frameon=False, fontsize=10, loc="upper left")
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


def _rounds(axes: Any, rounds: Sequence[int], told: str = "round") -> None:
    axes.set_xticks(rounds, [str(r) for r in rounds])
    axes.set_xlim(min(rounds) - 0.3, max(rounds) + 0.3)
    axes.set_xlabel(told, fontsize=11)


def _as_text(figure: Any, *, fonts: str = "path") -> str:
    from matplotlib import pyplot, rc_context

    buffer = BytesIO()
    with (
        warnings.catch_warnings(),
        rc_context({"svg.fonttype": fonts}),
    ):  # a script that the font lacks is no matter for the reader
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
