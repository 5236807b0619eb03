"""Pictures for reports: contact sheets and curves, as data that an HTML page holds in itself."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from vesalius.data.images.image import png_bytes, read_image

Points = tuple[Sequence[float], Sequence[float]]
Band = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]
"""xs, ys, and the lower and upper ends of their intervals."""
Level = tuple[float, float, float]
"""A value and the ends of its interval."""


def image_uri(path: Path) -> str:
    """A picture as a data: address. It is read and written anew, so no recipe or header travels into the page."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(read_image(path))).decode()


def shortened(text: str, most: int) -> str:
    """A caption of at most so many characters, with an ellipsis where it had more."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def curve_svg(curves: Mapping[str, Points], *, x: str, y: str, title: str) -> str:
    """Curves name -> (xs, ys) as an SVG string for a page."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 3.0), layout="constrained")
    for name, (xs, ys) in curves.items():
        axes.plot(xs, ys, marker="o", markersize=3, label=name)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
    return _as_text(figure)


def intervals_svg(
    values: Mapping[str, tuple[float, float, float]], floors: Mapping[str, tuple[float, float]], *, x: str, title: str
) -> str:
    """A row for each name: a value with the ends of its interval, over the band from low to high of its floor."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 0.9 + 0.45 * len(values)), layout="constrained")
    for row, (name, (value, low, high)) in enumerate(values.items()):
        if name in floors:
            least, most = floors[name]
            axes.barh(
                row, most - least, left=least, height=0.6, color="#9aa5b1", label="" if row else "real, against real"
            )
        axes.errorbar(
            value, row, xerr=[[value - low], [high - value]], fmt="o", color="#b3261e", capsize=3,
            label="" if row else "samples",
        )  # fmt: skip
    axes.set(xlabel=x, title=title, yticks=range(len(values)), yticklabels=list(values), ylim=(len(values) - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _as_text(figure)


def bands_svg(bands: Mapping[str, Band], levels: Mapping[str, Level], *, x: str, y: str, title: str) -> str:
    """Curves with their bands over a logarithmic x, and levels across, as an SVG string for a page.

    The first level has its band too; more of them would hide the curves.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 3.4), layout="constrained")
    for name, (xs, ys, lows, highs) in bands.items():
        (line,) = axes.plot(xs, ys, marker="o", markersize=3, label=name)
        axes.fill_between(xs, lows, highs, color=line.get_color(), alpha=0.18, linewidth=0)
    for name, (value, low, high) in levels.items():
        line = axes.axhline(value, linestyle="--", linewidth=1.2, label=name, color=f"C{len(axes.lines)}")
        if name == next(iter(levels)):
            axes.axhspan(low, high, color=line.get_color(), alpha=0.1, linewidth=0)
    ticks = sorted({point for xs, *_ in bands.values() for point in xs})
    axes.set(xlabel=x, ylabel=y, title=title, xscale="log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _as_text(figure)


def _as_text(figure: Any) -> str:
    from matplotlib import pyplot

    buffer = BytesIO()
    with warnings.catch_warnings():  # a script that the font lacks, as in a reader's name, is no matter for the user
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]
